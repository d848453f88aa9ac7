"""Stored CLIP embeddings: which encoder made them, and that it is the one whose space they are used in."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_clip import CLIP
from torch import Tensor

from t2i_assets.corpus.digests import NOT_CONTENT, tree_digest
from t2i_assets.corpus.schemas import IMAGE_EMBEDDINGS
from t2i_assets.corpus.tables import read_rows
from training.models.clip import image_size

ENCODER = "encoder.json"
IMAGES = "images"
TEXTS = "texts.parquet"
OF_A_MODEL = frozenset({".safetensors", ".bin", ".pt", ".json", ".txt", ".gz", ".model"})
"""What weights, configuration and tokenizers are stored as; reports of training lie beside them."""


class EncoderMismatchError(ValueError):
    """Embeddings were made by another encoder than the one asked for; the message names both digests."""


def encoder_digest(clip: Path) -> str:
    """Return the digest of a CLIP's weights, configuration (preprocessing within it) and tokenizer."""
    others = {path.name for path in clip.rglob("*") if path.suffix not in OF_A_MODEL}
    return tree_digest(clip, NOT_CONTENT | others | {"run.json"})


def write_encoder(directory: Path, clip: Path, model: CLIP) -> None:
    """Write into ``directory`` which encoder its embeddings are made by, and how images come to it.

    Raises EncoderMismatchError where those that lie there already, of a killed try, are another's.
    """
    if (directory / ENCODER).exists():
        require_encoder(directory, clip)
    preprocessing: dict[str, Any] = {
        "size": image_size(model),
        "resize": "shorter side, bicubic, centre crop",
        "mean": list(model.visual.image_mean),
        "std": list(model.visual.image_std),
    }
    told = {"encoder": encoder_digest(clip), "preprocessing": preprocessing}
    (directory / ENCODER).write_text(json.dumps(told, indent=1))


def require_encoder(directory: Path, clip: Path) -> None:
    """Raise EncoderMismatchError unless the embeddings in ``directory`` were made by the CLIP in ``clip``."""
    path, asked = directory / ENCODER, encoder_digest(clip)
    if not path.exists():
        raise EncoderMismatchError(
            f"{path} is not there: it cannot be told whether these embeddings were made by encoder {asked} ({clip}); "
            "embed the images with it"
        )
    made_by = json.loads(path.read_text())["encoder"]
    if made_by != asked:
        raise EncoderMismatchError(
            f"the embeddings in {directory} were made by encoder {made_by}, but encoder {asked} is asked for ({clip}): "
            "embed the images with it"
        )


def read_image_embeddings(directories: Sequence[Path], clip: Path) -> tuple[list[str], Tensor]:
    """Return keys and unit-norm image embeddings [N, E] of feature directories.

    Raises EncoderMismatchError where the CLIP in ``clip`` did not make them.
    """
    rows: dict[str, list[float]] = {}
    for directory in directories:
        require_encoder(directory, clip)
        for table in sorted((directory / IMAGES).rglob("[0-9]*.parquet")):
            rows |= {row["key"]: row["embedding"] for row in read_rows(table, IMAGE_EMBEDDINGS, ["key", "embedding"])}
    return list(rows), torch.from_numpy(np.array(list(rows.values()), dtype=np.float32))
