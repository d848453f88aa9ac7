"""Whether both sides stored the same pictures: the pixels of every image, paired by URL."""

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from t2i_assets.corpus.shards import iter_images

_REFERENCED = 500
"""Images that are also compared with what both should have stored, before it became a JPEG."""

Pixels = NDArray[np.uint8]


def agreement(ours: Path, theirs: Path, photos: Path) -> dict[str, dict[str, float]]:
    """Compare our shards with img2dataset's; raises ValueError where they do not hold the same URLs.

    ``ours_theirs`` is over all images. The other two are over a sample of them, against the picture decoded in full,
    shrunk by area and cut: ``theirs_reference`` is what storing as JPEG costs by itself, the rounding that no two
    encoders share. PSNR in dB, differences in steps of 255, shifts (by phase correlation) in stored pixels.
    """
    stored = {row["image_url"]: data for row, data in iter_images(ours)}
    found: dict[str, list[tuple[float, float, float]]] = {
        "ours_theirs": [],
        "theirs_reference": [],
        "ours_reference": [],
    }
    every = max(1, len(stored) // _REFERENCED)
    seen = set()
    for number, (url, data) in enumerate(_img2dataset_images(theirs)):
        seen.add(url)
        our_pixels, their_pixels = simplejpeg.decode_jpeg(stored[url]), simplejpeg.decode_jpeg(data)
        found["ours_theirs"].append(_differ(our_pixels, their_pixels))
        if number % every == 0:
            reference = _reference(photos / url.rpartition("/")[2], len(our_pixels))
            found["theirs_reference"].append(_differ(their_pixels, reference))
            found["ours_reference"].append(_differ(our_pixels, reference))
    if seen != set(stored):
        raise ValueError(f"{len(seen ^ set(stored))} URLs stand on one side only")
    return {pair: _summary(figures) for pair, figures in found.items()}


def _reference(photo: Path, side: int) -> Pixels:
    pixels = simplejpeg.decode_jpeg(photo.read_bytes())
    height, width = pixels.shape[:2]
    scale = side / min(height, width)
    target = (round(width * scale), round(height * scale))
    small = cv2.resize(pixels, target, interpolation=cv2.INTER_AREA)
    top, left = (target[1] - side) // 2, (target[0] - side) // 2
    return np.asarray(small[top : top + side, left : left + side], np.uint8)


def _differ(one: Pixels, other: Pixels) -> tuple[float, float, float]:
    """Return PSNR, mean absolute difference, and shift."""
    difference = one.astype(np.int32) - other
    psnr = 10 * np.log10(255**2 / max(float(np.mean(difference**2)), 1e-9))
    grey = [
        cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY).astype(np.float32) for pixels in (one, other)
    ]
    shift, _ = cv2.phaseCorrelate(*grey)
    return psnr, float(np.abs(difference).mean()), float(np.hypot(*shift))


def _summary(figures: list[tuple[float, float, float]]) -> dict[str, float]:
    psnr, difference, shift = np.array(figures).T
    return {
        "images": len(figures),
        "psnr_mean": float(psnr.mean()),
        "psnr_min": float(psnr.min()),
        "mean_difference": float(difference.mean()),
        "shift_mean": float(shift.mean()),
        "shift_max": float(shift.max()),
    }


def _img2dataset_images(directory: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(directory.glob("*.tar")):
        with tarfile.open(path) as tar:
            data = b""
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                if member.name.endswith(".jpg"):
                    data = file.read()
                elif member.name.endswith(".json"):
                    yield json.loads(file.read())["url"], data
