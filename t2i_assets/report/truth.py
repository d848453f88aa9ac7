"""What the filter and the captioner did, measured against what the pictures of the embedded site truly show.

Nothing of this is an input of the pipeline: the truth is written by an asset that only the report reads.
"""

import json
from collections import defaultdict
from dataclasses import dataclass

import pyarrow.parquet as pq

from t2i_assets.report.evidence import Evidence
from t2i_assets.report.texts import SOURCES
from t2i_assets.synthweb.language import holds, read
from t2i_assets.synthweb.scenes import Relation, Scene, Thing


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
    columns = ["key", "scene", "alt", "alt_right"]
    scenes: dict[str, Scene] = {}
    right_alts: dict[str, set[str]] = defaultdict(set)
    for row in pq.read_table(path, columns=columns).to_pylist():
        if row["key"] is None:
            continue
        scenes.setdefault(row["key"], scene_of(row["scene"]))
        if row["alt_right"]:
            right_alts[row["key"]].add(_plain(row["alt"]))
    texts = evidence.rows(
        """
        SELECT DISTINCT c.caption_id, c.key, c.source, c.caption, v.kept
        FROM verdicts AS v JOIN captions AS c ON c.caption_id = v.caption_id AND c.current
        """
    )
    found: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for text in texts:
        if text["key"] in scenes:
            right = _is_right(text["caption"], scenes[text["key"]], right_alts[text["key"]], text["source"])
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


def scene_of(text: str) -> Scene:
    """Return the scene that a JSON of the truth table describes; its surface is not known."""
    shown = json.loads(text)
    relation = shown["relation"]
    return Scene(
        things=tuple(Thing(**thing) for thing in shown["things"]),
        relation=None if relation is None else Relation(**relation),
        background=shown["background"],
        kind=shown["kind"],
        surface=0,
    )


def _is_right(caption: str, scene: Scene, right_alts: set[str], source: str) -> bool:
    statement = read(caption)
    if statement is not None:
        return holds(statement, scene)
    return source == "alt" and _plain(caption) in right_alts


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
