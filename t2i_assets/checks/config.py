"""Bounds of the checks that warn: a new bound makes nothing again."""

from pydantic import BaseModel, ConfigDict, Field


class CaptionReportConfig(BaseModel):
    """What is still no tic of a captioner, and how rarely a filter may say no."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_opening: float = Field(
        default=0.1, ge=0, le=1, description="Largest share of captions that begin with the same three words."
    )
    max_repeats_over_people: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="By how much the share of repeats may exceed that of people's captions, as many of each compared.",
    )
    max_case_from_people: float = Field(
        default=0.25,
        ge=0,
        le=1,
        description="Largest share of captions that would have to change case (lower, sentence, title …) to be "
        "written as people's are.",
    )
    max_ending_from_people: float = Field(
        default=0.25,
        ge=0,
        le=1,
        description="Largest share of captions that would have to end otherwise (full stop, no mark …) to end as "
        "people's do.",
    )
    min_pairs_to_people: float = Field(
        default=0.7,
        ge=0,
        description="Smallest variety of pairs of words (distinct over all) as a part of that of people's captions, as "
        "many of each compared.",
    )
    max_cut_off: float = Field(
        default=0.02, ge=0, le=1, description="Largest share of captions that end before the sentence does."
    )
    short_words: int = Field(default=2, ge=0, description="Fewer words than this are too short.")
    max_short: float = Field(default=0.02, ge=0, le=1, description="Largest share of captions that are too short.")
    long_words: int = Field(default=64, gt=0, description="More words than this are too long.")
    max_long: float = Field(default=0.02, ge=0, le=1, description="Largest share of captions that are too long.")
    min_rejected: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Smallest share of a source's synthetic captions that the filter rejects. BLIP's (2022, section "
        "5.3) rejects 25 %; one that shares weights with the captioner rejects 8 %, and the models trained on what it "
        "keeps are worse.",
    )
    min_rejected_to_alt: float = Field(
        default=0.1,
        ge=0,
        description="Smallest rejection rate of synthetic captions as a part of that of alt texts. Ours.",
    )
    certain: float = Field(default=0.99, gt=0, le=1, description="ITM probability from which the filter is certain.")
    max_certain: float = Field(
        default=0.9,
        ge=0,
        le=1,
        description="Largest share of synthetic captions that the filter is certain of: above it, thresholds separate "
        "nothing. Ours.",
    )
