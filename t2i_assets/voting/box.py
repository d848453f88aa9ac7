"""The ballot box: each vote is a file of its own that appears whole, once, and is never written again.

A kill loses at most the vote that was on its way; a vote that comes twice, from an impatient finger, another tab or
another process, counts once.
"""

import os
import re
import time
from pathlib import Path
from typing import Literal, get_args

from t2i_assets.corpus.artifacts import locked
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.schemas import VOTES
from t2i_assets.corpus.tables import write_table
from t2i_assets.voting.ballots import Ballot

Choice = Literal["left", "right", "tie"]
CHOICES: tuple[Choice, ...] = get_args(Choice)
VOTER = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


class BallotBox:
    """The votes of one voter. Raises ValueError on a name that is no plain file name."""

    def __init__(self, home: Home, voter: str) -> None:
        if not VOTER.fullmatch(voter):
            raise ValueError(f"voter {voter!r}: a name has up to 32 of the characters a-z, 0-9, _ and -")
        self.voter = voter
        self._directory = home.votes / voter

    def names(self) -> set[str]:
        """Return the names of the ballots that were voted on."""
        return {path.stem for path in self._directory.glob("[!.]*.parquet")}

    def put(self, ballot: Ballot, question: str, choice: Choice, seconds: float | None = None) -> bool:
        """Keep a vote; return whether it is the first on its ballot. The first stands."""
        row = {
            "vote": ballot.name, "voter": self.voter, "question": question, "choice": choice,
            "prompt_id": ballot.prompt["prompt_id"], "scene_id": ballot.prompt["scene_id"],
            "style": ballot.prompt["style"], "category": ballot.prompt["category"], "seed": ballot.seed,
            "voted_at": time.time(), "seconds": seconds,
        }  # fmt: skip
        for side, picture in (("left", ballot.left), ("right", ballot.right)):
            row |= {
                f"{side}_recipe": picture.recipe, f"{side}_model": picture.model,
                f"{side}_images": picture.images, f"{side}_key": picture.key,
            }  # fmt: skip
        path = self._directory / f"{ballot.name}.parquet"
        with locked(self._directory / "box"):
            if path.exists():
                return False
            prepared = path.with_name(f".{path.name}.new")
            write_table(prepared, [row], VOTES)
            _to_disk(prepared)  # before the rename, or a power cut could leave the name of a vote without its bytes
            prepared.rename(path)
            _to_disk(self._directory)
        return True


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
