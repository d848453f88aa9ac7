"""Drawing one token after another: nucleus and top-k sampling with numbers of its own for each text, and greedy.

Source: Holtzman et al., "The Curious Case of Neural Text Degeneration" (2020), section 3.1; Fan et al., "Hierarchical
Neural Story Generation" (2018), section 5.4.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from training.models.decoder import Decoder, Ending, Written

LIKELIEST = 256
"""Tokens of a large vocabulary that are ranked first; all of them only where these do not hold the nucleus."""


def sample(
    decoder: Decoder, logits: Tensor, chances: Tensor, ending: Ending, top_p: float, top_k: int, temperature: float
) -> list[Written]:
    """Return a text for each row of ``logits`` (N, V), its first token's; ``chances`` (N, max_tokens) draw the tokens.

    Texts that ended leave the decoder, so a step costs what the unfinished ones cost.
    """
    row = torch.arange(len(logits), device=logits.device)
    ends = torch.tensor(ending.ends, device=logits.device)
    tokens = torch.full((len(row), ending.max_tokens), -1, device=logits.device)
    total = torch.zeros(len(row), dtype=torch.float64, device=logits.device)
    for position in range(ending.max_tokens):
        logits = logits.float()
        token = pick_tokens(ending.forbid(logits, position), chances[row, position], top_p, temperature, top_k)
        total[row] += (logits.gather(1, token[:, None])[:, 0] - logits.logsumexp(dim=1)).double()
        kept = (~torch.isin(token, ends)).nonzero()[:, 0]
        all_go_on = len(kept) == len(row)
        if not all_go_on:
            row, token = row[kept], token[kept]
        tokens[row, position] = token
        if not len(row) or position + 1 == ending.max_tokens:
            break
        if not all_go_on:
            decoder.select(kept)
        logits = decoder.step(token)
    return [
        Written(tuple(token for token in text if token >= 0), log_probability)
        for text, log_probability in zip(tokens.tolist(), total.tolist(), strict=True)
    ]


def pick_tokens(logits: Tensor, chances: Tensor, top_p: float, temperature: float, top_k: int = 0) -> Tensor:
    """Return one token per row of ``logits`` (N, V), drawn by ``chances`` (N,) in [0, 1), float64.

    Where ``top_k`` is not 0, only so many of the likeliest tokens are drawn from; of these only the nucleus: the
    likeliest, as few as together hold ``top_p`` of their probability. Temperature 0 takes the likeliest token.

    A token is drawn from all of them and kept where it is in the nucleus, which one pass over the tokens tells; only
    where it is not the tokens are ranked and one is drawn from the nucleus, which leaves its proportions as they are.
    """
    if temperature == 0:
        return logits.argmax(dim=1)
    probability = (logits / temperature).softmax(dim=1)
    if top_k:
        ranked, order = largest(probability, top_k)
        return order.gather(1, _draw_ranked(ranked / ranked.sum(dim=1, keepdim=True), chances, top_p))[:, 0]
    token = _draw(probability, chances)
    if top_p == 1:
        return token[:, 0]
    drawn = probability.gather(1, token)
    earlier = torch.arange(probability.shape[1], device=token.device) < token
    likelier = (probability > drawn) | ((probability == drawn) & earlier)
    outside = ((probability * likelier).sum(dim=1) >= top_p).nonzero()[:, 0]
    if len(outside):  # one in ten at 0.9: drawn again, by the digits of their chance that were not used
        again = (chances[outside] * 2**26).frac()
        token[outside] = _draw_from_nucleus(probability[outside], again, top_p)
    return token[:, 0]


def _draw_from_nucleus(probability: Tensor, chances: Tensor, top_p: float) -> Tensor:
    if probability.shape[1] > 4 * LIKELIEST:
        ranked, order = largest(probability, LIKELIEST)
        if bool((ranked.sum(dim=1) >= top_p).all()):
            return order.gather(1, _draw_ranked(ranked, chances, top_p))
    ranked, order = probability.sort(dim=1, descending=True, stable=True)
    return order.gather(1, _draw_ranked(ranked, chances, top_p))


def _draw_ranked(ranked: Tensor, chances: Tensor, top_p: float) -> Tensor:
    """Return a rank per row (N, 1) of falling probabilities (N, K), from as few as hold ``top_p``."""
    before = ranked.cumsum(dim=1) - ranked
    return _draw(ranked * (before < top_p), chances)


def _draw(weights: Tensor, chances: Tensor) -> Tensor:
    """Return a column per row (N, 1), in proportion to ``weights`` (N, K)."""
    bounds = weights.cumsum(dim=1)
    whole = bounds[:, -1:].contiguous()
    point = chances.to(bounds.dtype)[:, None] * whole
    return torch.searchsorted(bounds, torch.minimum(point, whole.nextafter(torch.zeros_like(whole))), right=True)


def largest(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the ``count`` largest of each row of ``scores`` (N, M) and their numbers, falling.

    Of equal scores the first ones are taken, in order, which ``torch.topk`` leaves open.
    """
    count = min(count, scores.shape[1])
    values, index = scores.topk(count, dim=1)
    least = values[:, -1:]
    if bool(((scores >= least).sum(dim=1) > count).any()):
        equal = scores == least
        room = count - (scores > least).sum(dim=1, keepdim=True)
        taken = (scores > least) | (equal & (equal.cumsum(dim=1) <= room))
        index = taken.nonzero()[:, 1].view(len(scores), count)
    else:
        index = index.sort(dim=1).values
    values, place = scores.gather(1, index).sort(dim=1, descending=True, stable=True)
    return values, index.gather(1, place)


def uniforms(seed: int, names: Sequence[str], count: int) -> Tensor:
    """Return ``count`` numbers in [0, 1) for each name, float64 (names, count); they follow from (seed, name) alone."""
    rows = []
    for name in names:
        digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
        rows.append(np.random.default_rng(int.from_bytes(digest, "big")).random(count))
    return torch.from_numpy(np.stack(rows) if rows else np.zeros((0, count)))
