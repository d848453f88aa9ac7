"""ITC as BLIP trains it: a momentum encoder gives soft targets, and a queue of its features gives more negatives.

Source: Li et al., "Align before Fuse" (2021), sections 3.2 and 3.3, which BLIP (2022), section 3.2, follows.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.models.blip_filter import BlipFilter

NOBODY = -1
FORBIDDEN = -1e4


class MomentumContrast(nn.Module):
    """Holds the momentum encoder, the queues and how far ``alpha`` is ramped up: all of it is saved in checkpoints.

    ``queue`` pairs are kept; ``alpha`` is the weight of the momentum encoder's own similarities in the targets, reached
    after ``ramp`` steps.
    """

    def __init__(self, model: BlipFilter, queue: int, momentum: float, alpha: float, ramp: int) -> None:
        super().__init__()
        self.momentum, self.alpha, self.ramp = momentum, alpha, ramp
        self.teacher = copy.deepcopy(model).requires_grad_(False)
        width = model.config.embed_dim
        self.image_queue: Tensor
        self.text_queue: Tensor
        self.image_ids: Tensor
        self.text_ids: Tensor
        self.steps: Tensor
        self.register_buffer("image_queue", torch.zeros(queue, width))
        self.register_buffer("text_queue", torch.zeros(queue, width))
        self.register_buffer("image_ids", torch.full((queue,), NOBODY))
        self.register_buffer("text_ids", torch.full((queue,), NOBODY))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def forward(
        self, model: BlipFilter, images: Tensor, tokens: Tensor, image: Tensor, text: Tensor, batch: Mapping[str, Any]
    ) -> Tensor:
        """Return the ITC loss of ``image`` and ``text``, embeddings (N, D), against the batch's and the queues'.

        Pairs of the queue with the same image or the same text are positives too. In training mode the momentum
        encoder follows ``model`` first, and its features of this batch go into the queues afterwards.
        """
        if self.training:
            self._follow(model)
        with torch.no_grad():
            seen_image = self.teacher.encode_image(images).embedding.float()
            seen_text = self.teacher.encode_text(tokens).float()
        alpha = self.alpha * min(1.0, int(self.steps) / max(1, self.ramp))
        known = (batch["image_ids"][:, None] == self.image_ids) | (batch["text_ids"][:, None] == self.text_ids)
        nobody = (self.image_ids == NOBODY).expand_as(known)
        positives, implied = batch["positives"], batch["implied"]
        all_texts, all_images = torch.cat([seen_text, self.text_queue]), torch.cat([seen_image, self.image_queue])
        scale = model.scale()

        def contrast(own: Tensor, own_teacher: Tensor, others: Tensor, positives: Tensor, implied: Tensor) -> Tensor:
            positives = torch.cat([positives, known], dim=1)
            left_out = torch.cat([implied, nobody], dim=1) & ~positives
            with torch.no_grad():
                soft = (scale * own_teacher @ others.T).masked_fill(left_out, FORBIDDEN).softmax(dim=1)
                hard = positives.float() / positives.sum(dim=1, keepdim=True)
                target = alpha * soft + (1 - alpha) * hard
            return F.cross_entropy((scale * own @ others.T).masked_fill(left_out, FORBIDDEN), target)

        of_images = contrast(image, seen_image, all_texts, positives, implied)
        of_texts = contrast(text, seen_text, all_images, positives.T, implied.T)
        if self.training:
            self._enqueue(seen_image, seen_text, batch)
        return (of_images + of_texts) / 2

    @torch.no_grad()
    def _follow(self, model: BlipFilter) -> None:
        own, others = list(self.teacher.parameters()), list(model.parameters())
        torch._foreach_lerp_(own, [weight.detach() for weight in others], 1 - self.momentum)
        for mine, theirs in zip(self.teacher.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)

    @torch.no_grad()
    def _enqueue(self, image: Tensor, text: Tensor, batch: Mapping[str, Any]) -> None:
        size = len(self.image_ids)
        if size:
            count = min(size, len(image))
            places = (int(self.steps) * len(image) + torch.arange(count, device=image.device)) % size
            self.image_queue[places], self.text_queue[places] = image[:count], text[:count]
            self.image_ids[places] = batch["image_ids"][:count]
            self.text_ids[places] = batch["text_ids"][:count]
        self.steps += 1
