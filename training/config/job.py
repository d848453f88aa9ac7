"""What every job can be told: seed, threads, arithmetic, and how a model is optimised. Free of torch."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


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
