"""``t2i upsample``: longer prompts from the command line, and words where there is no upsampler."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from t2i_assets.cli import main
from t2i_assets.corpus.artifacts import WHOLE, Manifest, publish, write_ref
from t2i_assets.corpus.home import Home
from tests.unit.caption_layers import descriptive, write_layers
from training.config import UpsamplerConfig
from training.job import Job
from training.report import Reporter
from training.upsampler import UpsamplerInputs
from training.upsampler import main as make


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    root = tmp_path_factory.mktemp("home")
    write_layers(root / "layers")
    place = Home(root / "t2i")
    steps = {"steps": 60, "batch_size": 16, "lr": 5e-3, "warmup": 10}
    config = UpsamplerConfig.model_validate({"width": 64, "heads": 4, "context_length": 48, "optimizer": steps})
    inputs = UpsamplerInputs(
        captions=[root / "layers" / "captions"],
        verdicts=[root / "layers" / "verdicts"],
        shards=[root / "layers" / "shards"],
        tokenizer=root / "layers" / "tokenizer",
    )

    def write(out: Path) -> None:
        with Reporter("upsampler", out, {}) as reporter:
            make(Job("upsampler", config, inputs, out), reporter)

    manifest = Manifest(asset="upsampler", digest="d", code_version="1")
    write_ref(place, "upsampler", WHOLE, publish(place.model("upsampler", "d"), manifest, write))
    return place


def run(home: Home, *arguments: str, lines: str | None = None) -> Result:
    return CliRunner().invoke(main, ["upsample", "--home", str(home.root), *arguments], input=lines)


def test_lines_of_standard_input_come_back_longer_and_what_stays_is_told(home: Home) -> None:
    result = run(home, "--json", "--seed", "3", "--candidates", "16", lines="a red ball\n\na red zebra\n")
    assert result.exit_code == 0, result.output
    long, same = (json.loads(line) for line in result.stdout.splitlines())
    assert {(row["seed"], row["model"]) for row in (long, same)} == {(3, "d")}
    assert (long["prompt"], long["upsampled"], long["status"]) == ("a red ball", descriptive("red"), "kept")
    assert (same["prompt"], same["upsampled"], same["status"]) == ("a red zebra", "a red zebra", "fallback")
    assert result.stderr.splitlines() == ["left as it is: a red zebra"]


def test_plain_output_is_the_longer_prompts_alone(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"prompt": "a ball", "upsampled": "a red ball", "status": "kept"}]
    monkeypatch.setattr("t2i_assets.commands.upsample.upsample_texts", lambda *_: rows)
    assert run(home, "a ball").stdout == "a red ball\n"


def test_without_an_upsampler_it_says_what_to_materialize(tmp_path: Path) -> None:
    result = run(Home(tmp_path), "a red ball")
    assert result.exit_code == 1
    assert f"Error: asset 'upsampler' is not materialized in {tmp_path}: materialize it first" in result.stderr


def test_a_job_that_fails_is_told_in_one_line(home: Home) -> None:
    record = home.model("upsampler", "d") / "upsampler.json"
    before = record.read_text()
    record.write_text('{"backend": "oracle"}')
    try:
        result = run(home, "a red ball")
    finally:
        record.write_text(before)
    assert result.exit_code == 1
    assert "training.upsample ended with code 1: ValueError:" in result.stderr
    assert "there is no back end 'oracle'" in result.stderr
