"""Any causal language model as upsampler: told what to do by examples from the captions, and never trusted blindly."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tokenizers.decoders import ByteLevel
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from t2i_assets.corpus.artifacts import Manifest, publish
from t2i_assets.corpus.purge_files import Victims, purge_artifact
from t2i_assets.corpus.schemas import UPSAMPLED, UPSAMPLER_EXAMPLES
from t2i_assets.corpus.suppression import Suppression
from t2i_assets.corpus.tables import read_rows
from tests.unit.caption_layers import descriptive, write_layers
from training.config import UpsampleConfig, UpsamplerConfig
from training.job import Job
from training.report import Reporter
from training.upsample import UpsampleInputs
from training.upsample import main as apply
from training.upsampler import UpsamplerInputs
from training.upsampler import main as make
from training.upsamplers.backends import EXAMPLES, load_upsampler
from training.upsamplers.continuation import Sampling, continuations, log_likelihood
from training.upsamplers.pretrained import PretrainedUpsampler, load_pretrained

torch.set_num_threads(1)

TURNS = "{% for turn in messages %}<{{ turn['role'] }}>{{ turn['content'] }}<end>{% endfor %}<assistant>"


def write_checkpoint(directory: Path, chat: bool = False) -> None:
    """Write a small GPT-2 with random weights and a byte-pair tokenizer, as transformers loads them by path."""
    bytes_to_pieces = Tokenizer(models.BPE())
    bytes_to_pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_to_pieces.decoder = ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bytes_to_pieces.train_from_iterator([descriptive("red")] * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytes_to_pieces, eos_token="<end>")
    if chat:
        tokenizer.chat_template = TURNS
    tokenizer.save_pretrained(directory)
    torch.manual_seed(0)
    shape = GPT2Config(
        vocab_size=len(tokenizer), n_positions=768, n_embd=32, n_layer=2, n_head=2, eos_token_id=tokenizer.eos_token_id
    )
    GPT2LMHeadModel(shape).save_pretrained(directory)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus")
    write_layers(root)
    write_checkpoint(root / "plain")
    write_checkpoint(root / "chat", chat=True)
    return root


def make_upsampler(corpus: Path, output: Path, **pretrained: Any) -> dict[str, Any]:
    output.mkdir()
    inputs = UpsamplerInputs(
        captions=[corpus / "captions"],
        verdicts=[corpus / "verdicts"],
        shards=[corpus / "shards"],
        tokenizer=corpus / "tokenizer",
    )
    told = {"instruction": "Say more.", "examples": 2, **pretrained}
    config = UpsamplerConfig.model_validate({"backend": "transformers", "held_out": 0.1, "pretrained": told})
    with Reporter("upsampler", output, {}) as reporter:
        make(Job("upsampler", config, inputs, output), reporter)
    return dict(json.loads((output / "run.json").read_text())["final"])


def test_a_checkpoint_by_path_gets_examples_from_the_captions(corpus: Path, tmp_path: Path) -> None:
    final = make_upsampler(corpus, tmp_path / "upsampler", model=str(corpus / "plain"))
    assert final["val/perplexity"] > 100, "weights are random"
    assert final["val/survival"] == 0
    assert sorted(path.name for path in (tmp_path / "upsampler").glob("*.json")) == ["run.json", "upsampler.json"]
    upsampler = load_upsampler(tmp_path / "upsampler")
    assert isinstance(upsampler, PretrainedUpsampler)
    lines = upsampler.tokenizer.decode(upsampler.prefix("a red\nstar")).splitlines()
    assert lines[0] == "Say more."
    assert lines[-2:] == ["Short prompt: a red star", "Descriptive prompt:"]
    shown = [line for line in lines[:-2] if line.startswith("Descriptive prompt: ")]
    assert len(shown) == 2
    assert all(line.endswith("ball on the floor") for line in shown)


def test_a_purged_sample_is_no_example_any_more(corpus: Path, tmp_path: Path) -> None:
    make_upsampler(corpus, tmp_path / "upsampler", model=str(corpus / "plain"))
    manifest = Manifest(asset="upsampler", digest="d", code_version="1")

    def fill(out: Path) -> None:
        shutil.copytree(tmp_path / "upsampler", out, dirs_exist_ok=True)

    publish(tmp_path / "published", manifest, fill)
    first, second = read_rows(tmp_path / "published" / EXAMPLES, UPSAMPLER_EXAMPLES)
    victims = Victims(Suppression(keys=frozenset([first["key"]])), frozenset(), frozenset(), frozenset())
    assert purge_artifact(tmp_path / "published", victims)
    assert read_rows(tmp_path / "published" / EXAMPLES, UPSAMPLER_EXAMPLES) == [second]
    upsampler = load_upsampler(tmp_path / "published")
    assert isinstance(upsampler, PretrainedUpsampler)
    assert upsampler.examples == [(second["prompt"], second["text"])]


def test_a_chat_model_gets_turns(corpus: Path, tmp_path: Path) -> None:
    make_upsampler(corpus, tmp_path / "upsampler", model=str(corpus / "chat"), examples=1)
    upsampler = load_upsampler(tmp_path / "upsampler")
    assert isinstance(upsampler, PretrainedUpsampler)
    [(short, long)] = upsampler.examples
    asked = upsampler.tokenizer.decode(upsampler.prefix("a star"))
    assert asked == f"<user>Say more.\n\n{short}<end><assistant>{long}<end><user>a star<end><assistant>"


def test_what_a_model_loses_is_not_used(corpus: Path, tmp_path: Path) -> None:
    make_upsampler(corpus, tmp_path / "upsampler", model=str(corpus / "plain"))
    (tmp_path / "prompts.txt").write_text("a red ball\na green zebra\n")
    (tmp_path / "out").mkdir()
    inputs = UpsampleInputs(upsampler=tmp_path / "upsampler", prompts=tmp_path / "prompts.txt")
    with Reporter("upsample", tmp_path / "out", {}) as reporter:
        apply(Job("upsample", UpsampleConfig(candidates=2, max_tokens=8), inputs, tmp_path / "out"), reporter)
    rows = read_rows(tmp_path / "out" / "upsampled.parquet", UPSAMPLED)
    assert [(row["upsampled"], row["status"]) for row in rows] == [
        ("a red ball", "fallback"),
        ("a green zebra", "fallback"),
    ]


def test_a_continuation_is_as_likely_as_the_model_says_without_a_cache(corpus: Path) -> None:
    model = GPT2LMHeadModel.from_pretrained(corpus / "plain").eval()
    prefixes, end, banned = [[5, 6, 7], [8, 9], [11, 12, 13]], 3, 4
    sampling = Sampling(count=8, top_p=1.0, temperature=1.0, max_tokens=120, batch_size=2)
    found = continuations(model, prefixes, ["a", "b", "c"], 0, (end,), (banned,), sampling)
    finished = [(prefix, text) for prefix, texts in zip(prefixes, found, strict=True) for text in texts]
    assert 3 <= len(finished) < 24, "those that came to no end are left out"
    for prefix, text in finished:
        assert not {end, banned} & set(text.tokens)
        expected, count = log_likelihood(model, prefix, [*text.tokens, end])
        assert text.log_probability == pytest.approx(expected, abs=1e-3)
        assert count == len(text.tokens) + 1
    [again] = continuations(model, prefixes[1:2], ["b"], 0, (end,), (banned,), sampling)
    assert [text.tokens for text in again] == [text.tokens for text in found[1]]


def test_a_line_break_ends_a_text(corpus: Path) -> None:
    upsampler = PretrainedUpsampler(
        GPT2LMHeadModel.from_pretrained(corpus / "plain").eval(),
        PreTrainedTokenizerFast.from_pretrained(corpus / "plain"),
        "Say more.",
        [],
    )
    written = upsampler.write(["a red ball"] * 3, 0, Sampling(16, 1.0, 1.0, 200, 4))
    assert any(candidates for candidates in written)
    assert all("\n" not in candidate.text for candidates in written for candidate in candidates)


def test_the_back_end_needs_a_model() -> None:
    with pytest.raises(ValueError, match="needs the name or path of a model"):
        UpsamplerConfig(backend="transformers")
    with pytest.raises(ValueError, match="'trained' takes none"):
        UpsamplerConfig.model_validate({"pretrained": {"model": "gpt2"}})
    with pytest.raises(OSError, match="no-such-model"):
        load_pretrained({"model": "./no-such-model", "revision": None, "instruction": ""}, [], "fp32")
