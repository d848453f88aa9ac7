"""From votes to ratings: models by Elo, for each question and style of prompt.

A model that was retrained is another model, so votes of last month may stand apart from those of today. What compares
is rated together, what does not has a ranking of its own, and a model without a finite rating costs nobody theirs.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from evaluation.bootstrap import Estimate
from evaluation.elo import Vote, comparable, rate
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.schemas import ELO
from t2i_assets.corpus.tables import write_table
from t2i_assets.corpus.votes import read_votes

FEW_SCENES = 30
SCORE_OF_LEFT = {"left": 1.0, "tie": 0.5, "right": 0.0}

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Standing:
    """One model: its rating, None where none is finite, and the votes and scenes behind it."""

    recipe: str
    model: str
    elo: Estimate | None
    votes: int
    scenes: int


@dataclass(frozen=True)
class Tally:
    """What people said in answer to one question on prompts of one style, of models whose ratings compare, best first.

    ``ranking`` numbers those of a question and style, the one with the latest vote first; it is None for the models
    that have no finite rating. ``note`` says what must be known.
    """

    question: str
    style: str
    ranking: int | None
    standings: list[Standing]
    votes: int
    voters: int
    note: str | None


def ratings(home: Home) -> list[Tally]:
    """Return the ratings that all votes give, and keep them as rows of ELO for the catalog."""
    votes = read_votes(home)
    told = tally(votes)
    if votes or home.elo.exists():
        write_table(home.elo, _rows(told), ELO)
    return told


def tally(rows: Iterable[Row], *, resamples: int = 2000, interval: float = 0.95, seed: int = 0) -> list[Tally]:
    """Return the ratings from rows of VOTES, with intervals over scenes; players are digests of models."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["question"], row["style"]].append(row)
    told = []
    for (question, style), members in sorted(groups.items()):
        sets = comparable(_vote(row) for row in members)
        rankings = [_among(members, players) for players in sets if len(players) > 1]
        rankings.sort(key=lambda ranking: -max(row["voted_at"] for row in ranking))
        for number, among in enumerate(rankings, start=1):
            rated = rate([_vote(row) for row in among], resamples=resamples, interval=interval, seed=seed)
            recipes = _recipes(among)
            standings = [Standing(recipes[one.player], one.player, one.elo, one.votes, one.clusters) for one in rated]
            scenes = len({row["scene_id"] for row in among})
            note = f"votes on {scenes} scenes: too few to tell models apart" if scenes < FEW_SCENES else None
            told.append(Tally(question, style, number, standings, len(among), _voters(among), note))
        unrated = sorted(player for players in sets if len(players) == 1 for player in players)
        if unrated:
            told.append(_unrated(question, style, members, unrated))
    return told


def _unrated(question: str, style: str, rows: list[Row], players: list[str]) -> Tally:
    """Return the models that won all or lost all against each opponent, with the reason by name."""
    recipes = _recipes(rows)
    standings, reasons = [], []
    for player in players:
        own = [row for row in rows if player in _models(row)]
        named = recipes[player] + (f" ({player})" if list(recipes.values()).count(recipes[player]) > 1 else "")
        reasons.append(f"{named} {_why_unrated(player, own)}")
        standings.append(Standing(recipes[player], player, None, len(own), len({row["scene_id"] for row in own})))
    theirs = [row for row in rows if set(_models(row)) & set(players)]
    note = f"no finite rating fits: {', '.join(reasons)}"
    return Tally(question, style, None, standings, len(theirs), _voters(theirs), note)


def _why_unrated(player: str, rows: list[Row]) -> str:
    won = {SCORE_OF_LEFT[row["choice"]] == (row["left_model"] == player) for row in rows}
    if len(won) > 1:
        return "won all or lost all against each opponent"
    return "never lost" if won == {True} else "never won"


def _rows(told: Iterable[Tally]) -> list[dict[str, Any]]:
    now = time.time()
    return [
        {
            **{"question": one.question, "style": one.style, "ranking": one.ranking},
            **{"recipe": standing.recipe, "model": standing.model},
            **{"elo": elo and elo.value, "low": elo and elo.low, "high": elo and elo.high},
            **{"votes": standing.votes, "scenes": standing.scenes, "voters": one.voters},
            **{"warning": one.note, "rated_at": now},
        }
        for one in told
        for standing in one.standings
        for elo in [standing.elo]
    ]


def _vote(row: Row) -> Vote:
    return Vote(row["left_model"], row["right_model"], SCORE_OF_LEFT[row["choice"]], row["scene_id"])


def _models(row: Row) -> tuple[str, str]:
    return row["left_model"], row["right_model"]


def _among(rows: list[Row], players: frozenset[str]) -> list[Row]:
    return [row for row in rows if players.issuperset(_models(row))]


def _recipes(rows: list[Row]) -> dict[str, str]:
    return {row[f"{side}_model"]: row[f"{side}_recipe"] for row in rows for side in ("left", "right")}


def _voters(rows: list[Row]) -> int:
    return len({row["voter"] for row in rows})
