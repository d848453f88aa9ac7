"""What can be told about the text encoder that conditions a diffusion model. Free of torch."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class TextEncoderConfig(BaseModel):
    """A frozen text encoder and what of it the U-Net is told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backend: Literal["blend", "open_clip", "clip", "t5"] = Field(
        default="blend",
        description="The CLIP that the pipeline trained, any of open_clip, or transformers' CLIPTextModel or "
        "T5EncoderModel.",
    )
    model: str | None = Field(
        default=None,
        description="Name or local path of the checkpoint; open_clip takes 'hf-hub:…', a directory, or a model's name.",
    )
    weights: str | None = Field(default=None, description="Weights of a model that open_clip knows by name.")
    max_length: int = Field(default=77, gt=2, description="Tokens per text of a T5; a CLIP's length is its own.")
    memory_gb: float = Field(
        default=4.0, ge=0, description="Encoded texts that are larger than this lie on disk while a model is trained."
    )
    condition: Literal["full", "states"] = Field(
        default="full",
        description="Full: the states beside the words' embeddings, zero after the end of the text, and the text's "
        "embedding, added to the time's. States: these alone, of all tokens, as Stable Diffusion has it; a T5 has no "
        "more to tell.",
    )

    @model_validator(mode="after")
    def _model_is_named(self) -> Self:
        if (self.backend == "blend") != (self.model is None):
            raise ValueError(
                f"text encoder backend {self.backend!r} "
                + ("takes no model: it is the blend's CLIP" if self.backend == "blend" else "needs a model")
            )
        if self.weights is not None and self.backend != "open_clip":
            raise ValueError(f"weights are named for open_clip alone, not for backend {self.backend!r}")
        if self.backend == "t5" and self.condition != "states":
            raise ValueError("a T5 has no embedding of the whole text: set condition to states")
        return self
