"""Generated pictures side by side: for a prompt, what each recipe's model drew, and a real image of the scene."""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from evaluation.leaderboard import COMPOSITIONAL_CATEGORIES
from t2i_assets.corpus.shards import read_image, read_samples
from t2i_assets.report.evidence import Evidence, Row, resized


@dataclass
class Picture:
    """One generated image with its compositional score and the reason why it is not full."""

    image: bytes
    score: float | None = None
    reason: str | None = None

    @property
    def verdict(self) -> str:
        if self.score is None:
            return "open"
        return "better" if self.score >= 0.75 else "worse" if self.score < 0.5 else "partly"


@dataclass
class Drawn:
    """A prompt, the real image of its scene and the picture of each recipe."""

    prompt: str
    style: str
    category: str
    reference: Image.Image | None
    pictures: dict[str, Picture] = field(default_factory=dict)


def drawn_prompts(evidence: Evidence, style: str, per_category: int) -> list[Drawn]:
    """Return prompts of one style, ``per_category`` of each, in order of their digest: not chosen for their results."""
    prompts = evidence.rows(
        """
        SELECT * FROM prompts WHERE current AND style = ?
        QUALIFY row_number() OVER (PARTITION BY category ORDER BY prompt_id) <= ?
        ORDER BY category, prompt_id
        """,
        style,
        per_category,
    )
    prompts.sort(key=lambda row: (_place(row["category"]), row["prompt_id"]))
    pictures = _pictures(evidence, [row["prompt_id"] for row in prompts])
    if not pictures:
        return []
    side = min(Image.open(io.BytesIO(found[0])).width for found in pictures.values())
    references = _references(evidence, prompts, side)
    shown = []
    for row in prompts:
        drawn = Drawn(row["prompt"], style, row["category"], references.get(row["reference_key"]))
        for (recipe, prompt_id), (data, score, reason) in pictures.items():
            if prompt_id == row["prompt_id"]:
                drawn.pictures[recipe] = Picture(data, score, reason)
        shown.append(drawn)
    return shown


def _pictures(
    evidence: Evidence, prompt_ids: list[str]
) -> dict[tuple[str, str], tuple[bytes, float | None, str | None]]:
    """Return (image, score, reason) of the first seed by (recipe, prompt)."""
    rows = evidence.rows(
        """
        SELECT a.partition AS recipe, g.artifact, g.shard, g.prompt_id, g.image_offset, g.image_bytes,
               avg(e.value) AS score, min(e.reason) AS reason
        FROM generated AS g
        JOIN artifacts AS a ON a.path = g.artifact
        LEFT JOIN evals AS e ON e.current AND e.system = 'generated' AND e.recipe = a.partition
             AND e.prompt_id = g.prompt_id AND e.seed = g.seed AND list_contains(?, e.metric)
        WHERE g.current AND a.asset = 'generated_images' AND list_contains(?, g.prompt_id)
        GROUP BY a.partition, g.artifact, g.shard, g.prompt_id, g.seed, g.image_offset, g.image_bytes
        QUALIFY row_number() OVER (PARTITION BY a.partition, g.prompt_id ORDER BY g.seed) = 1
        ORDER BY recipe, g.prompt_id
        """,
        list(COMPOSITIONAL_CATEGORIES),
        prompt_ids,
    )
    return {
        (row["recipe"], row["prompt_id"]): (
            read_image(evidence.home.root / row["artifact"], row),
            row["score"],
            row["reason"],
        )
        for row in rows
    }


def _references(evidence: Evidence, prompts: list[Row], side: int) -> dict[str, Image.Image]:
    """Return the real image of each prompt at the size that the models draw."""
    directory = evidence.paths("evaluation_set")["_"] / "reference"
    wanted = {row["reference_key"] for row in prompts}
    samples: list[dict[str, Any]] = read_samples(directory).to_pylist()
    return {row["key"]: _read(directory, row, side) for row in samples if row["key"] in wanted}


def _read(directory: Path, row: Row, side: int) -> Image.Image:
    return resized(read_image(directory, row), side)


def _place(category: str) -> tuple[int, str]:
    order = COMPOSITIONAL_CATEGORIES
    return (order.index(category) if category in order else len(order), category)
