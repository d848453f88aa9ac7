"""A convolutional stem in the place of a patch embedding: learns colours and shapes from few images.

Source: Xiao et al., "Early Convolutions Help Transformers See Better" (2021): stride-2 3x3 convolutions with batch
normalisation down to the patch grid; here residual blocks may follow on the grid.
"""

import itertools
from math import log2

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ConvStem(nn.Module):
    """Images (N, 3, S, S) to patch features (N, width, S/p, S/p); ``patch_size`` p is a power of 2."""

    def __init__(self, patch_size: int, width: int, blocks: int) -> None:
        super().__init__()
        halvings = int(log2(patch_size))
        if 2**halvings != patch_size:
            raise ValueError(f"the convolutional stem halves the image: patch_size {patch_size} is no power of 2")
        widths = [width >> (halvings - level) for level in range(halvings + 1)]
        self.first = nn.Sequential(nn.Conv2d(3, widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0]))
        self.halvings = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after))
            for before, after in itertools.pairwise(widths)
        )
        self.blocks = nn.ModuleList(_ConvBlock(width) for _ in range(blocks))

    def forward(self, images: Tensor) -> Tensor:
        x = F.gelu(self.first(images))
        for layer in self.halvings:
            x = F.gelu(layer(x))
        for block in self.blocks:
            x = block(x)
        return x


def grid_positions(side: int, width: int) -> Tensor:
    """Return sine and cosine codes of a square grid's places, (side * side, width), row by row; ``width`` in fours.

    Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.5, half of the channels per axis.
    """
    rates = 10_000 ** (-torch.arange(width // 4) / (width // 4))
    angles = torch.arange(side)[:, None] * rates
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows, columns = axis[:, None].expand(side, side, -1), axis[None].expand(side, side, -1)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)


class _ConvBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x + self.second(F.gelu(self.first(x))))
