"""A small network that answers yes or no about a picture, so that a trained judge is asked as BLIP-VQA is.

It looks at the cells of the detector, whose weights it leaves alone. Each word is a detector of its own over the cells,
and the answer is yes where one cell has every word of the question: a neural module network (Andreas et al. 2016).
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from evaluation.models.detector import DetectorNetwork, load_detector
from evaluation.reading.rule_parser import ARTICLES, NUMBER_WORDS, singular

NO, YES = 0, 1
SUREST = -1e-4
"""Log-probability of the surest yes, so that no has one as well."""
DIRECTORY = "answerer"
"""Where in the judge's directory it lies."""


class AnswererConfig(BaseModel):
    """Everything needed to build the network again: config.json beside the weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    words: tuple[str, ...] = Field(description="Words that questions are made of.")
    features: int = Field(description="Channels of the detector's cells.")


class AnswererNetwork(nn.Module):
    """Cells [N, F, G, G] and questions [N, W] (1 where a word occurs) to logits [N, 2] of no and yes."""

    def __init__(self, config: AnswererConfig) -> None:
        super().__init__()
        self.config = config
        self.words = nn.Conv2d(config.features, len(config.words), 1)

    def forward(self, cells: Tensor, questions: Tensor) -> Tensor:
        has = F.logsigmoid(self.words(cells).float()).flatten(2)
        yes = (has * questions[..., None]).sum(1).amax(1).clamp(max=SUREST)
        return torch.stack([torch.log1p(-yes.exp()), yes], dim=1)

    def encode(self, questions: Sequence[str]) -> Tensor:
        """Return [N, W]. Raises ValueError on a word that the network never learned."""
        encoded = torch.zeros(len(questions), len(self.config.words))
        for row, question in enumerate(questions):
            for word, place in self.places(question):
                if place is None:
                    raise ValueError(f"the trained judge never learned the word {word!r} of {question!r}")
                encoded[row, place] = 1
        return encoded

    def places(self, question: str) -> list[tuple[str, int | None]]:
        """Return the words that are asked for, each with its place among those learned."""
        known = {word: place for place, word in enumerate(self.config.words)}
        words = question.removesuffix("?").lower().split()
        asked = [word for word in words if word not in ARTICLES and word not in NUMBER_WORDS]
        return [(word, known.get(word, known.get(singular(word)))) for word in asked]


class TrainedAnswerer:
    """The network as one that is asked about pictures, uint8 [N, 3, S, S]."""

    def __init__(self, detector: DetectorNetwork, network: AnswererNetwork, batch_size: int = 128) -> None:
        self.detector = detector.eval()
        self.network = network.eval()
        self.batch_size = batch_size

    def unknown(self, question: str) -> str | None:
        """Return the first word of the question that the network never learned."""
        return next((word for word, place in self.network.places(question) if place is None), None)

    @torch.no_grad()
    def answer(self, images: NDArray[np.uint8], questions: Sequence[tuple[int, str]]) -> NDArray[np.float64]:
        """Return P(yes) / (P(yes) + P(no)) for each (index of the image, question)."""
        parts, device = [], next(self.network.parameters()).device
        for start in range(0, len(questions), self.batch_size):
            asked = questions[start : start + self.batch_size]
            shown = sorted({image for image, _ in asked})
            cells = self.detector.cells_of(torch.from_numpy(images[shown]).to(device).float() / 255)
            told = self.network.encode([text for _, text in asked]).to(device)
            logits = self.network(cells[[shown.index(image) for image, _ in asked]], told)
            parts.append(logits.softmax(1)[:, YES].double().cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros(0)


def save_answerer(network: AnswererNetwork, directory: Path) -> None:
    """Write model.safetensors and config.json into the judge's directory."""
    place = directory / DIRECTORY
    place.mkdir(exist_ok=True)
    save_file(network.state_dict(), place / "model.safetensors")
    (place / "config.json").write_text(network.config.model_dump_json(indent=1))


def load_answerer(directory: Path, batch_size: int = 128) -> TrainedAnswerer:
    """Read what ``save_answerer`` wrote. Raises ValueError where the judge was trained without one."""
    place = directory / DIRECTORY
    if not place.is_dir():
        raise ValueError(f"{directory} holds no answerer: set judge.answerer in the preset and train the judge again")
    network = AnswererNetwork(AnswererConfig.model_validate(json.loads((place / "config.json").read_text())))
    network.load_state_dict(load_file(place / "model.safetensors"))
    return TrainedAnswerer(load_detector(directory).network, network, batch_size)
