"""What the filter and the captioner did, measured against what the pictures of the embedded site truly show.

Nothing of this is an input of the pipeline: the truth is written by an asset that only the report reads.
"""

from collections import defaultdict
from dataclasses import dataclass

from t2i_assets.report.evidence import Evidence
from t2i_assets.report.texts import SOURCES
from t2i_assets.synthweb.known import read_truth


@dataclass(frozen=True)
class Measured:
    """Texts of one source before and after the verdicts; a text is wrong where it is not true of its picture."""

    label: str
    texts: int
    wrong: int
    kept: int
    kept_wrong: int

    @property
    def wrong_before(self) -> float:
        return self.wrong / max(self.texts, 1)

    @property
    def wrong_after(self) -> float:
        return self.kept_wrong / max(self.kept, 1)

    @property
    def precision(self) -> float | None:
        """Of what was rejected, the share that was wrong."""
        rejected = self.texts - self.kept
        return (self.wrong - self.kept_wrong) / rejected if rejected else None

    @property
    def recall(self) -> float | None:
        """Of what was wrong, the share that was rejected."""
        return (self.wrong - self.kept_wrong) / self.wrong if self.wrong else None


def against_the_truth(evidence: Evidence) -> list[Measured]:
    """Return each caption source against the truth; nothing where no truth is known or no verdict stands."""
    path = evidence.home.root / "synthweb" / "truth.parquet"
    if not path.exists():
        return []
    known = read_truth(path)
    texts = evidence.rows(
        """
        SELECT DISTINCT c.caption_id, c.key, c.source, c.caption, v.kept
        FROM verdicts AS v JOIN captions AS c ON c.caption_id = v.caption_id AND c.current
        """
    )
    found: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for text in texts:
        if text["key"] in known.scenes:
            right = known.is_right(text["key"], text["caption"], text["source"])
            found[text["source"]].append((right, text["kept"]))
    return [
        Measured(
            SOURCES[source],
            len(found[source]),
            sum(not right for right, _ in found[source]),
            sum(kept for _, kept in found[source]),
            sum(kept and not right for right, kept in found[source]),
        )
        for source in SOURCES
        if source in found
    ]
