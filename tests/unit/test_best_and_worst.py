"""The best and the worst prompts of a score are chosen by the mean over seeds, and none is shown twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2i_assets.corpus.best_and_worst import best_and_worst


def scores(of_prompt: dict[str, list[float]]) -> list[dict]:
    return [
        {"prompt_id": prompt, "seed": seed, "value": value}
        for prompt, values in of_prompt.items()
        for seed, value in enumerate(values)
    ]


def test_prompts_are_ranked_by_their_mean_and_show_their_best_or_worst_seed() -> None:
    found = best_and_worst(scores({"a": [0.0, 1.0, 1.0], "b": [0.9, 0.9], "c": [0.5, 0.7], "d": [0.0, 1.0]}), each=1)
    [best], [worst] = found.best, found.worst
    assert (best.picture["prompt_id"], best.mean, best.picture["value"], best.seeds) == ("b", 0.9, 0.9, 2)
    assert (worst.picture["prompt_id"], worst.mean, worst.picture["value"]) == ("d", 0.5, 0.0)
    assert (found.prompts, found.mean) == (4, pytest.approx((2 / 3 + 0.9 + 0.6 + 0.5) / 4))


@given(
    of_prompt=st.dictionaries(
        st.text("abc", max_size=3), st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=3), min_size=1
    ),
    each=st.integers(1, 4),
)
def test_no_prompt_is_shown_twice_and_means_fall_from_best_to_worst(of_prompt, each) -> None:
    found = best_and_worst(scores(of_prompt), each)
    shown = [*found.best, *reversed(found.worst)]
    names = [one.picture["prompt_id"] for one in shown]
    assert len(set(names)) == len(names) == min(2 * each, len(of_prompt))
    assert [one.mean for one in shown] == sorted((one.mean for one in shown), reverse=True)
    assert 0 <= len(found.best) - len(found.worst) <= 1


def test_no_scores_have_no_best() -> None:
    with pytest.raises(ValueError, match="no scores"):
        best_and_worst([], each=1)
