"""CIDEr-D: how much a caption says that people agree on, weighted by how rarely people say it.

Source: Vedantam et al., "CIDEr: Consensus-based Image Description Evaluation" (2015).
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluation.caption_metrics.words import NGRAM_ORDERS, Ngrams, ngrams, paired

SIGMA = 6.0
SCALE = 10.0


@dataclass(frozen=True)
class _Vector:
    """TF-IDF weights of a text's n-grams, with their Euclidean norm for each order n."""

    weights: dict[tuple[str, ...], float]
    norms: list[float]
    length: int


def cider_d(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Return CIDEr-D by image, 0 to 10; the score of the set is their mean.

    The document frequencies come from ``references``: never compare scores across sets of images. Raises ValueError
    as ``paired`` does, and on fewer than two images, where every n-gram weighs nothing.
    """
    pairs = paired(candidates, references)
    if len(pairs) < 2:
        raise ValueError("CIDEr-D needs two images or more: over one, the inverse document frequency is 0 throughout")
    documents = Counter(
        ngram for _, said in pairs.values() for ngram in set().union(*(ngrams(reference) for reference in said))
    )
    scores = {}
    for image, (candidate, said) in pairs.items():
        ours = _vector(candidate, documents, len(pairs))
        likeness = [_likeness(ours, _vector(reference, documents, len(pairs))) for reference in said]
        scores[image] = SCALE * sum(likeness) / len(likeness)
    return scores


def _vector(tokens: Sequence[str], documents: Ngrams, images: int) -> _Vector:
    """Return term frequency times log(images / images whose references have the n-gram), at least 1 of them."""
    weights = {
        ngram: count * (math.log(images) - math.log(max(1, documents[ngram])))
        for ngram, count in ngrams(tokens).items()
    }
    squares = [0.0] * NGRAM_ORDERS
    for ngram, weight in weights.items():
        squares[len(ngram) - 1] += weight**2
    return _Vector(weights, [math.sqrt(square) for square in squares], len(tokens))


def _likeness(candidate: _Vector, reference: _Vector) -> float:
    """Return the mean over n of the clipped cosine, times the Gaussian penalty on the difference of lengths."""
    dots = [0.0] * NGRAM_ORDERS
    for ngram, weight in candidate.weights.items():
        theirs = reference.weights.get(ngram, 0.0)
        dots[len(ngram) - 1] += min(weight, theirs) * theirs
    cosines = [
        dot / (ours * theirs) if ours and theirs else 0.0
        for dot, ours, theirs in zip(dots, candidate.norms, reference.norms, strict=True)
    ]
    penalty = math.exp(-((candidate.length - reference.length) ** 2) / (2 * SIGMA**2))
    return penalty * sum(cosines) / NGRAM_ORDERS
