"""The best and the worst pictures behind each score, with the judge's reason, the model, the blend and its captions.

Pictures are chosen by their score alone; of equal scores the best come first by the
prompt's digest and the worst last, so that none is shown twice.
"""

import io
from collections import defaultdict
from dataclasses import dataclass, field

from PIL import Image

from t2i_assets.corpus.shards import read_image
from t2i_assets.report.evidence import Evidence, Row, png
from t2i_assets.report.scores import CATEGORIES, COMPOSITIONAL, METRICS, STYLES

SHOWN = (*CATEGORIES, "3d_spatial", "non_spatial", "clip_score")
SIDE = 96
"""Longest side of a picture in the report, pixels."""
CAPTIONS_READ = 20_000
"""Captions of a model's blend, in order of their key, among which the nearest to a prompt is looked for."""


@dataclass(frozen=True)
class Picture:
    """A generated picture, its score and why it is not full."""

    prompt_id: str
    prompt: str
    image: bytes
    value: float
    reason: str | None


@dataclass(frozen=True)
class Learned:
    """The caption that the model learned from with most words of a prompt, and how many of the prompt's it has."""

    caption: str
    source: str
    shared: int
    words: int


@dataclass(frozen=True)
class Extremes:
    """What stands behind one score: some of its pictures, and what made the model."""

    style: str
    recipe: str
    metric: str
    label: str
    decimals: int
    model: str
    blend: str | None
    prompts: int
    mean: float
    best: list[Picture]
    worst: list[Picture]
    learned: dict[str, Learned] = field(default_factory=dict)

    def verdict(self, picture: Picture) -> str:
        """Return better, partly or worse where the score is a share of what was asked; open where it is a cosine."""
        if self.metric not in CATEGORIES and self.metric != "3d_spatial":
            return "open"
        return "better" if picture.value >= 0.75 else "worse" if picture.value < 0.5 else "partly"

    @property
    def anchor(self) -> str:
        return anchor(self.style, self.recipe, self.metric)


def anchor(style: str, recipe: str, metric: str) -> str:
    """Return the name of the place in the page to which a score leads."""
    return f"behind-{style}-{recipe}-{metric}"


