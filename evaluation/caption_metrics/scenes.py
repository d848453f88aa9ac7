"""What captions say against what their scenes show, fact by fact: precision, recall and hallucination.

Facts are plain JSON values, of a text as of a scene: ``objects`` (a list of shape, color, texture and count),
``relation`` (kind, with subject and object as indices into the objects) and ``background``. What a text does not say
is null; of its objects a scene leaves out nothing.

A mention stands for as many things as it counts. Mentions are assigned to things one to one, so that the most
shapes agree, then the most colours and textures, then the relation; what is assigned to nothing is not there. Facets:

* object: a thing with everything that the text says of it; shape, color, texture: one attribute of the thing that
  is meant; attribute: these three together.
* count: as many things of the mention's shape as it says, and no further thing that it fits.
* relation: the right two things stand so, in whichever order ("A left of B" is "B right of A").
* background.

Hallucination is CHAIR of Rohrbach et al., "Object Hallucination in Image Captioning" (2018), a shape
being the noun: ``chair_i`` is the share of mentions, ``chair_s`` of captions, whose noun the scene does not hold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.bootstrap import Estimate, percentiles, resample

Facts = Mapping[str, Any]

ATTRIBUTES = ("shape", "color", "texture")
FACETS = ("object", *ATTRIBUTES, "attribute", "count", "relation", "background")
INVERSE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above", "next to": "next to"}


@dataclass(frozen=True)
class Tally:
    """Facts of one facet: stated by the text, how many of them are true; shown by the scene, how many were told."""

    stated: int = 0
    right: int = 0
    shown: int = 0
    told: int = 0


@dataclass(frozen=True)
class Judged:
    """One caption against its scene; an unreadable one states nothing."""

    readable: bool
    facets: Mapping[str, Tally]
    mentions: int = 0
    hallucinated: int = 0

    @property
    def wrong(self) -> bool:
        """Whether any stated fact is false."""
        return any(tally.right < tally.stated for tally in self.facets.values())


@dataclass(frozen=True)
class _Unit:
    """One thing that a text names or a scene shows, with the object of the facts that it is one of."""

    number: int
    attributes: Mapping[str, str]


def judge_caption(stated: Facts | None, shown: Facts) -> Judged:
    """Return what is true of ``stated``, the facts of a text that was read, about the scene ``shown``.

    ``stated`` is None where the text cannot be read. Raises ValueError where the scene shows no object or leaves an
    attribute of one open, and where a relation is between objects that are not there.
    """
    things = _units(shown)
    if not things or any(len(thing.attributes) < len(ATTRIBUTES) for thing in things):
        raise ValueError(f"a scene must show objects, each with {', '.join(ATTRIBUTES)}: {shown}")
    for facts in (stated or {}, shown):
        relation = facts.get("relation")
        if relation and not {relation["subject"], relation["object"]} <= set(range(len(facts["objects"]))):
            raise ValueError(f"a relation between objects that are not there: {facts}")
    said = _units(stated) if stated is not None else []
    meant = _assign(said, things, stated or {}, shown)
    facets = _attribute_tallies(said, things, meant)
    facets["object"] = _object_tally(said, things, meant)
    facets["count"] = _count_tally(stated or {}, shown, said, things, meant)
    facets["relation"] = _relation_tally(stated or {}, shown, said, things, meant)
    facets["background"] = _background_tally(stated or {}, shown)
    nouns = {thing.attributes["shape"] for thing in things}
    named = [mention["shape"] for mention in (stated or {}).get("objects", ())]
    return Judged(stated is not None, facets, len(named), sum(noun not in nouns for noun in named))


def scene_metrics(
    images: Sequence[str], judged: Sequence[Judged], *, resamples: int, interval: float, seed: int
) -> dict[str, Estimate]:
    """Return every metric with a percentile interval over resampled images, captions counted together.

    ``<facet>_precision`` is the share of stated facts that are true, over the texts that can be read;
    ``<facet>_recall`` the share of the scenes' facts that are told, an unreadable text telling none; chair_i, chair_s
    as above, over the texts that can be read; right, wrong and unreadable are shares of all captions, and sum to 1.
    A metric of nothing (no relation is ever stated) is left out. Raises ValueError without captions.
    """
    if not judged:
        raise ValueError("no captions to measure")
    names, place = np.unique(np.asarray(images), return_inverse=True)
    estimates = {}
    parts = [_shares(caption) for caption in judged]
    pairs = np.array([list(part.values()) for part in parts], dtype=np.float64)
    sums = np.zeros((len(names), *pairs.shape[1:]))
    np.add.at(sums, place, pairs)
    draws = [np.tensordot(times, sums, 1) for times in resample(np.zeros(len(names), np.intp), resamples, seed)]
    for number, name in enumerate(parts[0]):
        part, whole = sums[:, number].sum(0)
        if whole:
            drawn = np.concatenate([draw[:, number] for draw in draws])
            estimates[name] = _estimate(part / whole, drawn, len(names), interval)
    return estimates


def _estimate(value: float, drawn: NDArray[np.float64], images: int, interval: float) -> Estimate:
    parts, wholes = drawn[drawn[:, 1] > 0].T
    if images < 2 or not len(parts):
        return Estimate(float(value), None, None)
    return Estimate(float(value), *percentiles(parts / wholes, interval))


def _shares(caption: Judged) -> dict[str, tuple[int, int]]:
    """Return the numerator and the denominator that a caption adds to each metric."""
    shares = {f"{name}_precision": (caption.facets[name].right, caption.facets[name].stated) for name in FACETS}
    shares |= {f"{name}_recall": (caption.facets[name].told, caption.facets[name].shown) for name in FACETS}
    return shares | {
        "chair_i": (caption.hallucinated, caption.mentions),
        "chair_s": (int(caption.hallucinated > 0), int(caption.readable)),
        "right": (int(caption.readable and not caption.wrong), 1),
        "wrong": (int(caption.wrong), 1),
        "unreadable": (int(not caption.readable), 1),
    }


def _units(facts: Facts) -> list[_Unit]:
    return [
        _Unit(number, {name: mention[name] for name in ATTRIBUTES if mention.get(name) is not None})
        for number, mention in enumerate(facts["objects"])
        for _ in range(int(mention.get("count") or 1))
    ]


def _assign(said: Sequence[_Unit], things: Sequence[_Unit], stated: Facts, shown: Facts) -> list[int | None]:
    """Return the thing that each unit means, None for one too many; of equally good ways one that keeps the relation.

    Work grows with 2 to the number of things.
    """
    ways = [_best_way(said, things, wish) for wish in _true_relations(stated, shown) or [{}]]
    return list(max(ways, key=lambda way: way[0])[1])


def _best_way(
    said: Sequence[_Unit], things: Sequence[_Unit], wish: Mapping[int, int]
) -> tuple[int, tuple[int | None, ...]]:
    """Return the best assignment with its score; ``wish`` names the scene's object that a mention should be."""
    scale = 2 * len(said) + 1

    def agreement(unit: _Unit, thing: _Unit) -> int:
        shape, *looks = (unit.attributes.get(name) == thing.attributes[name] for name in ATTRIBUTES)
        return scale * (scale * shape + sum(looks)) + (wish.get(unit.number) == thing.number)

    @cache
    def best(first: int, free: int) -> tuple[int, tuple[int | None, ...]]:
        if first == len(said):
            return 0, ()
        ways = []
        for place, thing in enumerate(things):
            if free >> place & 1:
                score, rest = best(first + 1, free & ~(1 << place))
                ways.append((score + agreement(said[first], thing), (place, *rest)))
        if len(said) - first > free.bit_count():
            score, rest = best(first + 1, free)
            ways.append((score, (None, *rest)))
        return max(ways, key=lambda way: way[0])

    return best(0, (1 << len(things)) - 1)


