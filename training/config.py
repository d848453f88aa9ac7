"""What each training job can be told. Free of torch, so that the orchestrator can read it too."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class JobConfig(BaseModel):
    """Base of every section: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=0, description="Seed of initialisation, data order and noise.")
    threads: int = Field(default=1, ge=1, description="Threads that torch may use.")
    precision: Literal["fp32", "bf16"] = Field(default="fp32", description="Arithmetic of forward and backward passes.")


class OptimizerConfig(BaseModel):
    """AdamW with linear warm-up and a cosine or constant schedule."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(ge=0, description="Optimizer steps.")
    batch_size: int = Field(gt=0, description="Samples per step.")
    lr: float = Field(gt=0, description="Peak learning rate.")
    weight_decay: float = Field(default=0.01, ge=0, description="Decoupled weight decay on matrices.")
    warmup: int = Field(default=50, ge=0, description="Steps of linear warm-up.")
    schedule: Literal["cosine", "constant"] = Field(default="cosine", description="Learning rate after warm-up.")
    clip_norm: float = Field(default=1.0, gt=0, description="Gradients are scaled down to this norm.")
    ema_decay: float = Field(default=0.0, ge=0, lt=1, description="Decay of the averaged weights; 0 keeps none.")
    log_every: int = Field(default=25, gt=0, description="Steps between logged figures.")
    checkpoint_every: int = Field(default=200, gt=0, description="Steps between checkpoints.")
    evaluate_every: int = Field(default=0, ge=0, description="Steps between evaluations; 0 evaluates at the end only.")


class TokenizerConfig(JobConfig):
    """Byte-pair vocabulary in open_clip's merges format; its size is 514 + merges."""

    merges: int = Field(default=160, ge=0, description="Merges to learn at most.")
    min_frequency: int = Field(default=2, ge=1, description="A pair seen less often is not merged.")


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


class ClipConfig(JobConfig):
    """Contrastive image-text model in open_clip's layout, trained from scratch on a blend."""

    image_size: int = Field(default=32, gt=0, description="Side of the images, pixels.")
    embed_dim: int = Field(default=128, gt=0, description="Dimension of the shared space.")
    vision_layers: int | tuple[int, int, int, int] = Field(
        default=(1, 1, 1, 1), description="Four numbers: blocks of a ModifiedResNet's stages; one: layers of a ViT."
    )
    vision_width: int = Field(default=24, gt=0, description="Width of the ResNet's stem or of the ViT.")
    patch_size: int = Field(default=4, gt=0, description="Side of a ViT's patches, pixels.")
    context_length: int = Field(default=32, gt=2, description="Tokens per text, specials included.")
    text_width: int = Field(default=128, gt=0, description="Width of the text transformer.")
    text_layers: int = Field(default=3, gt=0, description="Layers of the text transformer.")
    head_width: int = Field(default=32, gt=0, description="Width of an attention head.")
    shift: int = Field(default=2, ge=0, description="Training images are moved by up to this many pixels.")
    false_negatives: Literal["keep", "drop", "match"] = Field(
        default="drop",
        description="What becomes of an image's pairing with another sample's equal caption: a negative as any other, "
        "left out of the loss, or a positive of equal weight.",
    )
    held_out: float = Field(default=0.05, gt=0, lt=1, description="Share of samples kept for retrieval recall.")
    optimizer: OptimizerConfig = OptimizerConfig(
        steps=260, batch_size=96, lr=1e-3, weight_decay=0.1, log_every=5, evaluate_every=100
    )


class EmbedConfig(JobConfig):
    """CLIP embeddings of images and captions."""

    batch_size: int = Field(default=100, gt=0, description="Images or texts per forward pass.")


class ImageFeaturesConfig(JobConfig):
    """Image embeddings of a snapshot, by which semantic duplicates are found."""

    model: str | None = Field(
        default=None,
        description="Model by which open_clip embeds images: a name as open_clip lists them, 'hf-hub:…' or "
        "'local-dir:…'; null takes the image tower of the captioner.",
    )
    pretrained: str | None = Field(default=None, description="Weights of the named model, as open_clip lists them.")
    batch_size: int = Field(default=250, gt=0, description="Images per forward pass.")


