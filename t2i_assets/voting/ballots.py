"""Ballots: which two pictures a voter compares, in which order and on which side.

A ballot's name is a digest of the voter, the question, the prompt, the seed and how each picture was drawn, so that the
same comparison is never asked twice of one voter, and that a page which shows the name tells nothing of the models. In
which artifact a picture lies does not count: one that is taken over when prompts or seeds join keeps its ballots.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from t2i_assets.corpus.artifacts import Artifact, MissingArtifactError, list_refs, read_ref
from t2i_assets.corpus.digests import digest
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.schemas import PROMPTS
from t2i_assets.corpus.shards import generated_rows, read_image
from t2i_assets.corpus.tables import read_rows
from t2i_assets.corpus.way_of_drawing import way_of_drawing

Side = Literal["left", "right"]
Row = dict[str, Any]


@dataclass(frozen=True)
class Picture:
    """A generated picture: whose it is, how it was drawn, and where its bytes lie."""

    recipe: str
    model: str
    drawn: str
    images: str
    key: str
    directory: Path
    place: Mapping[str, Any]

    def read(self) -> bytes:
        """Return the encoded image."""
        return read_image(self.directory, self.place)


@dataclass(frozen=True)
class Ballot:
    """One comparison: two models' pictures of a prompt from the same seed."""

    name: str
    prompt: Row
    seed: int
    left: Picture
    right: Picture


def ballots(home: Home, voter: str, question: str, style: str | None, recipes: Sequence[str] = ()) -> list[Ballot]:
    """Return every comparison that this voter can make, in an order of the voter's own; there is at least one.

    Raises MissingArtifactError where there are no pictures of two models, or none of a prompt that both drew;
    ValueError where a recipe has none, or no prompt is of the style.
    """
    drawn = {
        recipe: _pictures(recipe, artifact)
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
    prompts = _prompts(home, style)
    found = [
        _ballot(voter, question, prompts[prompt], seed, (ours[prompt, seed], theirs[prompt, seed]))
        for ours, theirs in combinations(drawn.values(), 2)
        for prompt, seed in ours.keys() & theirs.keys()
        if prompt in prompts
    ]
    if not found:
        raise MissingArtifactError(
            "no two models have drawn the same of these prompts from the same seed: materialize generated_images "
            "again, which draws the prompts as they are now"
        )
    return sorted(found, key=lambda ballot: digest(["order", ballot.name]))


def _prompts(home: Home, style: str | None) -> dict[str, Row]:
    prompts = read_rows(read_ref(home, "prompts").path / "prompts.parquet", PROMPTS)
    styles = sorted({row["style"] for row in prompts})
    if style is not None and style not in styles:
        raise ValueError(f"there are no prompts of style {style!r}: those there are have {', '.join(styles)}")
    return {row["prompt_id"]: row for row in prompts if style in (None, row["style"])}


def _pictures(recipe: str, images: Artifact) -> dict[tuple[str, int], Picture]:
    """Return a model's pictures by prompt and seed."""
    made_by = images.manifest
    way = way_of_drawing(made_by.code_version, made_by.config, made_by.inputs)
    return {
        (row["prompt_id"], row["seed"]): Picture(
            recipe, row["model"], digest([row["model"], way]), images.digest, row["key"], images.path, row
        )
        for row in generated_rows(images.path)
    }


def _ballot(voter: str, question: str, prompt: Row, seed: int, pair: Sequence[Picture]) -> Ballot:
    name = digest([voter, question, prompt["prompt_id"], seed, sorted(picture.drawn for picture in pair)])
    first, second = sorted(pair, key=lambda picture: digest(["side", name, picture.drawn]))
    return Ballot(name, prompt, seed, first, second)
