"""Scenes: one to three flat objects with a colour, a shape and a texture, laid out on a plain background.

Coordinates and sizes are fractions of the picture's side; the origin is the top left corner.
"""

import math
import random
from dataclasses import dataclass
from typing import Literal

COLORS = ("red", "green", "blue", "yellow", "purple", "orange")
SHAPES = ("circle", "square", "triangle", "star")
TEXTURES = ("solid", "striped", "dotted")
BACKGROUNDS = ("white", "gray", "black")

Kind = Literal["single", "count", "pair", "trio"]
RelationKind = Literal["left of", "right of", "above", "below", "next to", "in front of", "behind"]

KINDS: tuple[Kind, ...] = ("single", "count", "pair", "trio")
RELATIONS: tuple[RelationKind, ...] = ("left of", "right of", "above", "below", "next to")
DEPTH_RELATIONS: tuple[RelationKind, ...] = ("in front of", "behind")
"""Relations that no picture of the site shows: one thing covers the middle of another."""
KIND_WEIGHTS: dict[Kind, float] = {"single": 0.2, "count": 0.2, "pair": 0.4, "trio": 0.2}


@dataclass(frozen=True)
class Thing:
    """One object; (x, y) is the centre of its box, ``size`` the diameter of a circle of that size."""

    color: str
    shape: str
    texture: str
    x: float
    y: float
    size: float
    angle: float = 0.0  # radians, clockwise

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Bounds (x0, y0, x1, y1) of what is drawn."""
        corners = outline(self.shape, self.size, self.angle)
        xs, ys = [self.x + x for x, _ in corners], [self.y + y for _, y in corners]
        return min(xs), min(ys), max(xs), max(ys)


@dataclass(frozen=True)
class Relation:
    """Thing ``subject`` is ``kind`` thing ``object`` (indices into the scene's things)."""

    kind: RelationKind
    subject: int
    object: int


@dataclass(frozen=True)
class Scene:
    """Everything that a picture shows. ``surface`` seeds what no text mentions: gradient, grain, exact tints."""

    things: tuple[Thing, ...]
    relation: Relation | None
    background: str
    kind: Kind
    surface: int

    @property
    def painted(self) -> tuple[Thing, ...]:
        """Things in the order in which they are painted: of two that overlap the nearer one last."""
        subject_is_nearer = self.relation is not None and self.relation.kind == "in front of"
        return self.things[::-1] if subject_is_nearer else self.things


def sample_scene(rng: random.Random, kind: Kind | None = None) -> Scene:
    """Draw a scene. Things are in reading order, save in a pair, where the subject of the relation comes first."""
    kind = kind or rng.choices(list(KIND_WEIGHTS), list(KIND_WEIGHTS.values()))[0]
    background = rng.choice(BACKGROUNDS)
    surface = rng.getrandbits(32)
    relation = None
    if kind == "single":
        size = rng.uniform(0.50, 0.68)
        margin = size / 2 + 0.04
        places = [(rng.uniform(margin, 1 - margin), rng.uniform(margin, 1 - margin), size)]
        looks = _distinct_looks(rng, 1)
    elif kind == "count":
        places = _cells(rng, rng.choice((2, 3)))
        looks = _distinct_looks(rng, 1) * len(places)
    elif kind == "trio":
        places = _cells(rng, 3)
        looks = _distinct_looks(rng, 3)
    else:
        relation = Relation(rng.choice(RELATIONS), 0, 1)
        places = _related(rng, relation.kind)
        looks = _distinct_looks(rng, 2)
    things = tuple(
        Thing(*look, x=x, y=y, size=size, angle=math.radians(rng.uniform(-9, 9)))
        for look, (x, y, size) in zip(looks, places, strict=True)
    )
    return Scene(things, relation, background, kind, surface)


COVERED: tuple[tuple[str, str], ...] = (
    ("circle", "square"), ("triangle", "square"), ("star", "square"), ("star", "circle")
)  # fmt: skip
"""Shapes of which the first, drawn inside the second, leaves its outline to be seen and covers half of its box."""


def sample_occlusion(rng: random.Random) -> Scene:
    """Draw a scene of one solid thing in front of another, whose outline shows all around it."""
    relation = Relation(rng.choice(DEPTH_RELATIONS), 0, 1)
    front_shape, back_shape = rng.choice(COVERED)
    front_color, back_color = rng.sample(COLORS, 2)
    size = rng.uniform(0.60, 0.70)
    x, y = rng.uniform(0.42, 0.58), rng.uniform(0.42, 0.58)
    back = Thing(back_color, back_shape, "solid", x, y, size, math.radians(rng.uniform(-3, 3)))
    side = back.box[2] - back.box[0]
    turn = math.radians(rng.uniform(-3, 3))
    x0, y0, x1, y1 = Thing(front_color, front_shape, "solid", 0.0, 0.0, 1.0, turn).box
    share = rng.uniform(0.80, 0.85)
    front = Thing(front_color, front_shape, "solid", x, y, share * side / max(x1 - x0, y1 - y0), turn)
    things = (front, back) if relation.kind == "in front of" else (back, front)
    return Scene(things, relation, rng.choice(BACKGROUNDS), "pair", rng.getrandbits(32))


def outline(shape: str, size: float, angle: float) -> list[tuple[float, float]]:
    """Return corners of ``shape`` around (0, 0), turned by ``angle``; extreme points for a circle."""
    if shape == "circle":
        radius = size / 2
        return [(radius, 0.0), (0.0, radius), (-radius, 0.0), (0.0, -radius)]
    corners = [
        (radius * size * math.sin(turn), (DROP[shape] - radius * math.cos(turn)) * size)
        for radius, turn in _CORNERS[shape]
    ]
    cos, sin = math.cos(angle), math.sin(angle)
    return [(x * cos - y * sin, x * sin + y * cos) for x, y in corners]


STAR_OUTER, STAR_INNER = 0.56, 0.24
SQUARE_HALF = 0.44
TRIANGLE_RADIUS = 0.58
DROP = {"circle": 0.0, "square": 0.0, "triangle": TRIANGLE_RADIUS / 4, "star": 0.0535}  # centres the box, in sizes

# Corners in polar form: (radius in sizes, clockwise turn from straight up).
_CORNERS: dict[str, list[tuple[float, float]]] = {
    "square": [(SQUARE_HALF * math.sqrt(2), math.radians(45 + 90 * i)) for i in range(4)],
    "triangle": [(TRIANGLE_RADIUS, math.radians(120 * i)) for i in range(3)],
    "star": [(STAR_INNER if i % 2 else STAR_OUTER, math.radians(36 * i)) for i in range(10)],
}


def _distinct_looks(rng: random.Random, n: int) -> list[tuple[str, str, str]]:
    """Return (colour, shape, texture) of n things that differ pairwise in colour and in shape."""
    colors, shapes = rng.sample(COLORS, n), rng.sample(SHAPES, n)
    return [(color, shape, rng.choice(TEXTURES)) for color, shape in zip(colors, shapes, strict=True)]


def _cells(rng: random.Random, n: int) -> list[tuple[float, float, float]]:
    """Return n places in different quarters of the picture, in reading order."""
    size = rng.uniform(0.35, 0.40)
    return [
        (
            0.26 + 0.48 * (cell % 2) + rng.uniform(-0.03, 0.03),
            0.26 + 0.48 * (cell // 2) + rng.uniform(-0.03, 0.03),
            size,
        )
        for cell in sorted(rng.sample(range(4), n))
    ]


def _related(rng: random.Random, kind: RelationKind) -> list[tuple[float, float, float]]:
    """Return the places of subject and object.

    ``next to`` is side by side and almost touching; the others are apart by a wide gap along one axis, and along the
    other by less than a third of that distance, so that which axis dominates is never in doubt.
    """
    sizes = [rng.uniform(0.34, 0.385) for _ in range(2)]
    apart = sum(sizes) * 0.55 + (rng.uniform(0.0, 0.02) if kind == "next to" else rng.uniform(0.10, 0.14))
    drift = rng.uniform(-0.10, 0.10) if kind != "next to" else rng.uniform(-0.04, 0.04)
    along = 0.5 + rng.uniform(-0.01, 0.01) if kind != "next to" else 0.5 + rng.uniform(-0.08, 0.08)
    across = rng.uniform(0.38, 0.62)
    near, far = along - apart / 2, along + apart / 2
    first, second = (near, across + drift / 2), (far, across - drift / 2)
    if kind in ("right of", "below"):
        first, second = second, first
    if kind in ("above", "below"):
        first, second = first[::-1], second[::-1]
    return [(*first, sizes[0]), (*second, sizes[1])]