def _true_relations(stated: Facts, shown: Facts) -> list[dict[int, int]]:
    """Return each way in which the stated relation is the scene's: the scene's objects by the text's mentions."""
    said, true = stated.get("relation"), shown.get("relation")
    if not said or not true:
        return []
    ways = []
    if said["kind"] == true["kind"]:
        ways.append({said["subject"]: true["subject"], said["object"]: true["object"]})
    if said["kind"] == INVERSE.get(true["kind"]):
        ways.append({said["subject"]: true["object"], said["object"]: true["subject"]})
    return ways


def _object_tally(said: Sequence[_Unit], things: Sequence[_Unit], meant: Sequence[int | None]) -> Tally:
    right = sum(
        place is not None and unit.attributes.items() <= things[place].attributes.items()
        for unit, place in zip(said, meant, strict=True)
    )
    return Tally(len(said), right, len(things), right)


def _attribute_tallies(said: Sequence[_Unit], things: Sequence[_Unit], meant: Sequence[int | None]) -> dict[str, Tally]:
    tallies = {}
    for name in ATTRIBUTES:
        right = sum(
            place is not None and unit.attributes.get(name) == things[place].attributes[name]
            for unit, place in zip(said, meant, strict=True)
        )
        tallies[name] = Tally(sum(name in unit.attributes for unit in said), right, len(things), right)
    parts = list(tallies.values())
    tallies["attribute"] = Tally(
        sum(tally.stated for tally in parts),
        sum(tally.right for tally in parts),
        sum(tally.shown for tally in parts),
        sum(tally.told for tally in parts),
    )
    return tallies


def _count_tally(
    stated: Facts, shown: Facts, said: Sequence[_Unit], things: Sequence[_Unit], meant: Sequence[int | None]
) -> Tally:
    right = 0
    counted: set[int] = set()
    for number in range(len(stated.get("objects", ()))):
        units = [(unit, place) for unit, place in zip(said, meant, strict=True) if unit.number == number]
        there = {
            place
            for unit, place in units
            if place is not None and unit.attributes["shape"] == things[place].attributes["shape"]
        }
        fitted = sum(units[0][0].attributes.items() <= thing.attributes.items() for thing in things)
        if len(there) == len(units) >= fitted:
            right += 1
            counted |= there
    groups = [
        {place for place, thing in enumerate(things) if thing.number == number}
        for number in range(len(shown["objects"]))
    ]
    told = sum(group <= counted for group in groups)
    return Tally(len(stated.get("objects", ())), right, len(groups), told)


def _relation_tally(
    stated: Facts, shown: Facts, said: Sequence[_Unit], things: Sequence[_Unit], meant: Sequence[int | None]
) -> Tally:
    place = {unit.number: things[thing].number for unit, thing in zip(said, meant, strict=True) if thing is not None}
    right = any(
        all(place.get(mention) == thing for mention, thing in way.items()) for way in _true_relations(stated, shown)
    )
    return Tally(int(bool(stated.get("relation"))), int(right), int(bool(shown.get("relation"))), int(right))


def _background_tally(stated: Facts, shown: Facts) -> Tally:
    said, true = stated.get("background"), shown.get("background")
    right = int(said is not None and said == true)
    return Tally(int(said is not None), right, int(true is not None), right)
