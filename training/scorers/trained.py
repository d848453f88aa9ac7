"""The filter of this corpus: ITM probability and ITC cosine."""

from collections.abc import Sequence
from pathlib import Path

import torch
from open_clip import SimpleTokenizer
from torch import Tensor

from training.data import to_signed
from training.models.blip_filter import MATCH, BlipFilter, load_filter, trimmed
from training.tokenizer import load


class FilterScorer:
    """What ``training.caption_filter`` trained."""

    kinds: tuple[str, ...] = ("itm", "itc")

    def __init__(self, model: BlipFilter, tokenizer: SimpleTokenizer, name: str) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.name = name
        self.image_size = model.config.image_size

    def score(self, images: Tensor, texts: Sequence[str], image_of: Tensor) -> Tensor:
        grounding = self.model.encode_image(to_signed(images))
        tokens = trimmed(self.tokenizer(list(texts)), self.model.config.end_token)
        itm = self.model.match(tokens, grounding, image_of).softmax(dim=1)[:, MATCH]
        itc = (grounding.embedding[image_of] * self.model.encode_text(tokens)).sum(dim=1)
        return torch.stack([itm, itc], dim=1).float()


def load_filter_scorer(caption_filter: Path, tokenizer: Path, name: str) -> FilterScorer:
    """Read what ``training.caption_filter`` and ``training.tokenizer`` wrote."""
    model = load_filter(caption_filter)
    return FilterScorer(model, load(tokenizer, model.config.context_length), name)
