"""How many images share a text or one nearly like it: what stands beside many different images tells of none of them.

Source of the idea: Jia et al., "Scaling Up Visual and Vision-Language Representation Learning With Noisy Text
Supervision" (ALIGN, 2021), section 3: alt texts shared by more than 10 images are discarded. Nearly alike is Jaccard
similarity of character trigrams; pairs are found by MinHash and banding (Broder 1997; Leskovec, Rajaraman and Ullman,
"Mining of Massive Datasets", chapter 3), so the work grows with the number of texts and not with its square.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from t2i_assets.corpus.caption_sources import CaptionSource
from t2i_assets.corpus.plain_words import plain_words

Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]

GRAM = 3
ROWS = 4
MISSED = 0.01
"""Share of pairs at the threshold whose hashes agree in no band."""
TEXTS_AT_ONCE = 20_000


class SharedTextRule(BaseModel):
    """When a text stands beside too many images to tell of any of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    most_images: int = Field(
        default=10, ge=1, description="A text shared by more images of a snapshot than this is rejected: shared_text."
    )
    similarity: float = Field(
        default=0.8,
        ge=0.5,
        le=1,
        description="Least Jaccard similarity of the character trigrams of texts that count as one; 1 takes equal ones "
        "only. Case, punctuation and ways of writing a character never count.",
    )
    sources: tuple[CaptionSource, ...] = Field(
        default=("alt",),
        description="Sources that are counted and rejected. Captioners rightly write the same of pictures alike.",
    )


def images_sharing(texts: pa.Array, keys: pa.Array, similarity: float) -> tuple[Ints, list[str]]:
    """Return for each text how many images it and those nearly like it stand beside, and what they are like.

    ``texts`` and ``keys`` are columns of (text, image). Plain words (see ``plain_words``) stand for a text. Texts are
    visited by falling number of images: each follows the first one before it that it is nearly like and that follows
    no other, so no chain of small differences ties different texts together.
    """
    if len(texts) == 0:
        return np.zeros(0, np.int64), []
    distinct = texts.dictionary_encode()
    plain = pa.array([plain_words(text) for text in distinct.dictionary.to_pylist()], pa.string()).dictionary_encode()
    forms: list[str] = plain.dictionary.to_pylist()
    form = plain.indices.to_numpy()[distinct.indices.to_numpy()].astype(np.int64)
    image = keys.dictionary_encode().indices.to_numpy().astype(np.int64)
    if similarity < 1:
        merits = pa.table({"images": _images_of(form, image, len(forms)), "form": forms})
        order = pc.sort_indices(merits, [("images", "descending"), ("form", "ascending")]).to_numpy()
        leader = np.empty(len(forms), np.int64)
        leader[order] = order[leaders([forms[number] for number in order], similarity)]
        form = leader[form]
    counts = _images_of(form, image, len(forms))
    return counts[form], [forms[number] for number in form]


def leaders(texts: Sequence[str], similarity: float) -> Ints:
    """Return the index of the text that each text follows; one that follows none is its own.

    In each band a text is compared with the first one of its bucket only: that is what keeps the work linear.
    """
    first, later = _candidates(_signatures(texts, similarity))
    grams: dict[int, frozenset[str]] = {}
    leader = np.arange(len(texts))
    for earlier, number in zip(first.tolist(), later.tolist(), strict=True):
        if leader[number] != number or leader[earlier] != earlier:
            continue
        for one in (earlier, number):
            if one not in grams:
                grams[one] = frozenset(_grams(texts[one]))
        both = len(grams[earlier] & grams[number])
        if both >= similarity * (len(grams[earlier]) + len(grams[number]) - both):
            leader[number] = earlier
            del grams[number]
    return leader


def _images_of(form: Ints, image: Ints, forms: int) -> Ints:
    pairs = np.unique(form * (image.max() + 1) + image)
    return np.bincount(pairs // (image.max() + 1), minlength=forms)


def _grams(text: str) -> Iterator[str]:
    padded = f" {text} " if text else " " * GRAM
    return (padded[start : start + GRAM] for start in range(len(padded) - GRAM + 1))


def _candidates(signatures: NDArray[np.uint32]) -> tuple[Ints, Ints]:
    """Return pairs (first of a bucket, later member), each once, in order of the later one and then of the first."""
    found = []
    texts = np.arange(len(signatures))
    for band in np.split(signatures, signatures.shape[1] // ROWS, axis=1):
        _, first, bucket = np.unique(_folded(band), return_index=True, return_inverse=True)
        found.append(np.stack([texts, first[bucket]], axis=1)[first[bucket] != texts])
    pairs = np.unique(np.concatenate(found), axis=0)
    return pairs[:, 1], pairs[:, 0]


def _folded(band: NDArray[np.uint32]) -> Hashes:
    """Return each row as one number; rows that differ may agree, once in 2^64."""
    folded = np.zeros(len(band), np.uint64)
    for column in band.T:
        folded = (folded ^ column) * np.uint64(_hashed("fold") | 1)
        folded ^= folded >> np.uint64(32)
    return folded


def _signatures(texts: Sequence[str], similarity: float) -> NDArray[np.uint32]:
    """Return MinHash signatures [len(texts), bands x ROWS] of the sets of character trigrams."""
    bands = max(1, math.ceil(math.log(MISSED) / math.log(1 - similarity**ROWS)))
    factors = np.array([_hashed(f"factor {n}") | 1 for n in range(bands * ROWS)], np.uint64)
    signatures = np.empty((len(texts), len(factors)), np.uint32)
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        part = texts[start : start + TEXTS_AT_ONCE]
        grams, begin = _gram_hashes(part)
        for column, factor in enumerate(factors):
            signatures[start : start + len(part), column] = np.minimum.reduceat(
                (grams * factor >> np.uint64(32)).astype(np.uint32), begin
            )
    return signatures


def _gram_hashes(texts: Sequence[str]) -> tuple[Hashes, Ints]:
    """Return the hash of every trigram of every text, text after text, and where each text begins."""
    padded = [f" {text} " if text else " " * GRAM for text in texts]
    points = np.frombuffer("".join(padded).encode("utf-32-le"), np.uint32).astype(np.uint64)
    lengths = np.array([len(text) for text in padded])
    ends = np.cumsum(lengths)
    whole = np.ones(len(points), bool)
    for back in range(1, GRAM):
        whole[ends - back] = False
    windows = np.zeros(len(points), np.uint64)
    for offset in range(GRAM):
        windows = windows * np.uint64(_hashed("base") | 1) + np.roll(points, -offset)
    mixed = (windows ^ (windows >> np.uint64(31))) * np.uint64(_hashed("mix") | 1)
    mixed ^= mixed >> np.uint64(29)
    counts = lengths - (GRAM - 1)
    return mixed[whole], np.concatenate([[0], np.cumsum(counts)[:-1]])


def _hashed(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
