"""Precision is honoured by every job or refused: no section takes bf16 and computes in fp32."""

from collections.abc import Iterator

import pytest
from pydantic import ValidationError

import evaluation.config  # noqa: F401 - its sections are among those of JobConfig
from training.config import JobConfig

TRAINED = {"Autoencoder", "AutoregressivePrior", "CaptionFilter", "Captioner", "Clip", "Diffusion", "DiffusionPrior"}
TRAINED |= {"Judge", "Matching", "Sharing", "Upsampler"}
DRAWN = {"Generate", "Latents", "Recaption", "Sample", "Score", "Upsample"}


def sections(of: type[JobConfig] = JobConfig) -> Iterator[type[JobConfig]]:
    for kind in of.__subclasses__():
        if kind.__module__.startswith(("training.", "evaluation.")):
            yield kind
        yield from sections(kind)


@pytest.mark.parametrize("section", sorted(sections(), key=lambda kind: kind.__name__))
def test_a_section_computes_in_bf16_or_refuses_it(section: type[JobConfig]) -> None:
    name = section.__name__.removesuffix("Config")
    given = {"precision": "bf16", **({"prompts": ["a red star"]} if name == "Sample" else {})}
    if name in TRAINED | DRAWN:
        assert section.model_validate(given).precision == "bf16"
    else:
        with pytest.raises(ValidationError, match=r"precision\n +Input should be 'fp32'"):
            section.model_validate(given)
