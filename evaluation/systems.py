"""Which picture is scored against which prompt: a model's, and the floor and ceiling that say what a score is worth.

* ``generated``: the model's picture of the prompt.
* ``ceiling``: the real picture of the prompt's scene. What keeps it from full marks is the judge's error.
* ``floor``: the real picture of another scene. What it scores is had by good pictures that ignore the prompt.
"""

import hashlib
import io
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from evaluation.config import EvaluationConfig, System
from evaluation.rules import Score
from t2i_assets.corpus.artifacts import read_artifact
from t2i_assets.corpus.digests import DIGEST_LENGTH, digest, tree_digest
from t2i_assets.corpus.schemas import GENERATED, PROMPTS
from t2i_assets.corpus.tables import read_rows
from training.job import JobInputs

Images = NDArray[np.uint8]
Row = dict[str, Any]


class EvaluationInputs(JobInputs):
    """What every scoring job reads: in ``evaluation_set`` the prompts and, for ceiling and floor, their real pictures.

    ``earlier`` are tables of scores that need not be made again.
    """

    evaluation_set: Path
    scorer: Path
    images: Path | None = None
    earlier: list[Path] = Field(default_factory=list)


@dataclass(frozen=True)
class Pairing:
    """One prompt and the index of the picture that is scored against it; the seed is the generator's.

    ``references`` are the other captions of the prompt's scene.
    """

    prompt: Row
    image: int
    seed: int | None = None
    image_key: str | None = None
    references: tuple[str, ...] = ()

    @property
    def asked(self) -> str:
        """Return the digest of all that the picture is held against."""
        return digest([*(self.prompt[name] for name in ("prompt", "category", "facts")), *self.references])


@dataclass(frozen=True)
class Exhibit:
    """The pictures of one system, uint8 [N, 3, S, S], and the prompts they are scored against."""

    system: System
    images: Images
    pairings: list[Pairing]

    @cached_property
    def digests(self) -> list[str]:
        """Return the digest of each picture's pixels, as the scorer looks at them."""
        return [hashlib.sha256(image.tobytes()).hexdigest()[:DIGEST_LENGTH] for image in self.images]

    def only(self, pairings: list[Pairing]) -> "Exhibit":
        """Return these pairings with the pictures that they need, which are renumbered."""
        kept = sorted({pairing.image for pairing in pairings})
        place = {image: number for number, image in enumerate(kept)}
        moved = [replace(pairing, image=place[pairing.image]) for pairing in pairings]
        return Exhibit(self.system, self.images[kept], moved)


def exhibits(config: EvaluationConfig, inputs: EvaluationInputs, size: int) -> list[Exhibit]:
    """Return the pictures of each system that the config asks for, scaled to ``size`` (bicubic, antialiased).

    Raises ValueError where generated pictures are asked for and none are given, or belong to other prompts.
    """
    prompts = read_prompts(inputs.evaluation_set)
    others = captions_beside(prompts)
    pictured = [prompt for prompt in prompts if prompt["reference_key"] is not None]
    made: list[Exhibit] = []
    if set(config.systems) - {"generated"}:
        from training.data import load_images  # here, not above: jobs that read features need no torch

        keys, tensor = load_images([inputs.evaluation_set / "reference"], size)
        references: Images = tensor.numpy()
        index = {key: i for i, key in enumerate(keys)}
    for system in config.systems:
        if system == "generated":
            if inputs.images is None:
                raise ValueError("system 'generated' needs the input 'images': a directory of generated pictures")
            images, rows = read_generated(inputs.images, size)
            made.append(Exhibit(system, images, _pair_generated(rows, prompts, others, inputs.images)))
        else:
            shown = (
                shuffled(pictured, config.seed)
                if system == "floor"
                else ((prompt, prompt["reference_key"]) for prompt in pictured)
            )
            pairings = [Pairing(p, index[key], None, key, others[p["prompt_id"]]) for p, key in shown]
            made.append(Exhibit(system, references, pairings))
    return made


