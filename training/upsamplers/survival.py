"""Whether a longer prompt still says what the short one said.

Every content word must be there, as often as before. Words of one clause keep their order, so that "a star above a
circle" does not become a circle above a star, and words that stood side by side stay near, so that a red star beside
a blue one is still the red one. Clauses may change places, and anything may be added.
"""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

from training.config import SurvivalConfig

FUNCTION_WORDS = frozenset(
    (
        *("a", "an", "the", "this", "that", "these", "those", "some", "and", "or", "but", "than", "then", "so"),
        *("of", "to", "in", "on", "at", "by", "for", "from", "with", "as", "into", "onto", "upon", "against"),
        *("is", "are", "was", "were", "be", "been", "being", "am", "has", "have", "had", "do", "does", "did"),
        *("it", "its", "there", "here", "which", "who", "whom", "whose", "i", "you", "he", "she", "they", "we"),
        *("me", "him", "her", "them", "us", "my", "your", "his", "their", "our", "very", "just", "also"),
    )
)
"""Words that carry no fact of their own; negations and words of place (above, next, behind, left) are none of them."""

_BREAKS = frozenset(",;:.!?()[]") | {"and", "or", "but"}
_PIECE = re.compile(r"[^\W_]+|[^\w\s]")


@dataclass(frozen=True)
class Word:
    """A content word; ``close`` where nothing stands between it and the content word before it in its clause."""

    text: str
    close: bool


def survives(prompt: str, text: str, config: SurvivalConfig) -> bool:
    """Return whether ``text`` still says what ``prompt`` says. A prompt survives in itself."""
    said = clauses(without_opening(prompt, config.openings))
    written = clauses(text)
    missing = _words(said) - _words(written)
    if missing:
        return False
    if config.max_gap is None:
        return True
    return all(
        any(_holds(first.text, second, clause, config.max_gap) for clause in written)
        for words in said
        for first, second in pairwise(words)
    )


def content_words(text: str) -> list[str]:
    """Return the words of ``text`` that carry a fact, in order, in one case."""
    return [word.text for clause in clauses(text) for word in clause]


def clauses(text: str) -> list[list[Word]]:
    """Return the content words of each clause; commas, full stops, "and", "or" and "but" part clauses."""
    found: list[list[Word]] = [[]]
    close = False
    for piece in _PIECE.findall(unicodedata.normalize("NFC", text).casefold()):
        if piece in _BREAKS:
            found.append([])
        elif piece[0].isalnum() and piece not in FUNCTION_WORDS:
            found[-1].append(Word(piece, close and bool(found[-1])))
            close = True
            continue
        elif not piece[0].isalnum():
            continue  # a hyphen or an apostrophe inside a word
        close = False
    return [clause for clause in found if clause]


def without_opening(prompt: str, openings: tuple[str, ...]) -> str:
    """Return ``prompt`` without an opening that says no more than that there is a picture."""
    for opening in openings:
        match = re.match(rf"\s*(?:(?:an?|the)\s+)?{re.escape(opening)}\s+(?=\S)", prompt, re.IGNORECASE)
        if match:
            return prompt[match.end() :]
    return prompt


def _words(said: list[list[Word]]) -> Counter[str]:
    return Counter(word.text for clause in said for word in clause)


def _holds(first: str, second: Word, clause: list[Word], max_gap: int) -> bool:
    """Return whether ``second`` follows ``first`` in the clause, as near as it must be."""
    before = [place for place, word in enumerate(clause) if word.text == first]
    after = [place for place, word in enumerate(clause) if word.text == second.text]
    reach = max_gap + 1 if second.close else len(clause)
    return any(0 < later - earlier <= reach for earlier in before for later in after)
