"""A judge without a model: nearest colours in Lab, connected components, moments of their outlines.

It knows the palette and the shapes of the embedded domain and nothing else, learns nothing, and so shares no error with
a trained judge. Colours are read as segments in Lab between the two tones of a thing, which stripes, dots, soft edges
do not leave; shapes by the moments |Σ zⁿ| / Σ |z|ⁿ over a filled outline, n = 3, 4, 5, which no turn
changes: a triangle has the third, a square the fourth, a star the fifth, a circle none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluation.detection import Box, Detection, Picture, Vocabulary

VERSION = "pixels-1"
IMAGE_SIZE = 64
PALETTE = {
    "red": (218, 36, 42),
    "green": (36, 158, 62),
    "blue": (34, 88, 222),
    "yellow": (246, 214, 34),
    "purple": (140, 52, 184),
    "orange": (246, 128, 20),
}
BACKGROUNDS = {"white": (244, 244, 244), "gray": (146, 146, 146), "black": (20, 20, 20)}
LUMA = (0.299, 0.587, 0.114)
STAR_NOTCH = 0.24 / 0.56  # inner radius of a star by its outer radius
BACKGROUND_REACH = 15.0  # Lab distance up to which a pixel is the background
SMALLEST = 0.012  # share of the picture below which a component is no object
SHARED = 0.2  # share of a component from which a second colour in it is a second object
COLOR_SPREAD = 3.0  # Lab distance that makes a colour e times less likely
SHAPE_SPREAD = 0.05
LOOSE_FIT = 0.15  # distance in moments beyond which an outline is hardly a shape
TWO_TONES, TWO_TONES_SPREAD = 0.55, 0.04  # part of the way between the tones that an object's pixels reach
STRIPED_SHARE, SHARE_SPREAD = 0.325, 0.02  # of the second tone; stripes have more, dots less

Array = NDArray[Any]


class PixelJudge:
    """Sees the embedded domain in images of 64 pixels, uint8 [N, 3, 64, 64]."""

    @property
    def vocabulary(self) -> Vocabulary:
        """Return the palette, the textures and the shapes."""
        return {
            "shape": _ideal_moments(), "color": PALETTE, "texture": ("solid", "striped", "dotted"),
            "background": BACKGROUNDS,
        }  # fmt: skip

    def detect(self, images: NDArray[np.uint8]) -> list[Picture]:
        """Return what is in each image."""
        return [_see(image) for image in images]


@dataclass(frozen=True)
class _Thing:
    visible: Array
    outline: Array
    color: str
    detection: Detection


def _see(image: NDArray[np.uint8]) -> Picture:
    pixels = cv2.medianBlur(np.ascontiguousarray(image.transpose(1, 2, 0)), 3)
    lab = _lab(pixels)
    apart = {name: np.linalg.norm(lab - _lab_of(color), axis=2) for name, color in BACKGROUNDS.items()}
    seen = {name: float((distance < BACKGROUND_REACH).mean()) for name, distance in apart.items()}
    background = max(seen, key=seen.__getitem__)
    far = apart[background] >= BACKGROUND_REACH
    distances = {color: _from_segment(lab, *_tones(color, background))[0] for color in PALETTE}
    masks = [mask for component in _components(far) for mask in _by_color(component, distances)]
    things = [_thing(mask, lab, distances, background) for mask in masks]
    total = sum(seen.values()) or 1.0
    return Picture(tuple(_with_depth(things)), {name: share / total for name, share in seen.items()})


def _components(mask: Array) -> list[Array]:
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    found = [labels == label for label in range(1, count)]
    return [component for component in found if component.mean() >= SMALLEST]


def _by_color(component: Array, distances: Mapping[str, Array]) -> list[Array]:
    """Return the component's objects: one, or one for each colour that has a good share of its inside."""
    inside = _core(component)
    nearest = np.argmin(np.stack(list(distances.values())), axis=0)
    shares = np.bincount(nearest[inside], minlength=len(distances)) / inside.sum()
    strong = np.flatnonzero(shares >= SHARED)
    if len(strong) < 2:
        return [component]
    chosen = strong[np.argmin(np.stack(list(distances.values()))[strong], axis=0)]
    parts = [part for color in strong for part in _components(_opened(component & (chosen == color)))]
    return parts or [component]


def _thing(visible: Array, lab: Array, distances: Mapping[str, Array], background: str) -> _Thing:
    inside, outline = _core(visible), _filled(visible)
    color = _likely({name: float(distance[inside].mean()) / COLOR_SPREAD for name, distance in distances.items()})
    best = max(color, key=color.__getitem__)
    texture = _texture(_from_segment(lab[inside], *_tones(best, background))[1])
    moments = _moments(outline)
    misfit = {shape: float(np.linalg.norm(moments - ideal)) for shape, ideal in _ideal_moments().items()}
    shape = _likely({name: (value / SHAPE_SPREAD) ** 2 / 2 for name, value in misfit.items()})
    score = min(1.0, LOOSE_FIT / max(min(misfit.values()), 1e-6))
    return _Thing(visible, outline, best, Detection(shape, color, texture, _box(outline), score))


