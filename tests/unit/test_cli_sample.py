"""``t2i sample``: a labelled grid for prompts from the command line, and words where a model cannot be found."""

import itertools
import subprocess
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from t2i_assets.cli import main
from t2i_assets.commands.sample import Seeds, find, find_prior
from t2i_assets.corpus.artifacts import Manifest, publish, write_ref
from t2i_assets.corpus.home import Home
from tests.unit.tiny_text_encoders import write_open_clip
from training.config import AutoencoderConfig, DiffusionConfig, SampleConfig, TextEncoderConfig
from training.embeddings import encoder_digest
from training.job import read_job
from training.models.autoencoder import build_autoencoder, store_statistics
from training.models.diffusion import open_unet
from training.models.diffusion_prior import DiffusionPrior
from training.models.objectives import build_scheduler
from training.models.prior import save_prior
from training.models.saved_diffusion import save_diffusion
from training.report import Reporter
from training.sample import LEAST_SIDE, SampleInputs, labelled_grid
from training.sample import main as draw_grid
from training.text_encoders.backends import open_text_encoder

DIGEST, UNCLIP, CLIP = "abcdef0123456789", "0123456789abcdef", "c1c1c1c1c1c1c1c1"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with a CLIP, two models that know nothing, one of them unCLIP, and priors of two CLIPs."""
    place = Home(tmp_path_factory.mktemp("home"))

    def write_model(out: Path, **variant: Any) -> None:
        clip, parts = place.model("clip", CLIP), out / "parts"
        torch.manual_seed(0)
        autoencoder = build_autoencoder(AutoencoderConfig(image_size=16, widths=(8, 16, 16), latent_channels=4))
        store_statistics(autoencoder, torch.randn(9, 4, 4, 4))
        autoencoder.save_pretrained(parts / "vae")
        config = DiffusionConfig(widths=(16, 16), heads=2, norm_groups=4, **variant)
        encoder = open_text_encoder(TextEncoderConfig(), clip)
        unet = open_unet(config, (4, 4, 4), encoder, 16 if config.image_embedding else 0)
        space = encoder_digest(clip) if config.image_embedding else None
        save_diffusion(unet, build_scheduler(config), parts / "vae", encoder, out, space)

    def write_prior(out: Path, space: str) -> None:
        told = {"embed_dim": 16, "text_width": 32, "context_length": 12, "width": 32, "layers": 1, "heads": 2}
        prior = DiffusionPrior(**told, timesteps=50)
        prior.fit(torch.nn.functional.normalize(torch.randn(50, 16), dim=1))
        save_prior(prior, {**told, "timesteps": 50}, space, out)

    def publish_as(kind: str, digest: str, recipe: str, clip: str | None, write: Callable[[Path], None]) -> None:
        asset, inputs = ("clip_model", {}) if clip is None else (kind, {"clip_model": clip})
        manifest = Manifest(asset=asset, partition=recipe, digest=digest, code_version="1", inputs=inputs)
        write_ref(place, asset, recipe, publish(place.model(kind, digest), manifest, write))

    publish_as("clip", CLIP, "blend_95_5", None, write_open_clip)
    publish_as("latent_diffusion", DIGEST, "blend_95_5", CLIP, write_model)
    publish_as("latent_diffusion", UNCLIP, "unclip", CLIP, partial(write_model, image_embedding=True))
    space = encoder_digest(place.model("clip", CLIP))
    publish_as("diffusion_prior", "d0", "alt_only", "another", partial(write_prior, space="another"))
    publish_as("diffusion_prior", "d1", "blend_95_5", CLIP, partial(write_prior, space=space))
    return place


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the job run here: a process of its own takes seconds to import what it draws with."""

    def run_here(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        job = read_job(Path(command[-1]), SampleConfig, SampleInputs)
        try:
            with Reporter(job.name, job.output, {}, quiet=True) as reporter:
                draw_grid(job, reporter)
        except ValueError as error:
            said = traceback.format_exception_only(error)
            return subprocess.CompletedProcess(command, 1, stdout="", stderr="".join(said))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr("t2i_assets.commands.sample.subprocess", SimpleNamespace(run=run_here))


def run(home: Home, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["sample", "--home", str(home.root), *arguments])


def test_a_grid_is_written_and_named(home: Home, tmp_path: Path) -> None:
    out = tmp_path / "new" / "grid.png"
    told = ["--model", DIGEST[:6], "--seeds", "0-2", "--steps", "2", "--guidance", "3", "--sampler", "dpm++"]
    result = run(home, "a red star", "a blue circle", *told, "--out", str(out))
    assert result.exit_code == 0, result.output
    assert result.output == f"6 pictures by {home.model('latent_diffusion', DIGEST)}: {out}\n"
    sheet = Image.open(out)
    assert sheet.width > 3 * 128
    assert sheet.height > 2 * 128
    assert len(np.unique(np.asarray(sheet).reshape(-1, 3), axis=0)) > 50


def test_a_model_is_found_by_recipe_digest_and_directory(home: Home, tmp_path: Path) -> None:
    path = home.model("latent_diffusion", DIGEST)
    assert find(home, "latent_diffusion", "blend_95_5") == path
    assert find(home, "latent_diffusion", DIGEST[:4]) == path
    assert find(home, "latent_diffusion", str(path)) == path
    result = run(home, "a red star", "--model", str(tmp_path))
    assert result.exit_code == 1
    assert f"{tmp_path} is no saved diffusion model: it has no model_index.json" in result.output


@pytest.mark.parametrize("asked", ["nothing", "/no/such/directory", "no/such", "*", "["])
def test_an_unknown_model_is_told_with_what_there_is(home: Home, asked: str) -> None:
    result = run(home, "a red star", "--model", asked)
    assert result.exit_code == 1
    there_is = f"name a directory or one of blend_95_5 ({DIGEST}), unclip ({UNCLIP})"
    assert result.output == f"Error: there is no latent_diffusion {asked!r} in {home.root}: {there_is}\n"


@pytest.mark.usefixtures("in_this_process")
def test_a_model_of_the_unclip_variant_draws_from_caption_text_embedding_and_prior(home: Home, tmp_path: Path) -> None:
    ways = [
        [],
        ["--condition", "text_embedding"],
        ["--prior", "diffusion_prior"],
        ["--prior", "d1", "--caption-beside"],
    ]
    sheets = []
    for number, options in enumerate(ways):
        out = tmp_path / f"{number}.png"
        told = ["--model", "unclip", "--seeds", "0-1", "--steps", "2", "--out", str(out)]
        result = run(home, "a red star", *told, *options)
        assert result.exit_code == 0, result.output
        sheets.append(np.asarray(Image.open(out)))
    for one, other in itertools.combinations(sheets, 2):
        assert (one != other).any()


def test_a_recipe_is_meant_before_a_directory_of_its_name(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "blend_95_5").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find(home, "latent_diffusion", "blend_95_5") == home.model("latent_diffusion", DIGEST)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--condition", "prior"], "condition prior needs --prior"),
        (["--condition", "caption", "--prior", "d1"], "condition caption does not read --prior"),
        (["--condition", "text_embedding", "--prior", "d1"], "condition text_embedding does not read --prior"),
        (["--clip", CLIP], "condition caption does not read --clip"),
        (["--caption-beside"], "condition caption does not read --caption-beside"),
    ],
)
def test_an_option_that_says_nothing_is_refused(home: Home, options: list[str], says: str) -> None:
    result = run(home, "a red star", *options)
    assert result.exit_code == 2
    assert says in result.output


