"""Which two of the objects seen a prompt relates, and how well they stand in the relation.

Source: the published code of T2I-CompBench, whose faults are switched in ``faults``; lengths are shares of the side.
"""

from evaluation.config import CompBenchConfig
from evaluation.detection import Box, Detection, Picture, centre, iou
from evaluation.facts import Wanted
from evaluation.faults import Faults
from evaluation.naming import labels_of, name_score, named

DIRECTIONS = {"left of": (0, -1), "right of": (0, 1), "above": (1, -1), "below": (1, 1)}
"""Axis (0 is x, 1 is y, downwards) and sign of subject minus object."""
NEAR = ("next to", "near", "on side of")
DEPTHS = {"in front of": 1, "behind": -1, "hidden": -1}
"""Sign of the subject's depth minus the object's, where the nearer has the larger."""
ON_TOP_OF = "on top of"
NO_RELATION = "any known relation"
WITHOUT_RULE = frozenset((ON_TOP_OF, NO_RELATION))
"""What is never held: a phrase that no branch scores, and none of the phrases that are looked for."""
Pair = tuple[Detection, Detection]


def position(kind: str, subject: Box, other: Box, config: CompBenchConfig) -> float:
    """Return how well two boxes stand in a relation, 0..1.

    Directions: the centres differ with the right sign along the dominant axis; overlap beyond the
    threshold takes away in proportion. Near: the distance is below the threshold.
    """
    if kind in WITHOUT_RULE:
        return 0.0
    (x1, y1), (x2, y2) = centre(subject), centre(other)
    difference = (x1 - x2, y1 - y2)
    if kind in NEAR:
        nearest, farthest = sorted((abs(difference[0]), abs(difference[1])))
        distance = nearest if config.faults.near == "official" else farthest
        return 1.0 if distance < config.near else config.near / farthest
    axis, sign = DIRECTIONS[kind]
    if difference[axis] * sign <= 0 or abs(difference[axis]) <= abs(difference[1 - axis]):
        return 0.0
    overlap = iou(subject, other)
    return 1.0 if overlap < config.iou_threshold else config.iou_threshold / overlap


def in_front(kind: str, subject: Detection, other: Detection, picture: Picture, config: CompBenchConfig) -> float:
    """Return how well two objects stand in a relation of depth, 0..1: the share of the overlap asked for.

    0 where the wrong one is nearer or the boxes do not overlap. Raises ValueError where the judge sees no depth.
    """
    if kind in WITHOUT_RULE:
        return 0.0
    overlap = iou(subject.box, other.box)
    nearer = (_depth(subject, picture, config.faults) - _depth(other, picture, config.faults)) * DEPTHS[kind]
    if nearer <= 0:
        return 0.0
    if overlap == config.depth_overlap and config.faults.depth_overlap == "official":
        return 0.0
    return min(overlap / config.depth_overlap, 1.0)


def _depth(thing: Detection, picture: Picture, faults: Faults) -> float:
    if thing.depth is not None:
        return thing.depth
    if picture.depth is None:
        raise ValueError("the judge sees no depth: name a depth model for relations in three dimensions")
    height, width = picture.depth.shape
    columns, rows = _span(thing.box[0::2], width), _span(thing.box[1::2], height)
    cut = picture.depth[columns, rows] if faults.depth_axes == "official" else picture.depth[rows, columns]
    return float(cut.mean())


def _span(ends: tuple[float, ...], side: int) -> slice:
    first = min(int(ends[0] * side), side - 1)
    return slice(first, max(int(ends[1] * side), first + 1))


def seen_relation(subject: Box, other: Box) -> str:
    """Return the direction in which ``subject`` stands from ``other``."""
    (x1, y1), (x2, y2) = centre(subject), centre(other)
    axis = 0 if abs(x1 - x2) > abs(y1 - y2) else 1
    sign = 1 if (x1 - x2, y1 - y2)[axis] > 0 else -1
    return next(kind for kind, direction in DIRECTIONS.items() if direction == (axis, sign))


def seen_depth(subject: Detection, other: Detection, picture: Picture, config: CompBenchConfig) -> str:
    """Return whether ``subject`` is in front of or behind ``other``, or apart from it."""
    if iou(subject.box, other.box) == 0:
        return "apart from"
    nearer = _depth(subject, picture, config.faults) - _depth(other, picture, config.faults)
    return "in front of" if nearer > 0 else "behind"


def candidates(wanted: Wanted, picture: Picture, config: CompBenchConfig, in_depth: bool) -> list[Detection]:
    """Return every object that the noun means, the one to be taken first where nothing else decides."""
    substrings = in_depth and config.faults.substrings == "official"
    found = named(labels_of(wanted.shape, config), picture.objects, substrings)
    return found if config.faults.pick == "official" else sorted(found, key=name_score, reverse=True)


def pairs(subject: Wanted, other: Wanted, picture: Picture, config: CompBenchConfig, in_depth: bool) -> list[Pair]:
    """Return the two objects meant, none where one is missing.

    Two pairs, in both orders, come back for objects that the prompt does not tell apart.
    """
    first, second = (candidates(wanted, picture, config, in_depth) for wanted in (subject, other))
    if not first or not second:
        return []
    equal = labels_of(subject.shape, config) == labels_of(other.shape, config)
    if equal and config.faults.same_noun == "official":
        return [(first[0], first[0])]
    if not equal and config.faults.pick == "official":
        return _as_published(first, second, picture, in_depth)
    apart = [(a, b) for a in first for b in second if a is not b]
    if not apart:
        return []
    best = max(
        apart,
        key=lambda pair: (
            pair[0].probability(subject.attributes()) + pair[1].probability(other.attributes()),
            name_score(pair[0]) + name_score(pair[1]),
        ),
    )
    return [best, best[::-1]] if subject == other else [best]


def _as_published(first: list[Detection], second: list[Detection], picture: Picture, in_depth: bool) -> list[Pair]:
    """Return the first objects of each noun; in three dimensions the last of each before both have been met."""
    if not in_depth:
        return [(first[0], second[0])]
    a = b = None
    for thing in picture.objects:
        a = thing if any(thing is other for other in first) else a
        b = thing if any(thing is other for other in second) else b
        if a is not None and b is not None:
            return [(a, b)]
    return []
