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
from evaluation.judge_augmentation import augment, blurred
from evaluation.judge_bench import SHARP, measure_judges
from evaluation.judge_questions import AnswerTask, words_of
from evaluation.judges import pixels
from evaluation.judges.protocol import Judge
from evaluation.models.answerer import AnswererConfig, AnswererNetwork, TrainedAnswerer, save_answerer
from evaluation.models.detector import (
    DetectorConfig,
    DetectorNetwork,
    TrainedDetector,
    cell_boxes,
    save_detector,
)
from t2i_assets.corpus.schemas import JUDGES
from t2i_assets.corpus.tables import write_table
from training.batches import Batch
from training.data import load_images
from training.device import device_for
from training.job import Job, JobInputs, run
from training.loop import train
from training.report import Reporter
from training.task import Figures, Task

NEAR, CLEAR = 0.75, 1.25
"""Cells up to NEAR (in cells, along either axis) of a centre are its object's; those beyond CLEAR of all are empty."""
WHOLE = (SHARP, "whole")
SOFT_SIGMA = 0.7
"""Blur, in pixels of a 32-pixel side, under which the judge is measured a second time: generated images are soft."""


class JudgeInputs(JobInputs):
    """Two sets of real images with their facts (facts.parquet), of disjoint scenes."""

    pool: Path
    heldout: Path


def main(job: Job[JudgeConfig, JudgeInputs], reporter: Reporter) -> None:
    """Train the judge and write model.safetensors, config.json, its accuracy and judges.parquet: judge beside judge."""
    config = job.config
    images, truth, keys = read_pool(job.inputs.pool, config.image_size)
    vocabulary = vocabulary_of(truth)
    network = DetectorNetwork(
        DetectorConfig(
            **config.model_dump(include={"image_size", "width", "features", "blocks", "score_threshold"}),
            vocabulary=vocabulary,
        )
    ).to(device_for(config.device))
    data = PoolData(images, truth, keys, network.config)
    train(JudgeTask(network, config), data, config.optimizer, job.output, reporter, config.seed, config.precision)
    save_detector(network, job.output)
    answerer = None
    if config.answerer is not None:
        told = AnswererConfig(words=words_of(vocabulary), features=config.features)
        answerer = AnswererNetwork(told).to(device_for(config.device))
        task = AnswerTask(network, answerer, dict(zip(keys, truth, strict=True)), config)
        train(
            task, data, config.answerer.optimizer, job.output, reporter, config.seed, config.precision, phase="answerer"
        )
        save_answerer(answerer, job.output)

    held_images, held_truth, _ = read_pool(job.inputs.heldout, config.image_size)
    detector, images = TrainedDetector(network), held_images.numpy()
    clean = measure(detector.detect(images), held_truth)
    soft = measure(detector.detect(blurred(images, SOFT_SIGMA * config.image_size / 32)), held_truth)

    judges = [("trained", Judge("trained", config.image_size, detector), images)]
    if answerer is not None:
        asked = TrainedAnswerer(network, answerer)
        judges.append(("trained_vqa", Judge("trained_vqa", config.image_size, detector, asked), images))
    larger = read_pool(job.inputs.heldout, pixels.IMAGE_SIZE)[0].numpy()
    judges.append(("pixels", Judge(pixels.VERSION, pixels.IMAGE_SIZE, pixels.PixelJudge()), larger))
    bench = measure_judges(judges, held_truth, config.disturbed_images, config.seed)
    write_table(job.output / "judges.parquet", bench, JUDGES)
    reporter.finish(
        **clean,
        **{f"soft/{name}": value for name, value in soft.items()},
        **{f"{row['judge']}/whole": row["value"] for row in bench if (row["condition"], row["measure"]) == WHOLE},
        heldout_images=len(held_truth),
    )


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


if __name__ == "__main__":
    run(main, JudgeConfig, JudgeInputs)
