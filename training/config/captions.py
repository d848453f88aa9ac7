"""What can be told to the captioner and the filter, and to what they write and score. Free of torch."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from t2i_assets.corpus.named_models import ModelName
from training.config.job import JobConfig, OptimizerConfig


class DecodeConfig(BaseModel):
    """How captions are written: tokens drawn at random, the likeliest token each time, or the likeliest captions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Literal["nucleus", "top_k", "beam", "greedy"] = Field(
        default="nucleus",
        description="Tokens are drawn from the nucleus or from the top_k likeliest; or beam search; or the likeliest.",
    )
    top_p: float = Field(
        default=0.9, gt=0, le=1, description="The nucleus: the smallest set of tokens of this probability."
    )
    top_k: int = Field(
        default=0,
        ge=0,
        description="Only so many of the likeliest tokens are drawn from, and cut to the nucleus; 0: all.",
    )
    temperature: float = Field(default=1.0, ge=0, description="Logits are divided by it; 0 takes the likeliest token.")
    beams: int = Field(default=4, gt=0, description="Beginnings of a caption that beam search keeps.")
    length_penalty: float = Field(
        default=1.0, description="Beam search compares log-probabilities divided by length to this power."
    )
    min_tokens: int = Field(default=0, ge=0, description="Shortest caption, in tokens.")
    max_tokens: int = Field(default=40, gt=0, description="Longest caption, in tokens.")

    @model_validator(mode="after")
    def _can_be_followed(self) -> "DecodeConfig":
        if self.method == "top_k" and not self.top_k:
            raise ValueError("the method 'top_k' needs the number of tokens in 'top_k'")
        if self.min_tokens > self.max_tokens:
            raise ValueError(f"min_tokens ({self.min_tokens}) is more than max_tokens ({self.max_tokens})")
        return self


class CaptionerConfig(JobConfig):
    """CoCa in open_clip's layout: pretrained on alt texts, finetuned on short and on descriptive human captions."""

    precision: Literal["fp32", "bf16"] = Field(default="bf16", description="Arithmetic of forward and backward passes.")
    image_size: int = Field(default=64, gt=0, description="Side of the images, pixels.")
    patch_size: int = Field(default=8, gt=0, description="Side of a patch, pixels.")
    width: int = Field(default=128, gt=0, description="Channels of images, texts and decoder.")
    heads: int = Field(default=4, gt=0, description="Attention heads.")
    stem_blocks: int = Field(
        default=2, ge=0, description="Residual convolution blocks before the ViT; 0 keeps open_clip's patch embedding."
    )
    image_layers: int = Field(default=0, ge=0, description="Layers of the ViT.")
    text_layers: int = Field(default=1, gt=0, description="Layers of the text tower (unimodal decoder).")
    decoder_layers: int = Field(default=2, gt=0, description="Layers of the multimodal decoder.")
    context_length: int = Field(default=32, gt=2, description="Longest text, tokens, specials included.")
    contrastive_weight: float = Field(default=0.5, ge=0, description="Weight of the contrastive loss in pretraining.")
    word_dropout: float = Field(
        default=0.3, ge=0, lt=1, description="Share of the words before each target that are random in finetuning."
    )
    held_out: float = Field(default=0.05, ge=0, lt=1, description="Share of human images kept for validation.")
    pretrain: OptimizerConfig = OptimizerConfig(steps=60, batch_size=32, lr=1e-3)
    descriptive: OptimizerConfig = OptimizerConfig(steps=1800, batch_size=32, lr=1e-3)
    self_training: OptimizerConfig = Field(
        default=OptimizerConfig(steps=500, batch_size=32, lr=5e-4),
        description="Finetuning on human captions and on the captioner's own of the crawl; 0 steps leave it out.",
    )
    views: int = Field(default=3, ge=1, description="Views of a picture that must be captioned alike to teach.")
    short: OptimizerConfig = OptimizerConfig(steps=100, batch_size=32, lr=5e-4)


