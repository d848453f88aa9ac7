"""GenEval's rule: right or wrong, with every reason."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.config import CompBenchConfig
from evaluation.detection import Box, Detection, Picture, picture_of_truth
from evaluation.facts import Facts, Relation, Wanted, parse_facts
from evaluation.geneval import GENEVAL_CATEGORIES, benchmark_score, relative_positions, score
from t2i_assets.synthweb.evaluation_set import asked, original_statement, scene_of, shown
from t2i_assets.synthweb.language import say_all

CONFIG = CompBenchConfig()
LEFT, RIGHT = (0.0, 0.4, 0.2, 0.6), (0.7, 0.4, 0.9, 0.6)


def thing(name: str, box: Box = LEFT, color: str = "red", certainty: float = 1.0) -> Detection:
    return Detection({name: 1.0}, {color: 1.0}, {"solid": 1.0}, box, certainty)


@given(st.sampled_from(GENEVAL_CATEGORIES), st.integers(0, 2**32), st.booleans())
def test_the_right_scene_passes_every_task_in_both_styles(category, seed, brief):
    scene = scene_of(category, random.Random(seed))
    statement = original_statement(category, scene) if brief else say_all(scene)
    facts = parse_facts(json.dumps(asked(category, statement)))
    result = score(category, facts, picture_of_truth(json.dumps(shown(scene))), CONFIG)
    assert (result.value, result.reason) == (1, None)


@given(st.integers(0, 2**32))
def test_another_scene_fails_unless_all_that_is_asked_happens_to_be_in_it(seed):
    rng = random.Random(seed)
    scene, other = scene_of("geneval_color_attr", rng), scene_of("geneval_color_attr", rng)
    statement = original_statement("geneval_color_attr", scene)
    result = score(
        "geneval_color_attr",
        parse_facts(json.dumps(statement.facts())),
        picture_of_truth(json.dumps(shown(other))),
        CONFIG,
    )
    looks = {(t.color, t.shape) for t in other.things}
    assert (result.value == 1) == ({(m.color, m.shape) for m in statement.objects} <= looks)
    assert (result.reason is None) == (result.value == 1)


@pytest.mark.parametrize(
    ("drawn", "reason"),
    [
        (1, "expected 2 stars, found 1"),
        (2, None),
        (3, "expected fewer than 3 stars, found 3"),
    ],
)
def test_counting_wants_no_fewer_and_no_more(drawn, reason):
    facts = Facts((Wanted("star", count=2),), excluded=(Wanted("star", count=3),))
    picture = Picture(tuple(thing("star") for _ in range(drawn)), {})
    result = score("geneval_counting", facts, picture, CONFIG)
    assert result.reason == reason and result.value == (reason is None)


def test_counting_looks_at_sure_objects_only_and_other_tasks_at_all():
    facts, picture = Facts((Wanted("star"),)), Picture((thing("star", certainty=0.5),), {})
    assert score("geneval_counting", facts, picture, CONFIG).value == 0
    assert score("geneval_single_object", facts, picture, CONFIG).value == 1


def test_names_are_whole_and_geneval_calls_three_classes_otherwise_than_detectors_do():
    def single(noun: str, label: str, certainty: float = 1.0) -> float:
        picture = Picture((thing(label, certainty=certainty),), {})
        return score("geneval_single_object", Facts((Wanted(noun),)), picture, CONFIG).value

    assert single("dog", "hot dog") == single("bear", "teddy bear") == 0
    assert single("computer mouse", "mouse") == single("tv remote", "remote") == 1
    assert single("dog", "dog", certainty=0.3) == 0 and single("dog", "dog", certainty=0.31) == 1


def test_the_benchmarks_score_is_the_mean_of_six_task_means_or_none():
    means = dict(zip(GENEVAL_CATEGORIES, (1.0, 0.5, 0.25, 0.75, 0.0, 0.5), strict=True))
    assert benchmark_score(means) == pytest.approx(0.5)
    assert benchmark_score({name: means[name] for name in GENEVAL_CATEGORIES[:5]}) is None


def test_swapped_colours_fail_with_a_reason_for_each():
    facts = Facts((Wanted("star", "red"), Wanted("circle", "blue")))
    swapped = Picture((thing("star", color="blue"), thing("circle", RIGHT, color="red")), {})
    result = score("geneval_color_attr", facts, swapped, CONFIG)
    assert result.reason == "expected 1 red star, found 1 blue; expected 1 blue circle, found 1 red"


@pytest.mark.parametrize("turned", [False, True])
def test_a_wrong_position_says_where_the_object_is_whichever_comes_first(turned):
    objects = (Wanted("star"), Wanted("circle"))[:: -1 if turned else 1]
    relation = Relation("left of", objects.index(Wanted("star")), objects.index(Wanted("circle")))
    right, wrong = (
        Picture((thing("star", box), thing("circle", other)), {}) for box, other in ((LEFT, RIGHT), (RIGHT, LEFT))
    )
    assert score("geneval_position", Facts(objects, relation), right, CONFIG).value == 1
    result = score("geneval_position", Facts(objects, relation), wrong, CONFIG)
    assert result.reason == "expected the star left of the circle, found it right of"


def test_what_is_not_there_has_no_position():
    facts = Facts((Wanted("circle"), Wanted("star")), Relation("above", 1, 0))
    result = score("geneval_position", facts, Picture((thing("star"),), {}), CONFIG)
    assert result.reason == "expected 1 circle, found 0; no circle for the star to be above"


@given(st.floats(0, 0.8), st.floats(0, 0.8))
def test_positions_are_opposite_from_the_other_side(x, y):
    opposite = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
    box = (x, y, x + 0.2, y + 0.2)
    there, back = relative_positions(box, LEFT), relative_positions(LEFT, box)
    assert [opposite[kind] for kind in there] == back
    assert len(there) <= 2
