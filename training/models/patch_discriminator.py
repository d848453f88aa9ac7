"""The patch discriminator of VQGAN: it tells real patches from reconstructed ones (Esser et al. 2021, section 3.1)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

MOST_WEIGHT = 1e4


class PatchDiscriminator(nn.Sequential):
    """Convolutions that give one logit per patch, [B, 1, h, w], of images [B, 3, H, W] (Isola et al. 2017).

    Each of ``layers`` halves the side. No batch is normalised: a picture is judged alike in any company.
    """

    def __init__(self, width: int, layers: int) -> None:
        modules: list[nn.Module] = [nn.Conv2d(3, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for number in range(1, layers):
            before, after = (width * min(2**n, 8) for n in (number - 1, number))
            modules += [nn.Conv2d(before, after, 4, 2, 1, bias=False), nn.GroupNorm(1, after), nn.LeakyReLU(0.2)]
        super().__init__(*modules, nn.Conv2d(width * min(2 ** (layers - 1), 8), 1, 3, 1, 1))

    def held_constant(self, images: Tensor) -> Tensor:
        """Return the logits with weights that get no gradient, for the loss of what made the images."""
        constant = {name: weight.detach() for name, weight in self.named_parameters()}
        logits: Tensor = functional_call(self, constant, (images,))
        return logits


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Return the hinge loss of logits of real and of reconstructed patches (Lim and Ye 2017)."""
    return (F.relu(1 - real).mean() + F.relu(1 + fake).mean()) / 2


def generator_loss(fake: Tensor) -> Tensor:
    """Return the loss of the reconstruction: the less, the more real the patches look."""
    return -fake.mean()


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last_layer: Tensor) -> Tensor:
    """Return the weight that makes both losses pull equally at the decoder's last layer (Esser et al. 2021, eq. 7)."""
    pulls = [
        torch.autograd.grad(loss, last_layer, retain_graph=True)[0].norm() for loss in (reconstruction, adversarial)
    ]
    return (pulls[0] / (pulls[1] + 1e-6)).clamp(max=MOST_WEIGHT).detach()
