"""Saved diffusion models: diffusers loads pipelines that draw what our own sampler draws, without the project."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, StableDiffusionPipeline

from tests.unit.foreign_process import run_without_project
from tests.unit.tiny_text_encoders import LENGTH, write_open_clip, write_t5
from training.config import AutoencoderConfig, DiffusionConfig, SamplerConfig
from training.models.autoencoder import build_autoencoder, decode, encode, store_statistics
from training.models.diffusion import open_unet
from training.models.objectives import build_scheduler
from training.models.sampling import generator_for, sample, starting_noise
from training.models.saved_diffusion import fold_statistics, load_diffusion, save_diffusion
from training.text_encoders.backends import open_text_encoder

SMALL = {"widths": (16, 16), "heads": 2, "norm_groups": 4}
STEPS, GUIDANCE = 3, 2.5
PROMPTS = ["a red picture", "a striped red star left of a blue circle"]
STATES = {"condition": "states"}
VARIANTS: dict[str, dict[str, Any]] = {
    "v": {},
    "rescaled": {"zero_terminal_snr": True, "sampler": {"guidance_rescale": 0.7}},
    "flow": {"prediction": "flow"},
    "t5": {"text_encoder": {"backend": "t5", "max_length": LENGTH, **STATES}},
    "unclip": {"image_embedding": True},
    "stable_diffusion": {"text_encoder": STATES},
    "epsilon": {"prediction": "epsilon", "noise_schedule": "scaled_linear", "text_encoder": STATES},
}
STOCK = {"stable_diffusion", "epsilon"}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("parts")
    for name, write in (("clip", write_open_clip), ("t5", write_t5)):
        (root / name).mkdir()
        write(root / name)
    autoencoder = measured(AutoencoderConfig(image_size=16, widths=(8, 16, 16), latent_channels=4))
    autoencoder.save_pretrained(root / "autoencoder")
    return root


@pytest.fixture(autouse=True)
def _modules(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have diffusers copy the code of pipelines to a directory of the test's."""
    directory = tmp_path_factory.mktemp("modules")
    monkeypatch.setattr("diffusers.utils.dynamic_modules_utils.HF_MODULES_CACHE", str(directory))


def measured(config: AutoencoderConfig) -> AutoencoderKL:
    """Return an autoencoder with random weights and statistics that are far from 0 and 1."""
    torch.manual_seed(0)
    autoencoder = build_autoencoder(config).eval()
    scale = torch.tensor([0.5, 3.0, 1.0, 2.0]).view(1, 4, 1, 1)
    store_statistics(autoencoder, scale * torch.randn(50, 4, 4, 4) + scale)
    return autoencoder


def saved(parts: Path, directory: Path, variant: str) -> DiffusionConfig:
    told = {**SMALL, **VARIANTS[variant]}
    if variant == "t5":
        told["text_encoder"] = {**told["text_encoder"], "model": str(parts / "t5")}
    config = DiffusionConfig.model_validate(told)
    encoder = open_text_encoder(config.text_encoder, parts / "clip")
    torch.manual_seed(1)
    unet = open_unet(config, (4, 4, 4), encoder, 16 if config.image_embedding else 0)
    save_diffusion(unet, build_scheduler(config), parts / "autoencoder", encoder, directory)
    return config


def drawn_by_us(directory: Path, config: SamplerConfig, images: torch.Tensor) -> np.ndarray:
    model = load_diffusion(directory)
    noise = starting_noise([generator_for(prompt, 0) for prompt in PROMPTS], model.latent_shape)
    told = model.text_encoder(PROMPTS).with_images(images)
    nothing = model.text_encoder([""]).with_images(torch.zeros(1, images.shape[1]))
    latents = sample(model.unet, model.scheduler, noise, told, nothing, config)
    return decode(model.autoencoder, latents).permute(0, 2, 3, 1).numpy() / 255


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_pipeline_draws_what_our_sampler_draws(parts: Path, tmp_path: Path, variant: str) -> None:
    config = saved(parts, tmp_path, variant)
    rescale = config.sampler.guidance_rescale
    sampler = SamplerConfig(steps=STEPS, guidance_scale=GUIDANCE, guidance_rescale=rescale)
    images = torch.nn.functional.normalize(torch.randn(2, 16, generator=torch.Generator().manual_seed(2)), dim=1)
    told = {"image_embeds": images} if config.image_embedding else {}
    expected = drawn_by_us(tmp_path, sampler, images * 4 if told else torch.zeros(2, 0))

    pipeline = DiffusionPipeline.from_pretrained(tmp_path, trust_remote_code=variant not in STOCK)
    pipeline.set_progress_bar_config(disable=True)
    assert isinstance(pipeline, StableDiffusionPipeline) == (variant in STOCK)
    noise = starting_noise([generator_for(prompt, 0) for prompt in PROMPTS], (4, 4, 4))
    theirs = pipeline(
        PROMPTS,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        guidance_rescale=rescale,
        latents=noise,
        output_type="np",
        **told,
    ).images
    assert theirs.shape == (2, 16, 16, 3)
    assert np.abs(theirs - expected).max() < 1.5 / 255
    assert np.abs(theirs[0] - theirs[1]).max() > 5 / 255


