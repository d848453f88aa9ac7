"""T2I-CompBench as pure functions: what a prompt says, what a judge saw, a score in 0..1 and why it is not full.

Source: Huang et al., "T2I-CompBench: A Comprehensive Benchmark for Open-world Compositional
Text-to-image Generation" (2023), section 4, and "T2I-CompBench++" (2025) for numeracy and three dimensions, with the
published evaluation code for the constants; its faults are switched in ``faults``. Choices where the source leaves one:

* The background, where a prompt states one, is a noun chunk like the others ("a white background?").
* A judge that is asked nothing answers a chunk by the probability that some object has all its attributes.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod

from evaluation.config import CompBenchConfig
from evaluation.detection import Detection, Picture, containment, iou
from evaluation.facts import NUMBERS, Facts, background_chunk, with_article
from evaluation.naming import counted, name_score
from evaluation.places import candidates, in_front, pairs, position, seen_depth, seen_relation

VERSION = "t2i-compbench-rules-2"
FULL = 0.995


@dataclass(frozen=True)
class Score:
    """A score in 0..1; the reason says what it lacks, or what of the prompt is left out, and else is None."""

    value: float
    reason: str | None = None


def score(category: str, facts: Facts, picture: Picture, config: CompBenchConfig, cosine: float | None = None) -> Score:
    """Score a picture by the rule of the prompt's category; ``cosine`` is CLIP's, of picture and prompt.

    Raises ValueError on a category without a rule, on a spatial prompt that states no relation, and where a category
    needs the cosine and there is none.
    """
    match category:
        case "color" | "shape" | "texture":
            return attribute_binding(facts, picture, config)
        case "spatial":
            return spatial(facts, picture, config)
        case "3d_spatial":
            return spatial_3d(facts, picture, config)
        case "numeracy":
            return numeracy(facts, picture, config)
        case "non_spatial":
            return non_spatial(cosine)
        case "complex":
            return three_in_one(facts, picture, config, cosine)
    raise ValueError(f"no rule for category {category!r}")


def attribute_binding(facts: Facts, picture: Picture, config: CompBenchConfig) -> Score:
    """Return the product over noun chunks of P(yes), as BLIP-VQA is asked."""
    asked = [
        (question.removesuffix("?"), _rounded(yes, config))
        for question, yes in zip(*_answers(facts, picture), strict=True)
    ]
    if not asked:
        return Score(1.0, "no noun chunk to ask about")
    value = _rounded(prod(yes for _, yes in asked), config)
    chunk, yes = min(asked, key=lambda pair: pair[1])
    if value >= FULL:
        return Score(value)
    if yes >= 0.5:
        return Score(value, f"not quite sure of {chunk} ({yes:.2f})")
    if picture.answers:
        return Score(value, f"{chunk}? rather not ({yes:.2f})")
    if facts.background is not None and chunk == background_chunk(facts.background):
        seen = background_chunk(max(picture.background, key=picture.background.__getitem__, default="unknown"))
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
    result = _placed(
        facts,
        picture,
        config,
        holds=lambda kind, first, second: position(kind, first.box, second.box, config),
        seen=lambda first, second: seen_relation(first.box, second.box),
        in_depth=False,
    )
    return result if result.value >= config.spatial_minimum else Score(0.0, result.reason)


def spatial_3d(facts: Facts, picture: Picture, config: CompBenchConfig) -> Score:
    """Return ¼(s1 + s2) + ½·pos as for ``spatial``, without the minimum; pos looks at depth and overlap."""
    return _placed(
        facts,
        picture,
        config,
        holds=lambda kind, first, second: in_front(kind, first, second, picture, config),
        seen=lambda first, second: seen_depth(first, second, picture, config),
        in_depth=True,
    )


def numeracy(facts: Facts, picture: Picture, config: CompBenchConfig) -> Score:
    """Return the mean over wanted objects of ½ (present) + ½ (exactly as many as asked), counted by noun."""
    if not facts.objects:
        return Score(0.0, "no noun to count")
    counts = counted([wanted.shape for wanted in facts.objects], distinct(picture, config), config)
    total, reasons = 0.0, []
    for wanted, found in zip(facts.objects, counts, strict=True):
        total += 0.5 * (found > 0) + 0.5 * (found == wanted.count)
        if found != wanted.count:
            reasons.append(f"found {NUMBERS.get(found, str(found)) if found else 'no'} {plural(wanted.shape, found)}, "
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


def non_spatial(cosine: float | None) -> Score:
    """Return CLIP's cosine as it is: the published score of interactions, no share of full marks."""
    if cosine is None:
        raise ValueError("a prompt about an interaction is scored by CLIP: give the job the input 'clip'")
    return Score(cosine, f"cosine {cosine:.3f}")


