"""BLEU of a whole set of captions.

Source: Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation" (2002), section 2, with the
two constants of COCO's evaluation: n-gram precisions are (clipped matches + 1e-15) / (n-grams + 1e-9).
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from operator import mul

from evaluation.caption_metrics.words import NGRAM_ORDERS, Ngrams, ngrams, paired

TINY, SMALL = 1e-15, 1e-9


Counts = tuple[int, ...]


def bleu(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> tuple[float, ...]:
    """Return BLEU-1 to BLEU-4, counted over all captions together. Raises ValueError as ``paired`` does."""
    return bleu_of([sum(column) for column in zip(*bleu_counts(candidates, references).values(), strict=True)])


def bleu_counts(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> dict[str, Counts]:
    """Return by image what BLEU is made of, to be summed: matches and n-grams of each order, length, reference length.

    The reference length of a caption is that of its reference closest in length, the shorter of two equally close.
    Raises ValueError as ``paired`` does.
    """
    counts = {}
    for image, (candidate, said) in paired(candidates, references).items():
        most: Ngrams = Counter()
        for reference in said:
            most |= ngrams(reference)
        matched = [0] * NGRAM_ORDERS
        for ngram, count in (ngrams(candidate) & most).items():
            matched[len(ngram) - 1] += count
        offered = [max(0, len(candidate) - n) for n in range(NGRAM_ORDERS)]
        closest = min(map(len, said), key=lambda words: (abs(words - len(candidate)), words))
        counts[image] = (*matched, *offered, len(candidate), closest)
    return counts


def bleu_of(totals: Sequence[float]) -> tuple[float, ...]:
    """Return BLEU-1 to BLEU-4 of the sum of captions' counts, weighted or not."""
    matched, offered = totals[:NGRAM_ORDERS], totals[NGRAM_ORDERS : 2 * NGRAM_ORDERS]
    length, reference_length = totals[2 * NGRAM_ORDERS :]
    precisions = [(right + TINY) / (total + SMALL) for right, total in zip(matched, offered, strict=True)]
    ratio = (length + TINY) / (reference_length + SMALL)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    products = accumulate(precisions, mul)
    return tuple(brevity * product ** (1 / n) for n, product in enumerate(products, start=1))
