"""The conditions of many texts: in memory, or on disk, a file per shard of texts, where they would not fit.

What lies on disk says which encoder made it; another one's is refused.
"""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from training.text_encoders.protocol import Condition, TextEncoder

INDEX = "encoder.json"
TEXTS_PER_SHARD = 1024
BYTES_PER_GB = 2**30
STATES, EMBEDDINGS = ".states.npy", ".embeddings.npy"


class StatesMismatchError(ValueError):
    """Stored text states are another encoder's, or not of all texts; the message names both."""


class Conditions(Protocol):
    """Conditions by the number of their text."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Tensor) -> Condition: ...


def conditions_of(
    texts: list[str], encoder: TextEncoder, memory_gb: float, stored: Sequence[Path], scratch: Path
) -> Conditions:
    """Return the conditions of ``texts``, each encoded once.

    They are read from the directories ``stored``, where there are any; else they are encoded, into ``scratch`` where
    they would take more than ``memory_gb``. Raises StatesMismatchError where ``stored`` does not fit.
    """
    if stored:
        return StoredStates(stored, encoder, texts)
    values = len(texts) * (encoder.length * encoder.width + encoder.embed_dim)
    if values * torch.float32.itemsize <= memory_gb * BYTES_PER_GB:
        return encoder(texts)
    store_states(texts, encoder, scratch)
    return StoredStates([scratch], encoder, texts)


def store_states(
    texts: list[str],
    encoder: TextEncoder,
    directory: Path,
    batch_size: int = 256,
    progress: Callable[[int], None] = lambda done: None,
) -> None:
    """Write the states of ``texts`` shard by shard; a shard that is there already is left alone.

    A shard is there when the file of its texts is, which is written last.
    """
    directory.mkdir(exist_ok=True)
    for stale in directory.glob(".*.tmp"):  # of a try that was killed while it wrote
        stale.unlink()
    index = directory / INDEX
    made_by = encoder.digest()
    if index.exists():
        _require(index, made_by)
    told = {"encoder": made_by, "told": encoder.told, "length": encoder.length}
    _write(index, told)
    for start in range(0, len(texts), TEXTS_PER_SHARD):
        part = texts[start : start + TEXTS_PER_SHARD]
        shard = directory / f"{start // TEXTS_PER_SHARD:05d}.json"
        if not shard.exists() or json.loads(shard.read_text()) != part:
            shard.unlink(missing_ok=True)
            condition = encoder(part, batch_size)
            _write(shard.with_suffix(STATES), condition.states.numpy())
            _write(shard.with_suffix(EMBEDDINGS), condition.embeddings.numpy())
            _write(shard, part)
        progress(start + len(part))


def _write(path: Path, content: Any) -> None:
    """Write an array as npy, anything else as JSON; the file appears whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    if isinstance(content, np.ndarray):
        with temporary.open("wb") as file:
            np.save(file, content)
    else:
        temporary.write_text(json.dumps(content))
    temporary.replace(path)


class StoredStates:
    """Conditions of ``texts`` from directories that ``store_states`` wrote; files are mapped, not read."""

    def __init__(self, directories: Sequence[Path], encoder: TextEncoder, texts: list[str]) -> None:
        made_by = encoder.digest()
        self.shards: list[tuple[np.ndarray, np.ndarray]] = []
        places: dict[str, tuple[int, int]] = {}
        for directory in directories:
            _require(directory / INDEX, made_by)
            for shard in sorted(directory.glob("[0-9]*.json")):
                for row, text in enumerate(json.loads(shard.read_text())):
                    places.setdefault(text, (len(self.shards), row))
                of_shard = (np.load(shard.with_suffix(ending), mmap_mode="r") for ending in (STATES, EMBEDDINGS))
                self.shards.append(tuple(of_shard))
        missing = [text for text in texts if text not in places]
        if missing:
            raise StatesMismatchError(
                f"{', '.join(map(str, directories))}: no states of {len(missing)} of {len(texts)} texts, "
                f"such as {missing[0]!r}: store them for this blend"
            )
        self.places = [places[text] for text in texts]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Tensor) -> Condition:
        rows = [self.places[number] for number in index.tolist()]
        states = np.stack([self.shards[shard][0][row] for shard, row in rows])
        embeddings = np.stack([self.shards[shard][1][row] for shard, row in rows])
        return Condition.of_text(torch.from_numpy(states), torch.from_numpy(embeddings))


def _require(index: Path, asked: str) -> None:
    found = json.loads(index.read_text())["encoder"] if index.exists() else "an unknown encoder"
    if found != asked:
        raise StatesMismatchError(
            f"the text states in {index.parent} were made by text encoder {found}, but {asked} is asked for: "
            "store them anew"
        )
