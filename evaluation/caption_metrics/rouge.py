"""ROUGE-L: the longest common subsequence of a caption and a reference, as an F-measure that favours recall.

Source: Lin, "ROUGE: A Package for Automatic Evaluation of Summaries" (2004), section 3, with beta and the choice of
the best reference as COCO's evaluation has them.
"""

from collections.abc import Mapping, Sequence

from evaluation.caption_metrics.words import paired

BETA = 1.2


def rouge_l(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Return ROUGE-L by image, 0 to 1; the score of the set is their mean.

    Precision and recall are each the best over the references. Raises ValueError as ``paired`` does.
    """
    scores = {}
    for image, (candidate, said) in paired(candidates, references).items():
        common = [longest_common_subsequence(candidate, reference) for reference in said]
        precision = max(common) / len(candidate) if candidate else 0.0
        recall = max(length / len(reference) for length, reference in zip(common, said, strict=True))
        weighted = recall + BETA**2 * precision
        scores[image] = (1 + BETA**2) * precision * recall / weighted if weighted else 0.0
    return scores


def longest_common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Return how many words both have in the same order, not necessarily side by side."""
    row = [0] * (len(second) + 1)
    for word in first:
        above = row
        row = [0]
        for column, other in enumerate(second, start=1):
            row.append(above[column - 1] + 1 if word == other else max(above[column], row[column - 1]))
    return row[-1]
