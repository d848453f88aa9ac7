"""Training benchmark: this project's loop and the recipes of the field, in turn, on the same models, data and steps.

Diffusion, one U-Net from the same weights, at the sizes of each preset asked for:
- ours: the loop with everything that it does, over latents and text states that were computed once;
- bare: the same loss over the same tensors and nothing else (no clipping, average, log or checkpoint);
- diffusers: its documented recipe (examples/text_to_image, ``train_text_to_image.py --use_ema``): decode, crop, flip
  and normalise each image, encode it and its caption, in every step.

CLIP, one model from the same weights, from images in memory: ours and open_clip's ``train_one_epoch``.

What computing latents once saves depends on how the encoders compare with the U-Net: at ``tiny`` they are small beside
it, at ``small`` they have the proportions of published models.

The headline is samples per second once training runs: a turn of two steps, which pays for the start and for the last
checkpoint just as well, is taken off a longer one, for every side, and shown beside it. A round gives one ratio of each
pair. Prints a table and writes ``build/bench/train.json``; ends with an error where a ratio is missed.
"""

import argparse
import json
import logging
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from t2i_assets.config import load_settings
from tests.bench.train_clip import clip_sides
from tests.bench.train_diffusion import diffusion_sides
from tests.bench.train_world import Budget, Side, Turn, draw_world
from training.device import device_for
from training.memory import keep_freed_memory

BUILD = Path("build/bench")
BUDGETS = {"tiny": Budget(120, 32), "small": Budget(6, 32)}
SHORT = 2
"""Steps of the turn that is taken off."""
WANTED = {"diffusers": 1.4, "bare": 0.97, "open_clip": 1.0}


@dataclass(frozen=True)
class Run:
    """One side's steps after the first two, and the seconds that a turn takes however many steps it has."""

    once_s: float
    seconds: float
    cpu_s: float
    samples: int

    @property
    def rate(self) -> float:
        return self.samples / self.seconds


def main() -> None:
    """Run the benchmark as the command line asks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--presets", nargs="+", choices=list(BUDGETS), default=list(BUDGETS), help="sizes of models")
    parser.add_argument("--clip-steps", type=int, default=60, help="optimizer steps of a turn of CLIP; 0 leaves it out")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--threads", type=int, default=1, help="threads of torch, for all sides; a job's default")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # as jobs do; it speeds all sides up alike
    logging.disable(logging.INFO)
    BUILD.mkdir(parents=True, exist_ok=True)
    device = device_for("auto")
    results: dict[str, Any] = {"options": vars(options), "device": str(device), "wanted": WANTED}
    for preset in options.presets:
        settings, budget = load_settings(preset), BUDGETS[preset]
        with tempfile.TemporaryDirectory() as scratch:
            world = draw_world(options.images, settings, Path(scratch), device)
            print(f"diffusion at {preset}: {budget.steps} steps of {budget.batch_size} samples", flush=True)
            sides = diffusion_sides(world, settings.diffusion, budget, options.precision, device)
            results[f"diffusion/{preset}"] = compare(sides, options.rounds, ("diffusers", "bare"))
    if options.clip_steps:
        settings = load_settings("tiny")
        with tempfile.TemporaryDirectory() as scratch:
            world = draw_world(options.images, settings, Path(scratch), device)
            print(f"CLIP at tiny: {options.clip_steps} steps", flush=True)
            sides = clip_sides(world, settings.clip, options.clip_steps, device)
            results["clip/tiny"] = compare(sides, options.rounds, ("open_clip",))
    (BUILD / "train.json").write_text(json.dumps(results, indent=1) + "\n")
    print(f"written to {BUILD / 'train.json'}")
    ratios = [ratio for name, part in results.items() if "/" in name for ratio in part["ratio"].items()]
    sys.exit(0 if all(ratio >= WANTED[other] for other, ratio in ratios) else 1)


def compare(sides: dict[str, Side], rounds: int, others: tuple[str, ...]) -> dict[str, Any]:
    """Run all sides in every round, in alternating order; print and return what was measured."""
    for side in sides.values():
        side(2).work()
    runs: list[dict[str, Run]] = []
    for number in range(rounds):
        runs.append({name: _run(sides[name]) for name in list(sides)[:: 1 if number % 2 == 0 else -1]})
        told = ", ".join(f"{name} {run.rate:.1f}/s (and {run.once_s:.1f} s once)" for name, run in runs[-1].items())
        print(f"  round {number + 1}: {told}", flush=True)
    cpu_ratios = {other: [turn[other].cpu_s / turn["ours"].cpu_s for turn in runs] for other in others}
    ratios = {other: [turn["ours"].rate / turn[other].rate for turn in runs] for other in others}
    for other, values in ratios.items():
        reached = statistics.median(values) >= WANTED[other]
        print(
            f"  ours / {other} {_spread(values)}, wanted {WANTED[other]:g}: {'reached' if reached else 'MISSED'}; "
            f"of CPU time {_spread(cpu_ratios[other])}"
        )
    return {
        "runs": [{name: asdict(run) for name, run in turn.items()} for turn in runs],
        "samples_per_s": {name: statistics.median(turn[name].rate for turn in runs) for name in sides},
        "ratios": ratios,
        "cpu_ratios": cpu_ratios,
        "ratio": {other: statistics.median(values) for other, values in ratios.items()},
    }


def _run(side: Side) -> Run:
    short, long = side(SHORT), side(None)
    (short_s, short_cpu_s), (long_s, long_cpu_s) = _timed(short), _timed(long)
    seconds, samples = long_s - short_s, long.samples - short.samples
    once_s = short_s - short.samples * seconds / samples
    return Run(once_s, seconds, long_cpu_s - short_cpu_s, samples)


def _timed(turn: Turn) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    turn.work()
    return time.perf_counter() - wall, time.process_time() - cpu


def _spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    main()
