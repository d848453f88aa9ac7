"""JPEGs that cost what photos cost: 1/f texture, edges and gradients in colour, the same ones every time."""

import hashlib
import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

MEAN_BYTES = 77 * 1024
_SIDES = (480, 1280)
_ASPECTS = ((3, 2), (4, 3), (1, 1), (5, 4), (16, 9))
_TEXTURES, _TEXTURE_SIDE = 12, 2048
_TRIED_FOR_MEAN = 233
_GOLDEN = (5**0.5 - 1) / 2
_VERSION = 2


def photos(cache: Path, count: int) -> Path:
    """Return the directory of ``count`` photos, 00000.jpg onwards, of 77 KiB in the mean; made where they are missing.

    The longer side is between 480 and 1280 pixels, log-uniform.
    """
    name = hashlib.sha256(json.dumps([count, MEAN_BYTES, _SIDES, _ASPECTS, _VERSION]).encode()).hexdigest()[:12]
    directory = cache / f"photos-{name}"
    if (directory / "complete").exists():
        return directory
    directory.mkdir(parents=True, exist_ok=True)
    detail = _detail_for_mean(min(count, _TRIED_FOR_MEAN))
    with ProcessPoolExecutor(2, initializer=_make_textures) as pool:
        for number, data in enumerate(pool.map(_photo, range(count), [detail] * count, chunksize=50)):
            (directory / f"{number:05d}.jpg").write_bytes(data)
    (directory / "complete").touch()
    return directory


def _detail_for_mean(count: int) -> float:
    """Return the share of fine detail at which the first ``count`` photos have the wanted mean size."""
    _make_textures()
    least, most = 0.2, 1.0
    for _ in range(5):
        detail = (least + most) / 2
        mean = np.mean([len(_photo(number, detail)) for number in range(count)])
        least, most = (detail, most) if mean < MEAN_BYTES else (least, detail)
    return (least + most) / 2


_textures: list[NDArray[np.float32]] = []


def _make_textures() -> None:
    """Fields with the amplitude spectrum 1/f of natural images (Field 1987), mean 0, standard deviation 1."""
    cv2.setNumThreads(1)
    if _textures:
        return
    generator = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(_TEXTURE_SIDE)[:, None], np.fft.rfftfreq(_TEXTURE_SIDE)[None])
    frequency[0, 0] = np.inf
    for _ in range(_TEXTURES):
        spectrum = np.fft.rfft2(generator.standard_normal((_TEXTURE_SIDE, _TEXTURE_SIDE)))
        field = np.fft.irfft2(spectrum / frequency)
        _textures.append((field / field.std()).astype(np.float32))


def _photo(number: int, detail: float) -> bytes:
    generator = np.random.default_rng([1, number])
    width, height = _size(number, generator)
    light = _patch(generator, width, height)
    tint = _patch(generator, width, height)
    angle = generator.uniform(0, 2 * np.pi)
    slope = np.cos(angle) * np.linspace(-1, 1, width, dtype=np.float32)[None]
    slope = slope + np.sin(angle) * np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    pixels = np.empty((height, width, 3), np.float32)
    for channel, (bend, lean) in enumerate(generator.uniform(-1, 1, (3, 2)).astype(np.float32)):
        pixels[..., channel] = 120 + 25 * np.float32(bend) * slope + 6 * np.float32(lean) * tint
    pixels = _with_objects(pixels, generator)
    calm = np.clip(0.5 + 0.5 * _patch(generator, width, height, smooth=True), 0.05, 1.5)  # sharp here, blurred there
    pixels += (detail * 18 * light * calm)[..., None]
    quality = int(generator.integers(78, 93))
    return simplejpeg.encode_jpeg(pixels.clip(0, 255).astype(np.uint8), quality, "RGB", "420")


def _size(number: int, generator: np.random.Generator) -> tuple[int, int]:
    """Sizes spread evenly over any run of numbers, so that few photos tell the mean of all."""
    least, most = np.log(_SIDES)
    long = int(np.exp(least + (most - least) * (number * _GOLDEN % 1)))
    across, down = _ASPECTS[generator.integers(len(_ASPECTS))]
    short = round(long * down / across)
    return (long, short) if generator.random() < 0.6 else (short, long)


def _patch(generator: np.random.Generator, width: int, height: int, smooth: bool = False) -> NDArray[np.float32]:
    texture = _textures[generator.integers(len(_textures))]
    step = 8 if smooth else 1
    rows, columns = -(-height // step), -(-width // step)
    top = generator.integers(_TEXTURE_SIDE - rows)
    left = generator.integers(_TEXTURE_SIDE - columns)
    patch = texture[top : top + rows, left : left + columns]
    return np.asarray(cv2.resize(patch, (width, height)), np.float32) if smooth else patch


def _with_objects(pixels: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    """Draw ellipses and polygons with hard edges."""
    height, width = pixels.shape[:2]
    for _ in range(generator.integers(6, 20)):
        colour = generator.uniform(20, 235, 3).tolist()
        middle = generator.uniform((0, 0), (width, height))
        reach = generator.uniform(0.03, 0.25) * min(width, height)
        if generator.random() < 0.5:
            axes = (int(reach), int(reach * generator.uniform(0.3, 1)))
            turn = generator.uniform(0, 180)
            cv2.ellipse(pixels, middle.astype(int).tolist(), axes, turn, 0, 360, colour, -1, cv2.LINE_AA)
        else:
            corners = middle + generator.uniform(-reach, reach, (generator.integers(3, 7), 2))
            cv2.fillPoly(pixels, [corners.astype(np.int32)], colour, cv2.LINE_AA)
    return pixels
