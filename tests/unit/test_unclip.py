"""The unCLIP variant: told image embeddings, it draws from a prior, a text embedding or a caption alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.nn import functional as F

from t2i_assets.corpus.schemas import IMAGE_EMBEDDINGS, LATENTS, PROMPTS
from t2i_assets.corpus.tables import read_rows, write_table
from tests.unit.colored_corpus import write_colored_corpus
from tests.unit.test_training_generate import pictures
from tests.unit.tiny_text_encoders import write_open_clip
from training.config import (
    AutoencoderConfig,
    DiffusionConfig,
    GenerateConfig,
    OptimizerConfig,
    PriorSamplerConfig,
    SamplerConfig,
)
from training.data import read_blend
from training.diffusion import DiffusionInputs
from training.diffusion import main as train
from training.embed import as_lists
from training.embeddings import EncoderMismatchError, encoder_digest, write_encoder
from training.generate import GenerateInputs
from training.generate import main as generate
from training.image_conditions import ConditionMismatchError, PriorEmbeddings
from training.job import Job
from training.latent_sets import Origin, write_shapes
from training.models.autoencoder import build_autoencoder, store_statistics
from training.models.autoregressive_prior import AutoregressivePrior
from training.models.clip import load_clip
from training.models.diffusion import build_unet, predict
from training.models.diffusion_prior import DiffusionPrior
from training.models.prior import save_prior
from training.models.saved_diffusion import load_diffusion
from training.report import Reporter
from training.text_encoders.protocol import Condition

UNCLIP = DiffusionConfig(
    widths=(16, 16),
    heads=2,
    norm_groups=4,
    held_out=0.2,
    image_embedding=True,
    caption_dropout=0.5,
    sampler=SamplerConfig(steps=2),
    optimizer=OptimizerConfig(steps=30, batch_size=16, lr=3e-3, warmup=5),
)
PRIOR = {"embed_dim": 16, "text_width": 32, "context_length": 12, "width": 32, "layers": 1, "heads": 2}
IMAGE_SIZE, DIMENSIONS = 16, 16


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Latents that the image embedding tells and the caption does not, a model trained on them, and both priors."""
    root = tmp_path_factory.mktemp("unclip")
    write_colored_corpus(root, 40)
    for name in ("clip", "other_clip", "autoencoder", "latents", "embeddings", "model", "diffusion", "regression"):
        (root / name).mkdir()
    write_open_clip(root / "clip")
    write_open_clip(root / "other_clip", quick_gelu=True)
    clip, _ = load_clip(root / "clip")
    write_encoder(root / "embeddings", root / "clip", clip)
    torch.manual_seed(0)
    autoencoder = build_autoencoder(AutoencoderConfig(image_size=IMAGE_SIZE, widths=(8, 16, 16), latent_channels=4))
    store_statistics(autoencoder, torch.randn(9, 4, 4, 4))
    autoencoder.save_pretrained(root / "autoencoder")

    keys = sorted(read_blend(root / "blend", "diffusion"))
    signs = torch.randint(0, 2, (len(keys),)) * 2.0 - 1
    latents = signs.view(-1, 1, 1, 1) * torch.ones(len(keys), 4, 4, 4)
    embeddings = F.normalize(signs[:, None] + 0.3 * torch.randn(len(keys), DIMENSIONS), dim=1)
    write_table(
        root / "latents" / "00000.parquet", pa.table({"key": keys, "latent": as_lists(latents.flatten(1))}), LATENTS
    )
    write_shapes(root / "latents", Origin(encoder_digest(root / "autoencoder"), {}), {"00000": (4, 4, 4)})
    (root / "embeddings" / "images").mkdir()
    table = pa.table({"key": keys, "embedding": as_lists(embeddings)})
    write_table(root / "embeddings" / "images" / "00000.parquet", table, IMAGE_EMBEDDINGS)
    train_into(root, root / "model")

    diffusion = DiffusionPrior(**PRIOR, timesteps=50)
    diffusion.fit(embeddings)
    space = encoder_digest(root / "clip")
    save_prior(diffusion, {**PRIOR, "timesteps": 50}, space, root / "diffusion")
    told = {**PRIOR, "components": 4, "buckets": 4, "dot_buckets": 4}
    regression = AutoregressivePrior(**told)
    regression.fit(embeddings, embeddings)
    save_prior(regression, told, space, root / "regression")
    rows = [
        {
            "prompt_id": f"p{number}",
            "scene_id": f"s{number}",
            "style": "original",
            "category": "color",
            "prompt": text,
            "facts": "{}",
            "reference_key": "r",
        }
        for number, text in enumerate(["a red picture", "a blue picture", "a striped star"])
    ]
    write_table(root / "prompts.parquet", rows, PROMPTS)
    return root


def train_into(corpus: Path, output: Path, config: DiffusionConfig = UNCLIP, **inputs: Any) -> None:
    told: dict[str, Any] = {
        "blend": corpus / "blend",
        "clip": corpus / "clip",
        "autoencoder": corpus / "autoencoder",
        "latents": [corpus / "latents"],
        "image_embeddings": [corpus / "embeddings"],
    }
    torch.manual_seed(0)
    train(
        Job("latent_diffusion", config, DiffusionInputs(**{**told, **inputs}), output),
        Reporter("latent_diffusion", output, {}),
    )


