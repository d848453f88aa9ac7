"""The truth, read back: what a sample of the embedded site shows, and whether a text about it is right.

No pipeline step reads it; the report, the claims and the tests do.
"""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from t2i_assets.synthweb.language import holds, read
from t2i_assets.synthweb.scenes import Relation, Scene, Thing


@dataclass(frozen=True)
class Known:
    """Scenes by sample key, and the alt texts that are true of each, in plain form."""

    scenes: dict[str, Scene]
    right_alts: dict[str, set[str]]

    def is_right(self, key: str, caption: str, source: str) -> bool:
        """Return whether all that a caption says is true; one that cannot be read is right only if it was so made."""
        statement = read(caption)
        if statement is not None:
            return holds(statement, self.scenes[key])
        return source == "alt" and _plain(caption) in self.right_alts.get(key, set())


def read_truth(path: Path) -> Known:
    """Read what ``synthweb.truth`` wrote."""
    scenes: dict[str, Scene] = {}
    right_alts: dict[str, set[str]] = defaultdict(set)
    for row in pq.read_table(path, columns=["key", "scene", "alt", "alt_right"]).to_pylist():
        if row["key"] is None:
            continue
        scenes.setdefault(row["key"], scene_of(row["scene"]))
        if row["alt_right"]:
            right_alts[row["key"]].add(_plain(row["alt"]))
    return Known(scenes, dict(right_alts))


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


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