def extremes(evidence: Evidence, each: int) -> list[Extremes]:
    """Return ``each`` of the best and of the worst prompts of every category, by style and recipe."""
    groups: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in _rows(evidence, each):
        groups[row["style"], row["recipe"], row["metric"]].append(row)
    learned = _learned(evidence, [row for rows in groups.values() for row in rows if row["from_worst"] <= each])
    found = []
    for (style, recipe, metric), rows in sorted(groups.items(), key=lambda item: _order(*item[0])):
        prompts = rows[0]["prompts"]
        best = sorted(rows, key=lambda row: row["from_best"])[: min(each, (prompts + 1) // 2)]
        worst = sorted(rows, key=lambda row: row["from_worst"])[: min(each, prompts // 2)]
        shown = METRICS.get(metric)
        found.append(
            Extremes(
                *(style, recipe, metric, shown.label if shown else metric.replace("_", " ").capitalize()),
                shown.decimals if shown else 2,
                *(rows[0]["model"], rows[0]["blend_digest"], prompts, rows[0]["mean"]),
                [_picture(evidence, row, "best") for row in best],
                [_picture(evidence, row, "worst") for row in worst],
                {
                    row["prompt_id"]: learned[key]
                    for row in worst
                    if (key := (row["model"], row["prompt_id"])) in learned
                },
            )
        )
    return found


def leads_to(found: list[Extremes]) -> dict[tuple[str, str, str], str]:
    """Return the place to which each score leads, by style, recipe and metric; a mean leads to its first category."""
    places = {(one.style, one.recipe, one.metric): one.anchor for one in found}
    for one in found:
        if one.metric in CATEGORIES:
            places.setdefault((one.style, one.recipe, COMPOSITIONAL), one.anchor)
        if one.metric == "clip_score":
            places |= {(one.style, one.recipe, name): one.anchor for name in ("clip_s", "ref_clip_s")}
            places[one.style, one.recipe, "clip_score_torchmetrics"] = one.anchor
    return places


def _rows(evidence: Evidence, each: int) -> list[Row]:
    """Return a row per prompt: its mean over seeds, and the picture of its best and of its worst seed."""
    return evidence.rows(
        """
        WITH scored AS (
            SELECT style, recipe, metric, model, blend_digest, prompt_id, any_value(prompt) AS prompt,
                   avg(value) AS value,
                   arg_max({'images': images, 'shard': shard, 'image_offset': image_offset, 'image_bytes': image_bytes,
                            'value': value, 'reason': reason}, (value, -seed)) AS best,
                   arg_min({'images': images, 'shard': shard, 'image_offset': image_offset, 'image_bytes': image_bytes,
                            'value': value, 'reason': reason}, (value, seed)) AS worst
            FROM scored_pictures
            WHERE current AND model_kind = 'latent_diffusion' AND image_offset IS NOT NULL AND list_contains(?, metric)
            GROUP BY style, recipe, metric, model, blend_digest, prompt_id
        ), ranked AS (
            SELECT *, count(*) OVER of_score AS prompts, avg(value) OVER of_score AS mean,
                   row_number() OVER (of_score ORDER BY value DESC, prompt_id) AS from_best,
                   row_number() OVER (of_score ORDER BY value, prompt_id DESC) AS from_worst
            FROM scored
            WINDOW of_score AS (PARTITION BY style, recipe, metric)
        )
        FROM ranked WHERE from_best <= ? OR from_worst <= ?
        """,
        list(SHOWN),
        each,
        each,
    )


def _learned(evidence: Evidence, rows: list[Row]) -> dict[tuple[str, str], Learned]:
    """Return for each (model, prompt_id) the caption of the model's blend that has most of the prompt's words."""
    captions = _captions(evidence, sorted({row["model"] for row in rows}))
    nearest = {}
    for row in rows:
        words = _words(row["prompt"])
        if captions[row["model"]] and words:
            has, caption = max(captions[row["model"]], key=lambda pair: (len(pair[0] & words), -len(pair[0])))
            learned = Learned(caption["caption"], caption["source"], len(has & words), len(words))
            nearest[row["model"], row["prompt_id"]] = learned
    return nearest


def _captions(evidence: Evidence, models: list[str]) -> dict[str, list[tuple[frozenset[str], Row]]]:
    """Return the words and the row of each caption that a model learned from, by model."""
    rows = evidence.rows(
        """
        SELECT DISTINCT ON (model, caption) model, caption, source FROM (
            FROM model_captions WHERE list_contains(?, model)
            QUALIFY row_number() OVER (PARTITION BY model ORDER BY key, caption_id) <= ?
        ) ORDER BY model, caption, source
        """,
        models,
        CAPTIONS_READ,
    )
    found: dict[str, list[tuple[frozenset[str], Row]]] = defaultdict(list)
    for row in rows:
        found[row["model"]].append((_words(row["caption"]), row))
    return found


def _words(text: str) -> frozenset[str]:
    return frozenset(text.lower().replace(",", " ").replace(".", " ").split())


def _picture(evidence: Evidence, row: Row, which: str) -> Picture:
    one = row[which]
    data = read_image(evidence.home.root / one["images"], one)
    return Picture(row["prompt_id"], row["prompt"], _small(data), one["value"], one["reason"])


def _small(data: bytes) -> bytes:
    """Return the picture at ``SIDE`` pixels, or as it is where it is no larger."""
    image = Image.open(io.BytesIO(data))
    if max(image.size) <= SIDE:
        return data
    small = image.convert("RGB")
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return png(small)


def _order(style: str, recipe: str, metric: str) -> tuple[int, int, str]:
    return (STYLES.index(style) if style in STYLES else len(STYLES), SHOWN.index(metric), recipe)
