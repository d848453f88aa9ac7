"""What a judge can do: see objects, answer yes or no, measure depth; and a judge as what of that it has."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from evaluation.detection import Detector, Picture
from evaluation.facts import Facts

Images = NDArray[np.uint8]
"""[N, 3, S, S] in RGB."""


class Answerer(Protocol):
    """Answers questions about images by P(yes) / (P(yes) + P(no))."""

    def unknown(self, question: str) -> str | None:
        """Return a word of the question that it never learned; None where it can answer."""

    def answer(self, images: Images, questions: Sequence[tuple[int, str]]) -> NDArray[np.float64]:
        """Return one probability for each (index of the image, question)."""


class DepthEstimator(Protocol):
    """Measures how near every pixel is."""

    def depth(self, images: Images) -> NDArray[np.float32]:
        """Return maps [N, H, W]; the larger, the nearer."""


@dataclass(frozen=True)
class Judge:
    """A judge by what it has. ``name`` goes into every score; images must be ``image_size`` pixels wide and high.

    Without an ``answerer`` attributes are answered from the probabilities of what the ``detector`` sees; one that
    ``sees_depth`` says itself which of two overlapping objects is nearer.
    """

    name: str
    image_size: int
    detector: Detector | None = None
    answerer: Answerer | None = None
    depth: DepthEstimator | None = None
    sees_depth: bool = False

    def look(self, images: Images, asked: Sequence[tuple[int, Facts]]) -> list[Picture]:
        """Return for each (index of an image, what its prompt says) what is seen, with the answers about its chunks."""
        seen = self._seen(images)
        pictures = [seen[image] for image, _ in asked]
        if self.answerer is None:
            return pictures
        questions = [(image, question) for image, facts in asked for question in facts.questions()]
        unique = sorted(set(questions))
        yes = dict(zip(unique, self.answerer.answer(images, unique).tolist(), strict=True))
        return [
            replace(picture, answers={question: yes[image, question] for question in facts.questions()})
            for picture, (image, facts) in zip(pictures, asked, strict=True)
        ]

    def _seen(self, images: Images) -> list[Picture]:
        pictures = [Picture((), {})] * len(images) if self.detector is None else self.detector.detect(images)
        if self.depth is None:
            return pictures
        maps = self.depth.depth(images)
        return [replace(picture, depth=of_picture) for picture, of_picture in zip(pictures, maps, strict=True)]
