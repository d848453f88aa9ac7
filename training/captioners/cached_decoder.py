"""A text decoder of transformers behind the protocol of our decoding loops, with the library's own cache.

``generate`` draws the tokens of a whole batch from one generator, so a caption would depend on its neighbours; and its
beams end by rules of their own. So the library's forward pass is called here, one token at a time.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import Cache, PreTrainedModel, PreTrainedTokenizerBase

from training.config import DecodeConfig
from training.models.decode import Caption, decode
from training.models.decoder import Ending

Forward = Callable[[Tensor, Tensor | None, Cache | None], Any]
"""Tokens (N, L), the states that they look at (N, S, W) or none, and the cache, to the library's output."""


class CachedDecoder:
    """Decodes texts; ``states`` (N, S, W) is what each row looks at beside its cache, if anything."""

    def __init__(self, forward: Forward, states: Tensor | None, cache: Cache | None = None) -> None:
        self.forward, self.states, self.cache = forward, states, cache

    def step(self, tokens: Tensor) -> Tensor:
        return self.read(tokens[:, None])

    def read(self, tokens: Tensor) -> Tensor:
        """Append ``tokens`` (N, L); return the logits (N, V) that follow the last."""
        output = self.forward(tokens, self.states, self.cache)
        self.cache = output.past_key_values
        return output.logits[:, -1]

    def select(self, rows: Tensor, beams: int = 1) -> None:
        if self.cache is not None:
            self.cache.batch_select_indices(rows)
        if self.states is not None:
            self.states = self.states[rows]


def write(
    decoder: CachedDecoder,
    logits: Tensor,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    ends: Sequence[int],
    never: Sequence[int],
    room: int | None,
    names: Sequence[str],
    seed: int,
    config: DecodeConfig,
) -> list[Caption]:
    """Return a caption for each row of ``logits`` (N, V), its first token's; ``room`` is the model's own limit.

    ``ends`` end a text; ``never`` stand in one, nor do the tokenizer's special tokens.
    """
    most = config.max_tokens if room is None else min(config.max_tokens, room)
    if most < 1:
        raise ValueError(f"the prompt fills the {type(model).__name__}: no token can follow it")
    special = {*never, *tokenizer.all_special_ids} - set(ends)
    ending = Ending(tuple(ends), tuple(sorted(special)), config.min_tokens, most)
    captions = []
    for written in decode(decoder, logits, ending, names, seed, config):
        text = tokenizer.decode(list(written.tokens), skip_special_tokens=True)
        captions.append(Caption(" ".join(text.split()), written.tokens, written.log_probability))
    return captions


def end_tokens(model: PreTrainedModel) -> tuple[int, ...]:
    """Return the tokens at which a language model's own configuration ends a text; ValueError where it names none."""
    end = model.generation_config.eos_token_id
    if end is None:
        raise ValueError(f"the {type(model).__name__} names no token that ends a text: set eos_token_id in its config")
    return (end,) if isinstance(end, int) else tuple(end)


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype) -> Tensor:
    """Scale uint8 images (N, 3, S, S) by a processor's mean and deviation of each colour."""
    shift, scale = (torch.tensor(value, device=images.device).view(1, 3, 1, 1) for value in (mean, std))
    return ((images.float() / 255 - shift) / scale).to(dtype)
