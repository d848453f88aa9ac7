"""A small detector trained from scratch: every cell of an 8x8 grid says whether an object's centre is near.

Fully convolutional, one stage, without anchors, after Tian et al., "FCOS" (2019): a cell near a centre predicts
the distances to the four sides of the box and the object's shape, colour and texture. The background is read
from the pooled features, which also serve as image features for distances between sets.
"""

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from evaluation.detection import ATTRIBUTES, Detection, Picture, Vocabulary, iou
from training.device import moved

STRIDE = 4
SAME_OBJECT_IOU = 0.4


class DetectorConfig(BaseModel):
    """Everything needed to build the network again: config.json beside the weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_size: int = Field(description="Side of the images, pixels.")
    width: int = Field(description="Channels at half resolution.")
    features: int = Field(description="Channels at a quarter of the resolution.")
    blocks: int = Field(description="Residual blocks at each resolution.")
    score_threshold: float = Field(description="Objects below this score are not reported.")
    vocabulary: dict[str, tuple[str, ...]] = Field(description="Values of shape, color, texture and background.")


class DetectorNetwork(nn.Module):
    """Images in [0, 1] to maps over cells; channels of ``cells``: score, 4 box sides, then every attribute's values."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        vocabulary = config.vocabulary
        self.stem = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(12, config.width, 3, padding=1),
            *[Residual(config.width) for _ in range(config.blocks)],
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * config.width, config.features, 1),
            *[Residual(config.features) for _ in range(config.blocks)],
            nn.GroupNorm(8, config.features),
            nn.SiLU(),
        )
        self.sizes = [1, 4, *(len(vocabulary[attribute]) for attribute in ATTRIBUTES)]
        self.cells = nn.Conv2d(config.features, sum(self.sizes), 1)
        self.background = nn.Linear(config.features, len(vocabulary["background"]))

    def forward(self, images: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return logits [N, values, G, G] by name ("score", "box", attributes) plus "background" [N, B], and features.

        Images are [N, 3, S, S] in [0, 1]; features are the mean over cells, [N, F]. Box sides (left, top, right,
        bottom) are distances from the cell's middle, in cells.
        """
        maps = self.cells_of(images)
        pooled = maps.mean((2, 3))
        score, box, *attributes = self.cells(maps).split(self.sizes, dim=1)
        out = {"score": score, "box": F.softplus(box + 1), "background": self.background(pooled)}
        return out | dict(zip(ATTRIBUTES, attributes, strict=True)), pooled

    def cells_of(self, images: Tensor) -> Tensor:
        """Return the features of every cell, [N, F, G, G], of images [N, 3, S, S] in [0, 1]."""
        maps: Tensor = self.stem(images * 4 - 2)
        return maps


class Residual(nn.Module):
    """Two 3x3 convolutions before which the input is normalised, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.norms = nn.ModuleList(nn.GroupNorm(8, channels) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(F.silu(self.norms[0](x)))
        return x + self.second(F.silu(self.norms[1](y)))


class TrainedDetector:
    """The network as a judge."""

    def __init__(self, network: DetectorNetwork, batch_size: int = 128) -> None:
        self.network = network.eval()
        self.batch_size = batch_size

    @property
    def image_size(self) -> int:
        size: int = self.network.config.image_size
        return size

    @property
    def vocabulary(self) -> Vocabulary:
        """Return what the pool showed, by attribute, and its backgrounds."""
        vocabulary: Vocabulary = self.network.config.vocabulary
        return vocabulary

    def detect(self, images: NDArray[np.uint8]) -> list[Picture]:
        """Return what is in each of the images, uint8 [N, 3, S, S]."""
        return [picture for outputs, _ in self._batches(images) for picture in decode(outputs, self.network.config)]

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the pooled features of the last layer, [N, F]."""
        parts = [features.numpy() for _, features in self._batches(images)]
        return np.concatenate(parts) if parts else np.zeros((0, self.network.config.features), np.float32)

    @torch.no_grad()
    def _batches(self, images: NDArray[np.uint8]) -> list[tuple[dict[str, Tensor], Tensor]]:
        parts = torch.from_numpy(images).split(self.batch_size) if len(images) else ()
        device = next(self.network.parameters()).device
        return [moved(self.network(part.to(device).float() / 255), torch.device("cpu")) for part in parts]


def decode(outputs: dict[str, Tensor], config: DetectorConfig) -> list[Picture]:
    """Turn the network's logits into pictures: cells above the threshold, one per object, surest first."""
    scores = outputs["score"].sigmoid().flatten(1)
    boxes = cell_boxes(outputs["box"]).flatten(2).clamp(0, 1)
    values = {name: outputs[name].softmax(1).flatten(2) for name in ATTRIBUTES}
    backgrounds = outputs["background"].softmax(1)
    pictures = []
    for image in range(len(scores)):
        cells = torch.nonzero(scores[image] > config.score_threshold).flatten()
        cells = cells[scores[image, cells].argsort(descending=True)]
        objects: list[Detection] = []
        for cell in cells.tolist():
            x0, y0, x1, y1 = boxes[image, :, cell].tolist()
            if any(iou((x0, y0, x1, y1), other.box) > SAME_OBJECT_IOU for other in objects):
                continue
            shape, color, texture = (
                dict(zip(config.vocabulary[name], values[name][image, :, cell].tolist(), strict=True))
                for name in ATTRIBUTES
            )
            objects.append(Detection(shape, color, texture, (x0, y0, x1, y1), scores[image, cell].item()))
        background = dict(zip(config.vocabulary["background"], backgrounds[image].tolist(), strict=True))
        pictures.append(Picture(tuple(objects), background))
    return pictures


def cell_boxes(sides: Tensor) -> Tensor:
    """Turn distances from each cell's middle, [N, 4, G, G] in cells, into boxes x0, y0, x1, y1 in 0..1."""
    grid = sides.shape[-1]
    middles = torch.arange(grid, device=sides.device) + 0.5
    y, x = torch.meshgrid(middles, middles, indexing="ij")
    left, top, right, bottom = sides.unbind(1)
    return torch.stack([x - left, y - top, x + right, y + bottom], 1) / grid


def save_detector(network: DetectorNetwork, directory: Path) -> None:
    """Write model.safetensors and config.json."""
    save_file(network.state_dict(), directory / "model.safetensors")
    (directory / "config.json").write_text(network.config.model_dump_json(indent=1))


def load_detector(directory: Path, batch_size: int = 128) -> TrainedDetector:
    """Read what ``save_detector`` wrote."""
    config = DetectorConfig.model_validate(json.loads((directory / "config.json").read_text()))
    network = DetectorNetwork(config)
    network.load_state_dict(load_file(directory / "model.safetensors"))
    return TrainedDetector(network, batch_size)
