"""Where a diffusion model of the unCLIP variant gets the image embedding of a caption from (DALL·E 2, figure 8)."""

import math
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from training.config import PriorSamplerConfig
from training.embeddings import encoder_digest
from training.models.autoregressive_prior import AutoregressivePrior
from training.models.clip import load_clip
from training.models.diffusion_prior import DiffusionPrior
from training.models.prior import TextCondition, prior_files
from training.models.saved_diffusion import LatentDiffusion
from training.priors import encode_captions


class ConditionMismatchError(ValueError):
    """A model cannot draw from what it is asked to; the message says what is missing or names both digests."""


class ImageEmbeddings(Protocol):
    """Image embeddings of unit variance, [B, F], for captions; each follows from its caption and generator alone."""

    def __call__(self, captions: list[str], generators: list[torch.Generator]) -> Tensor: ...


class NoEmbeddings:
    """None at all: zeros, of no dimensions where the model takes none. The model draws from the caption alone."""

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions

    def __call__(self, captions: list[str], generators: list[torch.Generator]) -> Tensor:
        return torch.zeros(len(captions), self.dimensions)


class TextEmbeddings:
    """CLIP's embedding of the caption, in the place of an image's."""

    def __init__(self, clip: Path) -> None:
        self.clip, self.tokenizer = load_clip(clip)

    def __call__(self, captions: list[str], generators: list[torch.Generator]) -> Tensor:
        embeddings = self.encode(captions).embedding
        return embeddings * math.sqrt(embeddings.shape[1])

    def encode(self, captions: list[str]) -> TextCondition:
        return encode_captions(self.clip, self.tokenizer(captions))


class PriorEmbeddings:
    """What a prior draws for the caption."""

    def __init__(self, clip: Path, prior: Path, config: PriorSamplerConfig) -> None:
        self.texts, self.config = TextEmbeddings(clip), config
        kinds = {kind.__name__: kind for kind in (DiffusionPrior, AutoregressivePrior)}
        saved, asked = prior_files(prior), encoder_digest(clip)
        if saved.kind not in kinds:
            raise ConditionMismatchError(f"{prior} holds a {saved.kind}, not one of {', '.join(kinds)}")
        if saved.image_space != asked:
            raise ConditionMismatchError(
                f"{prior} draws image embeddings of encoder {saved.image_space}, but {clip} is {asked}"
            )
        self.prior = saved.load(kinds[saved.kind])

    def __call__(self, captions: list[str], generators: list[torch.Generator]) -> Tensor:
        text = self.texts.encode(captions)
        drawn = [self.draw(text.take(torch.tensor([row])), generator) for row, generator in enumerate(generators)]
        embeddings = torch.cat(drawn)
        return embeddings * math.sqrt(embeddings.shape[1])

    def draw(self, text: TextCondition, generator: torch.Generator) -> Tensor:
        """Return the unit-norm image embedding of one caption, [1, E]."""
        if isinstance(self.prior, DiffusionPrior):
            config = self.config
            return self.prior.sample(text, generator, config.steps, config.guidance_scale, config.samples)
        return self.prior.sample(text, generator, self.config.guidance_scale)


def image_embeddings_for(
    condition: str, model: LatentDiffusion, clip: Path | None, prior: Path | None, config: PriorSamplerConfig
) -> ImageEmbeddings:
    """Return the source of image embeddings for ``condition``: caption, text_embedding or prior.

    Raises ConditionMismatchError where the model takes none, an input is missing, or the CLIP is another one than that
    whose embeddings the model knows.
    """
    if condition == "caption":
        return NoEmbeddings(model.image_dim)
    if not model.image_dim:
        raise ConditionMismatchError(
            f"condition {condition} needs a model that takes image embeddings: train one with image_embedding true"
        )
    if clip is None or (condition == "prior" and prior is None):
        missing = "clip" if clip is None else "prior"
        raise ConditionMismatchError(f"condition {condition} needs the input {missing!r}")
    if model.image_space not in (None, encoder_digest(clip)):
        raise ConditionMismatchError(
            f"the model knows image embeddings of encoder {model.image_space}, but {clip} is {encoder_digest(clip)}: "
            "name the CLIP that the model was trained with"
        )
    return (
        TextEmbeddings(clip) if prior is None or condition == "text_embedding" else PriorEmbeddings(clip, prior, config)
    )
