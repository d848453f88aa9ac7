"""What can be told to the priors, from captions to image embeddings. Free of torch."""

from pydantic import Field

from training.config.job import JobConfig, OptimizerConfig


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
        steps=215, batch_size=64, lr=3e-3, weight_decay=0.04, ema_decay=0.99, log_every=5
    )