def captions_beside(prompts: list[Row]) -> dict[str, tuple[str, ...]]:
    """Return the other captions of each prompt's scene, by prompt_id."""
    scenes: dict[str, set[str]] = defaultdict(set)
    for prompt in prompts:
        scenes[prompt["scene_id"]].add(prompt["prompt"])
    return {p["prompt_id"]: tuple(sorted(scenes[p["scene_id"]] - {p["prompt"]})) for p in prompts}


def read_prompts(evaluation_set: Path) -> list[Row]:
    """Return the rows of PROMPTS."""
    return read_rows(evaluation_set / "prompts.parquet", PROMPTS)


def read_generated(directory: Path, size: int) -> tuple[Images, list[Row]]:
    """Return generated pictures, uint8 [N, 3, S, S], and their rows of GENERATED, in the same order."""
    rows, images = [], []
    for table in sorted(directory.glob("[0-9]*.parquet")):
        with table.with_suffix(".tar").open("rb") as tar:
            for row in read_rows(table, GENERATED):
                tar.seek(row["image_offset"])
                image = Image.open(io.BytesIO(tar.read(row["image_bytes"]))).convert("RGB")
                if image.size != (size, size):
                    image = image.resize((size, size), Image.Resampling.BICUBIC)
                images.append(np.asarray(image).transpose(2, 0, 1))
                rows.append(row)
    return np.stack(images) if images else np.zeros((0, 3, size, size), np.uint8), rows


def shuffled(prompts: list[Row], seed: int) -> Iterator[tuple[Row, str]]:
    """Yield each prompt with the reference picture of another scene of its style.

    The scenes of a style stand on a seeded random circle and each takes the next one's picture, so none gets its own
    and each is used once. Raises ValueError where a style has one scene only.
    """
    styles: dict[str, list[Row]] = defaultdict(list)
    for prompt in prompts:
        styles[prompt["style"]].append(prompt)
    for style, members in styles.items():
        pictures = {prompt["scene_id"]: prompt["reference_key"] for prompt in members}
        if len(pictures) < 2:
            raise ValueError(f"style {style!r} has one scene: a floor needs another scene's picture")
        scenes = sorted(pictures)
        circle = np.random.default_rng(seed).permutation(len(scenes))
        following = {scenes[a]: scenes[b] for a, b in zip(circle, np.roll(circle, -1), strict=True)}
        for prompt in members:
            yield prompt, pictures[following[prompt["scene_id"]]]


def evals_row(
    config: EvaluationConfig, exhibit: Exhibit, pairing: Pairing, metric: str, version: str, scorer: str, score: Score
) -> Row:
    """Return the EVALS row of one picture's score."""
    prompt = pairing.prompt
    return whose(config, exhibit.system) | {
        "prompt_id": prompt["prompt_id"],
        "scene_id": prompt["scene_id"],
        "style": prompt["style"],
        "category": prompt["category"],
        "seed": pairing.seed,
        "image_key": pairing.image_key,
        "picture": exhibit.digests[pairing.image],
        "asked": pairing.asked,
        "metric": metric,
        "metric_version": version,
        "scorer": scorer,
        "value": score.value,
        "reason": score.reason,
    }


def whose(config: EvaluationConfig, system: System) -> Row:
    """Return the columns that say whose pictures were scored; real pictures belong to no model."""
    generated = system == "generated"
    return {
        "system": system,
        "recipe": config.recipe if generated else None,
        "model": config.model if generated else None,
    }


def scorer_digest(directory: Path) -> str:
    """Return the digest of the artifact at ``directory``, or that of its files where it is no artifact."""
    artifact = read_artifact(directory)
    return artifact.digest if artifact is not None else tree_digest(directory)


def _pair_generated(
    rows: list[Row], prompts: list[Row], others: dict[str, tuple[str, ...]], directory: Path
) -> list[Pairing]:
    known = {prompt["prompt_id"]: prompt for prompt in prompts}
    strange = next((row for row in rows if row["prompt_id"] not in known), None)
    if strange is not None:
        raise ValueError(f"{directory} shows prompt {strange['prompt_id']}, which the evaluation set does not have")
    return [
        Pairing(known[row["prompt_id"]], i, row["seed"], row["key"], others[row["prompt_id"]])
        for i, row in enumerate(rows)
    ]
