"""Pairs to learn from: a descriptive caption, and what a person might have asked for to get it."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_clip import SimpleTokenizer

from t2i_assets.corpus.schemas import CAPTIONS, VERDICTS
from t2i_assets.corpus.tables import read_rows
from t2i_assets.corpus.verdicts import alt_captions
from training.batches import Batch
from training.config import SurvivalConfig, UpsamplerConfig
from training.data import is_held_out
from training.upsamplers.survival import content_words, survives, without_opening

IGNORED = -100
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Example:
    """A descriptive caption of a sample, and the shorter texts about it that it holds entirely."""

    key: str
    descriptive: str
    prompts: tuple[str, ...]


def read_examples(
    captions: Sequence[Path], verdicts: Sequence[Path], shards: Sequence[Path], survival: SurvivalConfig
) -> list[Example]:
    """Return an example for each kept descriptive caption, in order of key.

    Its prompts are the kept short captions and alt texts of the same sample, less those that say what the
    descriptive one does not: they would teach to leave things out. Raises ValueError where there is none.
    """
    kept = {row["caption_id"] for path in verdicts for row in read_rows(path, VERDICTS) if row["kept"]}
    rows = [row for path in captions for row in read_rows(path, CAPTIONS)]
    rows += [row for path in shards for row in alt_captions(path)]
    descriptive: dict[str, set[str]] = {}
    brief: dict[str, set[str]] = {}
    for row in rows:
        if row["caption_id"] in kept:
            texts = descriptive if row["source"] == "synthetic_descriptive" else brief
            texts.setdefault(row["key"], set()).add(row["caption"])
    examples = [
        Example(key, text, tuple(_prompts(sorted(brief.get(key, ())), text, survival)))
        for key in sorted(descriptive)
        for text in sorted(descriptive[key])
        if content_words(text)
    ]
    if not examples:
        raise ValueError(f"no descriptive caption is kept by {', '.join(map(str, verdicts))}: nothing to learn from")
    return examples


def split(examples: Sequence[Example], held_out: float) -> tuple[list[Example], list[Example]]:
    """Return (training, held-out) examples; a sample that is held out from other models is so here."""
    aside = [is_held_out(example.key, held_out) for example in examples]
    train = [example for example, out in zip(examples, aside, strict=True) if not out]
    return train, [example for example, out in zip(examples, aside, strict=True) if out]


def prompt_for(example: Example, config: UpsamplerConfig, epoch: int) -> tuple[str, str]:
    """Return a (prompt, text) pair; it depends on the seed, the epoch and the sample alone.

    The prompt is a shorter text about the sample, or one of all its texts less a random share of the words: none of
    them, so that a descriptive prompt passes, or nearly all. Now and then a word of both becomes an invented one, so
    that words that were never seen are copied too.
    """
    rng = random.Random(f"{config.seed}/{epoch}/{example.key}")
    partial = rng.random() < config.partial or not example.prompts
    prompt = rng.choice((example.descriptive, *example.prompts) if partial else example.prompts)
    prompt = less_words(prompt, rng) if partial else prompt
    text = example.descriptive
    if rng.random() < config.invented:
        word = rng.choice(content_words(prompt))
        strange = "".join(rng.choices(_LETTERS, k=rng.randint(3, 8)))
        prompt, text = (_replaced(part, word, strange) for part in (prompt, text))
    return prompt, text


def less_words(text: str, rng: random.Random) -> str:
    """Return the words of ``text`` less a random share of them; one that carries a fact always stays."""
    words = text.split()
    share = rng.random()
    stay = [rng.random() >= share for _ in words]
    facts = [place for place, word in enumerate(words) if content_words(word)]
    if facts and not any(stay[place] for place in facts):
        stay[rng.choice(facts)] = True
    return " ".join(word for word, stays in zip(words, stay, strict=True) if stays).strip(",;")


class ExampleData:
    """Examples by index, for ``training.loop.train``.

    A batch holds ``input_ids`` (N, longest) and ``labels``, which are -100 on the prompt and after the end.
    """

    def __init__(self, examples: Sequence[Example], tokenizer: SimpleTokenizer, config: UpsamplerConfig) -> None:
        self.examples, self.tokenizer, self.config = examples, tokenizer, config
        self._tokens: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self.examples)

    def batch(self, indices: np.ndarray, epochs: np.ndarray) -> Batch:
        chosen = [self.examples[index] for index in indices]
        rows = [
            self._row(*prompt_for(example, self.config, int(epoch)))
            for example, epoch in zip(chosen, epochs, strict=True)
        ]
        longest = max(len(tokens) for tokens, _ in rows)
        batch: dict[str, Any] = {
            "input_ids": torch.full((len(rows), longest), self.tokenizer.eot_token_id),
            "labels": torch.full((len(rows), longest), IGNORED),
        }
        for place, (tokens, said) in enumerate(rows):
            batch["input_ids"][place, : len(tokens)] = torch.tensor(tokens)
            batch["labels"][place, said : len(tokens)] = torch.tensor(tokens[said:])
        return {"keys": [example.key for example in chosen], **batch}

    def _row(self, prompt: str, text: str) -> tuple[list[int], int]:
        """Return the tokens of the pair, each part cut to half the context, and how many of them are given."""
        half = self.config.context_length // 2
        said = [*self._encode(prompt)[: half - 1], self.tokenizer.sot_token_id]
        return said + [*self._encode(text), self.tokenizer.eot_token_id][:half], len(said)

    def _encode(self, text: str) -> list[int]:
        """Return the tokens of ``text``; the tokens of a word do not depend on its neighbours."""
        for word in text.split():
            if word not in self._tokens:
                self._tokens[word] = self.tokenizer.encode(word)
        return [token for word in text.split() for token in self._tokens[word]]


def _prompts(texts: Sequence[str], descriptive: str, survival: SurvivalConfig) -> Iterator[str]:
    for text in texts:
        bare = without_opening(text, survival.openings)
        if content_words(bare) and survives(bare, descriptive, survival):
            yield bare


def _replaced(text: str, word: str, by: str) -> str:
    return " ".join(
        piece.lower().replace(word, by) if word in content_words(piece) else piece for piece in text.split()
    )
