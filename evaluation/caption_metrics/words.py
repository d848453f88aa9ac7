"""Words of a caption, by one rule that needs no Java, and the pairing of candidates with their references.

The rule follows what COCO's evaluation does with Stanford's PTBTokenizer: lower case, contractions apart ("do n't",
"the dog 's"), hyphenated words whole, numbers whole ("3.5", "1,000"), punctuation dropped. Other signs (&, %, #) are
dropped as well, and abbreviations fall apart at their points, so scores can differ a little from those made with Java.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

NGRAM_ORDERS = 4
Ngrams = Counter[tuple[str, ...]]

_NOT = re.compile(r"(?<=\w)n['’]t\b")
_CLITIC = re.compile(r"(?<=\w)['’](s|re|ve|ll|d|m)\b")
_WORD = re.compile(r"n't|'(?:s|re|ve|ll|d|m)\b|\d+(?:[.,]\d+)+|[^\W_]+(?:-[^\W_]+)*")


def words(text: str) -> list[str]:
    """Return the words of a caption in order."""
    plain = unicodedata.normalize("NFC", text).lower()
    return _WORD.findall(_CLITIC.sub(r" '\1", _NOT.sub(" n't", plain)))


def ngrams(tokens: Sequence[str], orders: int = NGRAM_ORDERS) -> Ngrams:
    """Return how often each n-gram of 1 to ``orders`` words occurs."""
    return Counter(
        tuple(tokens[start : start + n]) for n in range(1, orders + 1) for start in range(len(tokens) - n + 1)
    )


def paired(
    candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Return (words of the candidate, words of each reference) by image, in order of the image's name.

    A candidate may be empty: it scores 0. Raises ValueError where candidates and references are not about the same
    images, or an image has no reference, or a reference has no word.
    """
    if not candidates:
        raise ValueError("no captions to score")
    alone = sorted(candidates.keys() ^ references.keys())
    if alone:
        missing = "references" if alone[0] in candidates else "candidate"
        raise ValueError(f"image {alone[0]!r} has no {missing}: every image needs a caption and its references")
    pairs = {}
    for image in sorted(candidates):
        said = [words(reference) for reference in references[image]]
        if not said or not all(said):
            raise ValueError(f"image {image!r} has {'a reference without a word' if said else 'no reference'}")
        pairs[image] = words(candidates[image]), said
    return pairs
