"""Which judge looks at the pictures. Free of torch, so that the orchestrator can read it too."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from t2i_assets.corpus.named_models import ModelName


def pretrained_place(name: str) -> dict[str, str]:
    """Return what ``from_pretrained`` is told: a directory as it is, a name of the hub without and with a revision."""
    repository, at, revision = name.rpartition("@")
    if not at or Path(name).exists():
        return {"pretrained_model_name_or_path": name}
    return {"pretrained_model_name_or_path": repository, "revision": revision}


class JudgeChoice(BaseModel):
    """A judge by its kind; the models of ``pretrained`` by path, or by name on a hub.

    A name may end in a revision, ``name@commit``; without one, a tag that is moved there is not noticed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["trained", "trained_vqa", "pixels", "pretrained"] = Field(
        default="trained",
        description="trained: the detector of the embedded domain, which also answers for attributes; trained_vqa: the "
        "same boxes, attributes answered yes or no by the small VQA; pixels: no model at all; pretrained: the models "
        "below.",
    )
    answerer: ModelName | None = Field(
        default=None, description="BLIP-VQA in the layout of transformers: answers for attributes (pretrained)."
    )
    detector: ModelName | None = Field(
        default=None, description="Object detection model of transformers: boxes for relations and counts (pretrained)."
    )
    depth: ModelName | None = Field(
        default=None,
        description="Depth estimation model of transformers, for relations in three dimensions (pretrained).",
    )
    depth_larger: Literal["nearer", "farther"] = Field(
        default="nearer",
        description="Which way the depth model's numbers grow: nearer (DPT, Depth Anything) or farther (metric depth).",
    )
    image_size: int = Field(
        default=480, gt=0, description="Side to which pictures are scaled before pretrained models see them, pixels."
    )
    score_threshold: float = Field(
        default=0.3, gt=0, lt=1, description="Objects below this score are not reported (pretrained)."
    )

    @model_validator(mode="after")
    def _models_belong_to_pretrained(self) -> Self:
        named = [name for name in (self.answerer, self.detector, self.depth) if name is not None]
        if self.kind == "pretrained" and not named:
            raise ValueError("a pretrained judge needs an answerer, a detector or both, by name or path")
        if self.kind != "pretrained" and named:
            raise ValueError(f"a judge of kind {self.kind} has no model of a hub: set kind to pretrained")
        return self
