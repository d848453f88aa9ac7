"""Train the judge on the disjoint pool, and measure on held-out scenes how far it can be trusted.

``python -m evaluation.judge --job job.json``
"""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from evaluation.config import JudgeConfig
from evaluation.detection import ATTRIBUTES, Picture, picture_of_truth
from evaluation.judge_accuracy import measure
from evaluation.models.detector import (
    DetectorConfig,
    DetectorNetwork,
    TrainedDetector,
    cell_boxes,
    save_detector,
)
from training.batches import Batch
from training.data import load_images
from training.job import Job, JobInputs, run
from training.loop import train
from training.report import Reporter
from training.task import Figures, Task

NEAR, CLEAR = 0.75, 1.25
"""Cells up to NEAR (in cells, along either axis) of a centre are its object's; those beyond CLEAR of all are empty."""
SOFT_SIGMA = 0.7
"""Blur, in pixels of a 32-pixel side, under which the judge is measured a second time: generated images are soft."""


class JudgeInputs(JobInputs):
    """Two sets of real images with their facts (facts.parquet), of disjoint scenes."""

    pool: Path
    heldout: Path


def main(job: Job[JudgeConfig, JudgeInputs], reporter: Reporter) -> None:
    """Train the judge and write model.safetensors, config.json and its measured accuracy."""
    config = job.config
    images, truth, keys = read_pool(job.inputs.pool, config.image_size)
    network = DetectorNetwork(
        DetectorConfig(
            **config.model_dump(include={"image_size", "width", "features", "blocks", "score_threshold"}),
            vocabulary=vocabulary_of(truth),
        )
    )
    data = PoolData(images, truth, keys, network.config)
    train(JudgeTask(network, config), data, config.optimizer, job.output, reporter, config.seed, config.precision)
    save_detector(network, job.output)

    held_images, held_truth, _ = read_pool(job.inputs.heldout, config.image_size)
    judge = TrainedDetector(network)
    pixels = held_images.numpy()
    clean = measure(judge.detect(pixels), held_truth)
    soft = measure(judge.detect(blurred(pixels, SOFT_SIGMA * config.image_size / 32)), held_truth)
    reporter.finish(**clean, **{f"soft/{name}": value for name, value in soft.items()}, heldout_images=len(held_truth))


def read_pool(directory: Path, size: int) -> tuple[Tensor, list[Picture], list[str]]:
    """Return images (uint8 [N, 3, S, S]), their truth and their keys. Raises KeyError where an image has no facts."""
    keys, images = load_images([directory], size)
    facts = {row["key"]: row["facts"] for row in pq.read_table(directory / "facts.parquet").to_pylist()}
    return images, [picture_of_truth(facts[key]) for key in keys], keys


def vocabulary_of(truth: list[Picture]) -> dict[str, tuple[str, ...]]:
    """Return every value of each attribute that the pool shows, in order of name."""
    values = {name: {thing.most_likely(name) for picture in truth for thing in picture.objects} for name in ATTRIBUTES}
    values["background"] = {value for picture in truth for value in picture.background}
    return {name: tuple(sorted(members)) for name, members in values.items()}


class PoolData:
    """Images with boxes [N, K, 4] in 0..1 and labels [N, K] per attribute; absent objects have label -1."""

    def __init__(self, images: Tensor, truth: list[Picture], keys: list[str], config: DetectorConfig) -> None:
        most = max(len(picture.objects) for picture in truth)
        self.keys = keys
        self.tensors = {"images": images, "boxes": torch.zeros(len(truth), most, 4)}
        for name in ATTRIBUTES:
            self.tensors[name] = torch.full((len(truth), most), -1)
        background = config.vocabulary["background"]
        self.tensors["background"] = torch.tensor(
            [background.index(next(iter(picture.background))) for picture in truth]
        )
        for i, picture in enumerate(truth):
            for k, thing in enumerate(picture.objects):
                self.tensors["boxes"][i, k] = torch.tensor(thing.box)
                for name in ATTRIBUTES:
                    self.tensors[name][i, k] = config.vocabulary[name].index(thing.most_likely(name))

    def __len__(self) -> int:
        return len(self.keys)

    def batch(self, indices: NDArray[np.int64], epochs: NDArray[np.int64]) -> Batch:
        chosen = torch.from_numpy(indices)
        return {name: tensor[chosen] for name, tensor in self.tensors.items()} | {
            "keys": [self.keys[index] for index in indices]
        }


