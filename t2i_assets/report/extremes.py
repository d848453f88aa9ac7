"""What stands behind each score: its best and worst prompts as pictures, with the judge's reason, and what made the
model: its blend, and the caption of it that is nearest to each failed prompt.

Distances and other scores of whole sets have no best picture: some are shown, in order of their prompt's digest.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from evaluation.leaderboard import COMPOSITIONAL, COMPOSITIONAL_CATEGORIES, LIKE_CLIP_SCORE, WITHOUT_PICTURES
from t2i_assets.corpus.best_and_worst import Shown, best_and_worst
from t2i_assets.corpus.shards import read_image
from t2i_assets.corpus.thumbnails import thumbnail
from t2i_assets.report.evidence import Evidence, Row
from t2i_assets.report.learned import Learned, nearest_captions
from t2i_assets.report.scores import METRICS, STYLES, Result, described

COSINES = ("non_spatial", "clip_score")
"""Metrics of a picture that are no share of what was asked."""
OF_SETS = "sets"
"""Stands for every metric that compares the set of pictures with another."""
SIDE = 96
"""Longest side of a picture in the report, pixels."""


@dataclass(frozen=True)
class Picture:
    """A generated picture with its prompt's score over all seeds, and why the picture's is not full.

    ``own`` is the picture's score where there are several seeds; both are None where pictures have no score.
    """

    prompt_id: str
    prompt: str
    image: bytes
    value: float | None = None
    own: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Extremes:
    """What stands behind a score: its pictures by why they are shown (best, worst or some), and what made the model."""

    style: str
    recipe: str
    metric: str
    label: str
    decimals: int
    model: str
    blend: str | None
    prompts: int
    mean: float | None
    pictures: dict[str, list[Picture]]
    learned: dict[str, Learned] = field(default_factory=dict)

    def verdict(self, picture: Picture) -> str:
        """Return better, partly or worse where the score is a share of what was asked, else open."""
        if picture.value is None or self.metric in COSINES:
            return "open"
        return "better" if picture.value >= 0.75 else "worse" if picture.value < 0.5 else "partly"

    @property
    def anchor(self) -> str:
        """Return the name of the place in the page to which the score leads."""
        return f"behind-{self.style}-{self.recipe}-{self.metric}"


def extremes(evidence: Evidence, each: int) -> list[Extremes]:
    """Return ``each`` of the best and of the worst prompts of every score of pictures, by style and recipe; and for the
    scores of whole sets as many pictures."""
    found = []
    for (style, recipe, metric), rows in _scored(evidence).items():
        ends, told = best_and_worst(rows, each), described(metric)
        pictures = {"best": ends.best, "worst": ends.worst}
        found.append(
            Extremes(
                *(style, recipe, metric, told.label, told.decimals, rows[0]["model"], rows[0]["blend_digest"]),
                *(ends.prompts, ends.mean),
                {name: [_picture(evidence, one) for one in some] for name, some in pictures.items() if some},
            )
        )
    failed = [(one.model, shown.prompt_id, shown.prompt) for one in found for shown in one.pictures.get("worst", [])]
    learned = nearest_captions(evidence, failed)
    for one in found:
        for shown in one.pictures.get("worst", []):
            if (one.model, shown.prompt_id) in learned:
                one.learned[shown.prompt_id] = learned[one.model, shown.prompt_id]
    return sorted([*found, *_sets(evidence, each)], key=_order)


def leads_to(found: list[Extremes], scores: Result | None) -> dict[tuple[str, str, str], str]:
    """Return the place to which each score leads, by style, recipe and metric: its own; that of its first part, where
    it is a mean over categories; that of the whole set's pictures, where it compares sets."""
    own = {(one.style, one.recipe, one.metric): one.anchor for one in found}
    places = dict(own)
    for style, lines in ({} if scores is None else scores.lines).items():
        for metric, recipe in ((line.metric.name, recipe) for line in lines for recipe in line.recipes):
            parts = [part for part in _parts(metric, own) if (style, recipe, part) in own]
            if parts:
                places.setdefault((style, recipe, metric), own[style, recipe, parts[0]])
    return places


