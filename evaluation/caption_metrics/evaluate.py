"""Every text metric of a set of captions at once."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from evaluation.caption_metrics.bleu import bleu
from evaluation.caption_metrics.cider import cider_d
from evaluation.caption_metrics.rouge import rouge_l


def evaluate_captions(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Return cider_d (0 to 10), bleu_1 to bleu_4 and rouge_l (0 to 1) of one caption per image.

    For an interval, bootstrap the values per image that ``cider_d`` and ``rouge_l`` return. Raises ValueError as
    they do.
    """
    return {
        "cider_d": fmean(cider_d(candidates, references).values()),
        **{f"bleu_{n}": value for n, value in enumerate(bleu(candidates, references), start=1)},
        "rouge_l": fmean(rouge_l(candidates, references).values()),
    }
