"""What a person sees of an artifact in the web UI: thumbnails, tables and curves as metadata."""

import base64
import io
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from t2i_assets.corpus.schemas import (
    CAPTION_TICS,
    CAPTIONS,
    CONTAMINATION,
    DUPLICATES,
    GENERATED,
    LEADERBOARD,
    LEDGER,
    PROMPTS,
    SAMPLES,
)
from t2i_assets.corpus.shards import iter_images, read_image, read_samples
from t2i_assets.corpus.source_tics import SourceTics, source_tics
from t2i_assets.corpus.tables import read_rows, read_table

COLUMNS, ROWS, SIDE = 12, 4, 64
TICS = {
    "captions": ("captions", ",.0f"),
    "kept": ("kept", ".1%"),
    "words_mean": ("words, mean", ".1f"),
    "words_sd": ("words, standard deviation", ".1f"),
    "words_p05": ("words, 5 %", ".0f"),
    "words_p95": ("words, 95 %", ".0f"),
    "vocabulary": ("vocabulary", ",.0f"),
    "opening_3_entropy": ("entropy of openings, bits", ".2f"),
    "repeated": ("repeated on other images", ".1%"),
    "compared_repeats": ("repeats among equally many", ".1%"),
    "compared_distinct_2": ("distinct-2 among equally many", ".3f"),
    "cut_off": ("cut off", ".1%"),
}
TIC_TEXTS = {
    "opening_1": "first word",
    "opening_3": "first three words",
    "case": "case",
    "ending": "ending",
    "repeated_text": "most repeated",
    "overused": "over-used words (standard deviations)",
}


def png(image: Image.Image, name: str) -> dg.MarkdownMetadataValue:
    """Return a picture as metadata that the UI draws in place."""
    data = io.BytesIO()
    image.save(data, "PNG")
    return _embedded(data.getvalue(), name)


def pictures(directory: Path) -> dict[str, dg.MarkdownMetadataValue]:
    """Return the pictures that a job named in its ``run.json``."""
    run = directory / "run.json"
    named = json.loads(run.read_text()).get("images", {}) if run.exists() else {}
    return {name: _embedded((directory / file).read_bytes(), name) for name, file in named.items()}


def thumbnails(shards: Path) -> dg.MarkdownMetadataValue:
    """Return the first images of a shard directory as one contact sheet."""
    images = [data for _, data in islice(iter_images(shards), COLUMNS * ROWS)]
    return png(_sheet([images[start : start + COLUMNS] for start in range(0, len(images), COLUMNS)]), "images")


def cluster_table(clusters: Path, limit: int = 12) -> dg.TableMetadataValue:
    """Return the members of the largest clusters with the reason of each."""
    shown = [member for members in _largest(clusters, ROWS) for member in members[:COLUMNS]]
    return rows_table({name: row[name] for name in row if name not in ("snapshot", "cluster")} for row in shown[:limit])


def cluster_sheet(clusters: Path, shards: Path) -> dg.MarkdownMetadataValue:
    """Return the largest clusters as one contact sheet: a cluster a row, the kept member first."""
    rows = [[member["key"] for member in members[:COLUMNS]] for members in _largest(clusters, 2 * ROWS)]
    images = _images([shards], {key for row in rows for key in row})
    return png(_sheet([[images[key] for key in row] for row in rows]), "clusters")


def contamination_table(contamination: Path, limit: int = 12) -> dg.TableMetadataValue:
    """Return a few agreements with the evaluation set, images before texts."""
    rows = sorted(read_rows(contamination, CONTAMINATION), key=lambda row: (row["kind"] == "text", row["key"]))
    return rows_table({name: row[name] for name in row if name != "snapshot"} for row in rows[:limit])


