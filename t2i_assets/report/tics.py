"""How each source writes: the caption report's tics side by side, a card for each source that stands now."""

from collections import defaultdict
from dataclasses import dataclass

from t2i_assets.corpus.source_tics import SourceTics, source_tics
from t2i_assets.report.charts import histogram
from t2i_assets.report.evidence import Evidence
from t2i_assets.report.texts import EMPTY, SOURCES

LONGEST = 30
SHOWN = 4


@dataclass(frozen=True)
class Line:
    """One tic of every source, in the order of the columns; None where a source has no such figure."""

    label: str
    about: str
    form: str
    values: list[float | None]


@dataclass(frozen=True)
class Card:
    """One source that stands now: its habits as texts, and its histograms."""

    label: str
    css: str
    openings: list[tuple[str, float]]
    repeated: list[tuple[str, float]]
    overused: list[tuple[str, float]]
    lengths: str
    itm: str


@dataclass(frozen=True)
class Writing:
    """The caption report of one snapshot; columns are (label, css class, further words)."""

    columns: list[tuple[str, str, str]]
    lines: list[Line]
    cards: list[Card]
    compared: int


LINES = {
    "captions": ("captions", "", "count"),
    "kept": ("kept", "by the verdicts", "percent"),
    "words_mean": ("words", "mean", "decimal"),
    "words_p05": ("words, 5 %", "as short or shorter", "count"),
    "words_p95": ("words, 95 %", "as long or shorter", "count"),
    "vocabulary": ("vocabulary", "different words", "count"),
    "opening_3_entropy": ("openings", "entropy of the first three words, bits", "decimal"),
    "repeated": ("repeated", "another image has the same", "percent"),
    "compared_repeats": ("repeats", "among equally many", "percent"),
    "compared_distinct_2": ("distinct-2", "pairs of words, among equally many", "share"),
    "cut_off": ("cut off", "before the sentence ends", "percent"),
}
HABITS = {
    ("case", "lower"): ("lower case", "throughout"),
    ("case", "sentence"): ("capital first", "as a sentence has"),
    ("case", "title"): ("Title Case", ""),
    ("case", "upper"): ("UPPER CASE", ""),
    ("ending", "."): ("full stop", "last"),
    ("ending", "no mark"): ("no mark", "last"),
}


def writing(evidence: Evidence) -> dict[str, Writing]:
    """Return the caption report of each snapshot that has one."""
    rows = defaultdict(list)
    for row in evidence.rows("SELECT * FROM caption_tics ORDER BY snapshot, source, captioner, decode, tic, rank"):
        rows[row["snapshot"]].append(row)
    return {snapshot: _writing(evidence, snapshot, source_tics(found)) for snapshot, found in rows.items()}


def _writing(evidence: Evidence, snapshot: str, sources: list[SourceTics]) -> Writing:
    lines = [
        Line(label, about, form, [source.figures.get(tic) for source in sources])
        for tic, (label, about, form) in LINES.items()
    ]
    for (tic, text), (label, about) in HABITS.items():
        shares: list[float | None] = [dict(source.texts.get(tic, ())).get(text, 0.0) for source in sources]
        if any(shares):
            lines.append(Line(label, about, "percent", shares))
    columns = [(_name(source), f"source-{source.source}", _further(source)) for source in sources]
    cards = [_card(evidence, snapshot, source) for source in sources if source.current]
    compared = max((source.figures["compared_captions"] for source in sources), default=0.0)
    return Writing(columns, lines, cards, int(compared))


def _card(evidence: Evidence, snapshot: str, source: SourceTics) -> Card:
    css = f"source-{source.source}"
    lengths = [source.lengths.get(words, 0.0) for words in range(1, LONGEST)]
    longer = sum(share for words, share in source.lengths.items() if words >= LONGEST)
    scored = [] if source.source == "human" else _itm(evidence, snapshot, source.source)
    named = {
        tic: [(text or EMPTY, value) for text, value in source.texts.get(tic, ())[:SHOWN]]
        for tic in ("opening_3", "repeated_text", "overused")
    }
    return Card(
        label=_name(source),
        css=css,
        openings=named["opening_3"],
        repeated=named["repeated_text"],
        overused=named["overused"],
        lengths=histogram([*lengths, longer], ("1 word", f"{LONGEST} or more"), css, "caption lengths"),
        itm=histogram(scored, ("0", "1"), css, "ITM probability", _threshold(evidence)) if any(scored) else "",
    )


def _name(source: SourceTics) -> str:
    named = SOURCES.get(source.source, source.source)
    return f"{named}, {source.style}" if source.source == "human" and source.style else named


def _further(source: SourceTics) -> str:
    """Return which captioner and decoding an earlier source is of; nothing for one that stands now."""
    return "" if source.current else source.label.partition(" of ")[2]


def _itm(evidence: Evidence, snapshot: str, source: str) -> list[float]:
    rows = evidence.rows(
        """
        SELECT least(floor(s.value * 20), 19)::INT AS bin, count(*) AS n
        FROM scores AS s JOIN captions AS c ON c.caption_id = s.caption_id AND c.current
        WHERE s.kind = 'itm' AND s.current AND s.snapshot = ? AND c.source = ? GROUP BY bin
        """,
        snapshot,
        source,
    )
    bins = {row["bin"]: float(row["n"]) for row in rows}
    return [bins.get(number, 0.0) for number in range(20)]


def _threshold(evidence: Evidence) -> float | None:
    rows = evidence.rows(
        """
        SELECT DISTINCT (config->>'itm_threshold')::DOUBLE AS threshold
        FROM artifacts WHERE asset = 'filtered_captions' AND current
        """
    )
    return rows[0]["threshold"] if len(rows) == 1 else None
