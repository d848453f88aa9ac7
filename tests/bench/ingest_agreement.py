"""Whether both sides stored the same pictures: the pixels of every image, paired by URL."""

import json
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import simplejpeg

from t2i_assets.corpus.shards import iter_images

_SIDE = 256


@dataclass(frozen=True)
class Agreement:
    """Differences over all images of a kind; PSNR in dB, differences in steps of 255."""

    images: int
    psnr_mean: float
    psnr_min: float
    mean_difference: float


def agreement(ours: Path, theirs: Path) -> dict[str, dict[str, float]]:
    """Compare our shards with img2dataset's; raises ValueError where they do not hold the same URLs.

    img2dataset shrinks the whole picture to whole pixels, then cuts a square; we cut the square, then shrink it. Both
    lie on the same grid where the shrunken longer side is a whole, even number; elsewhere theirs is up to half a pixel
    to the side and stretched by as much (kind ``shifted``).
    """
    stored = {row["image_url"]: (data, row) for row, data in iter_images(ours)}
    kinds: dict[str, list[tuple[float, float]]] = {"same_grid": [], "shifted": []}
    seen = set()
    for url, data in _img2dataset_images(theirs):
        seen.add(url)
        our_data, row = stored[url]
        difference = simplejpeg.decode_jpeg(our_data).astype(np.int32) - simplejpeg.decode_jpeg(data)
        psnr = 10 * np.log10(255**2 / max(float(np.mean(difference**2)), 1e-9))
        kinds[_kind(row["original_width"], row["original_height"])].append((psnr, float(np.abs(difference).mean())))
    if seen != set(stored):
        raise ValueError(f"{len(seen ^ set(stored))} URLs stand on one side only")
    return {kind: _summary(found) for kind, found in kinds.items() if found}


def _kind(width: int, height: int) -> str:
    long, short = max(width, height), min(width, height)
    return "same_grid" if _SIDE * long % (2 * short) == 0 and (long - short) % 2 == 0 else "shifted"


def _summary(found: list[tuple[float, float]]) -> dict[str, float]:
    psnr, difference = np.array(found).T
    return asdict(Agreement(len(found), float(psnr.mean()), float(psnr.min()), float(difference.mean())))


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
