"""The encoders: the judge, FID's Inception, CLIP of open_clip and DINOv2 of transformers."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evaluation.features.config import EncoderConfig
from evaluation.features.encoder import Encoder
from evaluation.features.folded_inception import FoldedInception
from evaluation.features.inception import FEATURES, SIDE, load_inception
from evaluation.features.preprocessing import Preprocessing
from evaluation.features.weights import file_sha256, weights_file
from evaluation.models.detector import load_detector
from evaluation.systems import scorer_digest
from t2i_assets.corpus.digests import DIGEST_LENGTH, digest
from t2i_assets.corpus.named_models import named_model_digest
from training.config import PretrainedClipConfig

PUBLISHED = "6726825d"
"""How the sha256 of the weights begins whose distance alone is called FID."""
INCEPTION_CENTRE = {"clean": 128.0, "legacy": 127.5, "bytes": 128.0}
"""What colours are centred on and divided by: TensorFlow's and clean-fid's way, and pytorch-fid's."""


def load_encoder(config: EncoderConfig, judge: Path, cache: Path, device: torch.device) -> Encoder:
    """Return the configured encoder on ``device``; ``judge`` is the pipeline's own, ``cache`` keeps what is fetched.

    Raises WeightsError or ValueError where its weights are not there or not its own.
    """
    match config.kind:
        case "judge":
            return _judge(config, judge, device)
        case "inception":
            return _inception(config, cache, device)
        case "clip":
            return _clip(config, device)
        case _:
            return _dinov2(config, device)


class NetworkEncoder:
    """A network that turns prepared pictures into features."""

    def __init__(
        self,
        name: str,
        network: nn.Module,
        preprocessing: Preprocessing,
        weights_digest: str,
        dimension: int,
        device: torch.device,
        classifier: Tensor | None = None,
    ) -> None:
        self.name, self.weights_digest = name, weights_digest
        self.preprocessing, self.dimension, self.classifier = preprocessing, dimension, classifier
        self._network = network.eval().requires_grad_(False).to(device)
        self._device = device

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        told = self.preprocessing
        mean, std = (torch.tensor(value, device=self._device)[:, None, None] for value in (told.mean, told.std))
        prepared = pixels.to(self._device).to(torch.float32, copy=True).sub_(mean).div_(std)
        return self._network(prepared).float().cpu()


class _Pooled(nn.Module):
    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> Tensor:
        return self.detector(images)[1]


class _ImageTower(nn.Module):
    def __init__(self, clip: nn.Module) -> None:
        super().__init__()
        self.clip = clip

    def forward(self, images: Tensor) -> Tensor:
        return self.clip.encode_image(images)


class _ClassToken(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images).last_hidden_state[:, 0]


def _judge(config: EncoderConfig, directory: Path, device: torch.device) -> Encoder:
    network = load_detector(directory).network
    told = Preprocessing(side=network.config.image_size, resize=config.resize or "bytes", fit="crop")
    return NetworkEncoder(
        config.called, _Pooled(network), told, scorer_digest(directory), network.config.features, device
    )


def _inception(config: EncoderConfig, cache: Path, device: torch.device) -> Encoder:
    path = weights_file(config.weights or "", config.sha256, cache)
    network = load_inception(torch.load(path, map_location="cpu", weights_only=True))
    found, resize = file_sha256(path), config.resize or "clean"
    centre = (INCEPTION_CENTRE[resize],) * 3
    told = Preprocessing(side=SIDE, resize=resize, fit="stretch", mean=centre, std=centre)
    name = config.name or ("fid" if found.startswith(PUBLISHED) else config.kind)
    folded = FoldedInception(network)
    return NetworkEncoder(name, folded, told, found[:DIGEST_LENGTH], FEATURES, device, network.fc.weight.detach())


def _clip(config: EncoderConfig, device: torch.device) -> Encoder:
    from training.models.clip import image_size, open_pretrained  # here, not above: open_clip takes seconds

    model, _, _ = open_pretrained(PretrainedClipConfig(model=config.model or "", weights=config.weights))
    told = _as_trained(config, image_size(model), model.visual.image_mean, model.visual.image_std)
    model.eval()
    weights = named_model_digest(config.model, config.weights)
    with torch.no_grad():
        dimension = model.encode_image(torch.zeros(1, 3, told.side, told.side)).shape[1]
    return NetworkEncoder(config.called, _ImageTower(model), told, weights, dimension, device)


def _dinov2(config: EncoderConfig, device: torch.device) -> Encoder:
    from transformers import AutoConfig, AutoImageProcessor, AutoModel  # here, not above: as open_clip

    name, revision = config.model or "", config.revision
    kind = AutoConfig.from_pretrained(name, revision=revision).model_type
    if not kind.startswith("dinov2"):
        raise ValueError(f"{name} is a {kind}, not a DINOv2")
    model = AutoModel.from_pretrained(name, revision=revision)
    processor: Any = AutoImageProcessor.from_pretrained(name, revision=revision)
    side = processor.crop_size["height"]
    told = _as_trained(config, side, processor.image_mean, processor.image_std)
    weights = digest([named_model_digest(name, revision)])
    return NetworkEncoder(config.called, _ClassToken(model), told, weights, model.config.hidden_size, device)


def _as_trained(config: EncoderConfig, side: int, mean: Any, std: Any) -> Preprocessing:
    """Return the preprocessing of an encoder whose mean and deviation are of colours in 0..1."""
    centre, spread = (tuple(255 * float(value) for value in values) for values in (mean, std))
    return Preprocessing(side=side, resize=config.resize or "clean", fit="crop", mean=centre, std=spread)
