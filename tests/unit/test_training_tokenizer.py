"""The byte-pair vocabulary learned from captions, as open_clip's tokenizer uses it."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip import SimpleTokenizer

from training.tokenizer import learn_merges, load, read_texts, write_merges

WORDS = [
    "red",
    "green",
    "blue",
    "circle",
    "square",
    "triangle",
    "star",
    "striped",
    "dotted",
    "solid",
    "left",
    "right",
    "of",
    "a",
    "on",
    "background",
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> SimpleTokenizer:
    directory = tmp_path_factory.mktemp("tokenizer")
    rng = random.Random(0)
    write_merges(directory, learn_merges([" ".join(rng.choices(WORDS, k=12)) for _ in range(300)], 160, 2))
    return load(directory, context_length=32)


def test_every_frequent_word_is_one_token(tokenizer: SimpleTokenizer) -> None:
    assert all(len(tokenizer.encode(word)) == 1 for word in WORDS)


@given(text=st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789 .,-", max_size=40))
@settings(max_examples=100, deadline=None)
def test_unseen_text_is_never_lost(tokenizer: SimpleTokenizer, text: str) -> None:
    decoded = tokenizer.decode(tokenizer.encode(text))
    assert decoded.replace(" ", "") == text.replace(" ", "")


def test_captions_come_back_word_for_word(tokenizer: SimpleTokenizer) -> None:
    text = "a striped red star left of a zebra on a blue background"
    assert tokenizer.decode(tokenizer.encode(text)).strip() == text


def test_token_numbers_are_dense_and_end_with_the_specials(tokenizer: SimpleTokenizer) -> None:
    assert sorted(tokenizer.decoder) == list(range(tokenizer.vocab_size))
    tokens = tokenizer(["a red star"])
    assert tokens.shape == (1, 32)
    assert tokens[0, 0] == tokenizer.vocab_size - 2
    assert tokens.max() == tokenizer.vocab_size - 1


def test_the_job_reads_captions_and_alt_texts_and_gives_the_same_bytes_again(tmp_path: Path) -> None:
    pq.write_table(pa.table({"caption": ["a red star", "a red circle"] * 5}), tmp_path / "captions.parquet")
    pq.write_table(pa.table({"alt_text": ["red star!", ""] * 5}), tmp_path / "samples.parquet")
    merges = []
    for number in range(2):
        output = tmp_path / f"output{number}"
        output.mkdir()
        inputs = {"captions": [str(tmp_path / "captions.parquet"), str(tmp_path / "samples.parquet")]}
        job = {"config": {"merges": 20}, "inputs": inputs, "output": str(output), "name": "tokenizer"}
        (tmp_path / "job.json").write_text(json.dumps(job))
        command = [sys.executable, "-m", "training.tokenizer", "--job", str(tmp_path / "job.json")]
        subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
        merges.append((output / "merges.txt.gz").read_bytes())
        assert json.loads((output / "run.json").read_text())["final"]["texts"] == 15
    assert merges[0] == merges[1]


def test_a_table_without_texts_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"score": [1.0]}), tmp_path / "scores.parquet")
    with pytest.raises(ValueError, match=r"scores.parquet has neither a 'caption' nor an 'alt_text' column"):
        read_texts([tmp_path / "scores.parquet"])
