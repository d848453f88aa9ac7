"""What a causal language model writes after a prefix: sampled with numbers of its own for each text, and its likelihood.

Prefixes are batched by length, so no position is padding and no mask is needed.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from training.models.decode import pick_tokens


@dataclass(frozen=True)
class Continuation:
    """Tokens up to the one that ends the text; ``log_probability`` is the model's own (temperature 1, nothing cut
    off), natural log, that of the end included."""

    tokens: tuple[int, ...]
    log_probability: float


@dataclass(frozen=True)
class Sampling:
    """How texts are drawn: as many as ``count`` from each prefix, of at most ``max_tokens``."""

    count: int
    top_p: float
    temperature: float
    max_tokens: int
    batch_size: int


@torch.no_grad()
def sample_continuations(
    model: PreTrainedModel,
    prefixes: Sequence[Sequence[int]],
    names: Sequence[str],
    seed: int,
    ends: Callable[[int], bool],
    sampling: Sampling,
    forbidden: Sequence[int] = (),
) -> list[list[Continuation]]:
    """Return ``sampling.count`` continuations of each prefix; the random numbers of one follow from (seed, name, number).

    ``ends`` tells the tokens that end a text. A text that had no end after ``max_tokens`` is left out, as is every
    text of a prefix that fills the model's context.
    """
    found: list[list[Continuation]] = [[] for _ in prefixes]
    for rows in _batches(prefixes, sampling.batch_size):
        length = min(sampling.max_tokens, _context(model) - len(prefixes[rows[0]]))
        if length < 1:
            continue
        drawn = [_uniforms(seed, f"{n}/{names[row]}", length) for row in rows for n in range(sampling.count)]
        chances = torch.from_numpy(np.stack(drawn)).to(model.device)
        tokens = torch.tensor([list(prefixes[row]) for row in rows], device=model.device)
        texts = _sample(model, tokens, chances, ends, sampling, list(forbidden))
        for place, text in enumerate(texts):
            if text is not None:
                found[rows[place // sampling.count]].append(text)
    return found


@torch.no_grad()
def log_likelihood(model: PreTrainedModel, prefix: Sequence[int], text: Sequence[int]) -> float:
    """Return the natural log-probability of ``text`` after ``prefix``, its end included where it is given."""
    tokens = torch.tensor([[*prefix, *text]], device=model.device)
    logits = model(input_ids=tokens).logits[0, len(prefix) - 1 : -1].float()
    return float(logits.log_softmax(dim=1).gather(1, tokens[0, len(prefix) :, None]).double().sum())


def _sample(
    model: PreTrainedModel,
    prefixes: Tensor,
    chances: Tensor,
    ends: Callable[[int], bool],
    sampling: Sampling,
    forbidden: list[int],
) -> list[Continuation | None]:
    """Return the texts of prefixes [B, L] for ``chances`` [B * count, positions], in this order."""
    output = model(input_ids=prefixes, use_cache=True)
    cache, logits = output.past_key_values, output.logits[:, -1].float()
    cache.batch_repeat_interleave(sampling.count)
    logits = logits.repeat_interleave(sampling.count, dim=0)
    row = torch.arange(len(logits), device=logits.device)
    written: list[list[int]] = [[] for _ in row]
    total = torch.zeros(len(row), dtype=torch.float64, device=logits.device)
    finished: list[Continuation | None] = [None] * len(row)
    for position in range(chances.shape[1]):
        logits[:, forbidden] = -torch.inf
        token = pick_tokens(logits, chances[row, position], sampling.top_p, sampling.temperature)
        total[row] += logits.log_softmax(dim=1).gather(1, token[:, None])[:, 0].double()
        going = torch.ones(len(row), dtype=torch.bool)
        for place, (index, value) in enumerate(zip(row.tolist(), token.tolist(), strict=True)):
            if ends(value):
                finished[index] = Continuation(tuple(written[index]), float(total[index]))
                going[place] = False
            else:
                written[index].append(value)
        if not going.any() or position + 1 == chances.shape[1]:
            break
        if not going.all():
            kept = going.nonzero()[:, 0].to(row.device)
            row, token = row[kept], token[kept]
            cache.batch_select_indices(kept)
        output = model(input_ids=token[:, None], past_key_values=cache, use_cache=True)
        cache, logits = output.past_key_values, output.logits[:, -1].float()
    return finished


def _batches(prefixes: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
    """Yield the numbers of prefixes of one length, at most ``size`` at a time."""
    by_length: dict[int, list[int]] = {}
    for number, prefix in enumerate(prefixes):
        by_length.setdefault(len(prefix), []).append(number)
    for _, numbers in sorted(by_length.items()):
        for start in range(0, len(numbers), size):
            yield numbers[start : start + size]


def _context(model: PreTrainedModel) -> int:
    return int(getattr(model.config, "max_position_embeddings", None) or 2**31)


def _uniforms(seed: int, name: str, count: int) -> np.ndarray:
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest, "big")).random(count)
