"""What a causal language model of transformers writes after a prefix, and how likely it thinks a text.

Prefixes are batched by length, so no position is padding and no mask is needed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from training.models.decoder import Ending, Written
from training.models.token_sampling import sample, uniforms

if TYPE_CHECKING:
    from transformers import PreTrainedModel

UNLIMITED = 2**31


@dataclass(frozen=True)
class Sampling:
    """How texts are drawn: ``count`` of each prefix, of at most ``max_tokens``, ``batch_size`` prefixes at a time."""

    count: int
    top_p: float
    temperature: float
    max_tokens: int
    batch_size: int


class CausalDecoder:
    """A causal language model with the keys and values of what it was given, one sequence in each row."""

    def __init__(self, model: "PreTrainedModel", prefixes: Tensor) -> None:
        self.model = model
        self.logits, self.cache = self._forward(prefixes, None)

    def step(self, tokens: Tensor) -> Tensor:
        """Append ``tokens`` (N,); return the logits (N, V) of what follows."""
        self.logits, self.cache = self._forward(tokens[:, None], self.cache)
        return self.logits

    def select(self, rows: Tensor, beams: int = 1) -> None:
        """Go on with ``rows`` (M,), numbers of present ones."""
        self.cache.batch_select_indices(rows)

    def _forward(self, tokens: Tensor, cache: Any) -> tuple[Tensor, Any]:
        output = self.model(input_ids=tokens, past_key_values=cache, use_cache=True)
        return output.logits[:, -1].float(), output.past_key_values


@torch.no_grad()
def continuations(
    model: "PreTrainedModel",
    prefixes: Sequence[Sequence[int]],
    names: Sequence[str],
    seed: int,
    ends: tuple[int, ...],
    banned: tuple[int, ...],
    sampling: Sampling,
) -> list[list[Written]]:
    """Return texts after each prefix (N,), whose random numbers follow from (seed, name, number of the text) alone.

    ``ends`` are tokens that end a text and ``banned`` those that never stand in one. Texts that did not end are left
    out, and so are all of a prefix that fills the model's context.
    """
    found: list[list[Written]] = [[] for _ in prefixes]
    for rows in _batches(prefixes, sampling.batch_size):
        most = min(sampling.max_tokens, _context(model) - len(prefixes[rows[0]]))
        if most < 1:
            continue
        decoder = CausalDecoder(model, torch.tensor([list(prefixes[row]) for row in rows], device=model.device))
        several = torch.arange(len(rows), device=model.device).repeat_interleave(sampling.count)
        decoder.select(several)
        chances = uniforms(seed, [f"{n}/{names[row]}" for row in rows for n in range(sampling.count)], most)
        ending = Ending(ends, banned, 0, most)
        texts = sample(
            decoder,
            decoder.logits[several],
            chances.to(model.device),
            ending,
            sampling.top_p,
            0,
            sampling.temperature,
        )
        for place, text in enumerate(texts):
            if len(text.tokens) < most:
                found[rows[place // sampling.count]].append(text)
    return found


@torch.no_grad()
def log_likelihood(model: "PreTrainedModel", prefix: Sequence[int], text: Sequence[int]) -> tuple[float, int]:
    """Return the natural log-probability of the tokens ``text`` after ``prefix``, and how many the context holds.

    Tokens beyond the model's context are left out of both.
    """
    tokens = torch.tensor([[*prefix, *text][: _context(model)]], device=model.device)
    count = tokens.shape[1] - len(prefix)
    if count < 1:
        return 0.0, 0
    logits = model(input_ids=tokens).logits[0, len(prefix) - 1 : -1].float()
    return float(logits.log_softmax(dim=1).gather(1, tokens[0, len(prefix) :, None]).double().sum()), count


def _batches(prefixes: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
    """Yield the numbers of prefixes of one length, at most ``size`` at a time."""
    by_length: dict[int, list[int]] = {}
    for number, prefix in enumerate(prefixes):
        by_length.setdefault(len(prefix), []).append(number)
    for _, numbers in sorted(by_length.items()):
        for start in range(0, len(numbers), size):
            yield numbers[start : start + size]


def _context(model: "PreTrainedModel") -> int:
    return int(getattr(model.config, "max_position_embeddings", None) or UNLIMITED)
