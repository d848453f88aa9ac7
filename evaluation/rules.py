"""T2I-CompBench as pure functions: what a prompt says, what a judge saw, a score in 0..1 and why it is not full.

Source: Huang et al., "T2I-CompBench: A Comprehensive Benchmark for Open-world Compositional
Text-to-image Generation" (2023), section 4, with its published evaluation code for the constants.
A judge that gives probabilities takes the place of BLIP-VQA, and its boxes that of UniDet. Nouns
are shapes. Choices where the source leaves one:

* The background, where a prompt states one, is a noun chunk like the others ("a white background?").
* Where two nouns are equal ("a red circle left of a blue circle"), the spatial rule tells the objects
  apart by their attributes; the source cannot.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

from evaluation.config import CompBenchConfig
from evaluation.detection import Box, Detection, Picture, centre, containment, iou
from evaluation.facts import NUMBERS, Facts, Wanted, with_article

VERSION = "t2i-compbench-rules-1"
FULL = 0.995
DIRECTIONS = {"left of": (0, -1), "right of": (0, 1), "above": (1, -1), "below": (1, 1)}
"""Axis (0 is x, 1 is y, downwards) and sign of subject minus object."""
NEAR = ("next to", "near", "on side of")


@dataclass(frozen=True)
class Score:
    """A score in 0..1; the reason is None where it is full."""

    value: float
    reason: str | None = None


def score(category: str, facts: Facts, picture: Picture, config: CompBenchConfig) -> Score:
    """Score a picture by the rule of the prompt's category.

    Raises ValueError on a category without a rule, or on a spatial prompt that states no relation.
    """
    match category:
        case "color" | "shape" | "texture":
            return attribute_binding(facts, picture)
        case "spatial":
            return spatial(facts, picture, config)
        case "numeracy":
            return numeracy(facts, picture, config)
        case "complex":
            return three_in_one(facts, picture, config)
    raise ValueError(f"no rule for category {category!r}")


def attribute_binding(facts: Facts, picture: Picture) -> Score:
    """Return the product over noun chunks of P(yes), the probability that some object has all its attributes."""
    asked = [(str(wanted), presence(wanted.attributes(), picture)) for wanted in facts.objects]
    if facts.background is not None:
        asked.append((_background(facts.background), picture.background.get(facts.background, 0.0)))
    value = prod(yes for _, yes in asked)
    chunk, yes = min(asked, key=lambda pair: pair[1])
    if value >= FULL:
        return Score(value)
    if yes >= 0.5:
        return Score(value, f"not quite sure of {chunk} ({yes:.2f})")
    if facts.background is not None and chunk == _background(facts.background):
        seen = _background(max(picture.background, key=picture.background.__getitem__))
    else:
        seen = str(picture)
    return Score(value, f"found {seen}, wanted {chunk}")


def presence(attributes: Mapping[str, str], picture: Picture) -> float:
    """Return the probability that some object has all of ``attributes``, objects taken as independent."""
    return 1 - prod(1 - thing.probability(attributes) for thing in picture.objects)


def spatial(facts: Facts, picture: Picture, config: CompBenchConfig) -> Score:
    """Return ¼(s1 + s2) + ½·pos, where s are the objects' scores and pos how well the relation holds.

    With one object found it is ¼·s, and below ``spatial_minimum`` it counts 0.
    """
    if facts.relation is None:
        raise ValueError("a spatial prompt must state a relation")
    kind = facts.relation.kind
    subject, other = facts.objects[facts.relation.subject], facts.objects[facts.relation.object]
    pair = _find_pair(subject, other, picture)
    if pair is None:
        missing = next((wanted for wanted in (subject, other) if not _candidates(wanted, picture)), other)
        found = [s for wanted in (subject, other) for s, _ in _candidates(wanted, picture)[:1]]
        value = max(found, default=0.0) / 4
        value = value if value >= config.spatial_minimum else 0.0
        return Score(value, f"found {picture}, wanted {with_article(missing.shape)}")
    (s1, first), (s2, second) = pair
    held = position(kind, first.box, second.box, config)
    value = (s1 + s2) / 4 + held / 2
    value = value if value >= config.spatial_minimum else 0.0
    if value >= FULL:
        return Score(value)
    if held < 1:
        return Score(value, f"found {first} {seen_relation(first.box, second.box)} {second}, wanted {kind}")
    return Score(value, f"not quite sure of {subject} and {other} ({min(s1, s2):.2f})")


def position(kind: str, subject: Box, other: Box, config: CompBenchConfig) -> float:
    """Return how well two boxes stand in a relation, 0..1.

    Directions: the centres differ with the right sign along the dominant axis; overlap beyond the
    threshold takes away in proportion. Near: either distance below the threshold.
    """
    (x1, y1), (x2, y2) = centre(subject), centre(other)
    difference = (x1 - x2, y1 - y2)
    if kind in NEAR:
        farthest = max(abs(difference[0]), abs(difference[1]))
        return 1.0 if min(abs(difference[0]), abs(difference[1])) < config.near else config.near / farthest
    axis, sign = DIRECTIONS[kind]
    if difference[axis] * sign <= 0 or abs(difference[axis]) <= abs(difference[1 - axis]):
        return 0.0
    overlap = iou(subject, other)
    return 1.0 if overlap < config.iou_threshold else config.iou_threshold / overlap


def seen_relation(subject: Box, other: Box) -> str:
    """Return the direction in which ``subject`` stands from ``other``."""
    (x1, y1), (x2, y2) = centre(subject), centre(other)
    axis = 0 if abs(x1 - x2) > abs(y1 - y2) else 1
    sign = 1 if (x1 - x2, y1 - y2)[axis] > 0 else -1
    return next(kind for kind, direction in DIRECTIONS.items() if direction == (axis, sign))


def numeracy(facts: Facts, picture: Picture, config: CompBenchConfig) -> Score:
    """Return the mean over wanted objects of ½ (present) + ½ (exactly as many as asked), counted by noun."""
    things = distinct(picture, config)
    total, reasons = 0.0, []
    for wanted in facts.objects:
        found = sum(thing.most_likely("shape") == wanted.shape for thing in things)
        total += 0.5 * (found > 0) + 0.5 * (found == wanted.count)
        if found != wanted.count:
            reasons.append(f"found {NUMBERS.get(found, str(found)) if found else 'no'} {_plural(wanted.shape, found)}, "
                           f"wanted {NUMBERS.get(wanted.count, str(wanted.count))}")  # fmt: skip
    return Score(total / len(facts.objects), "; ".join(reasons) or None)


def distinct(picture: Picture, config: CompBenchConfig) -> list[Detection]:
    """Return the objects without those whose box repeats a surer one of the same shape."""
    kept: list[Detection] = []
    for thing in sorted(picture.objects, key=lambda thing: -thing.score):
        if not any(
            thing.most_likely("shape") == other.most_likely("shape")
            and max(iou(thing.box, other.box), containment(thing.box, other.box)) > config.same_box
            for other in kept
        ):
            kept.append(thing)
    return kept


def three_in_one(facts: Facts, picture: Picture, config: CompBenchConfig) -> Score:
    """Return the mean of the parts that apply: attributes always, relation and numbers where the prompt states them."""
    parts = list(_parts(facts, picture, config))
    reasons = [part.reason for part in parts if part.reason is not None]
    return Score(sum(part.value for part in parts) / len(parts), "; ".join(reasons) or None)


def _parts(facts: Facts, picture: Picture, config: CompBenchConfig) -> Iterator[Score]:
    yield attribute_binding(facts, picture)
    if facts.relation is not None:
        yield spatial(facts, picture, config)
    if any(wanted.count > 1 for wanted in facts.objects):
        yield numeracy(facts, picture, config)


def _candidates(wanted: Wanted, picture: Picture) -> list[tuple[float, Detection]]:
    """Return (detection score of the noun, object) for every object whose likeliest shape it is, surest first."""
    named = [thing for thing in picture.objects if thing.most_likely("shape") == wanted.shape]
    pairs = [(thing.probability({"shape": wanted.shape}), thing) for thing in named]
    return sorted(pairs, key=lambda pair: -pair[0])


def _find_pair(
    subject: Wanted, other: Wanted, picture: Picture
) -> tuple[tuple[float, Detection], tuple[float, Detection]] | None:
    """Return the two objects meant: by noun, and by attributes where several have the same noun."""
    pairs = [
        (first, second)
        for first in _candidates(subject, picture)
        for second in _candidates(other, picture)
        if first[1] is not second[1]
    ]
    if not pairs:
        return None
    return max(
        pairs,
        key=lambda pair: (
            pair[0][1].probability(subject.attributes()) + pair[1][1].probability(other.attributes()),
            pair[0][0] + pair[1][0],
        ),
    )


def _background(value: str) -> str:
    return f"{with_article(value)} background"


def _plural(shape: str, count: int) -> str:
    return shape if count == 1 else f"{shape}s"
