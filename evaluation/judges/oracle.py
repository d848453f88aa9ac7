"""The judge that makes no mistakes: it knows what each picture of a pool shows. For tests of the rules."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from evaluation.detection import ATTRIBUTES, Picture, Vocabulary
from evaluation.judges.protocol import Images, Judge


class Oracle:
    """Looks the truth up by the bytes of the image. Raises KeyError on an image that it does not know."""

    def __init__(self, images: Images, truth: Iterable[Picture]) -> None:
        self._truth: Mapping[bytes, Picture] = {
            image.tobytes(): picture for image, picture in zip(images, truth, strict=True)
        }

    @property
    def vocabulary(self) -> Vocabulary:
        """Return every value that the pictures show."""
        values: dict[str, set[str]] = {name: set() for name in (*ATTRIBUTES, "background")}
        for picture in self._truth.values():
            values["background"].update(picture.background)
            for thing in picture.objects:
                for name in ATTRIBUTES:
                    values[name].add(thing.most_likely(name))
        return values

    def detect(self, images: NDArray[np.uint8]) -> list[Picture]:
        """Return what each image truly shows."""
        return [self._truth[image.tobytes()] for image in images]


def oracle(images: Images, truth: Iterable[Picture]) -> Judge:
    """Return the judge of these images, uint8 [N, 3, S, S], and what they show."""
    return Judge("oracle", images.shape[-1], detector=Oracle(images, truth), sees_depth=True)
