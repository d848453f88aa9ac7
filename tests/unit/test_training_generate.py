"""Drawing images for prompts: the same bytes every time, noise that depends on scene and seed alone."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from t2i_assets.corpus.schemas import GENERATED, PROMPTS
from t2i_assets.corpus.tables import read_rows, write_table
from tests.unit.latent_corpus import write_diffusion, write_latent_corpus
from training.config import GenerateConfig, SamplerConfig
from training.generate import GenerateInputs, main
from training.job import Job
from training.models.sampling import generator_for, starting_noise
from training.report import Reporter

CONFIG = GenerateConfig(model_digest="d1", seeds=(0, 5), batch_size=4, sampler=SamplerConfig(steps=3))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> GenerateInputs:
    directory = tmp_path_factory.mktemp("corpus")
    write_latent_corpus(directory)
    write_diffusion(directory, directory / "diffusion")
    rows = [
        {
            "prompt_id": f"p{number}",
            "scene_id": f"s{number // 2}",
            "style": "original",
            "category": "color",
            "prompt": f"a {color} picture",
            "facts": "{}",
            "reference_key": "r",
        }
        for number, color in enumerate(["red", "red", "blue", "green", "purple"])
    ]
    write_table(directory / "prompts.parquet", rows, PROMPTS)
    return GenerateInputs(diffusion=directory / "diffusion", prompts=directory / "prompts.parquet")


def generate(inputs: GenerateInputs, output: Path, config: GenerateConfig = CONFIG) -> Path:
    output.mkdir(exist_ok=True)
    main(Job("generated_images", config, inputs, output), Reporter("generated_images", output, {}))
    return output


def test_every_prompt_and_seed_has_an_image_where_the_table_says(inputs: GenerateInputs, tmp_path: Path) -> None:
    output = generate(inputs, tmp_path / "images")
    rows = read_rows(output / "00000.parquet", GENERATED)
    data = (output / "00000.tar").read_bytes()
    assert [row["key"] for row in rows] == [f"p{number}-{seed}" for number in range(5) for seed in (0, 5)]
    assert {row["model"] for row in rows} == {"d1"}
    for row in rows:
        image = Image.open(io.BytesIO(data[row["image_offset"] : row["image_offset"] + row["image_bytes"]]))
        assert (image.format, image.size, image.mode) == ("PNG", (16, 16), "RGB")
    with tarfile.open(output / "00000.tar") as tar:
        assert tar.getnames() == [f"{row['key']}.png" for row in rows]
    assert Image.open(output / "grid.png").width > 0


def test_a_second_run_writes_the_same_bytes(inputs: GenerateInputs, tmp_path: Path) -> None:
    first, second = generate(inputs, tmp_path / "a"), generate(inputs, tmp_path / "b")
    for name in ("00000.tar", "00000.parquet", "grid.png"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_an_image_does_not_depend_on_its_batch(inputs: GenerateInputs, tmp_path: Path) -> None:
    exact = CONFIG.model_copy(update={"precision": "fp32"})
    alone = generate(inputs, tmp_path / "alone", exact.model_copy(update={"batch_size": 1}))
    together = generate(inputs, tmp_path / "together", exact.model_copy(update={"batch_size": 10}))
    for one, other in zip(pictures(alone), pictures(together), strict=True):
        assert np.abs(one.astype(int) - other.astype(int)).max() <= 1


def test_equal_scene_seed_and_words_give_equal_images_and_another_seed_another(
    inputs: GenerateInputs, tmp_path: Path
) -> None:
    images = pictures(generate(inputs, tmp_path / "images"))
    assert np.array_equal(images[0], images[2])  # p0 and p1: one scene, one text
    assert not np.array_equal(images[0], images[1])  # p0 with seeds 0 and 5


def test_what_was_drawn_before_is_taken_over_and_the_rest_is_drawn(inputs: GenerateInputs, tmp_path: Path) -> None:
    exact = CONFIG.model_copy(update={"precision": "fp32"})
    prompts = read_rows(inputs.prompts, PROMPTS)
    write_table(tmp_path / "some.parquet", prompts[1:3], PROMPTS)
    some = generate(inputs.model_copy(update={"prompts": tmp_path / "some.parquet"}), tmp_path / "some", exact)
    known = inputs.model_copy(update={"earlier": [some]})
    every = generate(known, tmp_path / "every", exact)
    assert json.loads((every / "run.json").read_text())["final"]["taken_over"] == 4
    for one, other in zip(pictures(every)[2:6], pictures(some), strict=True):
        assert np.array_equal(one, other)
    for one, other in zip(pictures(every), pictures(generate(inputs, tmp_path / "anew", exact)), strict=True):
        assert np.abs(one.astype(int) - other.astype(int)).max() <= 1
    modelless = known.model_copy(update={"earlier": [every], "diffusion": tmp_path / "gone"})
    again = generate(modelless, tmp_path / "again", exact)
    for name in ("00000.tar", "00000.parquet", "grid.png"):
        assert (again / name).read_bytes() == (every / name).read_bytes()


def test_noise_follows_from_name_and_seed() -> None:
    def noise_of(names: list[str], seed: int) -> torch.Tensor:
        return starting_noise([generator_for(name, seed) for name in names], (2, 3, 3))

    noise = noise_of(["a", "b"], 0)
    assert torch.equal(noise[1:], noise_of(["b"], 0))
    assert not torch.equal(noise[0], noise[1])
    assert not torch.equal(noise, noise_of(["a", "b"], 1))
    assert noise_of([str(n) for n in range(500)], 0).std().sub(1).abs() < 0.05


def test_what_a_killed_try_left_is_cleared_away(inputs: GenerateInputs, tmp_path: Path) -> None:
    stale = tmp_path / ".00000.tar.1.tmp"
    stale.write_bytes(b"half")
    generate(inputs, tmp_path)
    assert not stale.exists()


def pictures(output: Path) -> list[np.ndarray]:
    with tarfile.open(output / "00000.tar") as tar:
        return [np.asarray(Image.open(io.BytesIO(tar.extractfile(member).read()))) for member in tar.getmembers()]
