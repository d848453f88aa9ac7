"""The priors of DALL·E 2: from a caption to a CLIP image embedding."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from tests.unit.colored_corpus import write_colored_corpus
from training.autoregressive_prior import main as train_autoregressive_prior
from training.clip import ClipInputs
from training.clip import main as train_clip
from training.config import AutoregressivePriorConfig, ClipConfig, DiffusionPriorConfig, EmbedConfig, OptimizerConfig
from training.diffusion_prior import main as train_diffusion_prior
from training.embed import EmbedInputs
from training.embed import main as embed
from training.job import Job
from training.models.autoregressive_prior import AutoregressivePrior
from training.models.causal_transformer import CausalTransformer
from training.models.diffusion_prior import DiffusionPrior, cosine_schedule
from training.models.prior import TextCondition, TextPrefix, prior_files
from training.priors import PriorInputs, load_prior_data
from training.report import Reporter

torch.set_num_threads(1)  # two threads only wait for each other on so little work
OPTIMIZER = OptimizerConfig(steps=120, batch_size=32, lr=3e-3, warmup=5, ema_decay=0.9)
SHAPE = {"embed_dim": 6, "text_width": 5, "context_length": 7, "width": 16, "layers": 1, "heads": 2}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> PriorInputs:
    directory = tmp_path_factory.mktemp("corpus")
    write_colored_corpus(directory, 120)
    for name in ("clip", "features"):
        (directory / name).mkdir()
    torch.manual_seed(0)
    clip = ClipConfig(
        image_size=16,
        embed_dim=16,
        vision_layers=1,
        vision_width=32,
        patch_size=8,
        context_length=8,
        text_width=32,
        text_layers=1,
        head_width=16,
        held_out=0.3,
        optimizer=OptimizerConfig(steps=250, batch_size=16, lr=1e-3, warmup=20),
    )
    shards, blend = [directory / "shards"], directory / "blend"
    read = ClipInputs(tokenizer=directory / "tokenizer", blend=blend, shards=shards)
    train_clip(Job("clip", clip, read, directory / "clip"), Reporter("clip", directory / "clip", {}))
    seen = EmbedInputs(clip=directory / "clip", blend=blend, shards=shards)
    embed(Job("embed", EmbedConfig(), seen, directory / "features"), Reporter("embed", directory / "features", {}))
    return PriorInputs(clip=directory / "clip", features=[directory / "features"], blend=blend)


def test_the_diffusion_prior_comes_nearer_to_the_image_than_the_caption_is(inputs: PriorInputs, tmp_path: Path) -> None:
    config = DiffusionPriorConfig(
        width=32, layers=1, heads=2, sample_steps=8, guidance_scale=1.5, held_out=0.3, optimizer=OPTIMIZER
    )
    torch.manual_seed(0)
    train_diffusion_prior(Job("prior", config, inputs, tmp_path), Reporter("prior", tmp_path, {}))
    final = json.loads((tmp_path / "run.json").read_text())["final"]
    assert final["val/cosine"] > final["val/cosine_with_shuffled_captions"] + 0.3
    assert final["val/cosine"] > final["val/cosine_of_text_embedding"]
    drawn = samples_of_the_saved(DiffusionPrior, tmp_path, inputs)
    assert drawn.shape[1] == 16


def test_the_autoregressive_prior_comes_far_above_the_floor(inputs: PriorInputs, tmp_path: Path) -> None:
    config = AutoregressivePriorConfig(
        width=32, layers=1, heads=2, components=6, buckets=8, dot_buckets=4, guidance_scale=1.5, held_out=0.3,
        optimizer=OPTIMIZER,
    )  # fmt: skip
    torch.manual_seed(0)
    train_autoregressive_prior(Job("prior", config, inputs, tmp_path), Reporter("prior", tmp_path, {}))
    final = json.loads((tmp_path / "run.json").read_text())["final"]
    assert final["val/cosine"] > final["val/cosine_with_shuffled_captions"] + 0.3
    assert final["val/cosine_after_quantisation"] > final["val/cosine"]
    samples_of_the_saved(AutoregressivePrior, tmp_path, inputs)


def samples_of_the_saved(kind: type, directory: Path, inputs: PriorInputs) -> torch.Tensor:
    """Load the prior and check that it draws unit-norm embeddings, the same for the same seed."""
    prior = prior_files(directory).load(kind)
    text = load_prior_data(inputs, 0.3, 0).held_out.likeliest()
    options = {"steps": 4} if kind is DiffusionPrior else {}
    first, again, other = (prior.sample(text, torch.Generator().manual_seed(seed), **options) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(len(text)))
    return first


@pytest.mark.parametrize("tokens", [24, 32])
def test_as_configured_by_default_both_priors_are_of_like_size_and_cost_alike_to_train(tokens: int) -> None:
    clip, diffusion, autoregressive = ClipConfig(), DiffusionPriorConfig(), AutoregressivePriorConfig()
    given = {"embed_dim": clip.embed_dim, "text_width": clip.text_width, "context_length": clip.context_length}
    told = [config.model_dump(include={"width", "layers", "heads"}) for config in (diffusion, autoregressive)]
    quantised = autoregressive.model_dump(include={"components", "buckets", "dot_buckets"})
    priors = (
        DiffusionPrior(**given, **told[0], timesteps=diffusion.timesteps),
        AutoregressivePrior(**given, **told[1], **quantised),
    )
    states, images = torch.randn(64, tokens, clip.text_width), F.normalize(torch.randn(64, clip.embed_dim), dim=1)
    text = TextCondition(states, torch.ones(64, tokens, dtype=torch.bool), images)
    costs = []
    for prior, config in zip(priors, (diffusion, autoregressive), strict=True):
        assert config.optimizer.batch_size == 64
        with FlopCounterMode(display=False) as count:
            prior.loss(images, text, 0.1, torch.Generator().manual_seed(0)).mean().backward()
        costs.append(count.get_total_flops() * config.optimizer.steps)
    assert costs[1] == pytest.approx(costs[0], rel=0.07)
    sizes = [sum(weight.numel() for weight in prior.parameters()) for prior in priors]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.2)


def test_another_kind_of_prior_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"type": "AutoregressivePrior", "image_space": "c1"}))
    with pytest.raises(ValueError, match="holds a AutoregressivePrior, not a DiffusionPrior"):
        prior_files(tmp_path).load(DiffusionPrior)


def test_a_prior_that_does_not_name_its_clip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"type": "DiffusionPrior", "width": 32}))
    with pytest.raises(ValueError, match="does not say which CLIP's embeddings it draws"):
        prior_files(tmp_path)


def condition(count: int, length: int = 4, seed: int = 0) -> TextCondition:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(length) < torch.randint(1, length + 1, (count, 1), generator=generator)
    embedding = F.normalize(torch.randn(count, 6, generator=generator), dim=1)
    return TextCondition(torch.randn(count, length, 5, generator=generator), mask, embedding)


def test_of_several_samples_the_one_nearest_to_the_text_is_kept() -> None:
    torch.manual_seed(0)
    prior = DiffusionPrior(**SHAPE, timesteps=50)
    text = condition(40)
    one = prior.sample(text, torch.Generator().manual_seed(0), steps=4, samples=1)
    best = prior.sample(text, torch.Generator().manual_seed(0), steps=4, samples=8)
    assert (best * text.embedding).sum(1).mean() > (one * text.embedding).sum(1).mean()


def test_the_cosine_schedule_falls_from_all_signal_to_none() -> None:
    kept = cosine_schedule(1000)
    assert kept[0] > 0.999
    assert kept[-1] < 1e-4
    assert (kept.diff() < 0).all()


def test_no_position_sees_what_comes_after_it_or_what_is_masked() -> None:
    torch.manual_seed(0)
    transformer = CausalTransformer(16, 2, 2, 6)
    hidden = torch.randn(1, 6, 16)
    mask = torch.tensor([[True, False, True, True, True, True]])
    changed = hidden.clone()
    changed[:, [1, 4]] = torch.randn(1, 2, 16)
    before, after = transformer(hidden, mask), transformer(changed, mask)
    torch.testing.assert_close(before[:, [0, 2, 3]], after[:, [0, 2, 3]])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_a_dropped_caption_leaves_no_trace() -> None:
    torch.manual_seed(0)
    prefix = TextPrefix(5, 6, 16)
    transformer = CausalTransformer(16, 1, 2, 6)
    outputs = []
    for seed in (1, 2):
        tokens, mask = prefix(condition(3, seed=seed), torch.ones(3, dtype=torch.bool))
        outputs.append(transformer(tokens, mask)[:, -1])
    torch.testing.assert_close(outputs[0], outputs[1])


def test_generating_one_by_one_gives_the_logits_that_training_sees() -> None:
    torch.manual_seed(0)
    prior = AutoregressivePrior(**SHAPE, components=4, buckets=5, dot_buckets=4)
    text, numbers = condition(3), torch.randint(0, 5, (3, 4))
    dot, nothing = torch.tensor([0, 1, 3]), torch.zeros(3, dtype=torch.bool)
    together = prior(numbers[:, :-1], dot, text, nothing)
    for known in range(4):
        alone = prior(numbers[:, :known], dot, text, nothing)[:, -1]
        torch.testing.assert_close(alone, together[:, known])


@given(seed=st.integers(0, 1000), buckets=st.integers(2, 12))
@settings(max_examples=20, deadline=None)
def test_quantisation_is_ordered_full_and_near(seed: int, buckets: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    embeddings = F.normalize(torch.randn(200, 6, generator=generator) * torch.arange(6, 0, -1), dim=1)
    prior = AutoregressivePrior(**SHAPE, components=6, buckets=buckets, dot_buckets=4)
    prior.fit(embeddings, embeddings.roll(1, 0))
    coordinates = (embeddings - prior.mean) @ prior.axes.T
    assert (coordinates.var(dim=0).diff() <= 1e-6).all()
    numbers = prior.quantise(coordinates)
    counts = torch.stack([torch.bincount(column, minlength=buckets) for column in numbers.T])
    assert counts.min() >= 200 // buckets - 2
    error = (prior.reconstruct(numbers) - embeddings).square().mean()
    assert error < (embeddings - embeddings.mean(0)).square().mean()
