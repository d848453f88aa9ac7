"""From votes to ratings: models by Elo, for each question and style of prompt."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from evaluation.elo import Rating, UnboundedRatingError, Vote, rate

FEW_SCENES = 30
SCORE_OF_LEFT = {"left": 1.0, "tie": 0.5, "right": 0.0}


@dataclass(frozen=True)
class Tally:
    """What people said in answer to one question on prompts of one style; ``note`` says what must be known of it."""

    question: str
    style: str
    ratings: list[Rating]
    recipes: Mapping[str, str]
    votes: int
    voters: int
    note: str | None


def tally(
    rows: Iterable[Mapping[str, Any]], *, resamples: int = 2000, interval: float = 0.95, seed: int = 0
) -> list[Tally]:
    """Return the ratings from rows of VOTES; players are digests of models."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["question"], row["style"]].append(row)
    told = []
    for (question, style), members in sorted(groups.items()):
        votes = [
            Vote(row["left_model"], row["right_model"], SCORE_OF_LEFT[row["choice"]], row["scene_id"])
            for row in members
        ]
        recipes = {row[f"{side}_model"]: row[f"{side}_recipe"] for row in members for side in ("left", "right")}
        scenes = len({vote.cluster for vote in votes})
        note = f"votes on {scenes} scenes: too few to tell models apart" if scenes < FEW_SCENES else None
        try:
            ratings = rate(votes, resamples=resamples, interval=interval, seed=seed)
        except UnboundedRatingError as error:
            ratings, note = [], str(error)
        told.append(Tally(question, style, ratings, recipes, len(votes), len({row["voter"] for row in members}), note))
    return told