class MatchingConfig(JobConfig):
    """BLIP's mixture of encoder and decoder: its size, its losses, and what it learns before it is finetuned."""

    precision: Literal["fp32", "bf16"] = Field(default="bf16", description="Arithmetic of forward and backward passes.")
    image_size: int = Field(default=64, gt=0, description="Side of the images, pixels.")
    patch_size: int = Field(default=8, gt=0, description="Side of a patch, pixels.")
    width: int = Field(default=128, gt=0, description="Channels everywhere.")
    heads: int = Field(default=4, gt=0, description="Attention heads.")
    stem_blocks: int = Field(default=2, ge=0, description="Residual convolution blocks on the patch grid.")
    image_layers: int = Field(default=0, ge=0, description="Transformer layers over the patches.")
    text_layers: int = Field(default=2, gt=0, description="Text layers, each with cross-attention.")
    context_length: int = Field(default=32, gt=2, description="Longest text, tokens, specials included.")
    embed_dim: int = Field(default=64, gt=0, description="Dimension of the ITC space.")
    lm_weight: float = Field(
        default=0.0,
        ge=0,
        description="Weight of the language-modelling loss; a captioner of its own writes the captions.",
    )
    queue: int = Field(
        default=256, ge=0, description="Pairs in the queue of the momentum encoder; 0 trains without both."
    )
    momentum: float = Field(default=0.995, ge=0, le=1, description="Decay of the momentum encoder's weights.")
    alpha: float = Field(default=0.4, ge=0, le=1, description="Weight of the momentum encoder's targets in ITC.")
    alpha_ramp: int = Field(default=200, ge=0, description="Steps until the weight is reached.")
    word_weight: float = Field(
        default=1.0,
        ge=0,
        description="Weight of telling which words of the variants are wrong; needs two text layers or more.",
    )
    word_dropout: float = Field(
        default=0.3, ge=0, lt=1, description="Share of the words before each target that are random in phase caption."
    )
    held_out: float = Field(default=0.05, ge=0, lt=1, description="Share of human images kept for validation.")
    pretrain: OptimizerConfig = Field(
        default=OptimizerConfig(steps=0, batch_size=32, lr=1e-3),
        description="Matching on the crawl's own pairs first; where these are as noisy as the embedded site's, "
        "60 steps cost more than they gave (docs/caption-filter.md).",
    )
    caption: OptimizerConfig = OptimizerConfig(steps=700, batch_size=32, lr=1e-3)

    @model_validator(mode="after")
    def _tells_words_by_the_image(self) -> "MatchingConfig":
        if self.text_layers < 2 and self.word_weight > 0:
            raise ValueError(
                "the word head reads the layer before the last, which with 'text_layers' 1 saw no image: take 2 layers "
                "or more, or a 'word_weight' of 0"
            )
        return self

    @model_validator(mode="after")
    def _follows_whole_weights(self) -> "MatchingConfig":
        sharded = [name for name, value in self if isinstance(value, OptimizerConfig) and value.sharded]
        if self.queue and sharded:
            raise ValueError(
                f"'sharded' in {', '.join(sharded)}: the momentum encoder follows whole weights; set it to false, or "
                "'queue' to 0"
            )
        return self


class CaptionFilterConfig(MatchingConfig):
    """The caption filter: finetuned to match on human captions, on variants of them and on texts of other pictures."""

    text_variants: bool = Field(
        default=True, description="Whether finetuning also matches shortened captions and rejects changed ones."
    )
    crawl_share: float = Field(default=0.0, ge=0, lt=1, description="Share of the crawl's pairs in finetuning.")
    stranger_share: float = Field(
        default=0.25,
        ge=0,
        le=1,
        description="Share of images that in finetuning also reject a text of the crawl, which is of another image.",
    )
    finetune: OptimizerConfig = OptimizerConfig(steps=600, batch_size=32, lr=1e-3)


class SharingConfig(MatchingConfig):
    """One BLIP finetuned as a captioner, as a filter, and as both at once (BLIP, table 4): ``finetune`` each."""

    lm_weight: float = Field(default=1.0, gt=0, description="Weight of the language-modelling loss beside ITC and ITM.")
    finetune: OptimizerConfig = OptimizerConfig(steps=400, batch_size=32, lr=1e-3)
    decode: DecodeConfig = Field(default=DecodeConfig(max_tokens=30), description="How captions are sampled.")
    caption_batch_size: int = Field(default=200, gt=0, description="Images per pass when captions are written.")