class DiffusionPriorConfig(JobConfig):
    """Causal transformer that denoises the CLIP image embedding of a caption (DALL·E 2, section 2.2)."""

    width: int = Field(default=128, gt=0, description="Width of the transformer.")
    layers: int = Field(default=2, gt=0, description="Layers of the transformer.")
    heads: int = Field(default=4, gt=0, description="Attention heads.")
    timesteps: int = Field(default=1000, gt=1, description="Steps of the cosine noise schedule.")
    caption_dropout: float = Field(default=0.1, ge=0, lt=1, description="Share of captions dropped for guidance.")
    sample_steps: int = Field(default=16, gt=0, description="Denoising steps at sampling.")
    guidance_scale: float = Field(default=1.0, ge=0, description="Guidance at evaluation; 1 is none.")
    samples: int = Field(default=2, gt=0, description="Samples drawn per caption; the one nearest to the text is kept.")
    held_out: float = Field(default=0.05, gt=0, lt=1, description="Share of samples kept for evaluation, as CLIP's.")
    optimizer: OptimizerConfig = OptimizerConfig(
        steps=300, batch_size=64, lr=1e-3, weight_decay=0.06, ema_decay=0.99, log_every=5
    )


class AutoregressivePriorConfig(JobConfig):
    """Causal transformer over quantised principal components of the image embedding (DALL·E 2, section 2.2)."""

    width: int = Field(default=128, gt=0, description="Width of the transformer.")
    layers: int = Field(default=2, gt=0, description="Layers of the transformer.")
    heads: int = Field(default=4, gt=0, description="Attention heads.")
    components: int = Field(default=16, gt=0, description="Principal components kept, in order of eigenvalue.")
    buckets: int = Field(default=32, gt=1, description="Buckets that a component is quantised into.")
    dot_buckets: int = Field(default=16, gt=1, description="Buckets of the dot product of text and image embedding.")
    caption_dropout: float = Field(default=0.1, ge=0, lt=1, description="Share of captions dropped for guidance.")
    guidance_scale: float = Field(default=1.0, ge=0, description="Guidance at evaluation; 1 is none.")
    held_out: float = Field(default=0.05, gt=0, lt=1, description="Share of samples kept for evaluation, as CLIP's.")
    optimizer: OptimizerConfig = OptimizerConfig(
        steps=250, batch_size=64, lr=3e-3, weight_decay=0.04, ema_decay=0.99, log_every=5
    )


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
    descriptive: OptimizerConfig = OptimizerConfig(steps=1200, batch_size=32, lr=1e-3)
    self_training: OptimizerConfig = Field(
        default=OptimizerConfig(steps=500, batch_size=32, lr=5e-4),
        description="Finetuning on human captions and on the captioner's own of the crawl; 0 steps leave it out.",
    )
    views: int = Field(default=3, ge=1, description="Views of a picture that must be captioned alike to teach.")
    short: OptimizerConfig = OptimizerConfig(steps=100, batch_size=32, lr=5e-4)


class CaptionFilterConfig(JobConfig):
    """BLIP's mixture of encoder and decoder: contrast, matching and, to learn faster, captioning."""

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
    text_variants: bool = Field(
        default=True, description="Whether finetuning also matches shortened captions and rejects changed ones."
    )
    word_weight: float = Field(
        default=1.0,
        ge=0,
        description="Weight of telling which words of the variants are wrong; needs two text layers or more.",
    )
    crawl_share: float = Field(default=0.0, ge=0, lt=1, description="Share of the crawl's pairs in finetuning.")
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
    finetune: OptimizerConfig = OptimizerConfig(steps=450, batch_size=32, lr=1e-3)


