"""How far each judge can be trusted: held-out pictures whose truth is known, sharp and disturbed, judge beside judge.

Every picture is held against three sets of facts: its own (the ceiling), those of another picture (``floor``) and its
own with a colour exchanged (``swapped``). What the oracle gives to the latter two is chance: facts of another may hold.
A single picture has no other, so no floor.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np

from evaluation.config import CompBenchConfig
from evaluation.detection import Picture
from evaluation.facts import Facts, Relation, Wanted
from evaluation.judge_accuracy import measure
from evaluation.judge_augmentation import blurred, noised
from evaluation.judges.oracle import oracle
from evaluation.judges.protocol import Images, Judge
from evaluation.places import seen_relation
from evaluation.rules import Score, attribute_binding, numeracy, spatial

SHARP = "sharp"
BLURS = (0.35, 0.7, 1.0)
"""Standard deviations of the blur, in pixels of a side of 32."""
NOISES = (0.03, 0.06, 0.12)
"""Standard deviations of the noise, of a 0..1 range."""
PASSES = 0.5
CONFIG = CompBenchConfig()
RULES: Mapping[str, Callable[[Facts, Picture, CompBenchConfig], Score]] = {
    "attributes": attribute_binding,
    "spatial": spatial,
    "numeracy": numeracy,
}
Row = dict[str, Any]
Values = dict[tuple[str, str], list[float]]
"""Scores by trial and rule, one per picture to which the rule applies, in order of pictures."""


def measure_judges(
    judges: Sequence[tuple[str, Judge, Images]], truth: Sequence[Picture], disturbed: int, seed: int
) -> list[Row]:
    """Return rows of JUDGES: each judge by name with the pictures at the size that it looks at.

    Disturbances are tried on the first ``disturbed`` pictures.
    """
    asked = trials(truth, seed)
    rows: list[Row] = []
    verdicts: dict[str, list[bool]] = {}
    first = judges[0][2]
    for name, judge, images in [("oracle", oracle(first, truth), first), *judges]:
        seen, values = _look(judge, images, asked)
        rows += _rows(name, SHARP, measure(seen, list(truth)), values, len(truth))
        verdicts[name] = [value >= PASSES for of_rule in values.values() for value in of_rule]
    for name, judge, images in judges:
        few = images[:disturbed]
        for condition, disturb in disturbances(images.shape[-1], seed).items():
            seen, values = _look(judge, disturb(few), {trial: facts[:disturbed] for trial, facts in asked.items()})
            rows += _rows(name, condition, measure(seen, list(truth[:disturbed])), values, len(few))
    for name in verdicts:
        for other in verdicts:
            if other != name:
                rows += _agreement(name, other, verdicts[name], verdicts[other])
    return rows


def disturbances(side: int, seed: int) -> dict[str, Callable[[Images], Images]]:
    """Return what is done to pictures of a side, by name."""
    blurs = {f"blur {sigma}": partial(blurred, sigma=sigma * side / 32) for sigma in BLURS}
    return {**blurs, **{f"noise {std}": partial(noised, std=std, seed=seed) for std in NOISES}}


def trials(truth: Sequence[Picture], seed: int) -> dict[str, list[Facts]]:
    """Return the facts that each picture is held against: its own, another's, its own with a colour exchanged."""
    own = [facts_of_truth(picture) for picture in truth]
    circle = np.random.default_rng(seed).permutation(len(own))
    following = dict(zip(circle.tolist(), np.roll(circle, -1).tolist(), strict=True))
    colors = sorted({wanted.color for facts in own for wanted in facts.objects if wanted.color is not None})
    others = {"floor": [own[following[i]] for i in range(len(own))]} if len(own) > 1 else {}
    return {"ceiling": own, **others, "swapped": [_swapped(facts, colors) for facts in own]}


def facts_of_truth(picture: Picture) -> Facts:
    """Return all that is true of a picture: equal objects are counted, two different ones stand in a direction."""
    looks = [
        (thing.most_likely("shape"), thing.most_likely("color"), thing.most_likely("texture"))
        for thing in picture.objects
    ]
    wanted = tuple(Wanted(*look, count=count) for look, count in Counter(looks).items())
    relation = None
    if len(picture.objects) == len(wanted) == 2:
        first, second = picture.objects
        relation = Relation(seen_relation(first.box, second.box), 0, 1)
    return Facts(wanted, relation, max(picture.background, key=picture.background.__getitem__))


def _swapped(facts: Facts, colors: list[str]) -> Facts:
    """Exchange the colours of the first two objects; a single one takes the next colour."""
    first, *others = facts.objects
    if others:
        other, *rest = others
        changed = (replace(first, color=other.color), replace(other, color=first.color), *rest)
    else:
        changed = (replace(first, color=colors[(colors.index(first.color or "") + 1) % len(colors)]),)
    return replace(facts, objects=changed)


def _look(judge: Judge, images: Images, asked: Mapping[str, Sequence[Facts]]) -> tuple[list[Picture], Values]:
    """Return what the judge sees of each image, and its scores."""
    flat = [(i, facts) for of_trial in asked.values() for i, facts in enumerate(of_trial)]
    of_place = [trial for trial, of_trial in asked.items() for _ in of_trial]
    pictures = judge.look(images, flat)
    values: Values = {}
    for place, ((_, facts), picture) in enumerate(zip(flat, pictures, strict=True)):
        for rule in _rules_of(facts):
            score = RULES[rule](facts, picture, CONFIG).value
            values.setdefault((of_place[place], rule), []).append(score)
    return pictures[: len(images)], values


def _rules_of(facts: Facts) -> Iterator[str]:
    yield "attributes"
    if facts.relation is not None:
        yield "spatial"
    if any(wanted.count > 1 for wanted in facts.objects):
        yield "numeracy"


def _rows(judge: str, condition: str, accuracy: Mapping[str, float], values: Values, pictures: int) -> Iterator[Row]:
    common = {"judge": judge, "condition": condition, "other": None}
    for name, value in accuracy.items():
        yield {**common, "measure": name, "value": value, "n": pictures}
    for (trial, rule), scores in values.items():
        yield {**common, "measure": f"{trial}/{rule}", "value": fmean(scores), "n": len(scores)}


def _agreement(judge: str, other: str, ours: list[bool], theirs: list[bool]) -> Iterator[Row]:
    """Yield the share of equal verdicts, and Cohen's kappa, which takes away what chance alone would agree on."""
    share = fmean(a == b for a, b in zip(ours, theirs, strict=True))
    yes, also = fmean(ours), fmean(theirs)
    by_chance = yes * also + (1 - yes) * (1 - also)
    kappa = (share - by_chance) / (1 - by_chance) if by_chance < 1 else 1.0
    common = {"judge": judge, "condition": SHARP, "other": other, "n": len(ours)}
    yield {**common, "measure": "agreement", "value": share}
    yield {**common, "measure": "kappa", "value": kappa}
