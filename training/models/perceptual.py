"""Distances between images in the features of a frozen network, as LPIPS without learned weights.

Two networks: a pyramid of convolutions with random weights, which needs no download and sees edges and textures at
several scales (He, Wang and Hopcroft 2016 reconstruct images from such features), and the VGG-16 of torchvision, from a
file, which Zhang et al. (2018) measured to agree with people.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PYRAMID_WIDTHS = (16, 32, 64)
PYRAMID_SEED = 0
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VGG16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and convolutions of each block; a pooling stands before each but the first."""


class Features(nn.Module):
    """A frozen network that gives features of several scales, [B, C, H, W] each, of images [B, 3, H, W] in [-1, 1]."""

    def __init__(self, blocks: list[nn.Sequential], mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        hidden = ((images + 1) / 2 - self.mean) / self.std
        scales = []
        for block in self.blocks:
            hidden = block(hidden)
            scales.append(hidden)
        return scales

    def pooled(self, images: Tensor) -> Tensor:
        """Return the mean of every channel at every scale, [B, ΣC]."""
        return torch.cat([scale.float().mean(dim=(2, 3)) for scale in self(images)], dim=1)


def random_pyramid() -> Features:
    """Return convolutions of random weights, always the same, at full, half and quarter resolution."""
    generator = torch.Generator().manual_seed(PYRAMID_SEED)
    blocks, before = [], 3
    for number, width in enumerate(PYRAMID_WIDTHS):
        layers: list[nn.Module] = [nn.AvgPool2d(2)] if number else []
        for channels in (before, width):
            convolution = nn.Conv2d(channels, width, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu", generator=generator)
            layers += [convolution, nn.ReLU()]
        blocks.append(nn.Sequential(*layers))
        before = width
    return Features(blocks, (0.5,) * 3, (0.5,) * 3)


def vgg16(weights: Path) -> Features:
    """Return the convolutions of VGG-16 with torchvision's weights (``vgg16-397923af.pth``), up to each block's end.

    Raises ValueError where the file holds other weights.
    """
    blocks, before = [], 3
    for number, (width, depth) in enumerate(VGG16):
        layers: list[nn.Module] = [nn.MaxPool2d(2)] if number else []
        for _ in range(depth):
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
            before = width
        blocks.append(nn.Sequential(*layers))
    network = Features(blocks, IMAGENET_MEAN, IMAGENET_STD)
    saved = torch.load(weights, map_location="cpu", weights_only=True)
    theirs = [value for name, value in saved.items() if name.startswith("features.")]
    ours = network.state_dict()
    if [value.shape for value in theirs] != [value.shape for value in ours.values()]:
        raise ValueError(f"{weights} does not hold the weights of torchvision's VGG-16")
    network.load_state_dict(dict(zip(ours, theirs, strict=True)))
    return network


def perceptual_distance(features: Features, first: Tensor, second: Tensor) -> Tensor:
    """Return the mean distance of images, a scalar (Zhang et al. 2018, equation 1, with equal weights).

    Features are scaled to unit length at each place; squared differences are summed over channels and scales and
    averaged over places.
    """
    total = torch.zeros((), device=first.device)
    for one, other in zip(features(first), features(second), strict=True):
        difference = F.normalize(one.float(), dim=1) - F.normalize(other.float(), dim=1)
        total = total + difference.square().sum(dim=1).mean()
    return total
