"""The autoencoder's game, with blocks of diffusers and frozen features beside it, is the same where it is sharded."""

from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist

from tests.unit.group_training import together
from tests.unit.latent_corpus import AUTOENCODER
from training.autoencoder import Images, Reconstruction
from training.config import AdversarialConfig, OptimizerConfig, PerceptualConfig
from training.loop import train
from training.models.autoencoder import build_autoencoder
from training.report import Reporter

OPTIMIZER = OptimizerConfig(steps=4, batch_size=8, lr=1e-3)


def play_both(output: Path) -> None:
    """Play the game whole, then sharded, in one of two processes."""
    torch.set_num_threads(1)
    for sharded in (False, True):
        place = output / f"sharded-{sharded}"
        place.mkdir(exist_ok=True)
        play(place, OPTIMIZER.model_copy(update={"sharded": sharded}))


def play(output: Path, optimizer: OptimizerConfig) -> None:
    """Train an autoencoder and a discriminator, which joins in after a step."""
    torch.manual_seed(0)
    game = {
        "perceptual": PerceptualConfig(),
        "adversarial": AdversarialConfig(start=1, width=8),
        "optimizer": optimizer,
    }
    config = AUTOENCODER.model_copy(update=game)
    images = torch.randint(0, 256, (16, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    task = Reconstruction(build_autoencoder(config), config, images[:0])
    reporter = Reporter("game", output, {}, quiet=dist.get_rank() > 0)
    train(task, Images([str(number) for number in range(16)], images), optimizer, output, reporter, seed=0)
    torch.save(task.state_dict(), output / f"weights-{dist.get_rank()}.pt")


def test_the_game_gives_the_same_weights_whole_and_sharded(tmp_path: Path) -> None:
    together(partial(play_both, tmp_path), tmp_path)
    whole, parted = (
        torch.load(tmp_path / f"sharded-{one}" / "weights-0.pt", weights_only=True) for one in (False, True)
    )
    torch.testing.assert_close(whole, parted, atol=1e-4, rtol=1e-3)
