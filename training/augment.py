"""Changes to training images that leave every caption true: no flips (left and right are words), no change of hue."""

import torch
from torch import Tensor
from torch.nn import functional as F

TURN = 0.12  # largest angle, radians
ZOOM = 0.12  # largest change of size, natural log
SHIFT = 0.20  # largest move, in half sides: 0.2 of a 32-pixel image is 3.2 pixels
GAIN, OFFSET, NOISE = 0.05, 0.04, 0.04  # contrast, brightness per channel, grain; images span [-1, 1]


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return float images (N, 3, S, S) in about [-1, 1] from uint8 ones, slightly moved, turned, scaled and tinted."""
    count = len(images)

    def spread(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=images.device) * 2 - 1

    turn, zoom = spread(count) * TURN, (spread(count) * ZOOM).exp()
    matrix = torch.zeros(count, 2, 3, device=images.device)
    matrix[:, 0, 0], matrix[:, 0, 1] = zoom * turn.cos(), -zoom * turn.sin()
    matrix[:, 1, 0], matrix[:, 1, 1] = zoom * turn.sin(), zoom * turn.cos()
    matrix[:, :, 2] = spread(count, 2) * SHIFT
    x = images.float() / 127.5 - 1
    grid = F.affine_grid(matrix, list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    x = x * (1 + spread(count, 1, 1, 1) * GAIN) + spread(count, 3, 1, 1) * OFFSET
    return x + torch.randn(x.shape, generator=generator, device=images.device) * NOISE
