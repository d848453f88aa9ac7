"""Job: make a caption upsampler, which writes descriptive prompts from short ones, of the kept captions."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from t2i_assets.corpus.schemas import UPSAMPLER_EXAMPLES
from t2i_assets.corpus.tables import write_table
from training.batches import Batch
from training.config import UpsampleConfig, UpsamplerConfig
from training.device import device_for
from training.job import Job, JobInputs, run
from training.loop import train
from training.report import Reporter
from training.task import Figures, Task
from training.tokenizer import load
from training.upsamplers.backends import EXAMPLES, RECORD, load_upsampler
from training.upsamplers.continuation import Sampling
from training.upsamplers.examples import IGNORED, Example, ExampleData, prompt_for, read_examples, split
from training.upsamplers.protocol import judge
from training.upsamplers.trained import TrainedUpsampler, new_upsampler

MOST_HELD_OUT = 100


class UpsamplerInputs(JobInputs):
    captions: list[Path]
    verdicts: list[Path]
    shards: list[Path]
    tokenizer: Path


def main(job: Job[UpsamplerConfig, UpsamplerInputs], reporter: Reporter) -> None:
    """Train a small language model on short and descriptive captions, or pick examples for a pretrained one."""
    config, inputs = job.config, job.inputs
    examples = read_examples(inputs.captions, inputs.verdicts, inputs.shards, config.survival)
    training, held_out = split(examples, config.held_out)
    pairs = [prompt_for(example, config, epoch=0) for example in held_out[:MOST_HELD_OUT]]
    counts = {"examples": len(training), "held_out": len(held_out), "with_prompts": sum(map(_has_prompts, training))}
    if config.pretrained is not None and config.backend == "transformers":
        write_table(job.output / EXAMPLES, _shown(training, config), UPSAMPLER_EXAMPLES)
        _record(job.output, backend="transformers", **config.pretrained.model_dump(exclude={"examples"}))
        upsampler = load_upsampler(job.output, config.precision)
        final: Figures = {**judge(upsampler, pairs, config.seed, single(), config.survival)}
        reporter.log(0, 0, **{name: float(value) for name, value in final.items()})
    else:
        trained = new_upsampler(config, load(inputs.tokenizer, config.context_length))
        data = ExampleData(training, trained.tokenizer, config)
        final = train(
            WriteDescriptive(trained, pairs, config).to(device_for(config.device)),
            data,
            config.optimizer,
            job.output,
            reporter,
            config.seed,
            config.precision,
        )
        trained.save(job.output, inputs.tokenizer)
        _record(job.output, backend="trained")
    reporter.finish(**counts, **final)


class WriteDescriptive(Task):
    """The language model with its loss: cross-entropy of the descriptive part alone."""

    def __init__(self, upsampler: TrainedUpsampler, pairs: Sequence[tuple[str, str]], config: UpsamplerConfig) -> None:
        super().__init__()
        self.model = upsampler.model
        self.upsampler, self.pairs, self.config = upsampler, pairs, config

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Figures]:
        logits = self.model(input_ids=batch["input_ids"]).logits
        return F.cross_entropy(logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=IGNORED), {}

    def evaluate(self) -> Figures:
        return {**judge(self.upsampler, self.pairs, self.config.seed, single(), self.config.survival)}

    def checkpoint_gradients(self) -> None:
        self.model.gradient_checkpointing_enable()


def single() -> Sampling:
    """Return how prompts are upsampled by default, but for one candidate each."""
    default = UpsampleConfig()
    return Sampling(1, default.top_p, default.temperature, default.max_tokens, default.batch_size)


def _record(output: Path, **told: Any) -> None:
    """Write what ``load_upsampler`` is told."""
    (output / RECORD).write_text(json.dumps(told, indent=1))


def _shown(examples: Sequence[Example], config: UpsamplerConfig) -> list[dict[str, str]]:
    """Return rows of UPSAMPLER_EXAMPLES, those with people's short texts first."""
    assert config.pretrained is not None
    rng = random.Random(config.seed)
    shuffled = sorted(rng.sample(examples, len(examples)), key=_has_prompts, reverse=True)
    chosen = shuffled[: config.pretrained.examples]
    plain = config.model_copy(update={"partial": 0.0, "invented": 0.0})
    pairs = [(example.key, *prompt_for(example, plain, 0)) for example in chosen]
    return [{"key": key, "prompt": prompt, "text": text} for key, prompt, text in pairs]


def _has_prompts(example: Example) -> bool:
    return bool(example.prompts)


if __name__ == "__main__":
    run(main, UpsamplerConfig, UpsamplerInputs)