class SharingConfig(CaptionFilterConfig):
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
    model: str | None = Field(
        default=None,
        description="The captioner: a name that open_clip or the Hugging Face hub knows, or the path of a directory; "
        "null takes the pipeline's own, which is then trained first.",
    )
    pretrained: str | None = Field(
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
    model: str | None = Field(
        default=None, description="Name or local directory of the back end's model; null for the filter."
    )
    clip: str | None = Field(
        default=None,
        description="CLIP by which open_clip adds an independent cosine, kind clip: a name as open_clip lists them, "
        "'hf-hub:…' or 'local-dir:…'.",
    )
    clip_pretrained: str | None = Field(default=None, description="Weights of that CLIP, as open_clip lists them.")
    scorer_digest: str = Field(default="", description="Digest of the filter, written on every score.")
    batch_size: int = Field(default=256, gt=0, description="Images per pass.")

    @model_validator(mode="after")
    def _has_its_models(self) -> "ScoreConfig":
        if self.backend == "blip" and self.model is None:
            raise ValueError("the back end 'blip' needs the name or directory of a checkpoint in 'model'")
        if self.clip_pretrained is not None and self.clip is None:
            raise ValueError("'clip_pretrained' names weights of a CLIP that 'clip' does not name")
        return self


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

    model: str = Field(min_length=1, description="Causal language model of transformers: a name, or a local path.")
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


class AutoencoderConfig(JobConfig):
    """Variational autoencoder of diffusers (AutoencoderKL): images to latents of a quarter of their side, and back."""

    precision: Literal["fp32", "bf16"] = Field(default="bf16", description="Arithmetic of forward and backward passes.")
    image_size: int = Field(default=32, gt=0, description="Side of the images, pixels.")
    widths: tuple[int, ...] = Field(
        default=(16, 32, 64), min_length=1, description="Channels at each scale, fine to coarse; each halves the side."
    )
    layers: int = Field(default=1, gt=0, description="Residual blocks per scale; one more in the decoder.")
    norm_groups: int = Field(default=8, gt=0, description="Groups of the group norms.")
    latent_channels: int = Field(default=8, gt=0, description="Channels of the latents.")
    kl_weight: float = Field(default=1e-5, ge=0, description="Weight of the KL divergence to a unit Gaussian.")
    held_out: float = Field(default=0.05, gt=0, lt=1, description="Share of samples kept for evaluation, as CLIP's.")
    optimizer: OptimizerConfig = OptimizerConfig(steps=1400, batch_size=16, lr=4e-3)


class LatentsConfig(JobConfig):
    """Latents of every image."""

    batch_size: int = Field(default=250, gt=0, description="Images per forward pass.")


class SamplerConfig(BaseModel):
    """How images are drawn from a diffusion model: deterministic DDIM with classifier-free guidance."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(default=12, gt=0, description="Denoising steps.")
    guidance_scale: float = Field(default=2.0, ge=0, description="Guidance; 1 is none.")


class DiffusionConfig(JobConfig):
    """Text-conditional latent diffusion: diffusers' UNet2DConditionModel on the states of CLIP's text encoder."""

    precision: Literal["fp32", "bf16"] = Field(default="bf16", description="Arithmetic of forward and backward passes.")
    widths: tuple[int, ...] = Field(default=(64, 128), min_length=1, description="Channels per scale, fine to coarse.")
    layers: int = Field(default=1, gt=0, description="Residual blocks per scale going down; one more going up.")
    heads: int = Field(default=4, gt=0, description="Attention heads.")
    norm_groups: int = Field(default=16, gt=0, description="Groups of the group norms.")
    timesteps: int = Field(default=1000, gt=1, description="Steps of the cosine noise schedule.")
    timestep_shift: float | None = Field(
        default=0.5, description="Mean of the logit-normal that timesteps are drawn from; null draws them evenly."
    )
    min_snr_gamma: float = Field(default=0.0, ge=0, description="Min-SNR weights (Hang et al. 2023); 0 weighs equally.")
    caption_dropout: float = Field(default=0.1, ge=0, lt=1, description="Share of captions dropped for guidance.")
    held_out: float = Field(default=0.05, gt=0, lt=1, description="Share of samples kept for evaluation, as CLIP's.")
    sampler: SamplerConfig = Field(default=SamplerConfig(), description="How the sample grid is drawn.")
    optimizer: OptimizerConfig = OptimizerConfig(steps=1200, batch_size=32, lr=1.5e-3, ema_decay=0.995)


class GenerateConfig(JobConfig):
    """Images for prompts."""

    precision: Literal["fp32", "bf16"] = Field(default="bf16", description="Arithmetic of the U-Net.")
    model_digest: str = Field(default="", description="Digest of the diffusion model, written on every image.")
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1, description="Seeds of the noise: an image each.")
    batch_size: int = Field(default=60, gt=0, description="Images per forward pass.")
    sampler: SamplerConfig = Field(default=SamplerConfig(), description="How images are drawn.")
