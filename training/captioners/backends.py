"""Opening the configured captioners, one for each style. Only the library that is needed is imported."""

from collections.abc import Callable
from pathlib import Path

import torch

from training.captioners.protocol import Captioner
from training.config import RecaptionConfig
from training.pairs import Style


def open_captioners(config: RecaptionConfig, captioner: Path | None) -> dict[Style, Captioner]:
    """Return the captioner of each configured style, in order.

    ``captioner`` is the directory of the pipeline's own, which a model by name does without. Raises ValueError where
    neither is given.
    """
    dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
    if config.model is None:
        if captioner is None:
            raise ValueError("no captioner: give the job the input 'captioner', or a model by name in 'model'")
        from training.captioners.coca import open_own

        return {style.style: open_own(captioner / style.style, dtype, style.prompt) for style in config.styles}
    write_in = _with_prompt(config, config.model, dtype)
    return {style.style: write_in(style.prompt) for style in config.styles}


def _with_prompt(config: RecaptionConfig, model: str, dtype: torch.dtype) -> Callable[[str], Captioner]:
    """Return what makes a captioner of a prompt; the model is loaded once."""
    if config.backend == "coca":
        from training.captioners.coca import open_coca

        return open_coca(model, config.pretrained, dtype)
    if config.backend == "blip":
        from training.captioners.blip import open_blip

        return open_blip(model, config.revision, dtype)
    from training.captioners.blip2 import open_blip2

    return open_blip2(model, config.revision, dtype)
