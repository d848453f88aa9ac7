"""Elo ratings are GLIDE's, and say what the votes leave open."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evaluation.elo import UnboundedRatingError, Vote, comparable, elo_ratings, rate

TOLD = {"resamples": 400, "interval": 0.95, "seed": 0}


def votes_of(wins: np.ndarray, clusters: int = 20) -> list[Vote]:
    """Return the votes that make these wins, dealt to clusters in turn."""
    names = [chr(ord("a") + i) for i in range(len(wins))]
    found = [
        (names[i], names[j], 1.0) for i in range(len(wins)) for j in range(len(wins)) for _ in range(int(wins[i, j]))
    ]
    return [Vote(*vote, f"scene {number % clusters}") for number, vote in enumerate(found)]


def loss(ratings: np.ndarray, wins: np.ndarray) -> float:
    return float((wins * np.log1p(10 ** ((ratings[None, :] - ratings[:, None]) / 400))).sum())


def test_the_published_example():
    wins = np.array([[0, 60, 80], [40, 0, 70], [20, 30, 0]], float)
    assert elo_ratings(wins) == pytest.approx([102.75, 25.90, -128.65], abs=0.005)
    assert [round(r.elo.value, 2) for r in rate(votes_of(wins), **TOLD)] == [102.75, 25.90, -128.65]


@settings(max_examples=40, deadline=None)
@given(wins=arrays(float, (4, 4), elements=st.integers(1, 30).map(float)), order=st.permutations(range(4)))
def test_no_neighbour_fits_the_votes_better_and_names_do_not_matter(wins, order):
    np.fill_diagonal(wins, 0)
    ratings = elo_ratings(wins)
    assert ratings.mean() == pytest.approx(0, abs=1e-9)
    for i in range(4):
        for change in (-1.0, 1.0):
            other = ratings.copy()
            other[i] += change
            assert loss(other, wins) > loss(ratings, wins)
    assert elo_ratings(wins[np.ix_(order, order)]) == pytest.approx(ratings[list(order)], abs=1e-6)


def test_two_players_differ_by_the_log_odds_of_a_win_and_a_tie_is_half_a_win():
    high, low = elo_ratings(np.array([[0.0, 10.0], [1.0, 0.0]]))
    assert high - low == pytest.approx(400)
    votes = [Vote("a", "b", score, f"scene {n}") for n, score in enumerate([1.0, 0.5, 0.0, 0.5])]
    assert [rating.elo.value for rating in rate(votes, **TOLD)] == pytest.approx([0, 0], abs=1e-9)


def test_many_wins_to_one_are_fitted_too():
    high, low = elo_ratings(np.array([[0.0, 1e6], [1.0, 0.0]]))
    assert high - low == pytest.approx(2400)


def test_a_player_who_never_lost_has_no_finite_rating():
    with pytest.raises(UnboundedRatingError):
        elo_ratings(np.array([[0.0, 5.0], [0.0, 0.0]]))
    with pytest.raises(UnboundedRatingError, match="b never won, a never lost"):
        rate([Vote("a", "b", 1.0, "s"), Vote("b", "a", 0.0, "t")], **TOLD)
    with pytest.raises(UnboundedRatingError, match="never met"):
        rate([Vote(*pair, 0.5, "s") for pair in (("a", "b"), ("c", "d"))], **TOLD)
    with pytest.raises(ValueError, match="no votes"):
        rate([], **TOLD)


def test_players_are_comparable_where_each_reaches_the_other_by_wins_or_ties():
    def sets(*votes: tuple[str, str, float]) -> list[str]:
        return ["".join(sorted(players)) for players in comparable(Vote(*vote, "s") for vote in votes)]

    assert sets(("a", "b", 0.5), ("c", "d", 1.0), ("c", "d", 0.0)) == ["ab", "cd"]
    assert sets(("a", "b", 1.0), ("b", "c", 1.0)) == ["a", "b", "c"]
    assert sets(("a", "b", 1.0), ("b", "c", 1.0), ("c", "a", 1.0), ("d", "a", 1.0)) == ["abc", "d"]
    assert sets() == []


def test_an_interval_that_resamples_leave_unbounded_is_open():
    votes = [Vote("a", "b", float(n > 0), f"scene {n}") for n in range(5)]
    assert [(r.elo.low, r.elo.high) for r in rate(votes, **TOLD)] == [(None, None)] * 2
    assert [(r.votes, r.clusters) for r in rate(votes, **TOLD)] == [(5, 5)] * 2


def test_votes_on_one_scene_count_as_one_draw_in_the_interval():
    rng = np.random.default_rng(0)
    wins = rng.random(60) < 0.6
    alone = [Vote("a", "b", float(win), f"scene {n}") for n, win in enumerate(wins)]
    often = [vote for vote in alone for _ in range(9)]
    [one, _], [nine, _] = rate(alone, **TOLD), rate(often, **TOLD)
    assert nine.elo.value == pytest.approx(one.elo.value)
    assert nine.elo.high - nine.elo.low == pytest.approx(one.elo.high - one.elo.low, rel=1e-6)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng, hits = np.random.default_rng(0), 0
    truth = 200 * np.log10(0.6 / 0.4)
    for trial in range(100):
        votes = [Vote("a", "b", float(win), f"scene {n}") for n, win in enumerate(rng.random(80) < 0.6)]
        found = {rating.player: rating.elo for rating in rate(votes, resamples=200, interval=0.9, seed=trial)}
        hits += found["a"].low <= truth <= found["a"].high
    assert 82 <= hits <= 97