def contamination_sheet(contamination: Path, shards: Path, references: list[Path]) -> dg.MarkdownMetadataValue:
    """Return samples, each with the image of the evaluation set that it agrees with right of it."""
    rows = [row for row in read_rows(contamination, CONTAMINATION) if row["kind"] != "text"][: COLUMNS // 2 * ROWS]
    own = _images([shards], {row["key"] for row in rows})
    others = _images(references, {row["reference"] for row in rows})
    pairs = [image for row in rows for image in (own[row["key"]], others[row["reference"]])]
    return png(_sheet([pairs[start : start + COLUMNS] for start in range(0, len(pairs), COLUMNS)]), "agreements")


def _largest(clusters: Path, count: int) -> list[list[dict[str, Any]]]:
    """Return the members of the largest clusters, the kept one first."""
    members: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in read_rows(clusters, DUPLICATES):
        members[row["cluster"]].append(row)
    return sorted(members.values(), key=lambda rows: (-len(rows), rows[0]["cluster"]))[:count]


def _images(directories: list[Path], keys: set[str]) -> dict[str, bytes]:
    """Return the stored images of these keys."""
    found = {}
    for directory in directories if keys else []:
        for row in read_samples(directory).select(["key", "shard", "image_offset", "image_bytes"]).to_pylist():
            if row["key"] in keys:
                found[row["key"]] = read_image(directory, row)
    return found


def _sheet(rows: list[list[bytes]]) -> Image.Image:
    sheet = Image.new("RGB", (COLUMNS * SIDE, max(1, len(rows)) * SIDE), "white")
    for line, images in enumerate(rows):
        for column, data in enumerate(images):
            image = Image.open(io.BytesIO(data)).convert("RGB")
            image.thumbnail((SIDE - 2, SIDE - 2))
            sheet.paste(image, (column * SIDE, line * SIDE))
    return sheet


def curve(points: list[tuple[int, float]], width: int = 480, height: int = 160) -> dg.MarkdownMetadataValue:
    """Return (step, value) points as a line from left to right, the extremes written beside it."""
    steps, values = [step for step, _ in points], [value for _, value in points]
    left, right, low, high = min(steps), max(steps), min(values), max(values)
    image = Image.new("RGB", (width, height), "white")
    ink = ImageDraw.Draw(image)
    places = [
        (
            60 + (width - 70) * (step - left) / max(1, right - left),
            height - 15 - (height - 30) * (value - low) / max(1e-12, high - low),
        )
        for step, value in points
    ]
    ink.text((4, 8), f"{high:.4g}", fill="dimgray")
    ink.text((4, height - 22), f"{low:.4g}", fill="dimgray")
    ink.line(places if len(places) > 1 else places * 2, fill="steelblue", width=2)
    return png(image, f"loss, steps {left} to {right}")


def rows_table(rows: Iterable[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """Return rows of one form as a table; cells that are no number become text."""
    rows = list(rows)
    names = list(rows[0]) if rows else []
    records = [dg.TableRecord({name: _cell(row[name]) for name in names}) for row in rows]
    columns = [dg.TableColumn(name, _kind(records, name)) for name in names]
    return dg.MetadataValue.table(records, dg.TableSchema(columns))


def funnel_table(summary: Mapping[str, Any]) -> dg.TableMetadataValue:
    """Return the counts of a summary, nested ones as reasons of their stage."""
    rows = []
    for stage, value in summary.items():
        if isinstance(value, Mapping):
            rows += [{"stage": stage, "reason": reason, "count": count} for reason, count in value.items()]
        elif isinstance(value, int) and not isinstance(value, bool):
            rows.append({"stage": stage, "reason": "", "count": value})
    return rows_table(rows)


def count_table(ledger_file: Path, *names: str) -> dg.TableMetadataValue:
    """Return how many URLs of a ledger agree in the fields of these names, most frequent first."""
    counts = Counter(zip(*_columns(ledger_file, names), strict=True))
    return rows_table(
        {**dict(zip(names, values, strict=True)), "urls": count} for values, count in counts.most_common()
    )


def host_table(ledger_file: Path, limit: int = 20) -> dg.TableMetadataValue:
    """Return the hosts with the most URLs of a ledger: how many were taken, and why most of the others were not."""
    hosts: dict[str, Counter[str]] = {}
    for url, status in zip(*_columns(ledger_file, ("url", "status")), strict=True):
        hosts.setdefault(urlsplit(url).netloc or urlsplit(url).scheme, Counter())[status] += 1
    rows = []
    for host, statuses in sorted(hosts.items(), key=lambda item: (-item[1].total(), item[0]))[:limit]:
        answered = statuses["ok"] + statuses["unchanged"]
        others = Counter({status: count for status, count in statuses.items() if status not in ("ok", "unchanged")})
        reason = others.most_common(1)[0][0] if others else ""
        rows.append({"host": host, "urls": statuses.total(), "taken": answered, "others mostly": reason})
    return rows_table(rows)


def caption_table(captions: Path, shards: Path, limit: int = 12) -> dg.TableMetadataValue:
    """Return alt text and synthetic captions of a few samples, side by side."""
    alt = {row["key"]: row["alt_text"] for row in read_rows(shards, SAMPLES, ["key", "alt_text"])}
    written: dict[str, dict[str, str]] = {}
    for row in read_rows(captions, CAPTIONS, ["key", "source", "caption"]):
        written.setdefault(row["key"], {})[row["source"]] = row["caption"]
    sources = sorted({source for texts in written.values() for source in texts})
    return rows_table(
        {"key": key, "alt": alt.get(key, ""), **{source: texts.get(source, "") for source in sources}}
        for key, texts in islice(sorted(written.items()), limit)
    )


def verdict_table(reasons: Mapping[str, Mapping[str, int]]) -> dg.TableMetadataValue:
    """Return how many captions of each source had each verdict."""
    return rows_table(
        {"source": source, "verdict": reason, "captions": count}
        for source, counts in reasons.items()
        for reason, count in counts.items()
    )


def tic_table(tics: Path) -> dg.MarkdownMetadataValue:
    """Return the tics of every source side by side, a source a column."""
    sources = source_tics(read_rows(tics, CAPTION_TICS))
    lines = [
        ("", [f"**{source.label}**" for source in sources]),
        *((said, [_figure(source, tic, form) for source in sources]) for tic, (said, form) in TICS.items()),
        *((said, [_commonest(source, tic) for source in sources]) for tic, said in TIC_TEXTS.items()),
    ]
    rows = ["| " + " | ".join([said, *cells]) + " |" for said, cells in lines]
    return dg.MetadataValue.md("\n".join([rows[0], "|---|" + "---:|" * len(sources), *rows[1:]]))


def length_chart(tics: Path, longest: int = 40) -> dg.MarkdownMetadataValue:
    """Return the share of captions by number of words, a source a row, all rows to one scale of words."""
    sources = source_tics(read_rows(tics, CAPTION_TICS))
    longest = min(longest, max((words for source in sources for words in source.lengths), default=1))
    wide, high, left = 12, 44, 250
    chart = Image.new("RGB", (left + wide * (longest + 1) + 20, (high + 14) * max(1, len(sources)) + 16), "white")
    ink = ImageDraw.Draw(chart)
    for row, source in enumerate(sources):
        floor = (row + 1) * (high + 14) - 4
        ink.text((4, floor - 14), source.label[:40], fill="black")
        shown: dict[int, float] = defaultdict(float)
        for words, share in source.lengths.items():
            shown[min(words, longest)] += share
        most = max(shown.values(), default=1)
        for words, share in shown.items():
            x = left + wide * words
            ink.rectangle((x, floor - high * share / most, x + wide - 2, floor), fill="steelblue")
        ink.line((left, floor, left + wide * (longest + 1), floor), fill="lightgray")
    for words in range(0, longest + 1, 5):
        ink.text((left + wide * words, chart.height - 14), str(words), fill="dimgray")
    return png(chart, f"captions by number of words, the last bar {longest} or more")


def _figure(source: SourceTics, tic: str, form: str) -> str:
    return format(source.figures[tic], form) if tic in source.figures else "–"


def _commonest(source: SourceTics, tic: str, count: int = 3) -> str:
    """Return the first texts of a tic with what is counted, safe inside a Markdown table."""
    form = ".1f" if tic == "overused" else ".1%"
    shown = [f"{escaped(text)} {format(value, form)}" for text, value in source.texts.get(tic, ())[:count]]
    return " · ".join(shown) or "–"


def escaped(text: str) -> str:
    """Return text safe inside a Markdown table."""
    return "".join(mark if mark.isalnum() or mark in " .,'’_-" else f"&#{ord(mark)};" for mark in text)


def blend_table(table: Path, limit: int = 24) -> dg.TableMetadataValue:
    """Return the first captions that a blend can draw, each with its source and probability."""
    first = pq.ParquetFile(min(table.glob("[0-9]*.parquet")))  # not the whole table, which has a row for every caption
    columns = ["key", "source", "weight", "caption"]
    return rows_table(
        row for batch in islice(first.iter_batches(limit, columns=columns), 1) for row in batch.to_pylist()
    )


def generated_table(images: Path, prompts: Path, limit: int = 12) -> dg.TableMetadataValue:
    """Return a few prompts with the key of the image drawn for them."""
    texts = {row["prompt_id"]: row for row in read_rows(prompts / "prompts.parquet", PROMPTS)}
    rows = read_rows(images / "00000.parquet", GENERATED, ["key", "prompt_id"])
    return rows_table(
        {"style": texts[row["prompt_id"]]["style"], "prompt": texts[row["prompt_id"]]["prompt"], "image": row["key"]}
        for row in rows[:limit]
    )


def score_table(directory: Path) -> dg.TableMetadataValue:
    """Return the leaderboard without its digests."""
    rows = read_rows(directory / "leaderboard.parquet", LEADERBOARD)
    return rows_table({name: row[name] for name in row if name != "model"} for row in rows)


def _columns(ledger_file: Path, names: tuple[str, ...]) -> list[list[Any]]:
    table = read_table(ledger_file, LEDGER, list(names))
    return [table[name].to_pylist() for name in names]


def _embedded(data: bytes, name: str) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md(f"![{name}](data:image/png;base64,{base64.b64encode(data).decode()})")


def _cell(value: Any) -> str | int | float | bool:
    if isinstance(value, float):
        return round(value, 4)
    return value if isinstance(value, str | int | bool) else "" if value is None else str(value)


def _kind(records: list[dg.TableRecord], name: str) -> str:
    return "float" if any(isinstance(record.data[name], float) for record in records) else "string"
