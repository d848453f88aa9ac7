"""Job: learn a byte-pair vocabulary from captions, in the merges format of open_clip's SimpleTokenizer.

A short list of merges keeps a tiny model tiny (its size is otherwise all vocabulary) and makes every frequent
word one token. The vocabulary is 512 byte tokens, the merges and two specials, in this order.
"""

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from training.config import TokenizerConfig
from training.job import Job, JobInputs, run
from training.report import Reporter

if TYPE_CHECKING:
    from open_clip import SimpleTokenizer
    from tokenizers import Tokenizer
    from transformers import CLIPTokenizer

MERGES = "merges.txt.gz"
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


class TokenizerInputs(JobInputs):
    captions: list[Path]


def main(job: Job[TokenizerConfig, TokenizerInputs], reporter: Reporter) -> None:
    """Learn merges from the captions and write them."""
    texts = read_texts(job.inputs.captions)
    merges = learn_merges(texts, job.config.merges, job.config.min_frequency)
    write_merges(job.output, merges)
    reporter.finish(texts=len(texts), merges=len(merges), vocabulary=512 + len(merges) + 2)


def load(directory: Path, context_length: int) -> "SimpleTokenizer":
    """Return open_clip's SimpleTokenizer with the merges of ``directory``."""
    from open_clip import SimpleTokenizer  # seconds of import, which learning merges need not pay

    return SimpleTokenizer(bpe_path=str(directory / MERGES), context_length=context_length)


def as_transformers(tokenizer: "SimpleTokenizer") -> "CLIPTokenizer":
    """Return the tokenizer in the form of transformers: the same tokens, padded with the end token instead of 0."""
    from transformers import CLIPTokenizer

    start, end = (tokenizer.decoder[number] for number in (tokenizer.sot_token_id, tokenizer.eot_token_id))
    return CLIPTokenizer(
        vocab=tokenizer.encoder,
        merges=list(tokenizer.bpe_ranks),
        bos_token=start,
        eos_token=end,
        unk_token=end,
        pad_token=end,
        model_max_length=tokenizer.context_length,
    )


def read_texts(tables: list[Path]) -> list[str]:
    """Return the texts of parquet files that have a ``caption`` or an ``alt_text`` column.

    Raises ValueError where a file has neither.
    """
    texts: list[str] = []
    for path in tables:
        names = pq.read_schema(path).names
        column = next((name for name in ("caption", "alt_text") if name in names), None)
        if column is None:
            raise ValueError(
                f"{path} has neither a 'caption' nor an 'alt_text' column: its columns are {', '.join(names)}"
            )
        texts += [text for text in pq.read_table(path, columns=[column])[column].to_pylist() if text]
    return texts


def learn_merges(texts: list[str], limit: int, min_frequency: int) -> list[tuple[str, str]]:
    """Return at most ``limit`` byte-pair merges of lower-cased words, most frequent first (Sennrich et al. 2016)."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=512 + limit,
        min_frequency=min_frequency,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _merges_of(tokenizer)[:limit]


def write_merges(directory: Path, merges: list[tuple[str, str]]) -> None:
    """Write the merges as SimpleTokenizer reads them: gzip, a header line, one merge a line, no newline at the end."""
    text = "\n".join(["#version: 0.2", *(f"{left} {right}" for left, right in merges)])
    (directory / MERGES).write_bytes(gzip.compress(text.encode(), mtime=0))


def _merges_of(tokenizer: "Tokenizer") -> list[tuple[str, str]]:
    """Return the merges by rank, less those that spell a token twice: SimpleTokenizer numbers tokens by text."""
    pairs = [(left, right) for left, right in json.loads(tokenizer.to_str())["model"]["merges"]]
    seen: set[str] = set()
    unique = []
    for left, right in pairs:
        if left + right not in seen:
            seen.add(left + right)
            unique.append((left, right))
    return unique


if __name__ == "__main__":
    run(main, TokenizerConfig, TokenizerInputs, needs_torch=False)
