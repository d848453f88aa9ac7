"""Latents as training reads them: of one shape, or of several, a bucket each (Podell et al. 2023, section 2.3)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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


def write_shapes(directory: Path, autoencoder: Path, shapes: dict[str, Shape]) -> None:
    """Write which autoencoder made the latents of ``directory``, and the shape of those in each of its tables."""
    told = {"autoencoder": encoder_digest(autoencoder), "shapes": shapes}
    (directory / SHAPES).write_text(json.dumps(told, indent=1))


def read_latents(directories: Sequence[Path], autoencoder: Path) -> LatentSet:
    """Return the latents of LATENTS directories; a key found twice is read once.

    Raises LatentsMismatchError where they are another autoencoder's, or there are none.
    """
    asked = encoder_digest(autoencoder)
    found: dict[Shape, list[tuple[str, Tensor]]] = {}
    seen: set[str] = set()
    for directory in directories:
        told = json.loads((directory / SHAPES).read_text())
        made_by = told.get("autoencoder", "an unknown autoencoder")
        if made_by != asked:
            raise LatentsMismatchError(
                f"the latents in {directory} were made by autoencoder {made_by}, but autoencoder {asked} is asked for "
                f"({autoencoder}): encode the images with it"
            )
        for file, (channels, height, width) in sorted(told["shapes"].items()):
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
