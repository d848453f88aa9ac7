"""Latents as training reads them: of one shape, or of several, a bucket each (Podell et al. 2023, section 2.3)."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from t2i_assets.corpus.schemas import LATENTS
from t2i_assets.corpus.tables import read_table
from training.embeddings import encoder_digest

SHAPES = "latents.json"

Shape = tuple[int, int, int]


class LatentsMismatchError(ValueError):
    """Latents of several directories, their autoencoder or their blend do not fit together; the message names both."""


@dataclass(frozen=True)
class LatentSet:
    """Samples whose latents have one of several shapes.

    Attributes:
        keys: of N samples.
        buckets: latents of one shape each, [N_b, C, H_b, W_b], the most frequent shape first.
        places: bucket and row of each sample, [N, 2].
    """

    keys: list[str]
    buckets: list[Tensor]
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def shape(self) -> Shape:
        """The most frequent shape, (C, H, W)."""
        channels, height, width = self.buckets[0].shape[1:]
        return channels, height, width

    def take(self, indices: Sequence[int] | np.ndarray) -> Tensor:
        """Return the latents of samples of one bucket, [len(indices), C, H, W]."""
        places = self.places[np.asarray(indices, dtype=np.int64)]
        return self.buckets[int(places[0, 0])][places[:, 1]]

    def by_bucket(self, indices: Sequence[int]) -> list[list[int]]:
        """Return the samples of each bucket that has any of them, in their order."""
        parts = [
            [number for number in indices if self.places[number, 0] == bucket] for bucket in range(len(self.buckets))
        ]
        return [part for part in parts if part]


@dataclass(frozen=True)
class Origin:
    """What made latents; those of one set are all of one origin.

    Attributes:
        autoencoder: digest of its weights and configuration.
        preprocessing: how images come to it, in words and numbers that JSON has.
    """

    autoencoder: str
    preprocessing: dict[str, Any]


def write_shapes(directory: Path, origin: Origin, shapes: dict[str, Shape]) -> None:
    """Write what made the latents of ``directory``, and the shape of those in each of its tables, by name."""
    told = {"autoencoder": origin.autoencoder, "preprocessing": origin.preprocessing, "shapes": shapes}
    temporary = directory / f".{SHAPES}.{os.getpid()}.tmp"
    temporary.write_text(json.dumps(told, indent=1))
    temporary.replace(directory / SHAPES)


def read_shapes(directory: Path) -> tuple[Origin, dict[str, Shape]]:
    """Return what ``write_shapes`` wrote."""
    told = json.loads((directory / SHAPES).read_text())
    shapes = {name: (channels, height, width) for name, (channels, height, width) in told["shapes"].items()}
    return Origin(told["autoencoder"], told["preprocessing"]), shapes


def read_latents(directories: Sequence[Path], autoencoder: Path) -> LatentSet:
    """Return the latents of LATENTS directories; a key found twice is read once.

    Raises LatentsMismatchError where they are another autoencoder's, images of several directories came to it in
    different ways, or there are none.
    """
    asked = encoder_digest(autoencoder)
    found: dict[Shape, list[tuple[str, Tensor]]] = {}
    seen: set[str] = set()
    preprocessing: dict[Path, dict[str, Any]] = {}
    for directory in directories:
        origin, shapes = read_shapes(directory)
        if origin.autoencoder != asked:
            raise LatentsMismatchError(
                f"the latents in {directory} were made by autoencoder {origin.autoencoder}, but autoencoder {asked} is "
                f"asked for ({autoencoder}): encode the images with it"
            )
        preprocessing[directory] = origin.preprocessing
        if preprocessing[directories[0]] != origin.preprocessing:
            first = f"{preprocessing[directories[0]]} in {directories[0]}"
            raise LatentsMismatchError(f"images were prepared by {first}, but by {origin.preprocessing} in {directory}")
        for file, (channels, height, width) in sorted(shapes.items()):
            table = read_table(directory / f"{file}.parquet", LATENTS)
            values = table["latent"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            values = torch.from_numpy(values.copy()).view(-1, channels, height, width)
            names = table["key"].to_pylist()
            fresh = [(name, row) for name, row in zip(names, values, strict=True) if name not in seen]
            seen.update(names)
            found.setdefault((channels, height, width), []).extend(fresh)
    parts = sorted((part for part in found.values() if part), key=len, reverse=True)
    if not parts:
        raise LatentsMismatchError(f"there are no latents in {', '.join(map(str, directories)) or 'an empty list'}")
    keys = [name for part in parts for name, _ in part]
    places = [(bucket, row) for bucket, part in enumerate(parts) for row in range(len(part))]
    return LatentSet(keys, [torch.stack([row for _, row in part]) for part in parts], np.array(places))
