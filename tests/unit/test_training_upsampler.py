"""The caption upsampler: what it learns from, that it makes short prompts descriptive, and that it loses none."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from t2i_assets.corpus.schemas import PROMPTS, UPSAMPLED
from t2i_assets.corpus.tables import read_rows, write_table
from tests.unit.caption_layers import COLORS, descriptive, write_layers
from training.config import SurvivalConfig, UpsampleConfig, UpsamplerConfig
from training.job import Job
from training.models.decode import detokenize
from training.report import Reporter
from training.tokenizer import load
from training.upsample import UpsampleInputs
from training.upsample import main as apply
from training.upsampler import UpsamplerInputs
from training.upsampler import main as make
from training.upsamplers.backends import load_upsampler
from training.upsamplers.examples import less_words, prompt_for, read_examples
from training.upsamplers.survival import survives
from training.upsamplers.trained import respelled

torch.set_num_threads(1)

CONFIG: dict[str, Any] = {
    "width": 64,
    "heads": 4,
    "context_length": 48,
    "held_out": 0.2,
    "optimizer": {"steps": 90, "batch_size": 16, "lr": 5e-3, "warmup": 10, "checkpoint_every": 5},
}
FACTS = '{"objects": [], "relation": null, "background": null}'


def train_into(corpus: Path, output: Path, **config: Any) -> dict[str, Any]:
    output.mkdir(exist_ok=True)
    inputs = UpsamplerInputs(
        captions=[corpus / "captions"],
        verdicts=[corpus / "verdicts"],
        shards=[corpus / "shards"],
        tokenizer=corpus / "tokenizer",
    )
    settings = UpsamplerConfig.model_validate({**CONFIG, **config})
    torch.manual_seed(settings.seed)
    with Reporter("upsampler", output, {}) as reporter:
        make(Job("upsampler", settings, inputs, output), reporter)
    return dict(json.loads((output / "run.json").read_text())["final"])


def apply_to(upsampler: Path, prompts: Path, output: Path, **config: Any) -> list[dict[str, Any]]:
    output.mkdir(exist_ok=True)
    settings = UpsampleConfig.model_validate({"upsampler_digest": "u", "max_tokens": 24, "candidates": 8, **config})
    with Reporter("upsample", output, {}) as reporter:
        apply(Job("upsample", settings, UpsampleInputs(upsampler=upsampler, prompts=prompts), output), reporter)
    return read_rows(output / "upsampled.parquet", UPSAMPLED)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corpus")
    write_layers(root)
    train_into(root, root / "upsampler")
    return root


def texts(tmp_path: Path, *lines: str) -> Path:
    pq.write_table(pa.table({"prompt": lines}), tmp_path / "texts.parquet")
    return tmp_path / "texts.parquet"


def test_it_learns_from_kept_texts_that_the_descriptive_caption_holds(corpus: Path) -> None:
    examples = read_examples([corpus / "captions"], [corpus / "verdicts"], [corpus / "shards"], SurvivalConfig())
    assert len(examples) == 48
    prompts = {prompt for example in examples for prompt in example.prompts}
    assert "a red ball" in prompts
    assert "red!" in prompts, "the opening says nothing of the picture"
    assert not prompts & {"a pink cube", "IMG_1.jpg"}
    assert all(
        survives(prompt, example.descriptive, SurvivalConfig()) for example in examples for prompt in example.prompts
    )


def test_the_prompt_of_an_epoch_depends_on_seed_epoch_and_sample_alone(corpus: Path) -> None:
    example = read_examples([corpus / "captions"], [corpus / "verdicts"], [corpus / "shards"], SurvivalConfig())[0]
    config = UpsamplerConfig(partial=1.0, invented=0.0)
    prompts = [prompt_for(example, config, epoch)[0] for epoch in range(20)]
    assert prompts == [prompt_for(example, config, epoch)[0] for epoch in range(20)]
    assert len(set(prompts)) > 5
    assert all(survives(prompt, example.descriptive, SurvivalConfig(max_gap=None)) for prompt in prompts)
    strange = [prompt_for(example, UpsamplerConfig(invented=1.0), epoch) for epoch in range(20)]
    assert all(survives(prompt, text, SurvivalConfig(max_gap=None)) for prompt, text in strange)
    assert all(text != example.descriptive for _, text in strange)


def test_a_text_less_words_still_says_something() -> None:
    said = [less_words("a ball on the floor", random.Random(seed)) for seed in range(50)]
    assert all({"ball", "floor"} & set(text.split()) for text in said)
    assert {len(text.split()) for text in said} >= {1, 2, 4}


def test_short_prompts_become_descriptive(corpus: Path, tmp_path: Path) -> None:
    rows = apply_to(corpus / "upsampler", texts(tmp_path, *(f"a {color} ball" for color in COLORS)), tmp_path / "out")
    assert [row["upsampled"] for row in rows] == [descriptive(color) for color in COLORS]
    assert {row["status"] for row in rows} == {"kept"}
    assert all(row["log_probability"] < 0 and row["model"] == "u" for row in rows)


def test_figures_of_held_out_captions_are_told(corpus: Path) -> None:
    final = json.loads((corpus / "upsampler" / "run.json").read_text())["final"]
    assert final["examples"] + final["held_out"] == 48
    assert final["val/perplexity"] < 3
    assert final["val/survival"] > 0.5


def test_a_text_is_as_likely_as_far_as_the_context_reaches(corpus: Path) -> None:
    upsampler = load_upsampler(corpus / "upsampler")
    assert upsampler.log_likelihood("a ball", "ball " * 100)[1] == 48 - 3
    assert upsampler.log_likelihood("ball " * 100, "a ball") == (0.0, 0)


def test_no_prompt_is_lost(corpus: Path, tmp_path: Path) -> None:
    prompts = [
        "",
        "a red zebra",
        "日本の猫",
        "12 T-shirts",
        "ball " * 60,
        "a red ball",
        "a shiny red ball on the floor",
        "a red ball",
    ]
    rows = apply_to(corpus / "upsampler", texts(tmp_path, *prompts), tmp_path / "out")
    assert [row["prompt"] for row in rows] == prompts
    for row in rows:
        assert survives(row["prompt"], row["upsampled"], SurvivalConfig())
        if row["status"] == "fallback":
            assert row["upsampled"] == row["prompt"]
            assert row["log_probability"] is None
    status = {row["prompt"]: row["status"] for row in rows}
    assert status["ball " * 60] == status[""] == "fallback", "nothing fits behind the one, the other asks for nothing"
    assert rows[6]["upsampled"] == prompts[6], "a descriptive prompt passes"
    assert rows[5] == rows[7]


def test_a_prompt_becomes_the_same_whatever_stands_beside_it(corpus: Path, tmp_path: Path) -> None:
    several = apply_to(corpus / "upsampler", texts(tmp_path, "red", "a blue ball", "ball"), tmp_path / "several")
    alone = apply_to(corpus / "upsampler", texts(tmp_path, "ball"), tmp_path / "alone", batch_size=1)
    assert alone[0]["upsampled"] == several[2]["upsampled"]
    assert alone[0]["log_probability"] == pytest.approx(several[2]["log_probability"], abs=1e-4)


def test_words_that_tokens_part_are_whole_again(corpus: Path) -> None:
    tokenizer = load(corpus / "tokenizer", 48)
    prompt = "12 T-shirts, a \\ and 4k"
    written = detokenize(tokenizer, tokenizer.encode(prompt + " on 1 floor"))
    assert written != prompt.lower() + " on 1 floor"
    assert respelled(written, prompt, tokenizer) == prompt.lower() + " on 1 floor"


def test_another_seed_may_write_another_text(corpus: Path, tmp_path: Path) -> None:
    source = texts(tmp_path, *(["ball", "a ball", "floor", "shiny", "a shiny ball", "the ball on the floor"]))
    drawn = [apply_to(corpus / "upsampler", source, tmp_path / str(n), seed=n, candidates=1) for n in range(2)]
    assert [row["upsampled"] for row in drawn[0]] != [row["upsampled"] for row in drawn[1]]


def test_prompts_of_the_evaluation_set_keep_scene_and_facts(corpus: Path, tmp_path: Path) -> None:
    row = {"scene_id": "s", "category": "color", "facts": FACTS, "reference_key": "k"}
    asked = [
        {**row, "prompt_id": "1", "style": "original", "prompt": "a red ball"},
        {**row, "prompt_id": "2", "style": "descriptive", "prompt": "a shiny red ball on the floor"},
    ]
    write_table(tmp_path / "prompts.parquet", asked, PROMPTS)
    apply_to(corpus / "upsampler", tmp_path / "prompts.parquet", tmp_path / "out")
    [written] = read_rows(tmp_path / "out" / "prompts.parquet", PROMPTS)
    assert written == {
        **asked[0],
        "style": "upsampled",
        "prompt": descriptive("red"),
        "prompt_id": written["prompt_id"],
    }
    assert written["prompt_id"] not in {"1", "2"}
    with pytest.raises(ValueError, match=r"no prompt of style 'long': its styles are descriptive, original"):
        apply_to(corpus / "upsampler", tmp_path / "prompts.parquet", tmp_path / "out", style="long")


def test_prompts_come_from_lines_of_text_too(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a red ball\n\na blue ball\n")
    rows = apply_to(corpus / "upsampler", tmp_path / "prompts.txt", tmp_path / "out")
    assert [row["prompt"] for row in rows] == ["a red ball", "a blue ball"]
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "wrong.parquet")
    with pytest.raises(ValueError, match=r"wrong.parquet has no column 'prompt': its columns are text"):
        apply_to(corpus / "upsampler", tmp_path / "wrong.parquet", tmp_path / "out")


def test_a_resumed_training_gives_the_same_weights(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = {"steps": 12, "batch_size": 4, "lr": 1e-3, "checkpoint_every": 5, "log_every": 1}
    train_into(corpus, tmp_path / "whole", optimizer=steps)
    log = Reporter.log

    def die_at_eight(self: Reporter, step: int, total: int, **figures: float) -> None:
        if step == 8:
            raise KeyboardInterrupt
        log(self, step, total, **figures)

    monkeypatch.setattr(Reporter, "log", die_at_eight)
    with pytest.raises(KeyboardInterrupt):
        train_into(corpus, tmp_path / "cut", optimizer=steps)
    monkeypatch.undo()
    assert (tmp_path / "cut" / "checkpoint.pt").exists()
    train_into(corpus, tmp_path / "cut", optimizer=steps)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1]


def test_nothing_kept_is_told_in_words(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "verdicts").mkdir()
    with pytest.raises(ValueError, match="no descriptive caption is kept by"):
        read_examples([corpus / "captions"], [tmp_path / "verdicts"], [corpus / "shards"], SurvivalConfig())


def test_an_unknown_back_end_is_named(tmp_path: Path) -> None:
    (tmp_path / "upsampler.json").write_text('{"backend": "oracle"}')
    with pytest.raises(ValueError, match="there is no back end 'oracle'"):
        load_upsampler(tmp_path)
