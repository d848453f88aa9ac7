"""The faults of T2I-CompBench's published code, one switch each: ``official`` reproduces, ``corrected`` mends.

Numbers made under different switches are numbers of different metrics, so the switches are part of the metric's
version. Free of torch.
"""

from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

Switch = Literal["official", "corrected"]


class Faults(BaseModel):
    """Which faults are reproduced. ``official`` or ``corrected`` in place of the fields sets all of them.

    The defaults mend what is plainly a slip. ``near`` follows the published code: the paper has the same rule.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    on_top_of: Switch = Field(
        default="corrected",
        description="'on top of' is among the relations looked for, but no branch scores it: official gives position "
        "0; corrected reads it as 'on the top of'.",
    )
    no_relation: Switch = Field(
        default="corrected",
        description="A prompt that states no relation which is looked for has position 0 officially; corrected does "
        "not score it.",
    )
    near: Switch = Field(
        default="official",
        description="official counts two objects as near where they are close along either axis, however far apart "
        "along the other; corrected asks for both.",
    )
    nouns: Switch = Field(
        default="corrected",
        description="official looks for nouns as they are written ('dogs' is no dog), knows no proper nouns, and holds "
        "a lone noun against itself; corrected looks for singulars, of proper nouns too, and asks for two.",
    )
    names: Switch = Field(
        default="corrected",
        description="official looks for man, woman, boy and girl as person, and in counting for four nouns more under "
        "another name, one of them misspelt; corrected knows other names of many nouns, in every category.",
    )
    same_noun: Switch = Field(
        default="corrected",
        description="Where both nouns are equal, official compares the first object of that noun with itself; "
        "corrected takes two objects, told apart by their attributes or else in the order that suits the relation.",
    )
    pick: Switch = Field(
        default="corrected",
        description="Of several objects of a noun official takes the first seen, in three dimensions the last seen "
        "before the other noun is met; corrected the one whose attributes are asked for, else the surest.",
    )
    complex_nouns: Switch = Field(
        default="corrected",
        description="A flag declared as a boolean is true for any text, so complex prompts are read as simple ones: "
        "official takes the first and the last noun of the sentence; corrected those on either side of the relation.",
    )
    substrings: Switch = Field(
        default="corrected",
        description="official finds relations and, in three dimensions and in counting, nouns as substrings ('near' in "
        "'linear', 'car' in 'carpet'); corrected as whole words and whole names.",
    )
    chunks: Literal["first", "official", "corrected"] = Field(
        default="corrected",
        description="Noun chunks that are asked about: the first release asks every one, the second leaves out 'top', "
        "'the side', 'the left' and 'the right'; corrected leaves out every chunk that names a place and no object.",
    )
    most_chunks: Switch = Field(
        default="corrected", description="official asks about the first eight noun chunks at most; corrected all."
    )
    no_chunk: Switch = Field(
        default="corrected",
        description="A prompt without a noun chunk scores 1 officially, since missing chunks count 1; corrected does "
        "not score it.",
    )
    rounding: Switch = Field(
        default="corrected",
        description="official rounds every answer and their product to four digits; corrected rounds nothing.",
    )
    depth_axes: Switch = Field(
        default="corrected",
        description="official cuts boxes out of the depth map with the axes exchanged; corrected as they are.",
    )
    depth_overlap: Switch = Field(
        default="corrected",
        description="An overlap of exactly the threshold scores 0 officially, since neither branch takes it; corrected "
        "1.",
    )
    unscorable: Literal["official", "corrected", "refused"] = Field(
        default="refused",
        description="A prompt that asks for what the judge has no name for, or that cannot be read: refused stops the "
        "job before anything is scored; corrected leaves the prompt out and lists it; official scores what has no name "
        "as not there, and leaves out what cannot be read.",
    )

    @model_validator(mode="before")
    @classmethod
    def _all_at_once(cls, value: Any) -> Any:
        if value in get_args(Switch):
            return dict.fromkeys(cls.model_fields, value)
        return value
