"""What the UI shows of scores: numbers that lead on to pictures, model, blend and captions, a click each."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dagster as dg

from evaluation.leaderboard import WITHOUT_PICTURES
from t2i_assets.corpus.artifacts import Artifact
from t2i_assets.corpus.best_and_worst import Shown, best_and_worst
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.schemas import EVALS, LEADERBOARD, PROMPTS
from t2i_assets.corpus.shards import generated_rows, read_image
from t2i_assets.corpus.tables import read_rows
from t2i_assets.corpus.thumbnails import data_uri, thumbnail
from t2i_assets.metadata import escaped

ASSETS = {
    **dict.fromkeys(("clip_s", "ref_clip_s"), "clip_score"),
    **dict.fromkeys(("fd_", "kd_", "fid", "kid", "cmmd", "inception_score"), "fid"),
    **dict.fromkeys(("precision", "recall", "density", "coverage"), "fid"),
}
"""Asset that a metric comes from, by what its name begins with; the others are rules of T2I-CompBench and GenEval."""
SIDE = 64
EACH = 2
"""Best and worst prompts shown of every metric and style."""

Row = dict[str, Any]


def linked_scores(leaderboard: Path) -> dg.MarkdownMetadataValue:
    """Return the plain rows of the leaderboard, a table a style: each score leads to the asset that shows its pictures.

    A line has the scores that compare: a metric in several versions, or by several scorers, has a line for each. Below
    the tables stand, for each recipe, the ways to its model, blend and pictures, and a query for the rest.
    """
    board = read_rows(leaderboard / "leaderboard.parquet", LEADERBOARD)
    rows = [row for row in board if row["baseline"] is None]
    recipes = sorted({row["recipe"] for row in rows if row["recipe"] is not None})
    lines: list[str] = []
    for style in sorted({row["style"] for row in rows}):
        columns = ["floor", *recipes, "ceiling"]
        lines += [f"**{style}**", "", _line(["", *columns]), "|---|" + "---:|" * len(columns)]
        for name, of in _comparable([row for row in rows if row["style"] == style]):
            lines.append(_line([name, *(of.get(column, "–") for column in columns)]))
        lines.append("")
    for recipe in recipes:
        model = next(row["model"] for row in rows if row["recipe"] == recipe)
        ways = _ways(("latent_diffusion", recipe), recipe, ("generated_images", recipe))
        lines.append(f"**{escaped(recipe)}** ({escaped(model or '')}): {ways}  ")
    lines += [
        "",
        "⚠ to be read with care, for the reason in the table `scores`. Numbered lines of a metric do not compare: "
        "another version or scorer gave them. "
        'Every picture of a score: `t2i query "FROM scored_pictures WHERE current"`.',
    ]
    return dg.MetadataValue.md("\n".join(lines))


def _comparable(rows: Iterable[Row]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the name of each line and its cells by column; names of one metric are numbered."""
    by: dict[str, dict[tuple[str, str], dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        by[row["metric"]][row["metric_version"], row["scorer"]][row["recipe"] or row["system"]] = _score(row)
    for metric, lines in by.items():
        for number, cells in enumerate(lines.values(), start=1):
            yield (metric if len(lines) == 1 else f"{metric} ({number})"), cells


def scored_samples(
    home: Home, scores: Path, model: Artifact, images: Artifact, prompts: Path
) -> dict[str, dg.MarkdownMetadataValue]:
    """Return the ways to what is behind the scores of a model's pictures, and by every metric and style the best and
    the worst prompts with their pictures and the judge's reason. A metric of whole sets has the ways alone."""
    blend = next(home.root.glob(f"blends/*/{model.manifest.inputs['caption_blend']}"), None)
    of_model, of_images = ((made.manifest.asset, made.manifest.partition) for made in (model, images))
    ways = _ways(of_model, None if blend is None else blend.parent.name, of_images)
    behind = {"behind": dg.MetadataValue.md(ways)}
    drawn = {(row["prompt_id"], row["seed"]): row for row in generated_rows(images.path)}
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in read_rows(scores / "scores.parquet", EVALS):
        if row["metric"] not in WITHOUT_PICTURES and (row["prompt_id"], row["seed"]) in drawn:
            groups[row["style"], row["metric"]].append(row)
    if not groups:
        return behind
    texts = {row["prompt_id"]: row["prompt"] for row in read_rows(prompts / "prompts.parquet", PROMPTS)}
    lines = [_line(["style", "metric", "score", "picture", "prompt", "why"]), "|---|---|---:|---|---|---|"]
    for (style, metric), rows in sorted(groups.items()):
        ends = best_and_worst(rows, EACH)
        for shown in [*ends.best, *reversed(ends.worst)]:
            place = drawn[shown.picture["prompt_id"], shown.picture["seed"]]
            picture = f"![]({data_uri(thumbnail(read_image(images.path, place), SIDE))})"
            text, why = texts[shown.picture["prompt_id"]], shown.picture["reason"] or ""
            lines.append(_line([style, metric, _mean(shown), picture, escaped(text), escaped(why)]))
    return {**behind, "best and worst": dg.MetadataValue.md("\n".join(lines))}


def _ways(model: tuple[str, str], recipe: str | None, images: tuple[str, str]) -> str:
    """Return links to a model and pictures, by asset and partition, and to the blend of a recipe, where it is known."""
    blend = [] if recipe is None else [_link("blend and captions", "caption_blend", recipe)]
    return " · ".join([_link("model", *model), *blend, _link("pictures", *images)])


def _mean(shown: Shown) -> str:
    """Return a prompt's mean over seeds, with the value of its picture where there are several."""
    own = "" if shown.seeds == 1 else f" of {shown.seeds} seeds, this one {shown.picture['value']:.3g}"
    return f"{shown.mean:.3g}{own}"


def _score(row: Row) -> str:
    value = f"{row['value']:.3g}"
    if row["recipe"] is not None:
        asset = next((name for start, name in ASSETS.items() if row["metric"].startswith(start)), "t2i_compbench")
        value = _link(value, asset, row["recipe"])
    interval = "" if row["low"] is None else f" ({row['low']:.3g} to {row['high']:.3g})"
    return f"{value}{interval}, n {row['n']}{' ⚠' if row['warning'] else ''}"


def _link(words: str, asset: str, partition: str | None = None) -> str:
    """Return a link to a page of the UI: an asset, or one of its partitions."""
    at = f"?view=partitions&partition={quote(partition, safe='')}" if partition else ""
    return f"[{words}](/assets/{asset}{at})"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
