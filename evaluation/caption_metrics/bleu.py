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


def bleu(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> tuple[float, ...]:
    """Return BLEU-1 to BLEU-4, counted over all captions together.

    The reference length of a caption is that of its reference closest in length, the shorter of two equally close.
    Raises ValueError as ``paired`` does.
    """
    matched, offered = [0] * NGRAM_ORDERS, [0] * NGRAM_ORDERS
    length = reference_length = 0
    for candidate, said in paired(candidates, references).values():
        most: Ngrams = Counter()
        for reference in said:
            most |= ngrams(reference)
        for ngram, count in (ngrams(candidate) & most).items():
            matched[len(ngram) - 1] += count
        for n in range(NGRAM_ORDERS):
            offered[n] += max(0, len(candidate) - n)
        length += len(candidate)
        reference_length += min(map(len, said), key=lambda words: (abs(words - len(candidate)), words))
    precisions = [(right + TINY) / (total + SMALL) for right, total in zip(matched, offered, strict=True)]
    ratio = (length + TINY) / (reference_length + SMALL)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    products = accumulate(precisions, mul)
    return tuple(brevity * product ** (1 / n) for n, product in enumerate(products, start=1))
