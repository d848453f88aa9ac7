"""Questions and their answers about pictures whose truth is known, and the task that teaches a judge to answer."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from evaluation.config import JudgeConfig
from evaluation.detection import ATTRIBUTES, Picture
from evaluation.facts import Wanted, background_chunk
from evaluation.judge_augmentation import augment
from evaluation.models.answerer import NO, YES, AnswererNetwork
from evaluation.models.detector import DetectorNetwork
from training.batches import Batch
from training.task import Figures, Task

QUESTIONS = 6
"""Questions about each picture of a batch."""
BACKGROUND_SHARE, COLOR_SHARE, TEXTURE_SHARE = 0.15, 0.8, 0.6
"""Share of questions about the background, and of those about an object that name its colour and its texture."""
Vocabulary = Mapping[str, tuple[str, ...]]


class AnswerTask(Task):
    """Cross-entropy of yes and no, new questions about each picture at each step; half of the answers are no."""

    def __init__(
        self,
        detector: DetectorNetwork,
        network: AnswererNetwork,
        truth: Mapping[str, Picture],
        config: JudgeConfig,
    ) -> None:
        super().__init__()
        self.detector = detector.requires_grad_(False)
        self.network = network
        self.truth = truth
        self.config = config

    def loss(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Figures]:
        images, _ = augment(batch["images"].float() / 255, batch["boxes"], self.config, generator)
        vocabulary = self.detector.config.vocabulary
        drawn = [question(self.truth[k], vocabulary, generator) for k in batch["keys"] for _ in range(QUESTIONS)]
        answers = torch.tensor([YES if right else NO for _, right in drawn], device=images.device)
        asked = self.network.encode([text for text, _ in drawn]).to(images.device)
        with torch.no_grad():
            cells = self.detector.cells_of(images)
        logits = self.network(cells.float().repeat_interleave(QUESTIONS, 0), asked)
        right = (logits.argmax(1) == answers).float().mean()
        return F.cross_entropy(logits, answers), {"right": right.detach()}


def question(picture: Picture, vocabulary: Vocabulary, generator: torch.Generator) -> tuple[str, bool]:
    """Return a noun chunk as a question, and whether the picture shows it.

    One that it does not show differs in one attribute from an object that is there.
    """

    def chance(share: float) -> bool:
        return bool(torch.rand((), generator=generator, device=generator.device) < share)

    def pick(count: int) -> int:
        return int(torch.randint(count, (), generator=generator, device=generator.device))

    right = chance(0.5)
    if chance(BACKGROUND_SHARE) or not picture.objects:
        true = max(picture.background, key=picture.background.__getitem__)
        others = [value for value in vocabulary["background"] if value != true]
        if right or not others:
            return f"{background_chunk(true)}?", True
        return f"{background_chunk(others[pick(len(others))])}?", False
    thing = picture.objects[pick(len(picture.objects))]
    stated = {"shape": thing.most_likely("shape")}
    if chance(COLOR_SHARE):
        stated["color"] = thing.most_likely("color")
    if chance(TEXTURE_SHARE):
        stated["texture"] = thing.most_likely("texture")
    wrong = [
        {**stated, name: value}
        for name in ATTRIBUTES
        if name in stated
        for value in vocabulary[name]
        if not any(other.probability({**stated, name: value}) for other in picture.objects)
    ]
    if right or not wrong:
        return _chunk(stated), True
    return _chunk(wrong[pick(len(wrong))]), False


def _chunk(stated: Mapping[str, str]) -> str:
    return f"{Wanted(stated['shape'], stated.get('color'), stated.get('texture'))}?"


def words_of(vocabulary: Vocabulary) -> tuple[str, ...]:
    """Return every word that questions about pictures of the vocabulary are made of."""
    return tuple(sorted({"background", *(value for values in vocabulary.values() for value in values)}))
