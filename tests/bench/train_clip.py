"""The CLIP of the training benchmark, trained in two ways."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import torch
from open_clip import CLIP
from open_clip.loss import ClipLoss
from open_clip_train.scheduler import cosine_lr
from open_clip_train.train import train_one_epoch
from torch import Tensor

from tests.bench.train_world import Side, Turn, World, finish, shuffled, train_ours
from training.clip import Contrast, HeldOut, Pairs
from training.config import ClipConfig, OptimizerConfig
from training.data import to_signed
from training.models.clip import build_clip, clip_config


def clip_sides(world: World, told: ClipConfig, steps_of_turn: int, device: torch.device) -> dict[str, Side]:
    """Return what trains CLIP for a turn, by name."""
    config = told.model_copy(update={"shift": 0, "false_negatives": "keep", "zero_shot": {}})
    architecture = clip_config(config, world.tokenizer.vocab_size)
    tokens = world.tokenizer(world.texts.texts)
    data = Pairs(world.keys, world.images, world.texts, tokens, seed=0)
    nobody = HeldOut(world.images[:0], tokens[:0], torch.zeros(0, dtype=torch.long))
    own = tokens[world.texts.likeliest(world.keys)]

    def side(work: Callable[[CLIP, OptimizerConfig], None]) -> Side:
        def turn(steps: int | None) -> Turn:
            torch.manual_seed(0)
            clip = build_clip(architecture).to(device)
            changes = {"steps": steps or steps_of_turn, "evaluate_every": 0}
            optimizer = config.optimizer.model_copy(update=changes)
            return Turn(lambda: work(clip, optimizer), optimizer.steps * optimizer.batch_size)

        return turn

    def ours(clip: CLIP, optimizer: OptimizerConfig) -> None:
        train_ours(Contrast(clip, world.tokenizer, config, nobody, {}), data, optimizer, "fp32")

    return {"ours": side(ours), "open_clip": side(lambda clip, how: train_as_open_clip(clip, world.images, own, how))}


def train_as_open_clip(clip: CLIP, images: Tensor, tokens: Tensor, config: OptimizerConfig) -> None:
    """Train by open_clip's ``train_one_epoch``, an epoch of ``config.steps`` steps."""
    clip.output_dict = True
    device = clip.logit_scale.device
    adamw = torch.optim.AdamW(clip.parameters(), lr=config.lr, betas=config.betas, weight_decay=config.weight_decay)
    loader = InMemory(images, tokens, config.batch_size, config.steps)
    arguments = SimpleNamespace(
        device=str(device), precision="fp32", distill=False, accum_freq=1, skip_scheduler=False, horovod=False,
        grad_clip_norm=config.clip_norm, rank=0, local_rank=0, world_size=1, wandb=False,
        batch_size=config.batch_size, log_every_n_steps=config.log_every,
    )  # fmt: skip
    given = {"train": SimpleNamespace(dataloader=loader, set_epoch=lambda epoch: None)}
    rates = cosine_lr(adamw, config.lr, config.warmup, config.steps)
    train_one_epoch(clip, given, ClipLoss(), 0, adamw, None, rates, None, arguments)
    finish(device)


class InMemory:
    """What ``train_one_epoch`` asks of a data loader: batches of images and tokens, from memory as ours are."""

    def __init__(self, images: Tensor, tokens: Tensor, batch_size: int, steps: int) -> None:
        self.images, self.tokens, self.batch_size = images, tokens, batch_size
        self.num_batches, self.num_samples = steps, steps * batch_size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.from_numpy(shuffled(len(self.images), self.num_samples))
        for rows in order.split(self.batch_size):
            yield to_signed(self.images[rows]), self.tokens[rows]