def three_in_one(facts: Facts, picture: Picture, config: CompBenchConfig, cosine: float | None = None) -> Score:
    """Return the mean of the parts that apply: attributes always, relation, action and numbers where stated.

    Prompts from the published files name their parts; of others the facts tell. A part that could not be read is left
    out, and the reason says so.
    """
    parts = list(_parts(facts, picture, config, cosine))
    reasons = [reason for reason in (*(part.reason for part in parts), facts.unread) if reason is not None]
    return Score(sum(part.value for part in parts) / len(parts), "; ".join(reasons) or None)


def _parts(facts: Facts, picture: Picture, config: CompBenchConfig, cosine: float | None) -> Iterator[Score]:
    yield attribute_binding(facts, picture, config)
    if facts.relation is not None if facts.parts is None else "spatial" in facts.parts:
        yield spatial(facts, picture, config)
    if facts.parts is not None and "action" in facts.parts:
        yield non_spatial(cosine)
    if facts.parts is None and any(wanted.count > 1 for wanted in facts.objects):
        yield numeracy(facts, picture, config)


def _answers(facts: Facts, picture: Picture) -> tuple[list[str], list[float]]:
    questions = facts.questions()
    if picture.answers or not questions:
        return questions, [picture.answers[question] for question in questions]
    if facts.chunks is not None:
        raise ValueError("noun chunks of a text are asked, and this judge answers no questions")
    yes = [presence(wanted.attributes(), picture) for wanted in facts.objects]
    if facts.background is not None:
        yes.append(picture.background.get(facts.background, 0.0))
    return questions, yes


def _placed(
    facts: Facts,
    picture: Picture,
    config: CompBenchConfig,
    holds: Callable[[str, Detection, Detection], float],
    seen: Callable[[Detection, Detection], str],
    in_depth: bool,
) -> Score:
    if facts.relation is None:
        raise ValueError("a spatial prompt must state a relation")
    kind = facts.relation.kind
    wanted = facts.objects[facts.relation.subject], facts.objects[facts.relation.object]
    pair = max(pairs(*wanted, picture, config, in_depth), key=lambda pair: holds(kind, *pair), default=None)
    if pair is None:
        found = [candidates(one, picture, config, in_depth) for one in wanted]
        missing = next((one for one, things in zip(wanted, found, strict=True) if not things), wanted[1])
        surest = max((name_score(things[0]) for things in found if things), default=0.0)
        return Score(surest / 4, f"found {picture}, wanted {with_article(missing.shape)}")
    scores = [name_score(thing) for thing in pair]
    held = holds(kind, *pair)
    value = sum(scores) / 4 + held / 2
    if value >= FULL:
        return Score(value)
    if held < 1:
        return Score(value, f"found {pair[0]} {seen(*pair)} {pair[1]}, wanted {kind}")
    return Score(value, f"not quite sure of {wanted[0]} and {wanted[1]} ({min(scores):.2f})")


def _rounded(value: float, config: CompBenchConfig) -> float:
    return round(value, 4) if config.faults.rounding == "official" else value


def plural(noun: str, count: int) -> str:
    """Return the noun as it is written for ``count`` of it."""
    return noun if count == 1 else f"{noun}s"
