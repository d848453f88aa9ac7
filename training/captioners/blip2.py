"""BLIP-2 captioners of transformers, by name or local path; their language model continues (OPT) or translates (T5)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import Blip2ForConditionalGeneration, Blip2Processor, BlipImageProcessor, PreTrainedTokenizerBase
from transformers.modeling_outputs import BaseModelOutput

from training.captioners.cached_decoder import CachedDecoder, end_tokens, normalise, write
from training.config import DecodeConfig
from training.models.decode import Caption


@dataclass(frozen=True)
class Blip2Captioner:
    """A BLIP-2 in evaluation mode with its processor's parts; captions answer ``prompt``, which is no part of them."""

    model: Blip2ForConditionalGeneration
    tokenizer: PreTrainedTokenizerBase
    processor: BlipImageProcessor
    prompt: str = ""

    @property
    def image_size(self) -> int:
        return int(self.model.config.vision_config.image_size)

    @torch.no_grad()
    def write(self, images: Tensor, names: Sequence[str], seed: int, config: DecodeConfig) -> list[Caption]:
        model, language = self.model, self.model.language_model
        pixels = normalise(images, self.processor.image_mean, self.processor.image_std, model.dtype)
        seen = model.get_image_features(pixels.to(model.device), return_dict=True).pooler_output
        prompt = torch.tensor([self.tokenizer.encode(self.prompt)] * len(images), device=seen.device)
        embedded = torch.cat([seen, model.get_input_embeddings()(prompt).to(seen.dtype)], dim=1)
        if language.config.is_encoder_decoder:
            start, room = language.config.decoder_start_token_id, None
            decoder = CachedDecoder(self._translate, language.get_encoder()(inputs_embeds=embedded).last_hidden_state)
            logits = decoder.read(torch.full((len(images), 1), start, device=seen.device))
        else:
            start, room = language.config.bos_token_id, language.config.max_position_embeddings - embedded.shape[1]
            output = language(inputs_embeds=embedded, use_cache=True)
            decoder = CachedDecoder(self._go_on, None, output.past_key_values)
            logits = output.logits[:, -1]
        never = [token for token in (start, model.config.image_token_id) if token is not None]
        return write(decoder, logits, language, self.tokenizer, end_tokens(language), never, room, names, seed, config)

    def _translate(self, tokens: Tensor, states: Tensor | None, cache: object) -> object:
        read = BaseModelOutput(last_hidden_state=states)
        return self.model.language_model(
            decoder_input_ids=tokens, encoder_outputs=read, past_key_values=cache, use_cache=True
        )

    def _go_on(self, tokens: Tensor, states: Tensor | None, cache: object) -> object:
        return self.model.language_model(input_ids=tokens, past_key_values=cache, use_cache=True)


def open_blip2(name: str, revision: str | None, dtype: torch.dtype) -> Callable[[str], Blip2Captioner]:
    """Open a BLIP-2 by the name of a repository or the path of a directory."""
    chosen = {} if revision is None else {"revision": revision}
    model = Blip2ForConditionalGeneration.from_pretrained(name, dtype=dtype, **chosen).eval()
    processor = Blip2Processor.from_pretrained(name, **chosen)
    return lambda prompt: Blip2Captioner(model, processor.tokenizer, processor.image_processor, prompt)
