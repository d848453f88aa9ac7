"""What a prompt says survives in a longer one, or the longer one is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.config import SurvivalConfig
from training.upsamplers.survival import content_words, survives, without_opening

NEAR, ANYWHERE = SurvivalConfig(), SurvivalConfig(max_gap=None)


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("a red star", "a striped red star on a gray background"),
        ("Red STAR.", "a red dotted star"),
        ("two stars", "two striped red stars"),
        ("a purple triangle and a red star", "a dotted red star left of a solid purple triangle"),
        ("green star above red circle", "a solid green star above a dotted red circle on a white background"),
        ("a dog in the park", "a small brown dog that is playing with a ball in a sunny park"),
        ("Picture of a circle", "a blue circle"),
        ("a T-shirt", "a blue t-shirt"),
        ("Straße mit Bäumen", "eine breite straße mit alten bäumen"),
    ],
)
def test_what_may_be_added(prompt: str, text: str) -> None:
    assert survives(prompt, text, NEAR)


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("a red star", "a striped star on a gray background"),
        ("two stars", "a striped red star"),
        ("no circle", "a solid red circle"),
        ("two red stars and a red circle", "two red stars and a blue circle"),
        ("a red zebra", "a red star"),
        ("dotted square", "a dotted"),
    ],
)
def test_a_lost_word_is_lost_wherever_the_others_stand(prompt: str, text: str) -> None:
    assert not survives(prompt, text, NEAR)
    assert not survives(prompt, text, ANYWHERE)


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("a purple triangle and a red star", "a dotted red triangle left of a solid purple star"),
        ("a star above a circle", "a red circle above a blue star"),
        ("a red star", "a red circle left of a striped blue star"),
        ("a red star", "a red circle, a striped star"),
    ],
)
def test_words_that_belong_together_must_not_part(prompt: str, text: str) -> None:
    assert not survives(prompt, text, NEAR)
    assert survives(prompt, text, ANYWHERE)


@given(
    prompt=st.text(max_size=40),
    before=st.sampled_from(["", "a shiny thing, "]),
    config=st.sampled_from([NEAR, ANYWHERE]),
)
@settings(max_examples=200, deadline=None)
def test_a_prompt_survives_in_itself_and_beside_more(prompt: str, before: str, config: SurvivalConfig) -> None:
    assert survives(prompt, before + prompt, config)


@given(prompt=st.text(alphabet="abcd ,", max_size=30), text=st.text(alphabet="abcd ,", max_size=30))
@settings(max_examples=200, deadline=None)
def test_no_word_is_missing_from_what_survives(prompt: str, text: str) -> None:
    if survives(prompt, text, NEAR):
        assert set(content_words(prompt)) <= set(content_words(text))


def test_only_openings_before_something_are_cut() -> None:
    openings = NEAR.openings
    assert without_opening("A picture of a cat", openings) == "a cat"
    assert without_opening("photo: cat", openings) == "cat"
    assert without_opening("a cat in a picture of a dog", openings) == "a cat in a picture of a dog"
    assert without_opening("picture of ", openings) == "picture of "
