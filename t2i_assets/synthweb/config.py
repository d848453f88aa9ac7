"""What the embedded web site and its evaluation set can be told."""

import random
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

FEWEST_PICTURES = 60


class SiteConfig(BaseModel):
    """The site: its size and the seed of everything on it. Equal configurations serve equal bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=7, description="Seed of every page and picture.")
    pages: int = Field(default=320, ge=4, description="Content pages; sick pages and listings come on top.")
    images_per_page: int = Field(default=10, ge=4, description="Mean number of fresh pictures on a content page.")
    human_images: int = Field(default=600, ge=1, description="Pictures with human captions under /dataset/.")
    agent: str = Field(default="t2i-assets", description="Product token of the crawler that agent rules name.")
    slow_seconds: float = Field(default=1.0, ge=0, description="Delay of slow answers.")
    drip_seconds: float = Field(default=5.0, ge=0, description="How long an endless answer goes on, at most.")
    retry_after: int = Field(default=1, ge=0, description="Seconds that a 429 asks for.")

    @model_validator(mode="after")
    def _room_for_every_disease(self) -> Self:
        if self.pages * self.images_per_page < FEWEST_PICTURES:
            raise ValueError(
                f"pages x images_per_page is {self.pages * self.images_per_page}: the site has every disease at least "
                f"once, which takes {FEWEST_PICTURES} pictures"
            )
        return self


EMBEDDED_CATEGORIES = ("color", "shape", "texture", "spatial", "numeracy", "complex")
"""Categories of prompts about the embedded domain that models trained on its site can be expected to draw."""
DRAWN = (
    *EMBEDDED_CATEGORIES, "3d_spatial", "geneval_single_object", "geneval_two_object", "geneval_counting",
    "geneval_colors", "geneval_position", "geneval_color_attr",
)  # fmt: skip
"""Every category that the embedded domain can draw. Of 3d_spatial no picture of the site shows anything; non_spatial is
left out, since flat shapes do nothing to each other: its prompts come from files."""


class EvaluationSetConfig(BaseModel):
    """The evaluation set: prompts with facts, their real pictures, and pictures that train and test the judge."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=7, description="Seed; its streams are disjoint from those of a site of the same seed.")
    scenes_per_category: int = Field(default=40, ge=1, description="Scenes of each category; each gives two prompts.")
    pool_images: int = Field(default=3000, ge=1, description="Pictures that train the judge and the CLIP scorer.")
    heldout_images: int = Field(default=400, ge=1, description="Pictures that measure the judge.")
    image_size: int = Field(default=64, ge=32, description="Side of the pictures, pixels.")
    categories: tuple[str, ...] = Field(
        default=EMBEDDED_CATEGORIES,
        min_length=1,
        exclude_if=lambda value: value == EMBEDDED_CATEGORIES,
        description="Categories of scenes that are drawn: T2I-CompBench's but non_spatial, and geneval_… tasks.",
    )

    @model_validator(mode="after")
    def _categories_can_be_drawn(self) -> Self:
        for category in self.categories:
            if category == "non_spatial":
                raise ValueError("non_spatial: flat shapes do nothing to each other; take prompts.compbench")
            if category not in DRAWN:
                raise ValueError(f"category {category!r} cannot be drawn: choose among {', '.join(DRAWN)}")
        return self


SMOKE_SITE = SiteConfig(pages=24, images_per_page=7, human_images=64, slow_seconds=0.3, drip_seconds=1.5)


def stream(seed: int, *names: str | int) -> random.Random:
    """Return the generator that belongs to ``names`` under ``seed``; different names never share numbers."""
    return random.Random("/".join(map(str, (seed, *names))))
