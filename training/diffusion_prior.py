"""Job: train the diffusion prior, from captions to CLIP image embeddings."""

from typing import Any

import torch
from torch import Tensor

from training.batches import Batch
from training.config import DiffusionPriorConfig
from training.data import realised_shares
from training.device import device_for
from training.job import Job, run
from training.loop import train
from training.models.diffusion_prior import DiffusionPrior
from training.models.prior import TextCondition, save_prior
from training.priors import Embeddings, PriorInputs, judge, load_prior_data
from training.report import Reporter
from training.task import Figures, Task


def main(job: Job[DiffusionPriorConfig, PriorInputs], reporter: Reporter) -> None:
    """Train the diffusion prior."""
    config = job.config
    data = load_prior_data(job.inputs, config.held_out, config.seed)
    arguments: dict[str, Any] = {
        **data.shape,
        "width": config.width,
        "layers": config.layers,
        "heads": config.heads,
        "timesteps": config.timesteps,
    }
    prior = DiffusionPrior(**arguments)
    prior.fit(data.training.images)
    task = Denoise(prior, config, data.held_out).to(device_for(config.device))
    final = train(task, data.training, config.optimizer, job.output, reporter, config.seed, config.precision)
    save_prior(prior, arguments, data.image_space, job.output)
    shares = realised_shares(data.training, config.optimizer)
    reporter.log(config.optimizer.steps, config.optimizer.steps, **shares)
    counts = {"samples": len(data.training), "held_out": len(data.held_out)}
    reporter.finish(**counts, parameters=sum(p.numel() for p in prior.parameters()), **final, **shares)


class Denoise(Task):
    """The diffusion prior with its loss, judged by the embeddings that it samples for held-out captions."""

    def __init__(self, prior: DiffusionPrior, config: DiffusionPriorConfig, held_out: Embeddings) -> None:
        super().__init__()
        self.prior = prior
        self.config = config
        self.held_out = held_out

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Figures]:
        loss = self.prior.loss(batch["images"], batch["text"], self.config.caption_dropout, generator)
        return loss.mean(), {}

    def evaluate(self) -> Figures:
        return judge(self.sample, self.held_out, self.config.seed, self.device)

    def sample(self, text: TextCondition, generator: torch.Generator) -> Tensor:
        config = self.config
        return self.prior.sample(text, generator, config.sample_steps, config.guidance_scale, config.samples)


if __name__ == "__main__":
    run(main, DiffusionPriorConfig, PriorInputs)