class JudgeTask(Task):
    """Score by cross-entropy, box by L1 in cells, attributes and background by cross-entropy."""

    def __init__(self, network: DetectorNetwork, config: JudgeConfig) -> None:
        super().__init__()
        self.network = network
        self.config = config

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Figures]:
        images, boxes = augment(batch["images"].float() / 255, batch["boxes"], self.config, generator)
        outputs, _ = self.network(images)
        outputs = {name: logits.float() for name, logits in outputs.items()}
        grid = outputs["score"].shape[-1]
        owner, empty = assign(boxes, batch["shape"] >= 0, grid)
        image, y, x = torch.nonzero(owner >= 0, as_tuple=True)
        thing = owner[image, y, x]

        decided = (owner >= 0) | empty
        wanted = (owner >= 0).float()
        terms = {
            "score": F.binary_cross_entropy_with_logits(outputs["score"][:, 0][decided], wanted[decided]) * 4,
            "box": F.l1_loss(cell_boxes(outputs["box"]).permute(0, 2, 3, 1)[image, y, x], boxes[image, thing]) * grid,
            "background": F.cross_entropy(outputs["background"], batch["background"]) * 0.5,
        }
        for name in ATTRIBUTES:
            logits = outputs[name].permute(0, 2, 3, 1)[image, y, x]
            terms[name] = F.cross_entropy(logits, batch[name][image, thing])
        figures: Figures = {f"{name}_loss": value.detach() for name, value in terms.items()}
        return torch.stack(list(terms.values())).sum(), figures


def assign(boxes: Tensor, present: Tensor, grid: int) -> tuple[Tensor, Tensor]:
    """Return for each cell the object it belongs to ([N, G, G], -1 for none), and whether it is surely empty."""
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2 * grid
    middles = torch.arange(grid, device=boxes.device) + 0.5
    y, x = torch.meshgrid(middles, middles, indexing="ij")
    apart = torch.maximum((x - centres[..., 0, None, None]).abs(), (y - centres[..., 1, None, None]).abs())
    apart = apart.masked_fill(~present[..., None, None], torch.inf)
    nearest, owner = apart.min(dim=1)
    return torch.where(nearest <= NEAR, owner, -1), nearest > CLEAR


def augment(images: Tensor, boxes: Tensor, config: JudgeConfig, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mirror, shift, blur, fade and add noise, so that soft pictures are read as surely as sharp ones.

    Each image of [N, 3, S, S] in [0, 1] gets its own; boxes [N, K, 4] follow.
    """
    n, _, side, _ = images.shape

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(n, 1, 1, 1, generator=generator) * (high - low) + low

    mirrored = uniform(0, 1) < 0.5
    images = torch.where(mirrored, images.flip(-1), images)
    flipped = torch.stack([1 - boxes[..., 2], boxes[..., 1], 1 - boxes[..., 0], boxes[..., 3]], -1)
    boxes = torch.where(mirrored[:, :, 0], flipped, boxes)

    reach = config.max_shift
    if reach:
        dx, dy = torch.randint(-reach, reach + 1, (2, n), generator=generator)
        padded = F.pad(images, (reach,) * 4, mode="replicate")
        rows = (torch.arange(side) + reach - dy[:, None])[:, None, :, None].expand(n, 3, side, side + 2 * reach)
        columns = (torch.arange(side) + reach - dx[:, None])[:, None, None, :].expand(n, 3, side, side)
        images = padded.gather(2, rows).gather(3, columns)
        boxes = boxes + torch.stack([dx, dy, dx, dy], -1)[:, None] / side

    sigma = uniform(0, config.blur_sigma) * (uniform(0, 1) < 0.6) + 1e-3
    images = blur(images, sigma.flatten())
    images = images * uniform(0.9, 1.1) + uniform(-0.05, 0.05)
    noise = torch.randn(images.shape, generator=generator) * uniform(0, config.noise_std)
    return (images + noise).clamp(0, 1), boxes


def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur each image of [N, 3, S, S] by its own Gaussian; ``sigma`` is [N], in pixels."""
    n, channels, side, _ = images.shape
    radius = 3
    offsets = torch.arange(-radius, radius + 1)
    kernel = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)[:, None]
    flat = F.pad(images, (radius,) * 4, mode="replicate").reshape(1, n * channels, side + 2 * radius, -1)
    flat = F.conv2d(flat, kernel[..., None, :], groups=n * channels)
    return F.conv2d(flat, kernel[..., :, None], groups=n * channels).reshape(n, channels, side, side)


def blurred(images: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    """Blur uint8 images [N, 3, S, S]."""
    soft = blur(torch.from_numpy(images).float(), torch.full((len(images),), sigma))
    result: NDArray[np.uint8] = soft.round().clamp(0, 255).to(torch.uint8).numpy()
    return result


if __name__ == "__main__":
    run(main, JudgeConfig, JudgeInputs)
