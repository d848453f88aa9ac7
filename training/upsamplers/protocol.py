"""The protocol of the back ends, and the choice among what they write: nothing that the prompt says may be lost.

Source of the idea: Betker et al., "Improving Image Generation with Better Captions" (DALL·E 3), appendix C: a model
trained on descriptive captions draws short prompts better when a language model has made them descriptive.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from training.config import SurvivalConfig
from training.upsamplers.continuation import Sampling
from training.upsamplers.survival import survives, without_opening

Status = Literal["kept", "fallback"]


@dataclass(frozen=True)
class Candidate:
    """A longer prompt; ``log_probability`` is the model's own, natural log."""

    text: str
    log_probability: float


class Upsampler(Protocol):
    """Writes longer prompts."""

    def write(self, prompts: Sequence[str], seed: int, sampling: Sampling) -> list[list[Candidate]]:
        """Return candidates for each prompt; they depend on (seed, prompt) and the sampling alone.

        A candidate that did not come to an end is left out, and so are all of a prompt that is too long.
        """
        ...

    def log_likelihood(self, prompt: str, text: str) -> tuple[float, int]:
        """Return the natural log-probability of ``text`` for ``prompt``, and of how many tokens it is the sum."""
        ...


@dataclass(frozen=True)
class Upsampled:
    """What became of a prompt: the likeliest candidate that keeps all it says, or where there is none, the prompt."""

    prompt: str
    text: str
    status: Status
    log_probability: float | None


def upsample(
    upsampler: Upsampler, prompts: Sequence[str], seed: int, sampling: Sampling, survival: SurvivalConfig
) -> list[Upsampled]:
    """Return what becomes of each prompt, in their order; equal prompts become equal texts."""
    unique = list(dict.fromkeys(prompts))
    bare = [without_opening(prompt, survival.openings) for prompt in unique]
    written = upsampler.write(bare, seed, sampling)
    chosen = {prompt: _choose(prompt, candidates, survival) for prompt, candidates in zip(unique, written, strict=True)}
    return [chosen[prompt] for prompt in prompts]


def judge(
    upsampler: Upsampler, pairs: Sequence[tuple[str, str]], seed: int, sampling: Sampling, survival: SurvivalConfig
) -> dict[str, float]:
    """Return figures on held-out (prompt, text) pairs; none where there is no pair that fits the model's context.

    ``val/loss`` is the mean over tokens of the text, natural log, and ``val/perplexity`` its exponential. Of the
    first candidate for each prompt, ``val/survival`` is the share that keeps all the prompt says.
    """
    likelihoods = [upsampler.log_likelihood(prompt, text) for prompt, text in pairs]
    tokens = sum(count for _, count in likelihoods)
    if not tokens:
        return {}
    loss = -sum(total for total, _ in likelihoods) / tokens
    prompts = [prompt for prompt, _ in pairs]
    first = [candidates[0].text if candidates else "" for candidates in upsampler.write(prompts, seed, sampling)]
    kept = sum(survives(prompt, text, survival) for prompt, text in zip(prompts, first, strict=True))
    return {"val/loss": loss, "val/perplexity": math.exp(loss), "val/survival": kept / len(pairs)}


def _choose(prompt: str, candidates: Sequence[Candidate], survival: SurvivalConfig) -> Upsampled:
    faithful = [candidate for candidate in candidates if survives(prompt, candidate.text, survival)]
    if not faithful or not prompt.strip():
        return Upsampled(prompt, prompt, "fallback", None)
    best = max(faithful, key=lambda candidate: candidate.log_probability)
    return Upsampled(prompt, best.text, "kept", best.log_probability)