def test_what_the_model_cannot_do_is_told_in_one_line(home: Home) -> None:
    result = run(home, "a red star", "--steps", "150")
    assert result.exit_code == 1
    [line] = result.output.splitlines()
    says = "ddim cannot part 1000 timesteps into 150 steps: take 142 or 166 steps, or sampler dpm++"
    assert line.startswith(f"Error: training.sample ended with code 1: {says}")


@pytest.mark.usefixtures("in_this_process")
def test_a_model_that_takes_no_image_embeddings_needs_no_prior(home: Home) -> None:
    result = run(home, "a red star", "--prior", "d1")
    assert result.exit_code == 1
    assert "condition prior needs a model that takes image embeddings" in result.output


def test_the_prior_of_a_kind_is_the_one_that_knows_the_clip(home: Home) -> None:
    assert find_prior(home, "diffusion_prior", home.model("clip", CLIP)) == home.model("diffusion_prior", "d1")
    assert find_prior(home, "d1", home.model("clip", CLIP)) == home.model("diffusion_prior", "d1")
    result = run(home, "a red star", "--prior", "autoregressive_prior")
    assert result.exit_code == 1
    assert f"no autoregressive_prior in {home.root} was trained on embeddings of the CLIP {CLIP}" in result.output


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("by", ["digest", "directory"])
def test_a_prior_of_another_clip_is_refused(home: Home, by: str) -> None:
    asked = "d0" if by == "digest" else str(home.model("diffusion_prior", "d0"))
    result = run(home, "a red star", "--model", "unclip", "--prior", asked)
    assert result.exit_code == 1
    assert "draws image embeddings of encoder another, but" in result.output


