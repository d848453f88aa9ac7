"""How near a reconstruction is to its image: PSNR and SSIM."""

import torch
import torch.nn.functional as F
from torch import Tensor

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
SSIM_K1, SSIM_K2 = 0.01, 0.03
SSIM_SHORTEST = SSIM_WINDOW // 2 + 1


def peak_signal_to_noise(squared_error: Tensor) -> Tensor:
    """Return PSNR in dB from the mean squared error of images that span [-1, 1]."""
    return 10 * torch.log10(4 / squared_error)


def structural_similarity(first: Tensor, second: Tensor) -> Tensor:
    """Return SSIM of each pair of images, [B] (Wang et al. 2004, section III.B).

    Means, variances and covariance under a Gaussian window of 11 by 11 pixels around every place, the image mirrored at
    its edges as torchmetrics does; the mean over places and channels.

    Args:
        first: [B, C, H, W] in [-1, 1].
        second: the same.

    Raises:
        ValueError: a side is too short to be mirrored.
    """
    if min(first.shape[-2:]) < SSIM_SHORTEST:
        raise ValueError(f"SSIM needs sides of at least {SSIM_SHORTEST} px, not {tuple(first.shape[-2:])}")
    span = 2.0
    c1, c2 = (SSIM_K1 * span) ** 2, (SSIM_K2 * span) ** 2
    x, y = first.float(), second.float()
    mean_x, mean_y, square_x, square_y, product = (_blurred(value) for value in (x, y, x * x, y * y, x * y))
    variance_x, variance_y = (square_x - mean_x**2).clamp(min=0), (square_y - mean_y**2).clamp(min=0)
    covariance = product - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return (luminance * structure).mean(dim=(1, 2, 3))


def _blurred(images: Tensor) -> Tensor:
    """Return the Gaussian mean around each place, [B, C, H, W]."""
    reach = SSIM_WINDOW // 2
    places = torch.arange(SSIM_WINDOW, device=images.device) - reach
    weights = torch.exp(-(places**2) / (2 * SSIM_SIGMA**2))
    weights = (weights / weights.sum()).expand(images.shape[1], 1, 1, SSIM_WINDOW)
    mirrored = F.pad(images, [reach] * 4, mode="reflect")
    across = F.conv2d(mirrored, weights, groups=images.shape[1])
    return F.conv2d(across, weights.transpose(2, 3), groups=images.shape[1])
