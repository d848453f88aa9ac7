"""What the report shows of the data: the funnel, example samples, caption statistics and blends."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from t2i_assets.corpus.blend import draw
from t2i_assets.report.charts import histogram
from t2i_assets.report.evidence import Evidence, Row, data_uri, read_member

SOURCES = {
    "alt": "Alt text",
    "synthetic_short": "Synthetic, short",
    "synthetic_descriptive": "Synthetic, descriptive",
    "human": "Human",
}
EMPTY = "(empty)"
CAPTIONS_READ = 20_000
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
class SourceStatistics:
    """How one source writes."""

    label: str
    css: str
    captions: int
    read: int
    words: float
    vocabulary: int
    distinct: float
    capitals: float
    full_stops: float
    openings: list[tuple[str, float]]
    repeated: list[tuple[str, int]]
    lengths: str
    itm: str
    kept: float | None


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
        data = read_member(evidence.home.shards(row["snapshot"]), row["shard"], row)
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


def caption_statistics(evidence: Evidence) -> list[SourceStatistics]:
    """Return how each source writes: lengths, openings, vocabulary, repetition, verdicts."""
    totals = {
        row["source"]: row["n"]
        for row in evidence.rows("SELECT source, count(*) AS n FROM captions WHERE current GROUP BY source")
    }
    kept = {
        row["source"]: row["kept"]
        for row in evidence.rows("SELECT source, avg(kept::INT) AS kept FROM verdicts GROUP BY source")
    }
    ordered = sorted(totals, key=lambda source: (list(SOURCES).index(source) if source in SOURCES else 9, source))
    return [_statistics(evidence, source, totals[source], kept.get(source)) for source in ordered]


def _statistics(evidence: Evidence, source: str, total: int, kept: float | None) -> SourceStatistics:
    rows = evidence.rows(
        "SELECT caption FROM captions WHERE current AND source = ? ORDER BY caption_id LIMIT ?", source, CAPTIONS_READ
    )
    texts = [row["caption"] for row in rows]
    words = [text.lower().split() for text in texts]
    lengths = Counter(min(len(text), 30) for text in words)
    openings = Counter(" ".join(text[:2]) for text in words)
    repeated = Counter(texts).most_common(3)
    read = max(len(texts), 1)
    scored = evidence.rows(
        """
        SELECT least(floor(s.value * 20), 19)::INT AS bin, count(*) AS n
        FROM scores AS s JOIN captions AS c ON c.caption_id = s.caption_id AND c.current
        WHERE s.kind = 'itm' AND s.current AND c.source = ? GROUP BY bin
        """,
        source,
    )
    bins = {row["bin"]: row["n"] for row in scored}
    css = f"source-{source}"
    return SourceStatistics(
        label=SOURCES.get(source, source),
        css=css,
        captions=total,
        read=len(texts),
        words=sum(map(len, words)) / read,
        vocabulary=len({word.strip(".,:;!?") for text in words for word in text}),
        distinct=len(set(texts)) / read,
        capitals=sum(text[:1].isupper() for text in texts) / read,
        full_stops=sum(text.endswith(".") for text in texts) / read,
        openings=[(text or EMPTY, count / read) for text, count in openings.most_common(4)],
        repeated=[(text or EMPTY, count) for text, count in repeated if count > 1],
        lengths=histogram([lengths[n] for n in range(1, 31)], ("1 word", "30 or more"), css, "caption lengths"),
        itm=histogram([bins.get(n, 0) for n in range(20)], ("0", "1"), css, "ITM probability", _threshold(evidence))
        if bins
        else "",
        kept=kept,
    )


def _threshold(evidence: Evidence) -> float | None:
    rows = evidence.rows(
        """
        SELECT DISTINCT (config->>'itm_threshold')::DOUBLE AS threshold
        FROM artifacts WHERE asset = 'filtered_captions' AND current
        """
    )
    return rows[0]["threshold"] if len(rows) == 1 else None


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
