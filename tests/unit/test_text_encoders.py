"""Text encoders: CLIP and T5 by path say of a text the same in any company, and open_clip's converts exactly."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import CLIPTextModelWithProjection, CLIPTokenizer

from t2i_assets.corpus.schemas import BLENDS
from t2i_assets.corpus.tables import write_table
from tests.unit.tiny_text_encoders import (
    LENGTH,
    WORDS,
    write_open_clip,
    write_t5,
    write_transformers_clip,
)
from training.config import TextEncoderConfig, TextStatesConfig
from training.job import Job
from training.models.clip import load_clip
from training.report import Reporter
from training.text_encoders.backends import open_saved_text_encoder, open_text_encoder
from training.text_encoders.clip import ClipTextEncoder
from training.text_encoders.conversion import to_transformers
from training.text_encoders.protocol import TextEncoder, TextEncoderError
from training.text_encoders.states import StatesMismatchError, StoredStates, conditions_of, store_states
from training.text_states import TextStatesInputs
from training.text_states import main as store

KILLED_AT_EVERY_WRITE = """
import json, os, signal, sys
from pathlib import Path
import torch
from training.text_encoders import states
from training.text_encoders.clip import open_clip_of_transformers

torch.set_num_threads(1)
clip, texts, root, writes = json.loads(sys.argv[1])
states.TEXTS_PER_SHARD = 2
encoder = open_clip_of_transformers(clip, "full")
replace = Path.replace
for write in range(writes):
    if (child := os.fork()) == 0:
        left = iter(range(write))
        def replace_or_die(path, target):
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return replace(path, target)
        Path.replace = replace_or_die
        states.store_states(texts, encoder, Path(root) / str(write))
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
"""
TEXTS = [*WORDS, "", "A RED Star, don't! it's 12 ✓ naïve", "red " * 30]


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("encoders")
    for name, write in (("open_clip", write_open_clip), ("clip", write_transformers_clip), ("t5", write_t5)):
        (root / name).mkdir()
        write(root / name)
    return root


def opened(encoders: Path, backend: str, condition: str) -> TextEncoder:
    if backend == "blend":
        return open_text_encoder(TextEncoderConfig(condition=condition), encoders / "open_clip")
    told = TextEncoderConfig(backend=backend, model=str(encoders / backend), condition=condition, max_length=LENGTH)
    return open_text_encoder(told, encoders / "nothing")


BACKENDS = [
    ("blend", "full", 64, 16),
    ("blend", "states", 32, 0),
    ("open_clip", "full", 64, 16),
    ("clip", "full", 64, 16),
    ("clip", "states", 32, 0),
    ("t5", "states", 32, 0),
]


@pytest.mark.parametrize(("backend", "condition", "width", "embed_dim"), BACKENDS)
def test_every_encoder_says_the_same_of_a_text_in_any_company(
    encoders: Path, backend: str, condition: str, width: int, embed_dim: int
) -> None:
    encoder = opened(encoders, backend, condition)
    together, alone = encoder(TEXTS, batch_size=3), encoder(TEXTS[1:2])
    assert (encoder.width, encoder.length, encoder.embed_dim) == (width, LENGTH, embed_dim)
    assert together.states.shape == (len(TEXTS), LENGTH, width)
    assert together.embeddings.shape == (len(TEXTS), embed_dim)
    torch.testing.assert_close(together.states[1:2], alone.states, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(together.embeddings[1:2], alone.embeddings, atol=1e-5, rtol=1e-5)
    assert (together.states[0] - together.states[1]).abs().max() > 1e-3


@pytest.mark.parametrize(("backend", "condition", "width", "embed_dim"), BACKENDS)
def test_a_saved_encoder_says_what_it_said(
    encoders: Path, tmp_path: Path, backend: str, condition: str, width: int, embed_dim: int
) -> None:
    encoder = opened(encoders, backend, condition)
    parts = encoder.save(tmp_path)
    assert parts.keys() == {"text_encoder", "tokenizer"}
    again = open_saved_text_encoder(tmp_path, condition)
    said, expected = again(TEXTS), encoder(TEXTS)
    torch.testing.assert_close(said.states, expected.states, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(said.embeddings, expected.embeddings, atol=1e-5, rtol=1e-5)
    assert (again.width, again.length, again.embed_dim) == (width, LENGTH, embed_dim)


@pytest.mark.parametrize(("backend", "condition", "width", "embed_dim"), BACKENDS)
def test_stored_states_are_known_by_every_encoder(
    encoders: Path, tmp_path: Path, backend: str, condition: str, width: int, embed_dim: int
) -> None:
    encoder = opened(encoders, backend, condition)
    store_states(TEXTS, encoder, tmp_path)
    stored = StoredStates([tmp_path], opened(encoders, backend, condition), TEXTS)
    assert torch.equal(stored[torch.arange(len(TEXTS))].states, encoder(TEXTS).states)


@pytest.mark.parametrize("quick_gelu", [False, True])
def test_open_clip_converts_to_transformers_with_the_same_tokens_and_states(tmp_path: Path, quick_gelu: bool) -> None:
    write_open_clip(tmp_path, quick_gelu)
    clip, tokenizer = load_clip(tmp_path)
    model, words = to_transformers(clip, tokenizer)
    model.save_pretrained(tmp_path / "model")
    words.save_pretrained(tmp_path / "words")
    words.backend_tokenizer.model.save(str(tmp_path / "words"))
    assert {path.name for path in (tmp_path / "words").iterdir()} >= {"vocab.json", "merges.txt"}
    model = CLIPTextModelWithProjection.from_pretrained(tmp_path / "model").eval()
    words = CLIPTokenizer.from_pretrained(tmp_path / "words")
    told = words(TEXTS, padding="max_length", truncation=True, return_tensors="pt")
    tokens = tokenizer(TEXTS)
    assert torch.equal(told.input_ids * told.attention_mask, tokens)
    with torch.no_grad():
        said = model(told.input_ids)
        torch.testing.assert_close(said.text_embeds, clip.encode_text(tokens), atol=1e-5, rtol=1e-5)
    ours = open_text_encoder(TextEncoderConfig(), tmp_path)(TEXTS)
    theirs = ClipTextEncoder(model, words, "full")(TEXTS)
    torch.testing.assert_close(theirs.states, ours.states, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(theirs.embeddings, ours.embeddings, atol=1e-5, rtol=1e-5)
    said_with = CLIPTextModelWithProjection.from_pretrained(tmp_path / "model").config.hidden_act
    assert said_with == ("quick_gelu" if quick_gelu else "gelu")


def test_states_of_a_t5_are_zero_after_the_end_of_the_text(encoders: Path) -> None:
    encoder = opened(encoders, "t5", "states")
    said = encoder(["red", ""]).states.abs().sum(dim=2) > 0
    assert said[1].tolist() == [True] + [False] * (LENGTH - 1)
    assert 2 <= said[0].sum() < LENGTH


def test_a_checkpoint_without_the_weights_is_refused(encoders: Path) -> None:
    with pytest.raises(TextEncoderError, match="it has no"):
        open_text_encoder(
            TextEncoderConfig(backend="t5", model=str(encoders / "clip"), condition="states"), encoders / "nothing"
        )


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"backend": "t5", "model": "x"}, "set condition to states"),
        ({"backend": "clip"}, "needs a model"),
        ({"model": "x"}, "takes no model"),
        ({"backend": "clip", "model": "x", "weights": "y"}, "for open_clip alone"),
    ],
)
def test_what_does_not_go_together_is_refused(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        TextEncoderConfig.model_validate(wrong)


def test_states_on_disk_are_those_in_memory(encoders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.text_encoders.states.TEXTS_PER_SHARD", 4)
    encoder = opened(encoders, "clip", "full")
    in_memory = conditions_of(TEXTS, encoder, 1.0, [], tmp_path / "unused")
    assert not (tmp_path / "unused").exists()
    on_disk = conditions_of(TEXTS, encoder, 0.0, [], tmp_path / "states")
    assert isinstance(on_disk, StoredStates)
    rows = torch.tensor([5, 0, 3, 0])
    torch.testing.assert_close(on_disk[rows].states, in_memory[rows].states, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(on_disk[rows].embeddings, in_memory[rows].embeddings, atol=1e-6, rtol=1e-6)
    again = conditions_of(TEXTS[::-1], encoder, 1.0, [tmp_path / "states"], tmp_path / "unused")
    torch.testing.assert_close(again[rows].states, on_disk[5 - rows].states)


def test_a_shard_of_states_that_is_there_is_not_encoded_again(
    encoders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.text_encoders.states.TEXTS_PER_SHARD", 4)
    encoder = opened(encoders, "clip", "full")
    store_states(TEXTS, encoder, tmp_path / "states")
    first = tmp_path / "states" / "00000.states.npy"
    written = first.stat().st_mtime_ns
    (tmp_path / "states" / "00001.json").unlink()
    store_states(TEXTS, encoder, tmp_path / "states")
    assert first.stat().st_mtime_ns == written
    assert len(StoredStates([tmp_path / "states"], encoder, TEXTS)) == len(TEXTS)


def test_states_whose_writing_was_killed_are_completed(
    encoders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.text_encoders.states.TEXTS_PER_SHARD", 2)
    encoder = opened(encoders, "clip", "full")
    directory = tmp_path / "states"
    store_states(TEXTS, encoder, directory)
    whole = {path.name: path.read_bytes() for path in directory.iterdir()}
    told = json.dumps([str(encoders / "clip"), TEXTS, str(tmp_path), len(whole)])
    subprocess.run([sys.executable, "-c", KILLED_AT_EVERY_WRITE, told], check=True)
    for write in range(len(whole)):
        killed = tmp_path / str(write)
        assert len(list(killed.glob("[!.]*"))) == write
        store_states(TEXTS, encoder, killed)
        assert {path.name: path.read_bytes() for path in killed.iterdir()} == whole


def test_the_job_stores_the_states_of_every_caption_of_a_blend(encoders: Path, tmp_path: Path) -> None:
    told = {"key": "k", "snapshot": "demo", "source": "alt", "weight": 1 / 3}
    rows = [{**told, "caption": text, "caption_id": str(number)} for number, text in enumerate(WORDS)]
    write_table(tmp_path / "blend" / "00000.parquet", rows, BLENDS)
    (tmp_path / "states").mkdir()
    config = TextStatesConfig(text_encoder=TextEncoderConfig(backend="clip", model=str(encoders / "clip")))
    inputs = TextStatesInputs(blend=tmp_path / "blend", clip=encoders / "open_clip")
    store(Job("text_states", config, inputs, tmp_path / "states"), Reporter("text_states", tmp_path / "states", {}))
    encoder = opened(encoders, "clip", "full")
    stored = StoredStates([tmp_path / "states"], encoder, [*WORDS, ""])
    assert json.loads((tmp_path / "states" / "run.json").read_text())["final"]["texts"] == len(WORDS) + 1
    expected = encoder([WORDS[2], ""])
    torch.testing.assert_close(stored[torch.tensor([2, 3])].states, expected.states, atol=1e-5, rtol=1e-5)


def test_states_of_another_encoder_are_refused_by_both_names(encoders: Path, tmp_path: Path) -> None:
    mine, other = opened(encoders, "clip", "full"), opened(encoders, "t5", "states")
    store_states(TEXTS, mine, tmp_path / "states")
    assert mine.digest() != opened(encoders, "clip", "states").digest(), "preprocessing is part of it"
    with pytest.raises(
        StatesMismatchError, match=f"by text encoder {mine.digest()}, but {other.digest()} is asked for"
    ):
        conditions_of(TEXTS, other, 1.0, [tmp_path / "states"], tmp_path)
    with pytest.raises(StatesMismatchError, match="no states of 1 of 1 texts, such as 'a green cube'"):
        conditions_of(["a green cube"], mine, 1.0, [tmp_path / "states"], tmp_path)
    assert json.loads((tmp_path / "states" / "encoder.json").read_text())["told"] == "full"
