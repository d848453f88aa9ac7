"""The diffusion model of the training benchmark, trained in three ways."""

import io
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from diffusers import DDPMScheduler
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from tests.bench.train_world import Budget, Side, Turn, World, finish, shuffled, train_ours
from training.batches import Data
from training.captioned import Captioned
from training.config import DiffusionConfig, OptimizerConfig
from training.data import to_signed
from training.device import moved
from training.diffusion import Denoising
from training.latent_sets import LatentSet
from training.models.autoencoder import encode
from training.models.diffusion import build_unet
from training.models.objectives import build_scheduler
from training.task import Task


def diffusion_sides(
    world: World, config: DiffusionConfig, budget: Budget, precision: str, device: torch.device
) -> dict[str, Side]:
    """Return what trains the diffusion model for a turn, by name."""
    shorter = {"batch_size": budget.batch_size, "workers": 0, "warmup": 1, "ema_start": 0, "evaluate_every": 0}
    with torch.no_grad():
        latents = torch.cat([encode(world.autoencoder, to_signed(part.to(device))) for part in world.images.split(50)])
    nothing, told = world.text_encoder([""]), world.text_encoder(world.texts.texts)
    latent_set = LatentSet(world.keys, [latents.cpu()], np.array([(0, row) for row in range(len(world.keys))]))
    data = Captioned(latent_set, range(len(world.keys)), world.texts, told, None, seed=0)

    def task() -> Denoising:
        torch.manual_seed(0)
        unet = build_unet(config, latent_set.shape, world.text_encoder.width, world.text_encoder.embed_dim)
        return Denoising(unet, build_scheduler(config), nothing, config, []).to(device)

    def side(work: Callable[[Denoising, OptimizerConfig], None]) -> Side:
        def turn(steps: int | None) -> Turn:
            update = {**shorter, "steps": steps or budget.steps}
            model, optimizer = task(), config.optimizer.model_copy(update=update)
            return Turn(lambda: work(model, optimizer), optimizer.steps * optimizer.batch_size)

        return turn

    return {
        "ours": side(lambda model, optimizer: train_ours(model, data, optimizer, precision)),
        "bare": side(lambda model, optimizer: train_bare(model, data, optimizer, precision)),
        "diffusers": side(lambda model, optimizer: train_as_diffusers(world, model, optimizer, precision)),
    }


def train_bare(model: Task, data: Data, config: OptimizerConfig, precision: str) -> None:
    """Train by the same loss over the same batches, and do nothing else."""
    adamw = torch.optim.AdamW(model.parameters(), lr=config.lr)
    generator = torch.Generator(model.device).manual_seed(0)
    model.train()
    for numbers in shuffled(len(data), config.steps * config.batch_size).reshape(config.steps, -1):
        batch = moved(data.batch(numbers, np.zeros_like(numbers)), model.device)
        with torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bf16"):
            loss, _ = model.loss(batch, generator)
        loss.backward()
        adamw.step()
        adamw.zero_grad(set_to_none=True)
    finish(model.device)


def train_as_diffusers(world: World, model: Denoising, config: OptimizerConfig, precision: str) -> None:
    """Train by diffusers' documented recipe, with --use_ema and its defaults but for sizes and learning rate.

    The U-Net is told what ours is told, the states and the embedding of the caption.
    """
    mixed = "bf16" if precision == "bf16" else "no"
    accelerator = Accelerator(mixed_precision=mixed, cpu=model.device.type == "cpu")
    unet, schedule = model.unet, model.scheduler.config
    noises = DDPMScheduler(
        num_train_timesteps=schedule.num_train_timesteps,
        beta_schedule=schedule.beta_schedule,
        prediction_type=schedule.prediction_type,
    )
    optimizer = torch.optim.AdamW(unet.parameters(), lr=config.lr, betas=(0.9, 0.999), weight_decay=1e-2)
    ema = EMAModel(unet.parameters(), model_cls=type(unet), model_config=unet.config)
    loader = DataLoader(
        Photographs(world, config.steps * config.batch_size),
        shuffle=True,
        batch_size=config.batch_size,
    )
    rates = get_scheduler("constant", optimizer=optimizer, num_warmup_steps=0, num_training_steps=config.steps)
    unet, optimizer, loader, rates = accelerator.prepare(unet, optimizer, loader, rates)
    ema.to(accelerator.device)
    unet.train()
    for pixels, captions in loader:
        with accelerator.accumulate(unet):
            with torch.no_grad():
                latents = world.autoencoder.encode(pixels).latent_dist.sample()
                latents = latents * world.autoencoder.config.scaling_factor
            noise = torch.randn_like(latents)
            timesteps = torch.randint(0, noises.config.num_train_timesteps, (len(latents),), device=latents.device)
            noisy = noises.add_noise(latents, noise, timesteps.long())
            told = world.text_encoder(list(captions)).to(latents.device)
            velocity = noises.config.prediction_type == "v_prediction"
            target = noises.get_velocity(latents, noise, timesteps) if velocity else noise
            predicted = unet(noisy, timesteps, told.states, class_labels=told.embeddings, return_dict=False)[0]
            loss = F.mse_loss(predicted.float(), target.float(), reduction="mean")
            accelerator.gather(loss.repeat(config.batch_size)).mean().item()
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(unet.parameters(), 1.0)
            optimizer.step()
            rates.step()
            optimizer.zero_grad()
        if accelerator.sync_gradients:
            ema.step(unet.parameters())
        loss.detach().item()
    finish(accelerator.device)


class Photographs(Dataset):
    """JPEGs with captions, as the recipe's ``preprocess_train`` gives them, ``count`` in all."""

    def __init__(self, world: World, count: int) -> None:
        self.world, self.count = world, count
        size = world.images.shape[-1]
        self.transform = transforms.Compose(
            [
                transforms.Resize(size, interpolation=transforms.InterpolationMode.BILINEAR),
                transforms.CenterCrop(size),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize([0.5], [0.5]),
            ]
        )

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> tuple[Tensor, str]:
        place = number % len(self.world.keys)
        image = Image.open(io.BytesIO(self.world.jpegs[place])).convert("RGB")
        return self.transform(image), self.world.captions[place]