def _texture(tones: Array) -> dict[str, float]:
    """Return the texture of an object whose pixels lie so far from its first tone (0) towards its second (1)."""
    low, high = np.quantile(tones, (0.05, 0.97))
    two = _sigmoid((high - low - TWO_TONES) / TWO_TONES_SPREAD)
    striped = _sigmoid((float((tones > (low + high) / 2).mean()) - STRIPED_SHARE) / SHARE_SPREAD)
    return {"solid": 1 - two, "striped": two * striped, "dotted": two * (1 - striped)}


def _with_depth(things: list[_Thing]) -> list[Detection]:
    """Tell front from behind where outlines overlap: what they share shows the nearer object."""
    seen = []
    for thing in things:
        depth = 0.0
        for other in things:
            shared = thing.outline & other.outline
            depth += float(np.sign((thing.visible & shared).sum() - (other.visible & shared).sum()))
        seen.append(replace(thing.detection, depth=depth))
    return seen


def _sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-np.clip(x, -50, 50))))


def _likely(costs: Mapping[str, float]) -> dict[str, float]:
    least = min(costs.values())
    weights = {name: float(np.exp(least - cost)) for name, cost in costs.items()}
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def _from_segment(lab: Array, start: Array, end: Array) -> tuple[Array, Array]:
    """Return each colour's distance from the segment between two tones, and its place on it: 0 at start, 1 at end."""
    along = end - start
    place = np.clip((lab - start) @ along / (along @ along), 0, 1)
    return np.linalg.norm(lab - start - place[..., None] * along, axis=-1), place


@cache
def _tones(color: str, background: str) -> tuple[Array, Array]:
    tint = np.asarray(PALETTE[color], np.float32)
    return _lab_of(tuple(tint)), _lab_of(tuple(second_tone(tint, background)))


def second_tone(tint: Array, background: str) -> Array:
    """Return the tone of stripes and dots on a thing of a tint, 8-bit RGB."""
    if background != "black":
        return tint * 0.36
    return tint * 0.45 if float(tint @ np.asarray(LUMA, np.float32)) > 170 else tint + 0.68 * (255 - tint)


def _lab(pixels: Array) -> Array:
    lab: Array = cv2.cvtColor(np.asarray(pixels, np.float32) / 255, cv2.COLOR_RGB2LAB)
    return lab


@cache
def _lab_of(color: tuple[float, ...]) -> Array:
    of_color: Array = _lab(np.asarray(color, np.float32)[None, None])[0, 0]
    return of_color


def _core(mask: Array) -> Array:
    """Return the mask without its edge, where enough is left."""
    eroded: Array = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0).astype(bool)
    return eroded if eroded.sum() >= max(12, 0.2 * mask.sum()) else mask


def _opened(mask: Array) -> Array:
    opened: Array = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)).astype(bool)
    return opened


def _filled(mask: Array) -> Array:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled: Array = cv2.drawContours(np.zeros(mask.shape, np.uint8), contours, -1, 1, cv2.FILLED).astype(bool)
    return filled


def _box(mask: Array) -> Box:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    height, width = mask.shape
    x0, x1, y0, y1 = columns[0] / width, (columns[-1] + 1) / width, rows[0] / height, (rows[-1] + 1) / height
    return float(x0), float(y0), float(x1), float(y1)


def _moments(outline: Array) -> Array:
    y, x = np.nonzero(outline)
    z = (x - x.mean()) + 1j * (y - y.mean())
    return np.array([abs((z**n).sum()) / max((abs(z) ** n).sum(), 1e-9) for n in (3, 4, 5)])


@cache
def _ideal_moments() -> dict[str, Array]:
    """Return the moments of each shape, from outlines drawn large."""

    def polygon(radii: list[float]) -> Array:
        turns = 2 * np.pi * np.arange(len(radii)) / len(radii)
        corners = 256 + 240 * np.asarray(radii)[:, None] * np.stack([np.sin(turns), -np.cos(turns)], 1)
        drawn: Array = cv2.fillPoly(np.zeros((512, 512), np.uint8), [np.round(corners).astype(np.int32)], 1)
        return _moments(drawn)

    return {
        "circle": polygon([1.0] * 256),
        "square": polygon([1.0] * 4),
        "triangle": polygon([1.0] * 3),
        "star": polygon([1.0, STAR_NOTCH] * 5),
    }
