"""Recaptioning as a job and as an asset: what a kill leaves behind, and which caption sets lie apart."""

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import torch

from t2i_assets.assets.capfilt import synthetic_captions
from t2i_assets.corpus.artifacts import Manifest, publish, write_ref
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.named_models import named_model_digest
from t2i_assets.corpus.schemas import CAPTIONS
from t2i_assets.corpus.tables import read_rows
from t2i_assets.resources import Overrides, Pipeline
from tests.unit.drawn_corpus import write_shards, write_tokenizer
from tests.unit.tiny_blips import save_blip
from training import recaption
from training.captioners.coca import CocaCaptioner
from training.config import RecaptionConfig
from training.job import Job
from training.models.coca import Captioner, build_coca, coca_config, save_captioner
from training.recaption import RecaptionInputs
from training.report import Reporter
from training.tokenizer import MERGES, load

torch.set_num_threads(1)

SHARDS = ["00000.parquet", "00001.parquet", "00002.parquet"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus")
    write_shards(root / "shards", 10, 4)
    write_tokenizer(root / "tokenizer")
    save_blip(root / "blip")
    for seed, style in enumerate(("short", "descriptive")):
        torch.manual_seed(seed)
        tokenizer = load(root / "tokenizer", 16)
        config = coca_config(tokenizer.vocab_size, 32, 8, 32, 1, 1, 1, heads=2, context_length=16, stem_blocks=1)
        captioner = Captioner(build_coca(config).eval(), tokenizer, config)
        save_captioner(captioner, root / "tokenizer" / MERGES, root / "captioner" / style)
    return root


def write_all(corpus: Path, output: Path, **config: Any) -> None:
    output.mkdir(exist_ok=True)
    inputs = RecaptionInputs(captioner=corpus / "captioner", shards=corpus / "shards")
    settings = RecaptionConfig.model_validate({"batch_size": 3, "decode": {"max_tokens": 6}, **config})
    with Reporter("synthetic_captions", output, {}) as reporter:
        recaption.main(Job("synthetic_captions", settings, inputs, output), reporter)


def tables(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.glob("0*.parquet"))}


@pytest.fixture
def captioned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of all captions that were decoded, in order."""
    names: list[str] = []
    write = CocaCaptioner.write

    def counted(self: CocaCaptioner, images: torch.Tensor, keys: list[str], seed: int, config: Any) -> Any:
        names.extend(keys)
        return write(self, images, keys, seed, config)

    monkeypatch.setattr(CocaCaptioner, "write", counted)
    return names


def test_after_a_kill_only_missing_shards_are_captioned_and_every_byte_is_the_same(
    corpus: Path, tmp_path: Path, captioned: list[str]
) -> None:
    write_all(corpus, tmp_path / "whole")
    assert list(tables(tmp_path / "whole")) == SHARDS
    everything = len(captioned)
    killed = tmp_path / "killed"
    child = os.fork()
    if child == 0:  # dies in the middle of the second shard, which takes four calls as the first does
        CocaCaptioner.write = _dying(CocaCaptioner.write, after=4)  # type: ignore[method-assign]
        write_all(corpus, killed)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert list(tables(killed)) == SHARDS[:1]
    finished = (killed / SHARDS[0]).stat()
    captioned.clear()
    write_all(corpus, killed)
    assert tables(killed) == tables(tmp_path / "whole")
    assert ((killed / SHARDS[0]).stat().st_ino, (killed / SHARDS[0]).stat().st_mtime_ns) == (
        finished.st_ino,
        finished.st_mtime_ns,
    )
    first = {row["key"] for row in read_rows(killed / SHARDS[0], CAPTIONS, ["key"])}
    assert len(captioned) == everything - 2 * len(first)
    assert not first & {name.partition("/")[2] for name in captioned}
    final = json.loads((killed / "run.json").read_text())["final"]
    assert (final["captions"], final["captions_written"]) == (everything, len(captioned))


def _dying(write: Any, after: int) -> Any:
    calls = 0

    def counted(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > after + 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return write(*arguments)

    return counted


def test_bf16_writes_captions_of_its_own_and_says_so(corpus: Path, tmp_path: Path) -> None:
    write_all(corpus, tmp_path / "bf16", precision="bf16")
    rows = read_rows(tmp_path / "bf16", CAPTIONS)
    assert len(rows) == 20
    assert {json.loads(row["decode"])["precision"] for row in rows} == {"bf16"}
    assert all(row["log_probability"] < 0 for row in rows)


@pytest.fixture
def pipeline(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """A home that holds one snapshot's shards and nothing else; jobs run in this process."""
    home = Home(tmp_path)
    (tmp_path / "shards").mkdir()

    def write(out: Path) -> None:
        for path in (corpus / "shards").iterdir():
            (out / path.name).write_bytes(path.read_bytes())

    manifest = Manifest(asset="shards", partition="demo", digest="d" * 16, code_version="1")
    write_ref(home, "shards", "demo", publish(home.shards("demo"), manifest, write))

    def launch(
        context: Any, module: str, config: Mapping[str, Any], inputs: Mapping[str, Any], out: Path, _: Any
    ) -> Any:
        assert module == "training.recaption"
        job = Job("synthetic_captions", RecaptionConfig(**config), RecaptionInputs(**inputs), out)
        with Reporter(job.name, out, {}) as reporter:
            recaption.main(job, reporter)
        return json.loads((out / "run.json").read_text())

    monkeypatch.setattr("t2i_assets.jobs.launch", launch)
    return Pipeline(preset="smoke", home=str(tmp_path))


def caption_set(pipeline: Pipeline, **overrides: Any) -> Path:
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions("snapshots", ["demo"])
    context = dg.build_asset_context(partition_key="demo", instance=instance)
    result = synthetic_captions(context, pipeline=pipeline, config=Overrides(overrides=overrides))
    return Path(result.metadata["path"].value)


def test_a_named_model_needs_no_captioner_and_each_decoding_is_a_caption_set_of_its_own(
    corpus: Path, pipeline: Pipeline
) -> None:
    named = {"backend": "blip", "model": str(corpus / "blip")}
    nucleus = caption_set(pipeline, **named, decode={"max_tokens": 5})
    before = tables(nucleus)
    greedy = caption_set(pipeline, **named, decode={"max_tokens": 5, "method": "greedy"})
    another = caption_set(pipeline, **named, decode={"max_tokens": 5}, seed=1)
    assert len({nucleus, greedy, another}) == 3
    assert tables(nucleus) == before
    assert caption_set(pipeline, **named, decode={"max_tokens": 5}) == nucleus
    home = Path(pipeline.home)
    assert {path.parent for path in home.glob("captions/[!.]*/[!.]*/[0-9]*.parquet")} == {nucleus, greedy, another}
    rows = read_rows(nucleus, CAPTIONS)
    assert {row["captioner"] for row in rows} == {named_model_digest("blip", str(corpus / "blip"), None, None)}
    assert {row["source"] for row in rows} == {"synthetic_short", "synthetic_descriptive"}


def test_a_model_is_named_by_what_lies_at_its_path(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    weights = tmp_path / "model" / "weights"
    weights.write_text("one")
    first = named_model_digest("blip", str(tmp_path / "model"), None)
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "weights").write_text("one")
    assert named_model_digest("blip", str(tmp_path / "copy"), None) == first
    assert named_model_digest("coca", f"local-dir:{tmp_path / 'copy'}", None) != first
    weights.write_text("two")
    assert named_model_digest("blip", str(tmp_path / "model"), None) != first
    assert named_model_digest("blip", "some/name", "a") != named_model_digest("blip", "some/name", "b")