WITHOUT_THE_PROJECT = f"""
import json, os, sys
os.environ["HF_MODULES_CACHE"] = os.path.abspath("modules")
import numpy as np
import torch
from diffusers import DiffusionPipeline
for name in ("training", "t2i_assets", "evaluation", "dagster", "duckdb"):
    try:
        __import__(name)
        sys.exit(f"{{name}} can be imported")
    except ModuleNotFoundError:
        pass
noise, images = (torch.from_numpy(np.load(f"{{name}}.npy")) for name in ("noise", "images"))
for variant, (rescale, takes_images) in json.loads(sys.argv[1]).items():
    pipeline = DiffusionPipeline.from_pretrained(variant, trust_remote_code=variant not in {STOCK!r})
    pipeline.set_progress_bar_config(disable=True)
    told = dict(num_inference_steps={STEPS}, guidance_scale={GUIDANCE}, guidance_rescale=rescale)
    embeddings = dict(image_embeds=images) if takes_images else {{}}
    np.save(variant, pipeline({PROMPTS!r}, latents=noise, output_type="np", **told, **embeddings).images)
    pipeline({PROMPTS[0]!r}, generator=torch.Generator().manual_seed(0)).images[0].save(f"{{variant}}.png")
"""


def test_it_draws_where_only_diffusers_and_transformers_are(parts: Path, tmp_path: Path) -> None:
    configs = {}
    for variant in VARIANTS:
        (tmp_path / variant).mkdir()
        configs[variant] = saved(parts, tmp_path / variant, variant)
    images = torch.nn.functional.normalize(torch.randn(2, 16, generator=torch.Generator().manual_seed(2)), dim=1)
    np.save(tmp_path / "noise.npy", starting_noise([generator_for(p, 0) for p in PROMPTS], (4, 4, 4)).numpy())
    np.save(tmp_path / "images.npy", images.numpy())
    told = {name: (config.sampler.guidance_rescale, config.image_embedding) for name, config in configs.items()}
    run_without_project(WITHOUT_THE_PROJECT, tmp_path, json.dumps(told))
    for variant, (rescale, takes_images) in told.items():
        sampler = SamplerConfig(steps=STEPS, guidance_scale=GUIDANCE, guidance_rescale=rescale)
        expected = drawn_by_us(tmp_path / variant, sampler, images * 4 if takes_images else torch.zeros(2, 0))
        assert np.abs(np.load(tmp_path / f"{variant}.npy") - expected).max() < 1.5 / 255, variant
        assert (tmp_path / f"{variant}.png").stat().st_size > 0


def test_the_pipeline_draws_other_sizes_that_latents_have(parts: Path, tmp_path: Path) -> None:
    saved(parts, tmp_path, "v")
    pipeline = DiffusionPipeline.from_pretrained(tmp_path, trust_remote_code=True)
    pipeline.set_progress_bar_config(disable=True)
    told = {"num_inference_steps": 2, "output_type": "np", "generator": torch.Generator().manual_seed(0)}
    assert pipeline(PROMPTS[0], height=12, width=24, **told).images.shape == (1, 12, 24, 3)
    with pytest.raises(ValueError, match="width is 18 pixels, but must be a multiple of 4"):
        pipeline(PROMPTS[0], width=18, **told)


def test_every_file_that_others_need_is_there(parts: Path, tmp_path: Path) -> None:
    saved(parts, tmp_path, "v")
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["_class_name"] == ["pipeline", "TextToImagePipeline"]
    for part in ("unet", "scheduler", "vae", "text_encoder", "tokenizer"):
        assert index[part][0] in ("diffusers", "transformers")
    assert {"vocab.json", "merges.txt"} <= {path.name for path in (tmp_path / "tokenizer").iterdir()}
    assert "training" not in (tmp_path / "pipeline.py").read_text().split("import")[1]
    with pytest.raises(ValueError, match="trust_remote_code"):
        DiffusionPipeline.from_pretrained(tmp_path)


@pytest.mark.parametrize("convolutions", [False, True])
def test_normalised_latents_come_out_of_the_folded_autoencoder(parts: Path, convolutions: bool) -> None:
    autoencoder = AutoencoderKL.from_pretrained(parts / "autoencoder").eval()
    if convolutions:
        told = {**autoencoder.config, "use_quant_conv": True, "use_post_quant_conv": True}
        torch.manual_seed(3)
        mixing = AutoencoderKL.from_config(told).eval()
        mixing.load_state_dict(autoencoder.state_dict(), strict=False)
        autoencoder = mixing
    folded = fold_statistics(autoencoder)
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    latents = encode(autoencoder, images)
    with torch.no_grad():
        posterior, before = folded.encode(images).latent_dist, autoencoder.encode(images).latent_dist
        torch.testing.assert_close(posterior.mode(), latents, atol=1e-5, rtol=1e-4)
        deviation = torch.tensor(autoencoder.config.latents_std).view(1, 4, 1, 1)
        torch.testing.assert_close(posterior.std, before.std / deviation, atol=1e-5, rtol=1e-4)
    assert folded.config.scaling_factor == 1
    difference = decode(folded, latents).int() - decode(autoencoder, latents).int()
    assert difference.abs().max() <= 1
    torch.testing.assert_close(encode(folded, images), latents, atol=1e-5, rtol=1e-4)
