"""Captions against known scenes: every kind of error is counted where it belongs, and nothing is dropped."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.caption_metrics import FACETS, Judged, judge_caption, scene_metrics
from t2i_assets.synthweb.language import Mention, Statement, holds, read, say_all, say_short
from t2i_assets.synthweb.scenes import BACKGROUNDS, COLORS, RELATIONS, SHAPES, TEXTURES, Relation, sample_scene

PAIR = "a striped red circle left of a solid blue square on a white background"
TWO = "two dotted green stars on a black background"


def facts(text: str) -> dict[str, Any]:
    statement = read(text)
    assert statement is not None, text
    return statement.facts()


def judged(text: str, scene: str = PAIR) -> Judged:
    statement = read(text)
    return judge_caption(None if statement is None else statement.facts(), facts(scene))


def precision(caption: Judged, facet: str) -> tuple[int, int]:
    return caption.facets[facet].right, caption.facets[facet].stated


def recall(caption: Judged, facet: str) -> tuple[int, int]:
    return caption.facets[facet].told, caption.facets[facet].shown


@pytest.mark.parametrize("scene", [PAIR, TWO, "a solid red star, a dotted red star and a solid blue star"])
def test_the_whole_truth_has_full_precision_and_recall(scene: str) -> None:
    caption = judged(scene, scene)
    for facet in FACETS:
        right, stated = precision(caption, facet)
        assert right == stated
        assert recall(caption, facet) == (caption.facets[facet].shown,) * 2
    assert not caption.wrong
    assert caption.hallucinated == 0


def test_what_is_left_out_costs_recall_alone() -> None:
    caption = judged("a red circle")
    assert not caption.wrong
    assert precision(caption, "object") == (1, 1)
    assert recall(caption, "object") == (1, 2)
    assert precision(caption, "texture") == (0, 0)
    assert recall(caption, "texture") == (0, 2)
    assert recall(caption, "relation") == (0, 1)
    assert recall(caption, "background") == (0, 1)


@pytest.mark.parametrize(
    ("text", "false"),
    [
        ("a striped green circle left of a solid blue square on a white background", {"object", "color", "attribute"}),
        ("a dotted red circle left of a solid blue square", {"object", "texture", "attribute"}),
        ("a striped red star left of a solid blue square", {"object", "shape", "attribute", "count"}),
        ("a red circle above a blue square", {"relation"}),
        ("a red circle right of a blue square", {"relation"}),
        ("a red circle on a black background", {"background"}),
        ("two red circles", {"object", "shape", "color", "attribute", "count"}),
        ("a blue circle left of a red square", {"object", "color", "attribute"}),
    ],
)
def test_an_error_is_counted_where_it_belongs(text: str, false: set[str]) -> None:
    caption = judged(text)
    assert {facet for facet in FACETS if precision(caption, facet)[0] < precision(caption, facet)[1]} == false
    assert caption.wrong


@pytest.mark.parametrize(
    "text",
    ["a blue square right of a red circle", "a blue square to the right of a circle", "a circle left of a square"],
)
def test_a_relation_may_be_told_from_either_side(text: str) -> None:
    assert precision(judged(text), "relation") == (1, 1)


def test_of_like_things_the_relation_tells_which_is_meant() -> None:
    scene = "a solid red star below a solid blue star"
    assert precision(judged("a star below a star", scene), "relation") == (1, 1)
    assert precision(judged("a star above a star", scene), "relation") == (1, 1)
    assert precision(judged("a star left of a star", scene), "relation") == (0, 1)
    assert precision(judged("a red star above a star", scene), "relation") == (0, 1)


@pytest.mark.parametrize(
    ("text", "right", "told"),
    [
        ("two stars", 1, 1),
        ("two red stars", 1, 1),
        ("a star", 0, 0),
        ("three stars", 0, 0),
        ("two circles", 0, 0),
        ("a star and a green star", 0, 0),
    ],
)
def test_a_count_is_right_for_as_many_things_as_it_says(text: str, right: int, told: int) -> None:
    caption = judged(text, TWO)
    assert precision(caption, "count")[0] == right
    assert recall(caption, "count") == (told, 1)


def test_hallucination_is_a_noun_that_the_scene_does_not_hold() -> None:
    assert judged("a green circle").hallucinated == 0
    assert judged("two circles").hallucinated == 0
    caption = judged("a red circle, a star and a triangle")
    assert (caption.hallucinated, caption.mentions) == (2, 3)


def test_an_unreadable_text_is_counted_and_tells_nothing() -> None:
    images, texts = ["one", "two", "three", "four"], [PAIR, "buy now", "a green circle", "a star"]
    estimates = scene_metrics(images, [judged(text) for text in texts], resamples=50, interval=0.9, seed=1)
    values = {name: estimate.value for name, estimate in estimates.items()}
    assert (values["right"], values["wrong"], values["unreadable"]) == (0.25, 0.5, 0.25)
    assert values["object_precision"] == 2 / 4
    assert values["object_recall"] == 2 / 8
    assert values["relation_precision"] == 1
    assert values["relation_recall"] == 1 / 4
    assert values["chair_i"] == 1 / 4
    assert values["chair_s"] == 1 / 3


def test_intervals_are_over_images_and_repeat() -> None:
    rng = random.Random(0)
    texts = [rng.choice([PAIR, "a green circle", "a star", "?"]) for _ in range(200)]
    captions = [judged(text) for text in texts]
    once = [str(number) for number in range(200)]
    thrice = [str(number) for number in range(200) for _ in range(3)]
    first = scene_metrics(once, captions, resamples=400, interval=0.95, seed=3)
    assert first == scene_metrics(once, captions, resamples=400, interval=0.95, seed=3)
    copied = scene_metrics(thrice, [c for c in captions for _ in range(3)], resamples=400, interval=0.95, seed=3)
    for name, estimate in first.items():
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low <= estimate.value <= estimate.high
        assert copied[name].value == pytest.approx(estimate.value)
        assert copied[name].low == pytest.approx(estimate.low)
    assert first["wrong"].low != first["wrong"].high


def test_one_image_has_no_interval() -> None:
    estimates = scene_metrics(["a", "a"], [judged(PAIR), judged("a star")], resamples=10, interval=0.9, seed=0)
    assert estimates["wrong"].value == 0.5
    assert (estimates["wrong"].low, estimates["wrong"].high) == (None, None)
    assert "relation_precision" in estimates
    with pytest.raises(ValueError, match="no captions"):
        scene_metrics([], [], resamples=10, interval=0.9, seed=0)


def test_a_metric_of_nothing_is_left_out() -> None:
    estimates = scene_metrics(["a", "b"], [judged("?"), judged("a star")], resamples=10, interval=0.9, seed=0)
    assert "relation_precision" not in estimates
    assert "background_precision" not in estimates
    assert estimates["background_recall"].value == 0


@pytest.mark.parametrize(
    ("stated", "shown", "said"),
    [
        (None, {"objects": []}, "must show objects"),
        (None, {"objects": [{"shape": "star", "color": "red", "texture": None}]}, "each with shape, color, texture"),
        ({"objects": [], "relation": {"kind": "above", "subject": 0, "object": 1}}, facts(PAIR), "not there"),
    ],
)
def test_facts_that_make_no_scene_are_refused(stated: Any, shown: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        judge_caption(stated, shown)


mentions = st.builds(
    Mention,
    st.sampled_from(SHAPES),
    st.none() | st.sampled_from(COLORS),
    st.none() | st.sampled_from(TEXTURES),
    st.integers(1, 4),
)


@st.composite
def statements(draw: st.DrawFn) -> tuple[Statement, Any]:
    """Draw a scene and a statement about it: what it shows with any part replaced or left out."""
    scene = sample_scene(random.Random(draw(st.integers(0, 10_000))))
    base = draw(st.sampled_from([say_all(scene), say_short(scene)]))
    objects = [draw(st.just(mention) | mentions) for mention in base.objects]
    relation = base.relation
    if relation is not None:
        kind = draw(st.just(relation.kind) | st.sampled_from(RELATIONS))
        relation = draw(st.sampled_from([None, Relation(kind, 0, 1), Relation(kind, 1, 0)]))
    background = draw(st.sampled_from([None, scene.background, *BACKGROUNDS]))
    return Statement(tuple(objects), relation, background), scene


def _overlap(statement: Statement) -> bool:
    """Return whether two mentions may mean the same thing."""
    return any(
        first.shape == second.shape
        and (first.color is None or second.color is None or first.color == second.color)
        and (first.texture is None or second.texture is None or first.texture == second.texture)
        for place, first in enumerate(statement.objects)
        for second in statement.objects[place + 1 :]
    )


@settings(max_examples=300, deadline=None)
@given(statements())
def test_a_text_is_wrong_where_the_truth_says_so(drawn: tuple[Statement, Any]) -> None:
    statement, scene = drawn
    caption = judge_caption(statement.facts(), say_all(scene).facts())
    if not _overlap(statement):
        assert caption.wrong != holds(statement, scene)
    for tally in caption.facets.values():
        assert 0 <= tally.right <= tally.stated
        assert 0 <= tally.told <= tally.shown


@settings(max_examples=60, deadline=None)
@given(st.lists(mentions, min_size=1, max_size=6), st.integers(0, 1000), st.randoms(use_true_random=False))
def test_the_order_of_mentions_does_not_matter(said: list[Mention], seed: int, rng: random.Random) -> None:
    shown = say_all(sample_scene(random.Random(seed))).facts()
    mixed = list(said)
    rng.shuffle(mixed)
    first, second = (judge_caption(Statement(tuple(order)).facts(), shown) for order in (said, mixed))
    for facet in ("object", "shape"):
        assert first.facets[facet].stated == second.facets[facet].stated
    assert first.facets["shape"].right == second.facets["shape"].right
    assert first.hallucinated == second.hallucinated