class CaptionStyleConfig(BaseModel):
    """One of the two kinds of captions that are written of every image."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    style: Literal["short", "descriptive"] = Field(description="Kind of caption; its source is 'synthetic_<style>'.")
    prompt: str = Field(
        default="",
        description="What the model is given first, to be continued or, by BLIP-2, answered; no part of the caption.",
    )


class RecaptionConfig(JobConfig):
    """Writing synthetic captions."""

    captioner_digest: str = Field(default="", description="Digest of the captioner, written on every caption.")
    backend: Literal["coca", "blip", "blip2"] = Field(
        default="coca", description="Kind of captioner: CoCa of open_clip, BLIP or BLIP-2 of transformers."
    )
    model: ModelName | None = Field(
        default=None,
        description="The captioner: a name that open_clip or the Hugging Face hub knows, or the path of a directory; "
        "null takes the pipeline's own, which is then trained first.",
    )
    pretrained: ModelName | None = Field(
        default=None, description="Weights of a CoCa that is named: a tag as open_clip lists them, or a file."
    )
    revision: str | None = Field(default=None, description="Branch, tag or commit of a BLIP or BLIP-2 that is named.")
    styles: tuple[CaptionStyleConfig, ...] = Field(
        default=(CaptionStyleConfig(style="descriptive"), CaptionStyleConfig(style="short")),
        min_length=1,
        description="Captions of every image: one of each style, with the prompt that asks a named model for it.",
    )
    batch_size: int = Field(default=256, gt=0, description="Images per pass.")
    decode: DecodeConfig = DecodeConfig()

    @model_validator(mode="after")
    def _names_its_model(self) -> "RecaptionConfig":
        if self.backend != "coca" and self.model is None:
            raise ValueError(f"the back end {self.backend!r} needs the name or path of a model in 'model'")
        if self.pretrained is not None and (self.model is None or self.backend != "coca"):
            raise ValueError("'pretrained' names the weights of a CoCa that is named in 'model'")
        if self.revision is not None and self.backend == "coca":
            raise ValueError("'revision' is one of a BLIP or BLIP-2: a CoCa's weights are named in 'pretrained'")
        if len({style.style for style in self.styles}) < len(self.styles):
            raise ValueError("'styles' names a style twice: an image gets one caption of each")
        return self


class ScoreConfig(JobConfig):
    """Scoring captions, by the filter or by a model from elsewhere."""

    backend: Literal["filter", "blip"] = Field(
        default="filter",
        description="What gives itm and itc: the filter trained on this corpus, or a BlipForImageTextRetrieval.",
    )
    model: ModelName | None = Field(
        default=None, description="Name or local directory of the back end's model; null for the filter."
    )
    clip: ModelName | None = Field(
        default=None,
        description="CLIP by which open_clip adds an independent cosine, kind clip: a name as open_clip lists them, "
        "'hf-hub:…' or 'local-dir:…'.",
    )
    clip_pretrained: ModelName | None = Field(
        default=None, description="Weights of that CLIP: a tag as open_clip lists them, or a file."
    )
    scorer_digest: str = Field(
        default="", description="Digest of what scores, the CLIP included; written on the filter's scores."
    )
    batch_size: int = Field(default=256, gt=0, description="Images per pass.")

    @model_validator(mode="after")
    def _has_its_models(self) -> "ScoreConfig":
        if self.backend == "blip" and self.model is None:
            raise ValueError("the back end 'blip' needs the name or directory of a checkpoint in 'model'")
        if self.backend == "filter" and self.model is not None:
            raise ValueError("'model' names a checkpoint of the back end 'blip'; the filter is the one trained here")
        if self.clip_pretrained is not None and self.clip is None:
            raise ValueError("'clip_pretrained' names weights of a CLIP that 'clip' does not name")
        return self
