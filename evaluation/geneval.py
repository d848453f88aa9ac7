"""GenEval: a declarative prompt is drawn right or not, and every failure has its reason.

Source: Ghosh et al., "GenEval: An Object-Focused Framework for Evaluating Text-to-Image Alignment" (2023), section 3,
with the constants of its published code. The benchmark's score is the mean of the means of its six tasks. GenEval has
no "next to"; where a prompt of the embedded domain says it, the rule of T2I-CompBench decides.
"""

from collections.abc import Mapping
from statistics import fmean

from evaluation.config import CompBenchConfig
from evaluation.detection import Box, Detection, Picture, centre
from evaluation.facts import Facts, Wanted
from evaluation.naming import known_names, name_score, named
from evaluation.places import NEAR, position
from evaluation.rules import Score, plural

VERSION = "geneval-2"
SCORE = "geneval"
"""Name of the benchmark's score."""
COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
"""Among which the colour of an object is decided where a judge is asked for it, as published."""
TASKS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
GENEVAL_CATEGORIES = tuple(f"geneval_{task}" for task in TASKS)
COUNTING = "geneval_counting"
MOST = 16  # objects of a name that are looked at
MARGIN = 0.1  # share of both objects' extent by which they must be apart
CLEAR = 0.5  # share of the distance along an axis from which it counts


def benchmark_score(means: Mapping[str, float]) -> float | None:
    """Return the mean of the six tasks' means, by category; None where a task is missing."""
    return fmean(means[category] for category in GENEVAL_CATEGORIES) if set(GENEVAL_CATEGORIES) <= set(means) else None


def score(category: str, facts: Facts, picture: Picture, config: CompBenchConfig) -> Score:
    """Return 1 where everything that is asked for is there and nothing excluded is, else 0 with each reason."""
    threshold = threshold_of(category, config)
    reasons: list[str] = []
    matched: list[list[Detection] | None] = []
    for place, wanted in enumerate(facts.objects):
        found = of_name(wanted, picture, threshold, config)[: wanted.count]
        problems = _missing(wanted, found) or _wrong_attributes(wanted, found)
        relation = facts.relation
        if relation is not None and relation.subject == place and not problems and relation.object < place:
            problems = _misplaced(
                wanted, found, relation.kind, facts.objects[relation.object], matched[relation.object], config
            )
        reasons += problems
        matched.append(None if problems else found)
    relation = facts.relation
    if relation is not None and relation.subject < relation.object and not reasons:
        subject, other = matched[relation.subject], matched[relation.object]
        pair = facts.objects[relation.subject], facts.objects[relation.object]
        reasons += _misplaced(pair[0], subject or [], relation.kind, pair[1], other, config)
    for unwanted in facts.excluded:
        number = len(of_name(unwanted, picture, threshold, config))
        if number >= unwanted.count:
            reasons.append(
                f"expected fewer than {unwanted.count} {plural(unwanted.shape, unwanted.count)}, found {number}"
            )
    return Score(0.0, "; ".join(reasons)) if reasons else Score(1.0)


def threshold_of(category: str, config: CompBenchConfig) -> float:
    """Return the detection score above which objects are looked at."""
    return config.counting_score if category == COUNTING else config.detection_score


def of_name(wanted: Wanted, picture: Picture, threshold: float, config: CompBenchConfig) -> list[Detection]:
    """Return the objects above the threshold that the noun means, surest first, sixteen at most."""
    found = named(known_names(wanted.shape, config), picture.objects)
    sure = sorted((thing for thing in found if name_score(thing) > threshold), key=name_score, reverse=True)
    return sure[:MOST]


def _missing(wanted: Wanted, found: list[Detection]) -> list[str]:
    if len(found) >= wanted.count:
        return []
    return [f"expected {wanted.count} {plural(wanted.shape, wanted.count)}, found {len(found)}"]


def _wrong_attributes(wanted: Wanted, found: list[Detection]) -> list[str]:
    reasons = []
    for attribute, value in wanted.attributes().items():
        if attribute == "shape":
            continue
        seen = [thing.most_likely(attribute) if getattr(thing, attribute) else "unknown" for thing in found]
        if seen.count(value) < wanted.count:
            names = " and ".join(f"{seen.count(name)} {name}" for name in sorted(set(seen)))
            reasons.append(f"expected {wanted.count} {value} {plural(wanted.shape, wanted.count)}, found {names}")
    return reasons


def _misplaced(
    wanted: Wanted,
    found: list[Detection],
    kind: str,
    other: Wanted,
    target: list[Detection] | None,
    config: CompBenchConfig,
) -> list[str]:
    if target is None:
        return [f"no {other.shape} for the {wanted.shape} to be {kind}"]
    for thing in found:
        for one in target:
            seen = relative_positions(thing.box, one.box)
            if kind in NEAR and position(kind, thing.box, one.box, config) == 1:
                continue
            if kind not in seen:
                return [
                    f"expected the {wanted.shape} {kind} the {other.shape}, found it {' and '.join(seen) or 'at it'}"
                ]
    return []


def relative_positions(subject: Box, other: Box) -> list[str]:
    """Return where ``subject`` clearly is from ``other``: none, one or two of left of, right of, above, below.

    The distance along each axis is shortened by a tenth of both extents and counts from half of the whole distance.
    """
    (x1, y1), (x2, y2) = centre(subject), centre(other)
    offset = (x1 - x2, y1 - y2)
    length = (offset[0] ** 2 + offset[1] ** 2) ** 0.5
    if length == 0:
        return []
    clear = []
    for axis, distance in enumerate(offset):
        extents = subject[axis + 2] - subject[axis] + other[axis + 2] - other[axis]
        shortened = max(abs(distance) - MARGIN * extents, 0.0) / length
        if shortened > CLEAR:
            clear.append((("left of", "right of"), ("above", "below"))[axis][distance > 0])
    return clear
