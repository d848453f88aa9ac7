"""T2I-CompBench in three dimensions, and each fault of the published scoring: reproduced by a switch, or mended."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from evaluation.config import CompBenchConfig
from evaluation.detection import Box, Detection, Picture, picture_of_truth
from evaluation.facts import Facts, Relation, Wanted, parse_facts
from evaluation.faults import Faults
from evaluation.places import in_front, position
from evaluation.rules import attribute_binding, numeracy, score, spatial, spatial_3d
from t2i_assets.synthweb.evaluation_set import shown
from t2i_assets.synthweb.language import facts as facts_of
from t2i_assets.synthweb.scenes import sample_occlusion

OFFICIAL, MENDED = (CompBenchConfig(faults=Faults.model_validate(name)) for name in ("official", "corrected"))
OTHER = {"in front of": "behind", "behind": "in front of"}
occlusions = st.builds(lambda seed: sample_occlusion(random.Random(seed)), st.integers(0, 2**32))


def thing(name: str, box: Box, score: float = 1.0, depth: float | None = None) -> Detection:
    return Detection({name: 1.0}, {}, {}, box, score, depth)


def related(first: str, kind: str, second: str) -> Facts:
    return Facts((Wanted(first), Wanted(second)), Relation(kind, 0, 1))


@given(occlusions)
def test_a_thing_that_covers_another_scores_one_and_the_opposite_keeps_its_half_for_presence(scene):
    facts, picture = parse_facts(json.dumps(facts_of(scene))), picture_of_truth(json.dumps(shown(scene)))
    assert spatial_3d(facts, picture, MENDED).value == 1
    turned = replace(facts, relation=replace(facts.relation, kind=OTHER[facts.relation.kind]))
    result = spatial_3d(turned, picture, MENDED)
    assert result.value == pytest.approx(0.5)
    assert f" {facts.relation.kind} " in result.reason and result.reason.endswith(f"wanted {turned.relation.kind}")


@given(st.floats(0, 1), st.floats(0, 1))
def test_in_front_never_falls_with_overlap(one, other):
    less, more = sorted((one, other))

    def held(share: float) -> float:
        near = thing("cat", (0.0, 0.0, 0.4, 0.4), depth=1.0)
        far = thing("box", (0.4 * (1 - share), 0.0, 0.4 + 0.4 * (1 - share), 0.4), depth=0.0)
        return in_front("in front of", near, far, Picture((), {}), MENDED)

    assert held(less) <= held(more)
    assert held(1.0) == 1 and held(0.0) == 0


def test_an_overlap_of_exactly_the_threshold_counts_nothing_officially():
    near, far = thing("cat", (0.0, 0.0, 0.5, 1.0), depth=1.0), thing("box", (0.0, 0.0, 1.0, 1.0), depth=0.0)
    assert in_front("in front of", near, far, Picture((), {}), OFFICIAL) == 0
    assert in_front("in front of", near, far, Picture((), {}), MENDED) == 1


def test_depth_is_read_along_the_axes_or_officially_across_them():
    near = np.zeros((10, 10), np.float32)
    near[0:5, 5:10] = 1  # above and to the right
    left, right = thing("cat", (0.0, 0.5, 0.5, 1.0)), thing("box", (0.5, 0.0, 1.0, 0.5))
    covering = thing("box", (0.4, 0.0, 1.0, 0.6))
    left_over = thing("cat", (0.0, 0.4, 0.6, 1.0))
    picture = Picture((left, right), {}, depth=near)
    assert in_front("behind", left_over, covering, picture, MENDED) > 0
    assert in_front("in front of", left_over, covering, picture, MENDED) == 0
    assert in_front("in front of", left_over, covering, picture, OFFICIAL) > 0


def test_a_picture_without_depth_is_an_error_that_says_so():
    facts, picture = (
        related("cat", "behind", "box"),
        Picture((thing("cat", (0, 0, 1, 1)), thing("box", (0, 0, 1, 1))), {}),
    )
    with pytest.raises(ValueError, match="the judge sees no depth"):
        spatial_3d(facts, picture, MENDED)


def test_of_several_of_a_name_official_takes_the_last_seen_before_the_other_and_mended_the_surest():
    cats = [thing("cat", (0.0, 0.0, 0.4, 0.4), 0.9, 1.0), thing("cat", (0.6, 0.6, 1.0, 1.0), 0.6, 1.0)]
    box = thing("box", (0.0, 0.0, 0.4, 0.4), 0.8, 0.0)
    picture, facts = Picture((*cats, box), {}), related("cat", "in front of", "box")
    assert spatial_3d(facts, picture, MENDED).value == pytest.approx((0.9 + 0.8) / 4 + 0.5)
    assert spatial_3d(facts, picture, OFFICIAL).value == pytest.approx((0.6 + 0.8) / 4)


def test_in_three_dimensions_one_object_alone_keeps_its_quarter():
    facts, picture = related("cat", "behind", "box"), Picture((thing("cat", (0, 0, 1, 1), 0.8, 0.0),), {})
    assert spatial_3d(facts, picture, MENDED).value == pytest.approx(0.2)
    assert spatial_3d(facts, picture, MENDED).reason == "found a cat, wanted a box"


def test_on_top_of_is_never_held_officially():
    facts = related("cat", "on top of", "box")
    picture = Picture((thing("cat", (0.3, 0.0, 0.6, 0.3)), thing("box", (0.3, 0.6, 0.6, 0.9))), {})
    assert spatial(facts, picture, OFFICIAL).value == pytest.approx(0.5)


def test_an_object_is_next_to_itself_officially():
    facts, alone = related("dog", "next to", "dog"), Picture((thing("dog", (0.1, 0.1, 0.4, 0.4)),), {})
    assert spatial(facts, alone, OFFICIAL).value == 1
    assert spatial(facts, alone, MENDED).value == 0
    two = Picture((*alone.objects, thing("dog", (0.4, 0.1, 0.7, 0.4))), {})
    assert spatial(facts, two, MENDED).value == pytest.approx(0.5 + 0.5 * 0.3125 / 0.3, abs=0.03)


@given(st.floats(0, 0.7), st.floats(0, 0.7))
def test_near_asks_for_one_axis_officially_and_for_both_when_mended(dx, dy):
    assume(min(abs(dx - MENDED.near), abs(dy - MENDED.near)) > 1e-6)
    box, other = (0.0, 0.0, 0.2, 0.2), (dx, dy, dx + 0.2, dy + 0.2)
    official, mended = (position("near", box, other, config) for config in (OFFICIAL, MENDED))
    assert mended <= official
    assert (official == 1) == (min(dx, dy) < OFFICIAL.near)
    assert (mended == 1) == (max(dx, dy) < MENDED.near)


@pytest.mark.parametrize(("noun", "label"), [("dog", "hot dog"), ("bear", "teddy bear"), ("car", "carpet")])
def test_a_name_that_holds_the_noun_is_another_thing_when_mended(noun, label):
    facts, picture = Facts((Wanted(noun),)), Picture((thing(label, (0, 0, 0.5, 0.5)),), {})
    assert numeracy(facts, picture, OFFICIAL).value == 1 and numeracy(facts, picture, MENDED).value == 0


def test_other_names_of_a_noun_stand_in_a_table_and_in_the_configuration():
    def counted(noun: str, label: str, config: CompBenchConfig = MENDED) -> float:
        return numeracy(Facts((Wanted(noun),)), Picture((thing(label, (0, 0, 0.5, 0.5)),), {}), config).value

    assert counted("television", "tv") == counted("sofa", "couch") == counted("girl", "person") == 1
    assert counted("balloon", "hot air balloon") == 0
    aliases = {"balloon": ("hot air balloon",)}
    assert counted("balloon", "hot air balloon", MENDED.model_copy(update={"aliases": aliases})) == 1


@pytest.mark.parametrize("turned", [False, True])
def test_two_of_a_noun_that_nothing_tells_apart_may_stand_in_either_order(turned):
    facts = related("dog", "left of", "dog")
    dogs = (thing("dog", (0.0, 0.4, 0.2, 0.6), 0.9), thing("dog", (0.7, 0.4, 0.9, 0.6), 0.8))
    result = spatial(facts, Picture(dogs[:: -1 if turned else 1], {}), MENDED)
    assert result.value == pytest.approx((0.9 + 0.8) / 4 + 0.5)


def test_a_prompt_without_a_chunk_scores_one_officially():
    assert attribute_binding(Facts((), chunks=()), Picture((), {}), OFFICIAL).value == 1


def test_chunks_of_a_text_are_never_answered_from_objects_alone():
    seen = Picture((thing("circle", (0, 0, 1, 1)),), {})
    with pytest.raises(ValueError, match="answers no questions"):
        attribute_binding(Facts((), chunks=("a red circle",)), seen, MENDED)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_answers_multiply_and_no_answer_can_raise_the_score(probabilities):
    facts = Facts((), chunks=tuple(f"chunk {place}" for place in range(len(probabilities))))
    answers = dict(zip(facts.questions(), probabilities, strict=True))
    result = attribute_binding(facts, Picture((), {}, answers), MENDED)
    assert result.value == pytest.approx(np.prod(probabilities))
    assert result.value <= min(probabilities) + 1e-12
    rounded = attribute_binding(facts, Picture((), {}, answers), OFFICIAL).value
    assert rounded == round(rounded, 4) and rounded == pytest.approx(result.value, abs=5e-4)


def test_the_least_sure_chunk_is_the_reason():
    facts = Facts((), chunks=("a green bench", "a blue bowl"))
    picture = Picture((), {}, {"a green bench?": 0.9, "a blue bowl?": 0.2})
    assert attribute_binding(facts, picture, MENDED).reason == "a blue bowl? rather not (0.20)"


def test_a_complex_prompt_is_the_mean_of_the_parts_that_its_file_names():
    chunk = ("the tall man",)
    picture = Picture(
        (thing("man", (0.0, 0.4, 0.2, 0.6)), thing("dog", (0.7, 0.4, 0.9, 0.6))), {}, {"the tall man?": 0.8}
    )
    placed = related("man", "left of", "dog")
    both = Facts(placed.objects, placed.relation, chunks=chunk, parts=("spatial", "action"))
    assert score("complex", both, picture, MENDED, cosine=0.3).value == pytest.approx((0.8 + 1.0 + 0.3) / 3)
    unread = Facts((), chunks=chunk, parts=("action",), unread="left out the relation")
    result = score("complex", unread, picture, MENDED, cosine=0.3)
    assert result.value == pytest.approx((0.8 + 0.3) / 2) and result.reason.endswith("left out the relation")
    acting = Facts((), chunks=chunk, parts=("action",))
    assert score("complex", acting, picture, MENDED, cosine=0.3).value == pytest.approx((0.8 + 0.3) / 2)
    with pytest.raises(ValueError, match="give the job the input 'clip'"):
        score("non_spatial", Facts(()), picture, MENDED)
    assert score("non_spatial", Facts(()), picture, MENDED, cosine=0.31).value == 0.31
