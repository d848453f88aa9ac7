"""What every job can be told: seed, threads, arithmetic, and how a model is optimised. Free of torch."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

LIFELINE = "T2I_LIFELINE"
"""Environment variable of a forked job: the descriptor whose other end its launcher holds for as long as it lives."""


class JobConfig(BaseModel):
    """Base of every section: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = Field(default=0, description="Seed of initialisation, data order and noise.")
    threads: int = Field(default=1, ge=1, description="Threads that torch may use.")
    precision: Literal["fp32", "bf16"] = Field(default="fp32", description="Arithmetic of forward and backward passes.")
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where models run; auto is the GPU where there is one."
    )
    deterministic: bool = Field(
        default=True, description="On a GPU, take algorithms that give the same bits every time; some are slower."
    )


class OptimizerConfig(BaseModel):
    """AdamW with linear warm-up and a cosine or constant schedule."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(ge=0, description="Optimizer steps.")
    batch_size: int = Field(gt=0, description="Samples per step, over all processes and all parts of the step.")
    accumulate: int = Field(
        default=1, gt=0, description="Parts that a step's samples go through one after the other, to save memory."
    )
    lr: float = Field(gt=0, description="Peak learning rate.")
    weight_decay: float = Field(default=0.01, ge=0, description="Decoupled weight decay on matrices.")
    betas: tuple[float, float] = Field(default=(0.9, 0.98), description="Decay of Adam's two moments.")
    warmup: int = Field(default=50, ge=0, description="Steps of linear warm-up.")
    schedule: Literal["cosine", "constant"] = Field(default="cosine", description="Learning rate after warm-up.")
    clip_norm: float = Field(default=1.0, gt=0, description="Gradients are scaled down to this norm.")
    ema_decay: float = Field(default=0.0, ge=0, lt=1, description="Decay of the averaged weights; 0 keeps none.")
    ema_start: int = Field(default=0, ge=0, description="Step from which on weights are averaged.")
    gradient_checkpointing: bool = Field(
        default=False, description="Compute activations again on the way back instead of keeping them."
    )
    compile: bool = Field(default=False, description="Compile the loss with torch.compile: minutes at first.")
    sharded: bool = Field(
        default=False,
        description="With several processes, each keeps a share of weights, gradients and moments (FSDP2).",
    )
    workers: int = Field(default=0, ge=0, description="Threads that make batches ahead; 0 makes each when it is due.")
    log_every: int = Field(default=25, gt=0, description="Steps between logged figures.")
    checkpoint_every: int = Field(default=200, gt=0, description="Steps between checkpoints.")
    evaluate_every: int = Field(default=0, ge=0, description="Steps between evaluations; 0 evaluates at the end only.")

    @model_validator(mode="after")
    def _averages_something(self) -> Self:
        if self.ema_start > self.steps:
            raise ValueError(f"ema_start {self.ema_start} is after the last of {self.steps} steps")
        return self
