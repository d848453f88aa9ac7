"""Every job that trains, killed with -9 at a random step and run again, gives the same weights, bit for bit."""

import multiprocessing
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evaluation.config import JudgeConfig
from evaluation.judge import JudgeInputs
from evaluation.judge import main as judge
from t2i_assets.synthweb.scenes import sample_scene
from tests.unit.caption_layers import write_layers
from tests.unit.drawn_corpus import write_human, write_tokenizer
from tests.unit.drawn_pictures import write_pictures
from tests.unit.group_training import signalled_in_step
from tests.unit.latent_corpus import CLIP, DIFFUSION, write_latent_corpus
from training.autoencoder import AutoencoderInputs
from training.autoencoder import main as autoencoder
from training.autoregressive_prior import main as autoregressive_prior
from training.caption_filter import CaptionFilterInputs
from training.caption_filter import main as caption_filter
from training.captioner import CaptionerInputs
from training.captioner import main as captioner
from training.clip import ClipInputs
from training.clip import main as clip
from training.config import (
    AdversarialConfig,
    AutoencoderConfig,
    AutoregressivePriorConfig,
    CaptionerConfig,
    CaptionFilterConfig,
    DiffusionPriorConfig,
    EmbedConfig,
    JobConfig,
    OptimizerConfig,
    PerceptualConfig,
    SharingConfig,
    UpsamplerConfig,
)
from training.diffusion import DiffusionInputs
from training.diffusion import main as diffusion
from training.diffusion_prior import main as diffusion_prior
from training.embed import EmbedInputs
from training.embed import main as embed
from training.job import Job, JobInputs
from training.priors import PriorInputs
from training.report import Reporter
from training.sharing import SharingInputs
from training.sharing import main as sharing
from training.upsampler import UpsamplerInputs
from training.upsampler import main as upsampler

torch.set_num_threads(1)
forked = multiprocessing.get_context("forkserver")

STEPS = {"steps": 4, "batch_size": 4, "lr": 1e-3, "warmup": 1, "ema_decay": 0.9, "checkpoint_every": 1, "log_every": 2}
OPTIMIZER = OptimizerConfig.model_validate(STEPS)
SMALL = {"width": 32, "heads": 2, "patch_size": 8, "stem_blocks": 0, "held_out": 0.4}

Main = Callable[[Job[Any, Any], Reporter], None]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus")
    write_latent_corpus(root, 40)
    write_human(root / "human", 12)
    write_tokenizer(root / "words")
    write_layers(root / "layers")
    write_pictures(root / "pool", [sample_scene(random.Random(number)) for number in range(12)])
    (root / "features").mkdir()
    inputs = EmbedInputs(clip=root / "clip", blend=root / "blend", shards=[root / "shards"])
    embed(Job("embed", EmbedConfig(), inputs, root / "features"), Reporter("embed", root / "features", {}))
    return root


