"""What the UI shows of scores: numbers that lead on to pictures, model, blend and captions, a click each."""

import base64
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dagster as dg
from PIL import Image

from t2i_assets.corpus.artifacts import Artifact
from t2i_assets.corpus.schemas import EVALS, GENERATED, LEADERBOARD, PROMPTS
from t2i_assets.corpus.tables import read_rows

ASSETS = {
    **dict.fromkeys(("clip_s", "ref_clip_s"), "clip_score"),
    **dict.fromkeys(("fd_", "kd_", "fid", "kid", "cmmd", "inception_score"), "fid"),
    **dict.fromkeys(("precision", "recall", "density", "coverage"), "fid"),
}
"""Asset that a metric comes from, by what its name begins with; the others are categories of T2I-CompBench."""
BEHIND = ("latent_diffusion", "caption_blend", "generated_images")
SIDE = 64
EACH = 2
"""Best and worst pictures shown of every metric and style."""
HIDDEN = frozenset({"clip_cosine", "clip_cosine_photo", "reference_cosine", "clip_s", "ref_clip_s"})

Row = dict[str, Any]


def linked_scores(leaderboard: Path) -> dg.MarkdownMetadataValue:
    """Return the plain rows of the leaderboard, a table a style: each score leads to the asset that shows its pictures.

    Below the tables stand, for each recipe, the ways to its model, blend and pictures, and a query for the rest.
    """
    board = read_rows(leaderboard / "leaderboard.parquet", LEADERBOARD)
    rows = [row for row in board if row["baseline"] is None]
    recipes = sorted({row["recipe"] for row in rows if row["recipe"] is not None})
    lines: list[str] = []
    for style in sorted({row["style"] for row in rows}):
        cells: dict[str, dict[str, str]] = defaultdict(dict)
        for row in rows:
            if row["style"] == style:
                cells[row["metric"]][row["recipe"] or row["system"]] = _score(row)
        columns = ["floor", *recipes, "ceiling"]
        lines += [f"**{style}**", "", _line(["", *columns]), "|---|" + "---:|" * len(columns)]
        lines += [_line([metric, *(of.get(column, "–") for column in columns)]) for metric, of in cells.items()]
        lines.append("")
    for recipe in recipes:
        model = next(row["model"] for row in rows if row["recipe"] == recipe)
        ways = " · ".join(_link(asset.replace("_", " "), asset, recipe) for asset in BEHIND)
        lines.append(
            f"**{_plain(recipe)}** ({_plain(model or '')}): {ways} · {_link('captions', 'filtered_captions')}  "
        )
    lines += ["", '⚠ few scenes or images. Every picture of a score: `t2i query "FROM scored_pictures WHERE current"`.']
    return dg.MetadataValue.md("\n".join(lines))


def scored_samples(scores: Path, images: Artifact, prompts: Path) -> dict[str, dg.MarkdownMetadataValue]:
    """Return the best and worst pictures by every metric and style, with the judge's reason and the ways on.

    A metric of whole sets has no such pictures.
    """
    texts = {row["prompt_id"]: row["prompt"] for row in read_rows(prompts / "prompts.parquet", PROMPTS)}
    drawn = {(row["prompt_id"], row["seed"]): row for row in read_rows(images.path, GENERATED)}
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in read_rows(scores / "scores.parquet", EVALS):
        if row["metric"] not in HIDDEN and (row["prompt_id"], row["seed"]) in drawn:
            groups[row["style"], row["metric"]].append(row)
    if not groups:
        return {}
    lines = [" · ".join(_link(asset.replace("_", " "), asset, images.manifest.partition) for asset in BEHIND), ""]
    lines += [_line(["style", "metric", "score", "picture", "prompt", "why"]), "|---|---|---:|---|---|---|"]
    for (style, metric), members in sorted(groups.items()):
        for row in _ends(members):
            place = drawn[row["prompt_id"], row["seed"]]
            picture = _thumbnail(images.path / "00000.tar", place)
            text, why = _plain(texts[row["prompt_id"]]), _plain(row["reason"] or "")
            lines.append(_line([style, metric, f"{row['value']:.3g}", f"![]({picture})", text, why]))
    return {"best and worst": dg.MetadataValue.md("\n".join(lines))}


def _ends(rows: Sequence[Row]) -> list[Row]:
    """Return the best rows and then the worst, none twice; of equal ones the first by prompt are the best."""
    ranked = sorted(rows, key=lambda row: (-row["value"], row["prompt_id"], row["seed"]))
    return [*ranked[:EACH], *ranked[EACH:][-EACH:]]


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


def _thumbnail(tar: Path, place: Row) -> str:
    with tar.open("rb") as file:
        file.seek(place["image_offset"])
        image = Image.open(io.BytesIO(file.read(place["image_bytes"]))).convert("RGB")
    image.thumbnail((SIDE, SIDE))
    data = io.BytesIO()
    image.save(data, "PNG")
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _plain(text: str) -> str:
    """Return text safe inside a Markdown table."""
    return "".join(mark if mark.isalnum() or mark in " .,'’_-" else f"&#{ord(mark)};" for mark in text)
