"""Writing captions with open_clip's CoCa: nucleus, top-k and greedy decoding and beam search over a KV cache.

open_clip's ``CoCa.generate`` computes the whole prefix again for every token and draws from the global generator.
Here each token costs one pass over one position, and the numbers that pick the tokens of a sample come from
(seed, sample key), so a caption does not depend on which other samples share its batch.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from open_clip import SimpleTokenizer
from open_clip.coca_model import CoCa
from torch import Tensor

from training.config import DecodeConfig
from training.models.beam import beam_search
from training.models.cached_coca import CachedCoca
from training.models.decoder import Decoder, Ending, Written
from training.models.token_sampling import sample, uniforms


@dataclass(frozen=True)
class Caption:
    """A written caption; ``log_probability`` is the model's own (temperature 1, nothing cut off), natural log."""

    text: str
    tokens: tuple[int, ...]
    log_probability: float


@torch.no_grad()
def write_captions(
    model: CoCa,
    tokenizer: SimpleTokenizer,
    images: Tensor,
    names: Sequence[str],
    seed: int,
    config: DecodeConfig,
    prompt: str = "",
) -> list[Caption]:
    """Return one caption per image.

    ``images`` (N, 3, S, S) as the model wants them, of its dtype; ``names`` give each image its random numbers: the
    sample's key and whatever else should tell two captions of it apart. ``prompt`` is what every caption goes on from;
    it is no part of the caption. Raises ValueError where it leaves no room.
    """
    start, end = tokenizer.sot_token_id, tokenizer.eot_token_id
    before = [start, *tokenizer.encode(prompt)]
    most = min(config.max_tokens, model.context_length - len(before))
    if most < 1:
        raise ValueError(
            f"the prompt {prompt!r} fills the model's {model.context_length} tokens: nothing can follow it"
        )
    _, image_tokens = model._encode_image(images)
    decoder = CachedCoca(model, image_tokens, len(before) + most)
    for token in before:
        logits = decoder.step(torch.full((len(images),), token, device=images.device))
    ending = Ending((end,), (start,), config.min_tokens, most)
    return [
        Caption(detokenize(tokenizer, written.tokens), written.tokens, written.log_probability)
        for written in decode(decoder, logits, ending, names, seed, config)
    ]


def decode(
    decoder: Decoder, logits: Tensor, ending: Ending, names: Sequence[str], seed: int, config: DecodeConfig
) -> list[Written]:
    """Return a text for each row of ``logits`` (N, V), its first token's, as ``config`` says."""
    if config.method == "beam":
        return beam_search(decoder, logits, ending, config.beams, config.length_penalty)
    chances = uniforms(seed, names, ending.max_tokens).to(logits.device)
    temperature = 0.0 if config.method == "greedy" else config.temperature
    top_p = config.top_p if config.method == "nucleus" else 1.0
    return sample(decoder, logits, chances, ending, top_p, config.top_k, temperature)


def detokenize(tokenizer: SimpleTokenizer, tokens: Sequence[int]) -> str:
    """Return the text of ``tokens`` without the spaces that byte-pair words leave before punctuation."""
    text = " ".join(tokenizer.decode(list(tokens)).split())
    return re.sub(r" (?=[,.;:!?]|'(?:s|t|re|ve|m|ll|d)\b)", "", text)
