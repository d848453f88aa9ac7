"""What a diffusion model draws for some held-out captions, from the same noise at every evaluation."""

from dataclasses import dataclass
from pathlib import Path

from diffusers import UNet2DConditionModel

from training.config import SamplerConfig
from training.device import moved
from training.models.autoencoder import decode, load_autoencoder
from training.models.objectives import Scheduler
from training.models.pictures import save_grid
from training.models.sampling import generator_for, sample, starting_noise
from training.text_encoders.protocol import Condition

COLUMNS = 8
PICTURES, CAPTIONS = "samples.png", "samples.txt"


@dataclass(frozen=True)
class SampleGrid:
    """A grid in ``output``, samples.png with samples.txt, that each evaluation replaces.

    Attributes:
        captions: N of them; the noise of each picture follows from its caption and ``seed``.
        condition: of the captions.
        unconditional: of the empty text, one.
        shape: of the latents, (C, H, W).
        autoencoder: directory of what decodes them.
    """

    captions: list[str]
    condition: Condition
    unconditional: Condition
    shape: tuple[int, int, int]
    sampler: SamplerConfig
    seed: int
    autoencoder: Path
    output: Path

    def draw(self, unet: UNet2DConditionModel, scheduler: Scheduler) -> None:
        """Draw the pictures and write both files."""
        generators = [generator_for(caption, self.seed) for caption in self.captions]
        noise = starting_noise(generators, self.shape)
        noise, told, nothing = moved((noise, self.condition, self.unconditional), unet.device)
        latents = sample(unet, scheduler, noise, told, nothing, self.sampler, generators)
        autoencoder = load_autoencoder(self.autoencoder).to(unet.device)
        save_grid(decode(autoencoder, latents).cpu(), self.output / PICTURES, columns=COLUMNS)
        (self.output / CAPTIONS).write_text("\n".join(self.captions) + "\n")
