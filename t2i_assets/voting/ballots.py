"""Ballots: which two pictures a voter compares, in which order and on which side.

A ballot's name is a digest of the voter, the question and both pictures, so that the same comparison is never asked
twice of one voter, and that a page which shows the name tells nothing of the models.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from t2i_assets.corpus.artifacts import MissingArtifactError, list_refs, read_ref
from t2i_assets.corpus.digests import digest
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.schemas import GENERATED, PROMPTS
from t2i_assets.corpus.tables import read_rows

Side = Literal["left", "right"]
Row = dict[str, Any]


@dataclass(frozen=True)
class Picture:
    """A generated picture: whose it is, and where its bytes lie."""

    recipe: str
    model: str
    images: str
    key: str
    tar: Path
    offset: int
    size: int

    def read(self) -> bytes:
        """Return the encoded image."""
        with self.tar.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


@dataclass(frozen=True)
class Ballot:
    """One comparison: two models' pictures of a prompt from the same seed."""

    name: str
    prompt: Row
    seed: int
    left: Picture
    right: Picture


def ballots(home: Home, voter: str, question: str, style: str | None, recipes: Sequence[str] = ()) -> list[Ballot]:
    """Return every comparison that this voter can make, in an order of the voter's own.

    Raises MissingArtifactError where there are no pictures of two models, ValueError where a recipe has none.
    """
    drawn = {
        recipe: (artifact, {(row["prompt_id"], row["seed"]): row for row in read_rows(artifact.path, GENERATED)})
        for recipe, artifact in list_refs(home, "generated_images").items()
        if not recipes or recipe in recipes
    }
    unknown = sorted(set(recipes) - set(drawn))
    if unknown:
        raise ValueError(f"there are no generated images of recipe {unknown[0]!r}")
    if len(drawn) < 2:
        raise MissingArtifactError(
            f"a vote needs pictures of two models, and {home.root} has those of {len(drawn)}: materialize "
            "generated_images for another recipe"
        )
    prompts = {
        row["prompt_id"]: row
        for row in read_rows(read_ref(home, "prompts").path / "prompts.parquet", PROMPTS)
        if style is None or row["style"] == style
    }

    def every() -> Iterator[Ballot]:
        for (recipe, (artifact, ours)), (other, (others, theirs)) in combinations(drawn.items(), 2):
            for at in ours.keys() & theirs.keys():
                if at[0] in prompts:
                    pair = [
                        Picture(
                            name,
                            row["model"],
                            images.digest,
                            row["key"],
                            images.path / "00000.tar",
                            row["image_offset"],
                            row["image_bytes"],
                        )
                        for name, images, row in ((recipe, artifact, ours[at]), (other, others, theirs[at]))
                    ]
                    yield _ballot(voter, question, prompts[at[0]], at[1], pair)

    return sorted(every(), key=lambda ballot: digest(["order", ballot.name]))


def _ballot(voter: str, question: str, prompt: Row, seed: int, pair: Sequence[Picture]) -> Ballot:
    identity = sorted([picture.images, picture.key] for picture in pair)
    name = digest([voter, question, prompt["prompt_id"], seed, identity])
    first, second = sorted(pair, key=lambda picture: digest(["side", name, picture.images]))
    return Ballot(name, prompt, seed, first, second)
