"""CLIP as transformers runs it: any checkpoint by name or path, and what a saved model draws with."""

from pathlib import Path
from typing import Literal

import torch
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from training.models.pipeline import condition_of
from training.text_encoders.protocol import (
    SAVED_ENCODER,
    SAVED_TOKENIZER,
    Condition,
    TextEncoderError,
    digest_parts,
)

Told = Literal["full", "states"]


class ClipTextEncoder:
    """A frozen CLIP text encoder; its states alone, or beside its words and its embedding of the text."""

    def __init__(
        self, model: CLIPTextModel | CLIPTextModelWithProjection, tokenizer: CLIPTokenizer, told: Told
    ) -> None:
        self.model, self.tokenizer, self.told = model, tokenizer, told

    @property
    def width(self) -> int:
        hidden: int = self.model.config.hidden_size
        return hidden if self.told == "states" else 2 * hidden

    @property
    def length(self) -> int:
        length: int = self.tokenizer.model_max_length
        return length

    @property
    def embed_dim(self) -> int:
        return 0 if self.told == "states" else self.model.config.projection_dim

    @torch.no_grad()
    def __call__(self, texts: list[str], batch_size: int = 256) -> Condition:
        states = [torch.zeros(0, self.length, self.width)]
        embeddings = [torch.zeros(0, self.embed_dim)]
        for start in range(0, len(texts), batch_size):
            of_tokens, of_text = condition_of(self.model, self.tokenizer, texts[start : start + batch_size], self.told)
            states.append(of_tokens.float().cpu())
            embeddings.append(of_text.float().cpu())
        return Condition.of_text(torch.cat(states), torch.cat(embeddings))

    def digest(self) -> str:
        return digest_parts(self.model, self.tokenizer.get_vocab(), told=self.told, length=self.length)

    def save(self, directory: Path) -> dict[str, list[str]]:
        self.model.save_pretrained(directory / SAVED_ENCODER)
        self.tokenizer.save_pretrained(directory / SAVED_TOKENIZER)
        self.tokenizer.backend_tokenizer.model.save(str(directory / SAVED_TOKENIZER))
        return {
            SAVED_ENCODER: ["transformers", type(self.model).__name__],
            SAVED_TOKENIZER: ["transformers", "CLIPTokenizer"],
        }


def open_clip_of_transformers(model: str, told: Told, tokenizer: str | None = None) -> ClipTextEncoder:
    """Load a CLIP by name or local path, with its tokenizer beside it or in ``tokenizer``, in eval mode.

    Raises TextEncoderError where the checkpoint lacks a weight that is needed.
    """
    kind = CLIPTextModel if told == "states" else CLIPTextModelWithProjection
    loaded, found = kind.from_pretrained(model, output_loading_info=True)
    if found["missing_keys"]:
        raise TextEncoderError(f"{model} is no {kind.__name__}: it has no {', '.join(sorted(found['missing_keys']))}")
    words = CLIPTokenizer.from_pretrained(tokenizer or model)
    words.model_max_length = min(words.model_max_length, loaded.config.max_position_embeddings)
    return ClipTextEncoder(loaded.eval(), words, told)


def states_alone(model: CLIPTextModelWithProjection, tokenizer: CLIPTokenizer) -> ClipTextEncoder:
    """Return the encoder that tells states alone, as the text encoder of Stable Diffusion does."""
    alone = CLIPTextModel(model.config)
    prefix = "" if any(name.startswith("text_model.") for name in alone.state_dict()) else "text_model."
    kept = {
        name.removeprefix(prefix): weight for name, weight in model.state_dict().items() if "projection" not in name
    }
    alone.load_state_dict(kept, strict=True)
    return ClipTextEncoder(alone.eval(), tokenizer, "states")