def job_of(name: str, root: Path) -> tuple[Main, JobConfig, JobInputs, int]:
    """Return a job's function, its configuration, its inputs and how many optimizer steps it takes."""
    pairs = {"tokenizer": root / "words", "shards": [root / "shards"], "human": root / "human"}
    prior = PriorInputs(clip=root / "clip", features=[root / "features"], blend=root / "blend")
    narrow = {"width": 16, "layers": 1, "heads": 2, "optimizer": STEPS}
    match name:
        case "clip":
            inputs = ClipInputs(tokenizer=root / "tokenizer", blend=root / "blend", shards=[root / "shards"])
            return clip, CLIP.model_copy(update={"optimizer": OPTIMIZER}), inputs, 4
        case "autoencoder":
            game = {"perceptual": PerceptualConfig(), "adversarial": AdversarialConfig(start=1, width=8)}
            small = {"image_size": 16, "widths": (8, 16, 16), "latent_channels": 4}
            config = AutoencoderConfig.model_validate({**small, **game, "optimizer": OPTIMIZER})
            return autoencoder, config, AutoencoderInputs(shards=[root / "shards"]), 4
        case "diffusion":
            seen = DiffusionInputs(
                blend=root / "blend",
                clip=root / "clip",
                autoencoder=root / "autoencoder",
                latents=[root / "latents"],
            )
            return diffusion, DIFFUSION.model_copy(update={"optimizer": OPTIMIZER}), seen, 4
        case "diffusion_prior":
            return diffusion_prior, DiffusionPriorConfig.model_validate({**narrow, "sample_steps": 2}), prior, 4
        case "autoregressive_prior":
            fewer = {"components": 4, "buckets": 8, "dot_buckets": 4}
            return autoregressive_prior, AutoregressivePriorConfig.model_validate({**narrow, **fewer}), prior, 4
        case "captioner":
            phases = dict.fromkeys(("pretrain", "short", "descriptive", "self_training"), STEPS)
            return captioner, CaptionerConfig.model_validate({**SMALL, **phases}), CaptionerInputs(**pairs), 16
        case "caption_filter":
            phases = dict.fromkeys(("pretrain", "caption", "finetune"), STEPS)
            told = {**SMALL, **phases, "text_layers": 2, "embed_dim": 16, "queue": 8}
            return caption_filter, CaptionFilterConfig.model_validate(told), CaptionFilterInputs(**pairs), 12
        case "sharing":
            phases = dict.fromkeys(("pretrain", "caption", "finetune"), STEPS)
            told = {**SMALL, **phases, "text_layers": 2, "embed_dim": 16, "queue": 8}
            shared = SharingInputs(**pairs, heldout=root / "shards")
            return sharing, SharingConfig.model_validate(told), shared, 20
        case "judge":
            seen = JudgeInputs(pool=root / "pool", heldout=root / "pool")
            return judge, JudgeConfig(width=8, features=16, blocks=1, optimizer=OPTIMIZER), seen, 4
    layers = root / "layers"
    config = UpsamplerConfig(width=16, heads=2, context_length=48, held_out=0.2, optimizer=OPTIMIZER)
    inputs = UpsamplerInputs(
        captions=[layers / "captions"],
        verdicts=[layers / "verdicts"],
        shards=[layers / "shards"],
        tokenizer=layers / "tokenizer",
    )
    return upsampler, config, inputs, 4


def run(main: Main, config: JobConfig, inputs: JobInputs, output: Path) -> None:
    output.mkdir(exist_ok=True)
    torch.manual_seed(config.seed)
    with Reporter("job", output, {}) as reporter:
        main(Job("job", config, inputs, output), reporter)


def killed_at(step: int, *job: Any) -> None:
    """Run a job and kill this process in the middle of its ``step``-th optimizer step, over all phases."""
    signalled_in_step(step, signal.SIGKILL)
    run(*job)


@pytest.mark.parametrize(
    "name",
    [
        "clip",
        "autoencoder",
        "diffusion",
        "diffusion_prior",
        "autoregressive_prior",
        "captioner",
        "caption_filter",
        "upsampler",
        "sharing",
        "judge",
    ],
)
def test_a_job_killed_at_a_random_step_and_run_again_gives_the_same_weights(
    corpus: Path, tmp_path: Path, name: str
) -> None:
    main, config, inputs, steps = job_of(name, corpus)
    run(main, config, inputs, tmp_path / "whole")
    step = int(np.random.default_rng().integers(2, steps + 1))
    job = forked.Process(target=killed_at, args=(step, main, config, inputs, tmp_path / "killed"))
    job.start()
    job.join()
    assert job.exitcode == -signal.SIGKILL
    assert list((tmp_path / "killed").glob("*checkpoint.pt"))
    run(main, config, inputs, tmp_path / "killed")
    written = (tmp_path / "whole").rglob
    expected = sorted([*written("*.safetensors"), *written("captions/*.parquet"), *written("scores/*.parquet")])
    assert expected
    for path in expected:
        found = tmp_path / "killed" / path.relative_to(tmp_path / "whole")
        assert found.read_bytes() == path.read_bytes(), f"{found.name} differs after a kill at step {step}"