def draw(corpus: Path, output: Path, prior: str | None = None, clip: str = "clip", **config: Any) -> list[np.ndarray]:
    output.mkdir(exist_ok=True)
    told = {"precision": "fp32", "sampler": {"steps": 2}, "prior": {"steps": 3}, **config}
    inputs = GenerateInputs(
        diffusion=corpus / "model",
        prompts=corpus / "prompts.parquet",
        clip=corpus / clip,
        prior=None if prior is None else corpus / prior,
    )
    generate(Job("generated", GenerateConfig.model_validate(told), inputs, output), Reporter("generated", output, {}))
    return pictures(output)


def test_the_image_embedding_is_added_to_the_time_and_to_the_context() -> None:
    torch.manual_seed(0)
    unet = build_unet(UNCLIP, (2, 4, 4), text_width=8, embed_dim=6, image_dim=5).eval()
    assert unet.class_embedding.in_features == 6 + 5
    seen: list[torch.Tensor] = []
    attention = unet.mid_block.attentions[0].transformer_blocks[0].attn2
    attention.to_k.register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0]))
    texts = Condition.of_text(torch.randn(1, 3, 8), torch.randn(1, 6))
    with torch.no_grad():
        for images in (torch.zeros(1, 5), torch.randn(1, 5)):
            predict(unet, torch.zeros(1, 2, 4, 4), torch.tensor([5]), texts.with_images(images))
    without, told = seen
    assert told.shape[1] == 3 + 10
    torch.testing.assert_close(told[:, 10:], without[:, 10:])
    assert (told[:, :10] - without[:, :10]).abs().min(dim=2).values.max() > 0


def test_it_learns_from_the_image_embedding_what_the_caption_does_not_say(corpus: Path) -> None:
    model = load_diffusion(corpus / "model")
    final = json.loads((corpus / "model" / "run.json").read_text())["final"]
    assert final["samples"] + final["held_out"] == 40
    noisy, time = torch.zeros(2, 4, 4, 4), torch.tensor([990, 990])
    plus = torch.ones(1, DIMENSIONS)
    nothing = model.text_encoder(["", ""]).with_images(torch.cat([plus, -plus]))
    with torch.no_grad():
        velocity = predict(model.unet, noisy, time, nothing).mean(dim=(1, 2, 3))
    assert velocity[0] < velocity[1] - 0.2, "v is minus the data at the noisy end"


def test_it_draws_from_priors_text_embedding_and_caption(corpus: Path, tmp_path: Path) -> None:
    ways = {
        "caption": draw(corpus, tmp_path / "caption"),
        "text": draw(corpus, tmp_path / "text", condition="text_embedding"),
        "diffusion": draw(corpus, tmp_path / "diffusion", "diffusion", condition="prior"),
        "regression": draw(corpus, tmp_path / "regression", "regression", condition="prior"),
        "beside": draw(corpus, tmp_path / "beside", condition="text_embedding", caption_beside=True),
    }
    for name, images in ways.items():
        assert len(images) == 3
        for other, theirs in ways.items():
            if other > name:
                assert any((one != two).any() for one, two in zip(images, theirs, strict=True)), (name, other)


@pytest.mark.parametrize("prior", ["diffusion", "regression"])
def test_an_image_from_a_prior_does_not_depend_on_its_batch(corpus: Path, tmp_path: Path, prior: str) -> None:
    alone = draw(corpus, tmp_path / "alone", prior, condition="prior", batch_size=1)
    together = draw(corpus, tmp_path / "together", prior, condition="prior", batch_size=3)
    for one, other in zip(alone, together, strict=True):
        assert np.abs(one.astype(int) - other.astype(int)).max() <= 1


def test_what_does_not_fit_is_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ConditionMismatchError, match="needs the input 'prior'"):
        draw(corpus, tmp_path, condition="prior")
    with pytest.raises(
        ConditionMismatchError, match=r"knows image embeddings of encoder [0-9a-f]{16}, but .*other_clip"
    ):
        draw(corpus, tmp_path, condition="text_embedding", clip="other_clip")
    with pytest.raises(
        ConditionMismatchError, match=r"draws image embeddings of encoder [0-9a-f]{16}, but .*other_clip"
    ):
        PriorEmbeddings(corpus / "other_clip", corpus / "diffusion", PriorSamplerConfig())
    with pytest.raises(EncoderMismatchError, match=r"made by encoder [0-9a-f]{16}, but encoder [0-9a-f]{16} is asked"):
        train_into(corpus, tmp_path, clip=corpus / "other_clip")
    with pytest.raises(ValueError, match="image_embedding is True, but the inputs image_embeddings are not given"):
        train_into(corpus, tmp_path, image_embeddings=[])
    assert read_rows(corpus / "prompts.parquet", PROMPTS)
