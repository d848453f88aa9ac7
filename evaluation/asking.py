"""What prompts ask for, found out before any picture is looked at: what cannot be scored is refused or left out."""

from collections.abc import Collection

from evaluation.config import CompBenchConfig
from evaluation.facts import Facts
from evaluation.judges.fit import check_fit, unknown_of
from evaluation.judges.protocol import Judge
from evaluation.reading.prompt import Reader, UnreadableError
from evaluation.systems import Row

Asked = dict[str, tuple[str, Facts]]
"""Category and facts by prompt_id."""


def what_is_asked(
    prompts: Collection[Row], reader: Reader, judge: Judge, config: CompBenchConfig
) -> tuple[Asked, dict[str, str]]:
    """Return what each prompt asks for, and why others, by their text, cannot be scored.

    Raises ValueError where the judge lacks what a category needs, and where a prompt that cannot be scored is refused.
    """
    asked: Asked = {}
    left_out: dict[str, str] = {}
    for prompt in prompts:
        try:
            asked[prompt["prompt_id"]] = prompt["category"], reader.facts_of(prompt)
        except UnreadableError as error:
            left_out[prompt["prompt"]] = str(error)
    check_fit(judge, config.judge, asked.values())
    for prompt in prompts:
        if prompt["prompt_id"] in asked:
            unknown = unknown_of(judge, *asked[prompt["prompt_id"]], config)
            if unknown is not None:
                left_out[prompt["prompt"]] = unknown
                del asked[prompt["prompt_id"]]
    if left_out and config.faults.unscorable == "refused":
        first, reason = next(iter(left_out.items()))
        raise ValueError(
            f"{len(left_out)} of {len(prompts)} prompts cannot be scored, the first of them {first!r}: {reason}. Mend "
            "that, or leave such prompts out by t2i_compbench.faults.unscorable: corrected"
        )
    return asked, left_out
