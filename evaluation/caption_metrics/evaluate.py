"""Every text metric of a set of captions at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from evaluation.caption_metrics.bleu import Counts, bleu_counts, bleu_of
from evaluation.caption_metrics.cider import cider_d
from evaluation.caption_metrics.rouge import rouge_l


@dataclass(frozen=True)
class TextScores:
    """One caption per image against its references, in order of the image's name; BLEU as counts, to be summed."""

    cider_d: Sequence[float]
    rouge_l: Sequence[float]
    bleu_counts: Sequence[Counts]

    def of_the_set(self) -> dict[str, float]:
        """Return cider_d (0 to 10), bleu_1 to bleu_4 and rouge_l (0 to 1) of all captions together."""
        totals = [sum(column) for column in zip(*self.bleu_counts, strict=True)]
        return {
            "cider_d": fmean(self.cider_d),
            **{f"bleu_{n}": value for n, value in enumerate(bleu_of(totals), start=1)},
            "rouge_l": fmean(self.rouge_l),
        }


def evaluate_captions(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> TextScores:
    """Return the scores of one caption per image. Raises ValueError as ``cider_d`` does."""
    return TextScores(
        list(cider_d(candidates, references).values()),
        list(rouge_l(candidates, references).values()),
        list(bleu_counts(candidates, references).values()),
    )
