"""The rows of CAPTION_TICS put together again, one object per source, for whoever shows or bounds them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class SourceTics:
    """How one source writes: single figures, texts with their shares, and shares of captions by number of words."""

    source: str
    captioner: str | None
    decode: Mapping[str, Any]
    current: bool
    figures: dict[str, float] = field(default_factory=dict)
    texts: dict[str, list[tuple[str, float]]] = field(default_factory=dict)
    lengths: dict[int, float] = field(default_factory=dict)

    @property
    def style(self) -> str | None:
        """Return short or descriptive, as the decoding says or else the source's name; None where there is none."""
        named = self.source.removeprefix("synthetic_") if self.synthetic else None
        style = self.decode.get("style", named)
        return None if style is None else str(style)

    @property
    def synthetic(self) -> bool:
        return self.captioner is not None

    @property
    def label(self) -> str:
        """Return its name: with the style of people's captions, and of earlier ones with captioner and decoding."""
        if self.current or self.captioner is None:
            return f"{self.source} {self.style}" if self.source == "human" and self.style else self.source
        settings = ", ".join(f"{name} {value}" for name, value in sorted(self.decode.items()) if name != "style")
        return f"{self.source} of {self.captioner[:8]} ({settings})"

    def commonest(self, tic: str) -> tuple[str, float] | None:
        """Return the most frequent text of a tic with its share; None where none is frequent enough to be told."""
        return next(iter(self.texts.get(tic, ())), None)

    def distance(self, other: "SourceTics", tic: str) -> float | None:
        """Return the total variation between the shares of a tic's texts, 0 to 1; None where one has none to tell."""
        ours, theirs = dict(self.texts.get(tic, ())), dict(other.texts.get(tic, ()))
        if not ours or not theirs:
            return None
        return sum(abs(ours.get(text, 0.0) - theirs.get(text, 0.0)) for text in ours | theirs) / 2


def source_tics(rows: Iterable[Mapping[str, Any]]) -> list[SourceTics]:
    """Return the sources of one snapshot's CAPTION_TICS: alt texts, people, then captioners, current ones first."""
    found: dict[tuple[Any, ...], SourceTics] = {}
    for row in rows:
        identity = (row["source"], row["captioner"], row["decode"], row["current"])
        if identity not in found:
            found[identity] = SourceTics(*identity[:2], json.loads(row["decode"] or "{}"), row["current"])
        tics = found[identity]
        if row["tic"] == "length":
            tics.lengths[row["rank"]] = row["value"]
        elif row["text"] is not None:
            tics.texts.setdefault(row["tic"], []).append((row["text"], row["value"]))
        else:
            tics.figures[row["tic"]] = row["value"]
    return sorted(
        found.values(),
        key=lambda tics: (tics.synthetic, not tics.current, tics.captioner or tics.source, tics.style != "short"),
    )


def reference_of(tics: SourceTics, sources: Iterable[SourceTics]) -> list[SourceTics]:
    """Return the people's captions that a source is measured against: those of its style, or all of them."""
    people = [other for other in sources if other.source == "human"]
    return [other for other in people if other.style == tics.style] or people
