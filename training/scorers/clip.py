"""A CLIP that took no part in captioning or filtering: its cosine is an independent second opinion."""

from collections.abc import Sequence
from typing import Any

import open_clip
import torch.nn.functional as F
from torch import Tensor

from training.models.clip import image_size, preprocess


class ClipScorer:
    """``model`` is a CLIP of open_clip, ``tokenizer`` what open_clip has for it."""

    kinds: tuple[str, ...] = ("clip",)

    def __init__(self, model: Any, tokenizer: Any, name: str) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.name = name
        self.image_size = image_size(model)

    def score(self, images: Tensor, texts: Sequence[str], image_of: Tensor) -> Tensor:
        image = F.normalize(self.model.encode_image(preprocess(self.model, images)), dim=-1)[image_of]
        text = F.normalize(self.model.encode_text(self.tokenizer(list(texts))), dim=-1)
        return (image * text).sum(dim=1, keepdim=True).float()


def load_clip_scorer(model: str, pretrained: str | None) -> ClipScorer:
    """Load what open_clip knows by name, or ``hf-hub:…`` or ``local-dir:…``."""
    name = model if pretrained is None else f"{model}/{pretrained}"
    return ClipScorer(open_clip.create_model(model, pretrained=pretrained), open_clip.get_tokenizer(model), name)
