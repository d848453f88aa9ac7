"""Word lists: files of words and phrases that no text of a training set may hold."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from t2i_assets.corpus.caption_sources import CaptionSource
from t2i_assets.corpus.digests import digest
from t2i_assets.corpus.plain_words import plain_words


class WordListConfig(BaseModel):
    """A file of words and phrases, and whose texts are searched for them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path = Field(
        description="UTF-8 text, one word or phrase a line; # and what follows a space after it is a comment. A "
        "relative path starts at the working directory."
    )
    sources: tuple[CaptionSource, ...] | None = Field(
        default=None, description="Sources whose texts are searched; null for all, trusted ones included."
    )


class WordListError(ValueError):
    """A word list cannot be used; the message names the field, the file and what is wrong."""


class WordList:
    """The phrases of one list, found in a text where all their words stand side by side in it."""

    def __init__(self, name: str, phrases: Sequence[str], sources: tuple[CaptionSource, ...] | None = None) -> None:
        self.name = name
        self.sources = sources
        self._phrases = frozenset(map(plain_words, phrases))
        self._lengths = sorted({len(phrase.split()) for phrase in self._phrases})

    @property
    def identity(self) -> dict[str, object]:
        """What stands for the list in a digest: its phrases, not where it lies or how it is written."""
        return {"name": self.name, "sources": self.sources, "phrases": digest(sorted(self._phrases))}

    def find(self, text: str) -> str | None:
        """Return a phrase that stands in ``text``, the shortest and first one, or None."""
        words = plain_words(text).split()
        for length in self._lengths:
            for start in range(len(words) - length + 1):
                if (phrase := " ".join(words[start : start + length])) in self._phrases:
                    return phrase
        return None


def read_word_lists(configs: Sequence[WordListConfig]) -> list[WordList]:
    """Return the lists of ``verdicts.word_lists``.

    Raises WordListError where a file is missing, is not UTF-8, holds no phrase or a line without a letter.
    """
    return [_read(config, f"verdicts.word_lists.{number}.path") for number, config in enumerate(configs)]


def _read(config: WordListConfig, field: str) -> WordList:
    try:
        lines = config.path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise WordListError(f"{field}: cannot read the word list {config.path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise WordListError(f"{field}: the word list {config.path} is not UTF-8: {error}") from error
    phrases = []
    for number, line in enumerate(lines, 1):
        phrase = f" {line.expandtabs(1)}".partition(" #")[0].strip()
        if phrase and not plain_words(phrase):
            raise WordListError(f"{field}: line {number} of the word list {config.path} has no letter: {phrase!r}")
        phrases += [phrase] if phrase else []
    if not phrases:
        raise WordListError(f"{field}: the word list {config.path} holds no word")
    return WordList(config.path.name, phrases, config.sources)