def test_an_unknown_prior_is_told_with_what_there_is(home: Home) -> None:
    result = run(home, "a red star", "--prior", "/no/such/prior")
    assert result.exit_code == 1
    assert "there is no prior '/no/such/prior'" in result.output
    assert "diffusion_prior d0, diffusion_prior d1" in result.output


@pytest.mark.usefixtures("in_this_process")
def test_pictures_of_another_shape_are_drawn_where_the_model_can(home: Home, tmp_path: Path) -> None:
    out = tmp_path / "wide.png"
    told = ["--seeds", "0", "--steps", "2", "--out", str(out)]
    wide = run(home, "a red star", "--size", "32x16", *told)
    assert wide.exit_code == 0, wide.output
    with Image.open(out) as sheet:
        assert sheet.width > 2 * LEAST_SIDE
    odd = run(home, "a red star", "--size", "30x16", *told)
    assert odd.exit_code == 1
    assert "ended with code 1: images of 30x16 pixels cannot be drawn: take multiples of 8\n" in odd.output
    assert "'wide' is not like 96x64" in run(home, "a red star", "--size", "wide").output


@pytest.mark.parametrize(("text", "seeds"), [("0-3", (0, 1, 2, 3)), ("5", (5,)), ("0,3,7-8", (0, 3, 7, 8))])
def test_seeds_are_ranges_and_lists(text: str, seeds: tuple[int, ...]) -> None:
    assert Seeds().convert(text, None, None) == seeds


@pytest.mark.parametrize("text", ["x", "3-1", "", "0-999", "1-2-3", "-1", "0-99999999999999"])
def test_seeds_that_are_none_are_refused(home: Home, text: str) -> None:
    result = run(home, "a red star", "--seeds", text)
    assert result.exit_code == 2
    assert "Invalid value for '--seeds'" in result.output


def test_labels_stand_above_what_they_name() -> None:
    images = torch.zeros(2, 3, 3, 32, 32, dtype=torch.uint8)
    images[1, 2, 0] = 200
    sheet = np.asarray(labelled_grid(images, ("a red star", "a blue circle"), ["seed 0", "seed 1", "seed 2"]))
    red = (sheet == (200, 0, 0)).all(axis=2)
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    assert (len(rows), len(columns)) == (128, 128)
    assert (rows[-1], columns[-1]) > (sheet.shape[0] // 2, sheet.shape[1] // 2)
    strip = sheet[rows[0] - 18 : rows[0], :100]
    assert (strip < 100).any(), "the prompt's label stands right above its row"
