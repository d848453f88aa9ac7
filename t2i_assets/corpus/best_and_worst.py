"""Which prompts of a score are shown as its best and its worst, by one rule wherever they are shown.

A prompt's score is its mean over seeds, and prompts are chosen by that alone; of equal ones the best come first by the
prompt's digest and the worst last, so that none is shown twice. Of a best prompt the picture of its best seed is shown,
of a worst prompt that of its worst.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Shown:
    """A prompt: its mean over seeds, and the score of the picture that is shown for it."""

    mean: float
    picture: Row
    seeds: int


@dataclass(frozen=True)
class BestAndWorst:
    """The best prompts, best first; the worst, worst first; how many there are, and their mean."""

    best: list[Shown]
    worst: list[Shown]
    prompts: int
    mean: float


def best_and_worst(scores: Iterable[Row], each: int) -> BestAndWorst:
    """Return ``each`` of the best and of the worst prompts from rows with prompt_id, seed and value.

    Of fewer prompts than twice ``each`` the better half is the best. Raises ValueError without any.
    """
    of_prompt: dict[str, list[Row]] = defaultdict(list)
    for row in scores:
        of_prompt[row["prompt_id"]].append(row)
    if not of_prompt:
        raise ValueError("no scores to choose from")
    means = {prompt: fmean(row["value"] for row in rows) for prompt, rows in of_prompt.items()}
    ranked = sorted(means, key=lambda prompt: (-means[prompt], prompt))
    best, worst = ranked[: min(each, (len(ranked) + 1) // 2)], ranked[::-1][: min(each, len(ranked) // 2)]

    def shown(prompt: str, sign: int) -> Shown:
        rows = of_prompt[prompt]
        return Shown(means[prompt], min(rows, key=lambda row: (sign * row["value"], row["seed"])), len(rows))

    return BestAndWorst(
        [shown(prompt, -1) for prompt in best],
        [shown(prompt, 1) for prompt in worst],
        len(ranked),
        fmean(means.values()),
    )
