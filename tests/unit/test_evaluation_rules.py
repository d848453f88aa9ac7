"""The T2I-CompBench rules, on scenes whose truth is known."""

import json
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.config import CompBenchConfig
from evaluation.detection import Detection, Picture, picture_of_truth
from evaluation.facts import Facts, Relation, Wanted, parse_facts
from evaluation.places import position
from evaluation.rules import attribute_binding, numeracy, score, spatial, three_in_one
from t2i_assets.synthweb.language import facts as facts_of
from t2i_assets.synthweb.scenes import COLORS, RELATIONS, SHAPES, Scene, sample_scene

CONFIG = CompBenchConfig()
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


def seen(scene: Scene) -> Picture:
    things = [
        {"shape": thing.shape, "color": thing.color, "texture": thing.texture, "box": thing.box}
        for thing in scene.things
    ]
    return picture_of_truth(json.dumps({"objects": things, "background": scene.background}))


def said(scene: Scene, style: str = "descriptive") -> Facts:
    return parse_facts(json.dumps(facts_of(scene, style)))


def thing(
    words: str, box: tuple[float, float, float, float] = (0.1, 0.1, 0.4, 0.4), certainty: float = 1.0
) -> Detection:
    texture, color, shape = words.split()
    return Detection({shape: certainty}, {color: 1.0}, {texture: 1.0}, box)


def wanted(words: str, count: int = 1) -> Wanted:
    texture, color, shape = words.split()
    return Wanted(shape, color, texture, count)


scenes = st.builds(
    lambda seed, kind: sample_scene(random.Random(seed), kind),
    st.integers(0, 2**32),
    st.sampled_from(["single", "count", "pair", "trio"]),
)
pairs = st.builds(lambda seed: sample_scene(random.Random(seed), "pair"), st.integers(0, 2**32))


@given(scenes, st.sampled_from(["descriptive", "short"]))
def test_the_right_scene_scores_one_by_every_rule_that_applies(scene, style):
    facts, picture = said(scene, style), seen(scene)
    categories = ["color", "shape", "texture", "numeracy", "complex"] + ["spatial"] * (facts.relation is not None)
    for category in categories:
        result = score(category, facts, picture, CONFIG)
        assert result.value == pytest.approx(1.0), (category, result)
        assert result.reason is None


@given(scenes, st.sampled_from(["color", "shape", "texture"]))
def test_one_changed_attribute_fails_binding_and_is_named(scene, attribute):
    facts, picture = said(scene), seen(scene)
    values = {"color": COLORS, "shape": SHAPES, "texture": ("solid", "striped", "dotted")}[attribute]
    old = facts.objects[0].attributes()[attribute]
    new = next(value for value in values if value != old)
    changed = [
        replace(item, **{attribute: {new: 1.0}}) if item.probability(facts.objects[0].attributes()) else item
        for item in picture.objects
    ]
    result = attribute_binding(facts, Picture(tuple(changed), picture.background), CONFIG)
    assert result.value == 0
    assert result.reason.startswith("found ") and result.reason.endswith(f"wanted {facts.objects[0]}")


@given(pairs)
def test_colours_swapped_between_two_objects_fail_binding_though_every_word_is_in_the_picture(scene):
    first, second = seen(scene).objects
    swapped = (replace(first, color=second.color), replace(second, color=first.color))
    assert attribute_binding(said(scene), Picture(swapped, {scene.background: 1.0}), CONFIG).value == 0


@given(pairs)
def test_the_opposite_relation_loses_its_half_and_says_what_was_seen(scene):
    facts, picture = said(scene), seen(scene)
    kind = facts.relation.kind
    if kind == "next to":
        return
    turned = replace(facts, relation=replace(facts.relation, kind=OPPOSITE[kind]))
    result = spatial(turned, picture, CONFIG)
    assert result.value == pytest.approx(0.5)
    assert f" {kind} " in result.reason and result.reason.endswith(f"wanted {OPPOSITE[kind]}")


@given(st.floats(0, 0.34), st.floats(0, 0.34))
def test_position_never_grows_with_overlap(shift, more):
    smaller, larger = sorted((shift, shift + more))
    box = (0.0, 0.3, 0.4, 0.7)

    def held(apart: float) -> float:
        return position("left of", box, (apart, 0.3, apart + 0.4, 0.7), CONFIG)

    assert held(larger + 0.01) >= held(smaller + 0.01)


@pytest.mark.parametrize(
    ("kind", "subject", "expected"),
    [
        ("left of", (0.0, 0.4, 0.2, 0.6), 1.0),
        ("right of", (0.0, 0.4, 0.2, 0.6), 0.0),
        ("left of", (0.1, 0.0, 0.3, 0.2), 0.0),  # farther up than left
        ("above", (0.1, 0.0, 0.3, 0.2), 1.0),
        ("next to", (0.0, 0.4, 0.2, 0.6), 1.0),
        ("next to", (0.0, 0.0, 0.2, 0.2), 0.3125 / 0.4),  # 0.4 away on both axes
        ("left of", (0.3, 0.4, 0.5, 0.6), 0.1 / (1 / 3)),  # a third shared
    ],
)
def test_position_follows_the_published_constants(kind, subject, expected):
    assert position(kind, subject, (0.4, 0.4, 0.6, 0.6), CONFIG) == pytest.approx(expected)


