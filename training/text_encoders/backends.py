"""Opening the configured text encoder, or the one that a saved model was trained with."""

import json
from pathlib import Path

from training.config import PretrainedClipConfig, TextEncoderConfig
from training.text_encoders.clip import open_clip_of_transformers, states_alone
from training.text_encoders.protocol import SAVED_ENCODER, SAVED_TOKENIZER, TextEncoder, TextEncoderError
from training.text_encoders.t5 import open_t5


def open_text_encoder(config: TextEncoderConfig, clip: Path) -> TextEncoder:
    """Return the configured text encoder; ``clip`` is the directory of the pipeline's own CLIP.

    Raises TextEncoderError where the checkpoint cannot condition a diffusion model.
    """
    if config.backend == "t5":
        return open_t5(_named(config), config.max_length)
    if config.backend == "clip":
        return open_clip_of_transformers(_named(config), config.condition)
    from training.models.clip import load_clip, open_pretrained
    from training.text_encoders.conversion import require_convertible, to_transformers
    from training.text_encoders.open_clip import OpenClipTextEncoder

    if config.backend == "blend":
        model, tokenizer = load_clip(clip)
    else:
        model, tokenizer, _ = open_pretrained(PretrainedClipConfig(model=_named(config), weights=config.weights))
    if config.condition == "states":
        return states_alone(*to_transformers(model, tokenizer))
    require_convertible(model, tokenizer)
    return OpenClipTextEncoder(model.eval(), tokenizer)


def open_saved_text_encoder(directory: Path, told: str) -> TextEncoder:
    """Return the text encoder of a saved model."""
    encoder, tokenizer = str(directory / SAVED_ENCODER), str(directory / SAVED_TOKENIZER)
    kind = json.loads((directory / SAVED_ENCODER / "config.json").read_text())["model_type"]
    if kind == "t5":
        return open_t5(encoder, tokenizer=tokenizer)
    if told not in ("full", "states"):
        raise TextEncoderError(f"{directory} says that its U-Net is told {told!r} of a text: it must be full or states")
    return open_clip_of_transformers(encoder, "states" if told == "states" else "full", tokenizer)


def _named(config: TextEncoderConfig) -> str:
    if config.model is None:
        raise TextEncoderError(f"text encoder backend {config.backend!r} needs a model")
    return config.model
