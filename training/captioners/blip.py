"""BLIP captioners of transformers, by name or local path."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor, PreTrainedTokenizerBase

from training.captioners.cached_decoder import CachedDecoder, normalise, write
from training.config import DecodeConfig
from training.models.decode import Caption


@dataclass(frozen=True)
class BlipCaptioner:
    """A BLIP in evaluation mode with its processor's parts; captions go on from ``prompt``, no part of them."""

    model: BlipForConditionalGeneration
    tokenizer: PreTrainedTokenizerBase
    processor: BlipImageProcessor
    prompt: str = ""

    @property
    def image_size(self) -> int:
        return int(self.model.config.vision_config.image_size)

    @torch.no_grad()
    def write(self, images: Tensor, names: Sequence[str], seed: int, config: DecodeConfig) -> list[Caption]:
        pixels = normalise(images, self.processor.image_mean, self.processor.image_std, self.model.dtype)
        states = self.model.vision_model(pixel_values=pixels.to(self.model.device)).last_hidden_state
        text = self.model.config.text_config
        before = [text.bos_token_id, *self.tokenizer.encode(self.prompt, add_special_tokens=False)]
        decoder = CachedDecoder(self._forward, states)
        logits = decoder.read(torch.tensor([before] * len(images), device=states.device))
        room = text.max_position_embeddings - len(before)
        ends, never = (text.sep_token_id,), (text.bos_token_id,)
        return write(decoder, logits, self.model, self.tokenizer, ends, never, room, names, seed, config)

    def _forward(self, tokens: Tensor, states: Tensor | None, cache: object) -> object:
        return self.model.text_decoder(
            input_ids=tokens, encoder_hidden_states=states, past_key_values=cache, use_cache=True, is_decoder=True
        )


def open_blip(name: str, revision: str | None, dtype: torch.dtype) -> Callable[[str], BlipCaptioner]:
    """Open a BLIP by the name of a repository or the path of a directory."""
    chosen = {} if revision is None else {"revision": revision}
    model = BlipForConditionalGeneration.from_pretrained(name, dtype=dtype, **chosen).eval()
    processor = BlipProcessor.from_pretrained(name, **chosen)
    return lambda prompt: BlipCaptioner(model, processor.tokenizer, processor.image_processor, prompt)