def test_one_object_alone_stays_under_the_spatial_minimum_and_counts_nothing():
    facts = Facts((wanted("solid red star"), wanted("solid blue circle")), Relation("left of", 0, 1))
    result = spatial(facts, Picture((thing("solid red star"),), {}), CONFIG)
    assert result.value == 0
    assert result.reason == "found a solid red star, wanted a circle"
    lenient = CONFIG.model_copy(update={"spatial_minimum": 0.0})
    assert spatial(facts, Picture((thing("solid red star"),), {}), lenient).value == pytest.approx(0.25)


def test_equal_nouns_are_told_apart_by_their_attributes():
    facts = Facts((Wanted("circle", "red"), Wanted("circle", "blue")), Relation("left of", 0, 1))
    left, right = (0.0, 0.3, 0.3, 0.6), (0.6, 0.3, 0.9, 0.6)
    good = Picture((thing("solid red circle", left), thing("solid blue circle", right)), {})
    bad = Picture((thing("solid blue circle", left), thing("solid red circle", right)), {})
    assert spatial(facts, good, CONFIG).value == 1
    assert spatial(facts, bad, CONFIG).value == 0.5


def test_what_a_prompt_leaves_open_is_not_asked():
    picture = Picture((thing("striped purple star"),), {"black": 1.0})
    assert attribute_binding(parse_facts('{"objects": [{"shape": "star", "color": null}]}'), picture, CONFIG).value == 1


def test_a_stated_background_is_a_chunk_of_its_own():
    picture = Picture((thing("solid red star"),), {"gray": 0.9, "white": 0.1})
    result = attribute_binding(Facts((wanted("solid red star"),), background="white"), picture, CONFIG)
    assert result.value == pytest.approx(0.1)
    assert result.reason == "found a gray background, wanted a white background"


@pytest.mark.parametrize(("drawn", "expected"), [(0, 0.0), (1, 0.5), (2, 0.5), (3, 1.0), (4, 0.5)])
def test_numeracy_gives_half_for_presence_and_half_for_the_exact_count(drawn, expected):
    things = tuple(thing("solid red star", (0.2 * i, 0.2, 0.2 * i + 0.15, 0.4)) for i in range(drawn))
    result = numeracy(Facts((wanted("solid red star", 3),)), Picture(things, {}), CONFIG)
    assert result.value == expected
    assert (result.reason is None) == (expected == 1)
    if drawn == 2:
        assert result.reason == "found two stars, wanted three"


def test_a_box_inside_another_of_the_same_shape_is_counted_once():
    things = (thing("solid red star", (0, 0, 0.5, 0.5)), thing("solid red star", (0.01, 0.01, 0.49, 0.5)))
    assert numeracy(Facts((wanted("solid red star"),)), Picture(things, {}), CONFIG).value == 1
    other = (things[0], thing("solid red circle", (0.01, 0.01, 0.49, 0.5)))
    both = Facts((wanted("solid red star"), wanted("solid red circle")))
    assert numeracy(both, Picture(other, {}), CONFIG).value == 1


def test_complex_is_the_mean_of_the_parts_that_apply():
    facts = Facts((wanted("solid red star"), wanted("solid blue circle")), Relation("left of", 0, 1))
    left, right = (0.0, 0.3, 0.3, 0.6), (0.6, 0.3, 0.9, 0.6)
    picture = Picture((thing("solid red star", right), thing("solid blue circle", left)), {})
    assert three_in_one(facts, picture, CONFIG).value == pytest.approx((1.0 + 0.5) / 2)
    counted = Facts((wanted("solid red star", 2),))
    assert three_in_one(counted, Picture((thing("solid red star"),), {}), CONFIG).value == pytest.approx((1 + 0.5) / 2)


def test_binding_is_the_product_of_probabilities_over_chunks():
    picture = Picture((thing("solid red star", certainty=0.8), thing("solid blue circle", certainty=0.5)), {})
    result = attribute_binding(Facts((wanted("solid red star"), wanted("solid blue circle"))), picture, CONFIG)
    assert result.value == pytest.approx(0.4)
    assert result.reason == "not quite sure of a solid blue circle (0.50)"


def test_an_empty_picture_scores_zero_and_says_so():
    facts = Facts((wanted("solid red star"), wanted("solid blue circle")), Relation("left of", 0, 1))
    for category in ("color", "spatial", "numeracy", "complex"):
        assert score(category, facts, Picture((), {}), CONFIG).value == 0
    assert attribute_binding(facts, Picture((), {}), CONFIG).reason == "found nothing, wanted a solid red star"


def test_unknown_categories_and_facts_without_objects_are_errors():
    with pytest.raises(ValueError, match="no rule for category 'mood'"):
        score("mood", Facts((wanted("solid red star"),)), Picture((), {}), CONFIG)
    with pytest.raises(ValueError, match="facts without objects"):
        parse_facts('{"objects": []}')
    with pytest.raises(ValueError, match="must state a relation"):
        spatial(Facts((wanted("solid red star"),)), Picture((), {}), CONFIG)


def test_every_relation_of_the_domain_has_a_rule():
    for kind in RELATIONS:
        assert 0 <= position(kind, (0, 0, 0.2, 0.2), (0.5, 0.1, 0.7, 0.3), CONFIG) <= 1