def _parts(metric: str, shown: Iterable[tuple[str, str, str]]) -> list[str]:
    """Return the metrics whose pictures stand behind ``metric``, the first that there are any of."""
    if metric == COMPOSITIONAL:
        return [*COMPOSITIONAL_CATEGORIES]
    if metric in LIKE_CLIP_SCORE:
        return ["clip_score"]
    return [*(name for _, _, name in shown if name.startswith(f"{metric}_")), OF_SETS]


def _scored(evidence: Evidence) -> dict[tuple[str, str, str], list[Row]]:
    """Return the scores of pictures by the models of the recipes, by style, recipe and metric."""
    rows = evidence.rows(
        """
        SELECT style, recipe, metric, model, blend_digest, prompt_id, prompt, seed, value, reason,
               images, shard, image_offset, image_bytes
        FROM scored_pictures
        WHERE current AND asset IN ('t2i_compbench', 'clip_score') AND image_offset IS NOT NULL
          AND NOT list_contains(?, metric)
        """,
        sorted(WITHOUT_PICTURES),
    )
    groups: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["style"], row["recipe"], row["metric"]].append(row)
    return groups


def _sets(evidence: Evidence, count: int) -> list[Extremes]:
    """Return what stands behind the scores of whole sets: the first pictures of each style and recipe."""
    rows = evidence.rows(
        """
        WITH sets AS (
            SELECT DISTINCT e.style, e.recipe, e.model FROM evals AS e JOIN artifacts AS a ON a.path = e.artifact
            WHERE e.current AND a.asset = 'fid' AND e.prompt_id IS NULL
        )
        SELECT s.style, s.recipe, s.model, m.inputs['caption_blend'] AS blend_digest, p.prompt_id, p.prompt,
               g.artifact, g.shard, g.image_offset, g.image_bytes, count(DISTINCT p.prompt_id) OVER of_set AS prompts
        FROM sets AS s
        JOIN models AS m ON m.digest = s.model
        JOIN generated AS g ON g.current AND g.model = s.model
        JOIN artifacts AS i ON i.path = g.artifact AND i.asset = 'generated_images'
        JOIN prompts AS p ON p.current AND p.prompt_id = g.prompt_id AND p.style = s.style
        WINDOW of_set AS (PARTITION BY s.style, s.recipe)
        QUALIFY row_number() OVER (PARTITION BY s.style, s.recipe ORDER BY p.prompt_id, g.seed) <= ?
        ORDER BY s.style, s.recipe, p.prompt_id, g.seed
        """,
        count,
    )
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["style"], row["recipe"]].append(row)
    found = []
    for (style, recipe), some in groups.items():
        pictures = [Picture(row["prompt_id"], row["prompt"], _small(evidence, row["artifact"], row)) for row in some]
        found.append(
            Extremes(
                *(style, recipe, OF_SETS, "Distances and other scores of the whole set", 0),
                *(some[0]["model"], some[0]["blend_digest"], some[0]["prompts"], None, {"some": pictures}),
            )
        )
    return found


def _picture(evidence: Evidence, shown: Shown) -> Picture:
    row = shown.picture
    own = None if shown.seeds == 1 else row["value"]
    image = _small(evidence, row["images"], row)
    return Picture(row["prompt_id"], row["prompt"], image, shown.mean, own, row["reason"])


def _small(evidence: Evidence, directory: str, place: Mapping[str, Any]) -> bytes:
    return thumbnail(read_image(evidence.home.root / directory, place), SIDE)


def _order(one: Extremes) -> tuple[int, str, int, str, str]:
    metrics = [*METRICS]
    return (
        *(STYLES.index(one.style) if one.style in STYLES else len(STYLES), one.style),
        *(metrics.index(one.metric) if one.metric in metrics else len(metrics), one.metric, one.recipe),
    )
