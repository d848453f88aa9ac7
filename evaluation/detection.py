"""What a judge sees in a picture: one protocol for every back end, the scene's truth included."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from evaluation.facts import with_article

Box = tuple[float, float, float, float]
ATTRIBUTES = ("shape", "color", "texture")


@dataclass(frozen=True)
class Detection:
    """One object: probabilities of each attribute's values, box (x0, y0, x1, y1) in 0..1, score in 0..1.

    A judge that knows one kind of name only (an open detector) puts it into ``shape``. ``depth`` is the larger, the
    nearer; None where the judge does not see it in the object itself.
    """

    shape: Mapping[str, float]
    color: Mapping[str, float]
    texture: Mapping[str, float]
    box: Box
    score: float = 1.0
    depth: float | None = None

    def probability(self, attributes: Mapping[str, str]) -> float:
        """Return the probability that this is an object with all of ``attributes``."""
        value = self.score
        for attribute, wanted in attributes.items():
            value *= getattr(self, attribute).get(wanted, 0.0)
        return value

    def most_likely(self, attribute: str) -> str:
        """Return the likeliest value of an attribute."""
        probabilities: Mapping[str, float] = getattr(self, attribute)
        return max(probabilities, key=probabilities.__getitem__)

    def __str__(self) -> str:
        known = [attribute for attribute in ("texture", "color", "shape") if getattr(self, attribute)]
        return with_article(" ".join(self.most_likely(attribute) for attribute in known))


@dataclass(frozen=True)
class Picture:
    """Everything that a judge sees in one image.

    ``answers`` holds P(yes) of each question that was asked of the image, empty for a judge that is asked nothing;
    ``depth`` a map [H, W] of how near every pixel is, where one was measured.
    """

    objects: tuple[Detection, ...]
    background: Mapping[str, float]
    answers: Mapping[str, float] = field(default_factory=dict)
    depth: NDArray[np.float32] | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return " and ".join(str(thing) for thing in self.objects) or "nothing"


Vocabulary = Mapping[str, Collection[str]]
"""Values that a judge tells apart, by attribute; an attribute that it does not see is missing."""


class Detector(Protocol):
    """A judge. Images are uint8 [N, 3, H, W] in RGB; one picture comes back for each."""

    @property
    def vocabulary(self) -> Vocabulary: ...

    def detect(self, images: NDArray[np.uint8]) -> list[Picture]: ...


def picture_of_truth(text: str) -> Picture:
    """Return what a judge that makes no mistakes sees, from the ``facts`` of a pool image."""
    value = json.loads(text)
    objects = tuple(
        Detection(
            shape={thing["shape"]: 1.0},
            color={thing["color"]: 1.0},
            texture={thing["texture"]: 1.0},
            box=(thing["box"][0], thing["box"][1], thing["box"][2], thing["box"][3]),
            depth=thing.get("depth"),
        )
        for thing in value["objects"]
    )
    return Picture(objects, {value["background"]: 1.0})


def iou(a: Box, b: Box) -> float:
    """Return intersection over union of two boxes."""
    shared = intersection(a, b)
    union = area(a) + area(b) - shared
    return shared / union if union > 0 else 0.0


def containment(a: Box, b: Box) -> float:
    """Return the share of the smaller box that lies in the other."""
    smaller = min(area(a), area(b))
    return intersection(a, b) / smaller if smaller > 0 else 0.0


def intersection(a: Box, b: Box) -> float:
    """Return the area that two boxes share."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0.0) * max(height, 0.0)


def area(box: Box) -> float:
    """Return the area of a box."""
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def centre(box: Box) -> tuple[float, float]:
    """Return the middle of a box; y grows downwards."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
