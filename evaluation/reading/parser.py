"""What a parser of prompts gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

NOUN = "NOUN"


@dataclass(frozen=True)
class Word:
    """One word with its part of speech by Universal Dependencies (NOUN, ADJ, DET …) and its singular."""

    text: str
    kind: str
    lemma: str


@dataclass(frozen=True)
class Parsed:
    """Words of a text, and its noun chunks as (first word, word after the last).

    ``sentence`` says that the text has more than the parser knows about: its chunks may be wrong.
    """

    words: tuple[Word, ...]
    chunks: tuple[tuple[int, int], ...]
    sentence: bool = False

    def chunk_words(self) -> list[tuple[Word, ...]]:
        """Return each chunk as its words."""
        return [self.words[start:end] for start, end in self.chunks]

    @property
    def nouns(self) -> list[tuple[int, Word]]:
        """Return every noun with its place."""
        return [(place, word) for place, word in enumerate(self.words) if word.kind in (NOUN, "PROPN")]


def joined(words: Sequence[Word]) -> str:
    """Return the words as text."""
    return " ".join(word.text for word in words)


class Parser(Protocol):
    """Reads a text; ``identity`` tells parsers apart that read differently."""

    @property
    def identity(self) -> str: ...

    def parse(self, text: str) -> Parsed: ...
