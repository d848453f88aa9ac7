"""What the texts tell of their pictures, fact by fact, before and after the verdicts: where the scenes are known.

Nothing of this is an input of the pipeline: the truth is written by an asset that only the report reads.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from evaluation.bootstrap import Estimate
from evaluation.caption_metrics.scenes import Judged, judge_caption, scene_metrics
from t2i_assets.report.evidence import Evidence
from t2i_assets.report.texts import SOURCES
from t2i_assets.synthweb.known import read_truth
from t2i_assets.synthweb.language import read, say_all

FACETS = {
    "object": "object",
    "shape": "shape",
    "color": "colour",
    "texture": "texture",
    "count": "count",
    "relation": "relation",
    "background": "background",
}
RESAMPLES, INTERVAL = 500, 0.95


@dataclass(frozen=True)
class Fact:
    """One facet of one source's texts; None where nothing of the kind is stated, or shown."""

    precision: Estimate | None
    recall: Estimate | None


@dataclass(frozen=True)
class Told:
    """One source, all its texts or those that were kept; hallucinating is the share that names an absent noun."""

    label: str
    which: str
    texts: int
    facts: list[Fact]
    hallucinating: Estimate | None
    unreadable: Estimate


def told(evidence: Evidence) -> list[Told]:
    """Return each caption source against the truth; nothing where no truth is known or no verdict stands."""
    path = evidence.home.root / "synthweb" / "truth.parquet"
    if not path.exists():
        return []
    shown = {key: say_all(scene).facts() for key, scene in read_truth(path).scenes.items()}
    texts = evidence.rows(
        """
        SELECT DISTINCT c.caption_id, c.key, c.source, c.caption, v.kept
        FROM verdicts AS v JOIN captions AS c ON c.caption_id = v.caption_id AND c.current ORDER BY c.caption_id
        """
    )
    judged: dict[str, list[tuple[str, bool, Judged]]] = defaultdict(list)
    for text in texts:
        if text["key"] in shown:
            statement = read(text["caption"])
            said = judge_caption(None if statement is None else statement.facts(), shown[text["key"]])
            judged[text["source"]].append((text["key"], text["kept"], said))
    return [
        line
        for source, label in SOURCES.items()
        for which, found in (("all", judged[source]), ("kept", [text for text in judged[source] if text[1]]))
        for line in _lines(label, which, [(key, said) for key, _, said in found])
    ]


def _lines(label: str, which: str, found: list[tuple[str, Judged]]) -> Iterable[Told]:
    if not found:
        return
    images, said = zip(*found, strict=True)
    measured = scene_metrics(images, said, resamples=RESAMPLES, interval=INTERVAL, seed=0)
    facts = [Fact(measured.get(f"{facet}_precision"), measured.get(f"{facet}_recall")) for facet in FACETS]
    yield Told(label, which, len(found), facts, measured.get("chair_s"), measured["unreadable"])
