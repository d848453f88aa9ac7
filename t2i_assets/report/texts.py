"""What the report shows of the data: the funnel, example samples and blends."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from t2i_assets.corpus.blend import draw
from t2i_assets.corpus.shards import read_image
from t2i_assets.corpus.thumbnails import data_uri
from t2i_assets.report.evidence import Evidence, Row

SOURCES = {
    "alt": "Alt text",
    "synthetic_short": "Synthetic, short",
    "synthetic_descriptive": "Synthetic, descriptive",
    "human": "Human",
}
EMPTY = "(empty)"
EXAMPLES_EACH = 3


@dataclass(frozen=True)
class Stage:
    """One stage of the funnel; widths are percentages of the largest stage counted in the same kind of thing."""

    name: str
    unit: str
    entered: int
    passed: int
    reasons: list[tuple[str, int]]
    entered_width: float
    passed_width: float


@dataclass
class Example:
    """A sample with its texts, each with its score and verdict."""

    key: str
    image: str
    page_url: str
    texts: list[Row] = field(default_factory=list)


@dataclass(frozen=True)
class BlendStatistics:
    """What a recipe asks for, what its weights promise and what one epoch draws."""

    name: str
    samples: int
    captions: int
    left_out: dict[str, int]
    shares: list[tuple[str, str, float | None, float, float]]


def funnel(evidence: Evidence) -> dict[str, list[Stage]]:
    """Return the stages of each snapshot, in order."""
    rows = evidence.rows("SELECT * FROM funnel ORDER BY snapshot, stage_order, stage, count DESC, reason")
    found: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        found[row["snapshot"]][row["stage"]].append(row)
    return {snapshot: _stages(list(stages.values())) for snapshot, stages in found.items()}


def _stages(stages: list[list[Row]]) -> list[Stage]:
    most: Counter[str] = Counter()
    for rows in stages:
        kind = _kind(rows[0]["unit"])
        most[kind] = max(most[kind], sum(row["count"] for row in rows))
    shown = []
    for rows in stages:
        entered = sum(row["count"] for row in rows)
        passed = sum(row["count"] for row in rows if row["reason"] == "passed")
        reasons = [(row["reason"].replace("_", " "), row["count"]) for row in rows if row["reason"] != "passed"]
        share = 100 / most[_kind(rows[0]["unit"])]
        shown.append(
            Stage(rows[0]["stage"], rows[0]["unit"], entered, passed, reasons, entered * share, passed * share)
        )
    return shown


def _kind(unit: str) -> str:
    return "page" if unit.startswith("page") else "image"


def examples(evidence: Evidence) -> dict[str, list[Example]]:
    """Return a few samples of each kind of verdict, taken in order of their key, so not chosen for their looks."""
    verdicts = evidence.rows(
        """
        SELECT key, max(reason) FILTER (source = 'alt') AS alt,
               bool_and(kept) FILTER (source LIKE 'synthetic%') AS synthetic
        FROM verdicts GROUP BY key ORDER BY key
        """
    )
    kinds: dict[str, list[str]] = {
        "Alt texts that were kept": [r["key"] for r in verdicts if r["alt"] == "kept"],
        "Alt texts that the filter rejected": [
            r["key"] for r in verdicts if r["alt"] in ("itm_below_threshold", "itc_below_threshold")
        ],
        "Alt texts that hygiene rules rejected": [
            r["key"] for r in verdicts if r["alt"] not in (None, "kept", "itm_below_threshold", "itc_below_threshold")
        ],
        "Synthetic captions that the filter rejected": [r["key"] for r in verdicts if r["synthetic"] is False],
    }
    if not verdicts:
        kinds = {"Samples": [row["key"] for row in evidence.rows("SELECT key FROM samples ORDER BY key LIMIT 12")]}
    shown: dict[str, list[Example]] = {}
    used: set[str] = set()
    for title, keys in kinds.items():
        wanted = [key for key in keys if key not in used][: EXAMPLES_EACH if verdicts else 12]
        used.update(wanted)
        if wanted:
            shown[title] = _examples(evidence, wanted)
    return shown


def _examples(evidence: Evidence, keys: list[str]) -> list[Example]:
    samples = evidence.rows("SELECT * FROM samples WHERE list_contains(?, key) ORDER BY key", keys)
    found = {}
    for row in samples:
        data = read_image(evidence.home.shards(row["snapshot"]), row)
        found[row["key"]] = Example(row["key"], data_uri(data), row["page_url"] or row["image_url"])
    texts = evidence.rows(
        """
        SELECT DISTINCT c.key, c.source, c.caption, s.value AS itm, v.kept, v.reason
        FROM captions AS c
        LEFT JOIN scores AS s ON s.caption_id = c.caption_id AND s.kind = 'itm' AND s.current
        LEFT JOIN verdicts AS v ON v.caption_id = c.caption_id
        WHERE c.current AND list_contains(?, c.key) ORDER BY c.key, c.source
        """,
        keys,
    )
    for row in texts:
        if row["key"] in found:
            found[row["key"]].texts.append(row)
    return [found[key] for key in keys if key in found]


def blends(evidence: Evidence) -> list[BlendStatistics]:
    """Return each recipe's ratio: asked for, expected from the weights, and drawn in epoch 0."""
    summaries = evidence.rows(
        """
        SELECT partition, summary::VARCHAR AS summary, config::VARCHAR AS config
        FROM artifacts WHERE asset = 'caption_blend' AND current ORDER BY partition
        """
    )
    return [_blend(evidence, row["partition"], row) for row in summaries]


def _blend(evidence: Evidence, name: str, row: Mapping[str, Any]) -> BlendStatistics:
    summary = json.loads(row["summary"])
    choices: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for caption in evidence.rows("SELECT key, source, weight FROM blends WHERE current AND name = ?", name):
        choices[caption["key"]].append((caption["source"], caption["weight"]))
    drawn: Counter[str] = Counter()
    expected: dict[str, float] = defaultdict(float)
    for key, found in choices.items():
        drawn[found[draw(0, 0, key, [weight for _, weight in found])][0]] += 1
        for source, weight in found:
            expected[source] += weight
    samples = max(len(choices), 1)
    asked = {("alt" if source == "original" else source): share for source, share in summary.get("asked", {}).items()}
    shares = [
        (source, SOURCES.get(source, source), asked.get(source), expected[source] / samples, drawn[source] / samples)
        for source in SOURCES
        if expected[source] or asked.get(source)
    ]
    captions = sum(map(len, choices.values()))
    return BlendStatistics(name, len(choices), captions, summary.get("left_out", {}), shares)
