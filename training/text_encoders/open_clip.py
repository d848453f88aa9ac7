"""CLIP as open_clip runs it: what the pipeline's own text encoder says while a diffusion model is trained."""

import math
from pathlib import Path

import torch
from open_clip import CLIP, SimpleTokenizer
from torch.nn import functional as F

from training.models.clip import encode_text_states
from training.text_encoders.clip import ClipTextEncoder, Told
from training.text_encoders.conversion import to_transformers
from training.text_encoders.protocol import Condition, digest_parts


class OpenClipTextEncoder:
    """A frozen CLIP text encoder as a condition, of unit variance, with zero states after the end of the text.

    A state is the encoder's own, what a word means where it stands, beside the word's embedding, which word it is: a
    contrastive encoder forgets much of the latter on the way to its one embedding of the text.
    Zeros are keys and values that say nothing, so every text has the same shape and is encoded alike in any batch.
    """

    told: Told = "full"

    def __init__(self, clip: CLIP, tokenizer: SimpleTokenizer) -> None:
        self.clip, self.tokenizer = clip, tokenizer

    @property
    def width(self) -> int:
        return 2 * self.clip.ln_final.weight.shape[0]

    @property
    def length(self) -> int:
        return self.clip.context_length

    @property
    def embed_dim(self) -> int:
        return self.clip.text_projection.shape[1]

    @torch.no_grad()
    def __call__(self, texts: list[str], batch_size: int = 256) -> Condition:
        states = [torch.zeros(0, self.length, self.width)]
        embeddings = [torch.zeros(0, self.embed_dim)]
        device = self.clip.ln_final.weight.device
        for start in range(0, len(texts), batch_size):
            tokens = self.tokenizer(texts[start : start + batch_size]).to(device)
            of_tokens, mask, of_text = encode_text_states(self.clip, tokens)
            words = F.layer_norm(self.clip.token_embedding(tokens), (self.width // 2,))
            told = torch.cat([of_tokens, words], dim=2).float().masked_fill(~mask[:, :, None], 0)
            states.append(told.cpu())
            embeddings.append(of_text.float().cpu() * math.sqrt(self.embed_dim))
        return Condition.of_text(torch.cat(states), torch.cat(embeddings))

    def digest(self) -> str:
        return digest_parts(self.clip, self.tokenizer.encoder, told=self.told, length=self.length)

    def save(self, directory: Path) -> dict[str, list[str]]:
        return ClipTextEncoder(*to_transformers(self.clip, self.tokenizer), self.told).save(directory)
