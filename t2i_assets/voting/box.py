"""The ballot box: each vote is a file of its own that appears whole, once, and is never written again.

A kill loses at most the vote that was on its way; a vote that comes twice, from an impatient finger, another tab or
another process, counts once.
"""

import os
import re
import time
from pathlib import Path
from typing import Literal, get_args

from t2i_assets.corpus.home import Home
from t2i_assets.corpus.schemas import VOTES
from t2i_assets.corpus.tables import read_table, write_table
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
        prepared = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}")
        write_table(prepared, [row], VOTES)
        try:
            os.link(prepared, path)  # unlike a rename it fails where there is a vote already
        except FileExistsError:
            return False
        finally:
            prepared.unlink()
        return True


def read_votes(home: Home) -> list[dict[str, object]]:
    """Return every vote of every voter, as rows of VOTES."""
    return [row for directory in _voters(home) for row in read_table(directory, VOTES).to_pylist()]


def _voters(home: Home) -> list[Path]:
    return sorted(path for path in home.votes.glob("[!.]*") if path.is_dir())
