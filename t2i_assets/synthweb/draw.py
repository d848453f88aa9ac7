"""Pictures of scenes, anti-aliased from signed distances, so that a scene looks alike at 32 and at 320 pixels."""

import math

import cv2
import numpy as np
from PIL import Image

from t2i_assets.synthweb.scenes import (
    DROP,
    SQUARE_HALF,
    STAR_INNER,
    STAR_OUTER,
    TRIANGLE_RADIUS,
    Scene,
    Thing,
)

PALETTE = {
    "red": (218, 36, 42),
    "green": (36, 158, 62),
    "blue": (34, 88, 222),
    "yellow": (246, 214, 34),
    "purple": (140, 52, 184),
    "orange": (246, 128, 20),
}
BACKGROUND_COLORS = {"white": (244, 244, 244), "gray": (146, 146, 146), "black": (20, 20, 20)}
COLOR_JITTER = 9.0  # standard deviation of a thing's tint, in 8-bit steps
GRADIENT = 7.0  # largest difference of the background from its colour, in 8-bit steps
GRAIN = 2.5  # standard deviation of the coarse grain
DOT_RADIUS = {"circle": 0.115, "square": 0.115, "triangle": 0.105, "star": 0.13}
DOTS = {  # centres in sizes: few and big, so that they still show at 12 pixels
    "circle": [(x, y) for x in (-0.185, 0.185) for y in (-0.185, 0.185)],
    "square": [(x, y) for x in (-0.20, 0.20) for y in (-0.20, 0.20)],
    "triangle": [(0.0, -0.16), (-0.19, 0.135), (0.19, 0.135)],
    "star": [(0.0, 0.0)],
}
LUMA = (0.299, 0.587, 0.114)
SUPPORT = 0.60  # no shape reaches farther from its centre, in sizes


def draw(scene: Scene, size: int) -> Image.Image:
    """Return the scene as a square RGB picture of ``size`` pixels; the same picture whenever it is called."""
    rng = np.random.default_rng(scene.surface)
    canvas = _background(scene.background, size, rng)
    for thing in scene.painted:
        tint = np.clip(PALETTE[thing.color] + rng.normal(0, COLOR_JITTER, 3), 0, 255).astype(np.float32)
        _paint(canvas, thing, tint, scene.background)
    return Image.fromarray(cv2.convertScaleAbs(cv2.merge(list(canvas))))  # rounds; nothing lies outside 0..255


def _background(name: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """Return a float32 [3, size, size] ground: colour, a linear gradient and a coarse grain."""
    turn = rng.uniform(0, 2 * math.pi)
    slope = rng.uniform(0, GRADIENT)
    ramp = np.linspace(-1, 1, 12, dtype=np.float32)
    field = slope * (math.cos(turn) * ramp[None, :] + math.sin(turn) * ramp[:, None]) / math.sqrt(2)
    field = field + rng.normal(0, GRAIN, (12, 12)).astype(np.float32)
    field = cv2.resize(field.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    return field + np.asarray(BACKGROUND_COLORS[name], np.float32)[:, None, None]


def _paint(canvas: np.ndarray, thing: Thing, tint: np.ndarray, background: str) -> None:
    side = canvas.shape[1]
    reach = SUPPORT * thing.size * side + 1
    x0, x1 = max(0, int(thing.x * side - reach)), min(side, math.ceil(thing.x * side + reach))
    y0, y1 = max(0, int(thing.y * side - reach)), min(side, math.ceil(thing.y * side + reach))
    dx = (np.arange(x0, x1, dtype=np.float32) + 0.5 - thing.x * side)[None, :]
    dy = (np.arange(y0, y1, dtype=np.float32) + 0.5 - thing.y * side)[:, None]
    cos, sin = math.cos(thing.angle), math.sin(thing.angle)
    u, v = dx * cos + dy * sin, dy * cos - dx * sin  # the thing's own axes, in pixels
    pixels = thing.size * side
    v = v - DROP[thing.shape] * pixels
    cover = np.clip(0.5 - _distance(thing.shape, u, v, pixels), 0, 1)
    ink = _texture(thing, u, v, pixels)
    change = None if ink is None else second_tone(tint, background) - tint
    for channel in range(3):
        patch = canvas[channel, y0:y1, x0:x1]
        fill = tint[channel] if change is None else tint[channel] + ink * change[channel]
        patch += cover * (fill - patch)


def second_tone(tint: np.ndarray, background: str) -> np.ndarray:
    """Return the tone of stripes and dots: away from the background, so that the outline stays whole.

    Bright tints take a darker tone on black as well: no lighter one would show.
    """
    if background != "black":
        return tint * 0.36
    bright = float(tint @ np.asarray(LUMA, np.float32)) > 170
    return tint * 0.45 if bright else tint + 0.68 * (255 - tint)


def _distance(shape: str, u: np.ndarray, v: np.ndarray, size: float) -> np.ndarray:
    """Return the signed distance to the outline in pixels, negative inside (exact at edges, near at corners)."""
    if shape == "circle":
        return np.sqrt(u * u + v * v) - size / 2
    if shape == "square":
        return np.maximum(np.abs(u), np.abs(v)) - SQUARE_HALF * size
    if shape == "triangle":
        slanted = np.abs(u) * np.float32(math.cos(math.pi / 6)) - v * np.float32(math.sin(math.pi / 6))
        return np.maximum(slanted, v) - TRIANGLE_RADIUS * size / 2
    # Star: fold the plane onto the half sector beside one tip, then measure against that tip's one edge.
    radius = np.sqrt(u * u + v * v)
    sector = 2 * math.pi / 5
    turn = np.abs((np.arctan2(u, -v) + sector / 2) % sector - sector / 2)
    along, across = radius * np.cos(turn), radius * np.sin(turn)
    notch_x, notch_y = STAR_INNER * math.cos(sector / 2), STAR_INNER * math.sin(sector / 2)
    edge = math.hypot(notch_x - STAR_OUTER, notch_y)
    normal_x, normal_y = notch_y / edge, (STAR_OUTER - notch_x) / edge
    return (along - STAR_OUTER * size) * normal_x + across * normal_y


def _texture(thing: Thing, u: np.ndarray, v: np.ndarray, size: float) -> np.ndarray | None:
    """Return how much of each pixel the second tone covers, 0..1; None where the thing is solid."""
    if thing.texture == "solid":
        return None
    if thing.texture == "striped":
        period = size * 0.36
        wave = np.abs((v / period) % 1 - 0.5) * period - period * 0.25
        return np.broadcast_to(np.clip(0.5 + wave, 0, 1), np.broadcast_shapes(u.shape, v.shape))
    radius = DOT_RADIUS[thing.shape] * size
    nearest = np.min([(u - x * size) ** 2 + (v - y * size) ** 2 for x, y in DOTS[thing.shape]], axis=0)
    return np.clip(0.5 + radius - np.sqrt(nearest), 0, 1)
