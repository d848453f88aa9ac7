"""A convolutional stem in the place of a patch embedding: learns colours and shapes from few images.

Source: Xiao et al., "Early Convolutions Help Transformers See Better" (2021): stride-2 3x3 convolutions with batch
normalisation down to the patch grid; here residual blocks may follow on the grid.
"""

from math import log2

from torch import Tensor, nn
from torch.nn import functional as F

FIRST_WIDTH = 32


class ConvStem(nn.Module):
    """Images (N, 3, S, S) to patch features (N, width, S/p, S/p); ``patch_size`` p is a power of 2."""

    def __init__(self, patch_size: int, width: int, blocks: int) -> None:
        super().__init__()
        halvings = int(log2(patch_size))
        if 2**halvings != patch_size:
            raise ValueError(f"the convolutional stem halves the image: patch_size {patch_size} is no power of 2")
        widths = [min(FIRST_WIDTH * 2**level, width) for level in range(halvings)] + [width]
        self.first = nn.Sequential(nn.Conv2d(3, widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0]))
        self.halvings = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after))
            for before, after in zip(widths[:-1], widths[1:], strict=True)
        )
        self.blocks = nn.ModuleList(_ConvBlock(width) for _ in range(blocks))

    def forward(self, images: Tensor) -> Tensor:
        x = F.gelu(self.first(images))
        for layer in self.halvings:
            x = F.gelu(layer(x))
        for block in self.blocks:
            x = block(x)
        return x


class _ConvBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x + self.second(F.gelu(self.first(x))))
