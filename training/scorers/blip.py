"""BLIP for image-text retrieval, as transformers has it: ITM probability and ITC cosine.

Follows ``BlipForImageTextRetrieval.forward``, transformers 5, but encodes an image once for all of its texts. Texts
open with [CLS], as in that forward pass: [ENC], which the paper names and the tokenizer holds, was not used for the
published weights' scores. Class 1 of the ITM head is "match".
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

MATCH = 1


class BlipScorer:
    """``model`` is a BlipForImageTextRetrieval, ``processor`` the BlipProcessor that belongs to it."""

    kinds: tuple[str, ...] = ("itm", "itc")

    def __init__(self, model: Any, processor: Any, name: str) -> None:
        self.model = model.eval()
        self.tokenizer = processor.tokenizer
        self.name = name
        self.image_size = model.config.vision_config.image_size
        self.longest = min(self.tokenizer.model_max_length, model.config.text_config.max_position_embeddings)
        mean, std = processor.image_processor.image_mean, processor.image_processor.image_std
        self.mean, self.std = torch.tensor(mean).view(1, 3, 1, 1), torch.tensor(std).view(1, 3, 1, 1)

    def score(self, images: Tensor, texts: Sequence[str], image_of: Tensor) -> Tensor:
        model = self.model
        patches = model.vision_model(pixel_values=(images.float() / 255 - self.mean) / self.std).last_hidden_state
        words = self.tokenizer(list(texts), padding=True, truncation=True, max_length=self.longest, return_tensors="pt")
        text = {"input_ids": words["input_ids"], "attention_mask": words["attention_mask"]}
        shown = patches[image_of]
        grounded = model.text_encoder(
            **text,
            encoder_hidden_states=shown,
            encoder_attention_mask=torch.ones(shown.shape[:2], dtype=torch.long),
        ).last_hidden_state
        itm = model.itm_head(grounded[:, 0]).softmax(dim=1)[:, MATCH]
        image = F.normalize(model.vision_proj(patches[:, 0]), dim=-1)[image_of]
        said = F.normalize(model.text_proj(model.text_encoder(**text).last_hidden_state[:, 0]), dim=-1)
        return torch.stack([itm, (image * said).sum(dim=1)], dim=1).float()


def load_blip_scorer(model: str) -> BlipScorer:
    """Load a checkpoint by its name on the Hugging Face Hub or from a local directory.

    Raises ValueError where the directory or name holds another kind of model.
    """
    from transformers import AutoConfig, BlipForImageTextRetrieval, BlipProcessor  # seconds of import

    kinds = AutoConfig.from_pretrained(model).architectures or []
    if "BlipForImageTextRetrieval" not in kinds:
        raise ValueError(
            f"score.model {model!r} is {', '.join(kinds) or 'of no named kind'}; the back end 'blip' needs a "
            "BlipForImageTextRetrieval, such as Salesforce/blip-itm-base-coco"
        )
    return BlipScorer(
        BlipForImageTextRetrieval.from_pretrained(model), BlipProcessor.from_pretrained(model), name=model
    )
