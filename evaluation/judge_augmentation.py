"""What the judge meets in training beside clean renders: generated pictures are soft, shifted, faded and noisy."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from evaluation.config import JudgeConfig


def augment(images: Tensor, boxes: Tensor, config: JudgeConfig, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mirror, shift, blur, fade and add noise, so that soft pictures are read as surely as sharp ones.

    Each image of [N, 3, S, S] in [0, 1] gets its own; boxes [N, K, 4] follow.
    """
    n, _, side, _ = images.shape

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(n, 1, 1, 1, generator=generator, device=images.device) * (high - low) + low

    mirrored = uniform(0, 1) < 0.5
    images = torch.where(mirrored, images.flip(-1), images)
    flipped = torch.stack([1 - boxes[..., 2], boxes[..., 1], 1 - boxes[..., 0], boxes[..., 3]], -1)
    boxes = torch.where(mirrored[:, :, 0], flipped, boxes)

    reach = config.max_shift
    if reach:
        dx, dy = torch.randint(-reach, reach + 1, (2, n), generator=generator, device=images.device)
        padded = F.pad(images, (reach,) * 4, mode="replicate")
        places = torch.arange(side, device=images.device) + reach
        rows = (places - dy[:, None])[:, None, :, None].expand(n, 3, side, side + 2 * reach)
        columns = (places - dx[:, None])[:, None, None, :].expand(n, 3, side, side)
        images = padded.gather(2, rows).gather(3, columns)
        boxes = boxes + torch.stack([dx, dy, dx, dy], -1)[:, None] / side

    sigma = uniform(0, config.blur_sigma) * (uniform(0, 1) < 0.6) + 1e-3
    images = blur(images, sigma.flatten())
    images = images * uniform(0.9, 1.1) + uniform(-0.05, 0.05)
    noise = torch.randn(images.shape, generator=generator, device=images.device) * uniform(0, config.noise_std)
    return (images + noise).clamp(0, 1), boxes


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur each image of [N, 3, S, S] by its own Gaussian; ``sigma`` is [N], in pixels."""
    n, channels, side, _ = images.shape
    radius = 3
    offsets = torch.arange(-radius, radius + 1, device=images.device)
    kernel = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)[:, None]
    flat = F.pad(images, (radius,) * 4, mode="replicate").reshape(1, n * channels, side + 2 * radius, -1)
    flat = F.conv2d(flat, kernel[..., None, :], groups=n * channels)
    return F.conv2d(flat, kernel[..., :, None], groups=n * channels).reshape(n, channels, side, side)


def blurred(images: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    """Blur uint8 images [N, 3, S, S] by a Gaussian of ``sigma`` pixels."""
    soft = blur(torch.from_numpy(images).float(), torch.full((len(images),), sigma))
    result: NDArray[np.uint8] = soft.round().clamp(0, 255).to(torch.uint8).numpy()
    return result


def noised(images: NDArray[np.uint8], std: float, seed: int) -> NDArray[np.uint8]:
    """Add Gaussian noise of ``std``, of a 0..1 range, to uint8 images."""
    noise = np.random.default_rng(seed).normal(0, 255 * std, images.shape)
    return (images + noise).round().clip(0, 255).astype(np.uint8)
