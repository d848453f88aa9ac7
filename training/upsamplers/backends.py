"""Which back end an upsampler on disk is of."""

import json
from pathlib import Path

from t2i_assets.corpus.schemas import UPSAMPLER_EXAMPLES
from t2i_assets.corpus.tables import read_rows
from training.upsamplers.protocol import Upsampler

RECORD = "upsampler.json"
EXAMPLES = "examples.parquet"
"""UPSAMPLER_EXAMPLES of the back end ``transformers``."""


def load_upsampler(directory: Path, precision: str = "fp32") -> Upsampler:
    """Return the upsampler that ``training.upsampler`` wrote. Raises ValueError where its back end is unknown."""
    record = json.loads((directory / RECORD).read_text())
    backend = record.pop("backend")
    if backend == "trained":
        from training.upsamplers.trained import load_trained  # each back end costs seconds of import

        return load_trained(directory)
    if backend == "transformers":
        from training.upsamplers.pretrained import load_pretrained

        examples = [(row["prompt"], row["text"]) for row in read_rows(directory / EXAMPLES, UPSAMPLER_EXAMPLES)]
        return load_pretrained(record, examples, precision)
    raise ValueError(f"{directory / RECORD}: there is no back end {backend!r}, only 'trained' and 'transformers'")
