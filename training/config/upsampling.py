"""What can be told to the upsampler of prompts. Free of torch."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from t2i_assets.corpus.named_models import ModelName
from training.config.job import JobConfig, OptimizerConfig


class SurvivalConfig(BaseModel):
    """What it takes for a longer prompt to say all that the short one says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_gap: int | None = Field(
        default=2,
        ge=0,
        description="Words that may come between two content words that stood side by side, which also keep their "
        "order; null asks for the words alone, wherever they stand.",
    )
    openings: tuple[str, ...] = Field(
        default=("image of", "picture of", "photo of", "photo:"),
        description="Openings that say only that there is a picture: cut off, and free to be lost.",
    )


class PretrainedUpsamplerConfig(BaseModel):
    """A causal language model that is told what to do, by an instruction and examples from the training captions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: ModelName = Field(
        min_length=1, description="Causal language model of transformers: a name, or a local path."
    )
    revision: str | None = Field(default=None, description="Branch, tag or commit of a model that is named.")
    instruction: str = Field(
        default="Rewrite a short prompt for an image generator as one descriptive sentence in the style of the "
        "examples. Keep every word of the short prompt, add what it leaves open, and write the sentence alone.",
        description="What the model is told before the examples.",
    )
    examples: int = Field(default=6, ge=0, description="Short and descriptive captions shown as examples.")


class UpsamplerConfig(JobConfig):
    """Caption upsampler: makes short prompts as descriptive as the captions that models are trained on."""

    backend: Literal["trained", "transformers"] = Field(
        default="trained", description="A small GPT-2 trained here on captions, or a pretrained model that is told."
    )
    pretrained: PretrainedUpsamplerConfig | None = Field(
        default=None, description="The pretrained model; the back end transformers needs it."
    )
    width: int = Field(default=128, gt=0, description="Width of the transformer.")
    layers: int = Field(default=2, gt=0, description="Layers of the transformer.")
    heads: int = Field(default=8, gt=0, description="Attention heads.")
    context_length: int = Field(default=96, gt=2, description="Tokens of prompt and descriptive text together.")
    partial: float = Field(
        default=0.5, ge=0, le=1, description="Share of prompts that are a text of the sample with words left out."
    )
    invented: float = Field(
        default=0.1, ge=0, le=1, description="Share of pairs in which one word is replaced by an invented one."
    )
    held_out: float = Field(default=0.05, ge=0, lt=1, description="Share of samples kept for validation, as CLIP's.")
    survival: SurvivalConfig = Field(
        default=SurvivalConfig(), description="Which shorter texts of a sample its descriptive caption holds."
    )
    optimizer: OptimizerConfig = OptimizerConfig(steps=400, batch_size=32, lr=3e-3)

    @model_validator(mode="after")
    def _has_its_model(self) -> "UpsamplerConfig":
        if self.backend == "transformers" and self.pretrained is None:
            raise ValueError("the back end 'transformers' needs the name or path of a model in 'pretrained'")
        if self.backend == "trained" and self.pretrained is not None:
            raise ValueError("'pretrained' names a model of the back end 'transformers'; 'trained' takes none")
        return self


class UpsampleConfig(JobConfig):
    """Longer prompts: the likeliest of several candidates that says all that the prompt says."""

    upsampler_digest: str = Field(default="", description="Digest of the upsampler, written on every prompt.")
    style: str | None = Field(
        default="original", description="Style of the prompts to take from a table of several; null takes all."
    )
    candidates: int = Field(default=32, gt=0, description="Texts written for each prompt.")
    top_p: float = Field(default=0.95, gt=0, le=1, description="Tokens come from the smallest set of this probability.")
    temperature: float = Field(default=1.0, gt=0, description="Logits are divided by it.")
    max_tokens: int = Field(default=64, gt=0, description="Longest text, in tokens.")
    batch_size: int = Field(default=32, gt=0, description="Prompts per pass, of one length.")
    survival: SurvivalConfig = Field(default=SurvivalConfig(), description="What counts as saying all.")
