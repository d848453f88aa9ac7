"""T5's encoder: any checkpoint of transformers by name or path."""

from pathlib import Path

import torch
from transformers import AutoTokenizer, PreTrainedTokenizerFast, T5EncoderModel

from training.models.pipeline import condition_of
from training.text_encoders.protocol import (
    SAVED_ENCODER,
    SAVED_TOKENIZER,
    Condition,
    TextEncoderError,
    digest_parts,
)


class T5TextEncoder:
    """A frozen T5 encoder: a state per token, zero after the end of the text, and no embedding of the whole."""

    told = "states"
    embed_dim = 0

    def __init__(self, model: T5EncoderModel, tokenizer: PreTrainedTokenizerFast) -> None:
        self.model, self.tokenizer = model, tokenizer

    @property
    def width(self) -> int:
        width: int = self.model.config.d_model
        return width

    @property
    def length(self) -> int:
        length: int = self.tokenizer.model_max_length
        return length

    @torch.no_grad()
    def __call__(self, texts: list[str], batch_size: int = 256) -> Condition:
        states = [torch.zeros(0, self.length, self.width)]
        for start in range(0, len(texts), batch_size):
            of_tokens, _ = condition_of(self.model, self.tokenizer, texts[start : start + batch_size], self.told)
            states.append(of_tokens.float().cpu())
        whole = torch.cat(states)
        return Condition.of_text(whole, whole.new_zeros(len(whole), 0))

    def digest(self) -> str:
        return digest_parts(self.model, self.tokenizer.get_vocab(), told=self.told, length=self.length)

    def save(self, directory: Path) -> dict[str, list[str]]:
        self.model.save_pretrained(directory / SAVED_ENCODER)
        self.tokenizer.save_pretrained(directory / SAVED_TOKENIZER)
        return {
            SAVED_ENCODER: ["transformers", "T5EncoderModel"],
            SAVED_TOKENIZER: ["transformers", type(self.tokenizer).__name__],
        }


def open_t5(model: str, max_length: int | None = None, tokenizer: str | None = None) -> T5TextEncoder:
    """Load a T5 by name or local path, with its tokenizer beside it or in ``tokenizer``, in eval mode.

    Texts are cut to ``max_length`` tokens, or to what the tokenizer says. Raises TextEncoderError where the checkpoint
    lacks a weight of the encoder.
    """
    loaded, found = T5EncoderModel.from_pretrained(model, output_loading_info=True)
    if found["missing_keys"]:
        raise TextEncoderError(f"{model} is no T5EncoderModel: it has no {', '.join(sorted(found['missing_keys']))}")
    words = AutoTokenizer.from_pretrained(tokenizer or model)
    words.model_max_length = max_length or words.model_max_length
    return T5TextEncoder(loaded.eval(), words)
