"""Copies of a picture are one cluster with its largest original kept; pictures that differ in colour alone are not."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from t2i_assets.corpus.duplicates.config import DuplicateConfig
from t2i_assets.corpus.duplicates.hamming import near_pairs_among
from t2i_assets.corpus.duplicates.perceptual import find_duplicates
from t2i_assets.corpus.schemas import DUPLICATES
from t2i_assets.corpus.shards import ShardWriter
from t2i_assets.corpus.tables import read_rows
from t2i_assets.crawl.config import ImageConfig
from t2i_assets.crawl.images import process_image
from tests.unit.crawl_site import picture

IMAGES = ImageConfig(size=64, min_bytes=0)


def write(directory: Path, bodies: dict[str, bytes]) -> dict[str, str]:
    """Write one shard; return the key of each name."""
    keys = {}
    with ShardWriter(directory, "demo") as writer:
        for name, body in bodies.items():
            image = process_image(body, IMAGES)
            about = {field: value for field, value in vars(image).items() if field not in ("data", "animated")}
            row = {"key": image.key, "source": "s", "image_ext": "jpg", "image_url": name, "consent": "", "texts": []}
            writer.write(about | row | {"alt_text": name}, image.data, name)
            keys[name] = image.key
    return keys


def disc(colour: str, size: int = 200) -> bytes:
    image = Image.new("RGB", (size, size), "white")
    ImageDraw.Draw(image).ellipse((size // 5, size // 5, size // 2, size // 2), fill=colour)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def clusters(shards: Path, out: Path, **config: float) -> dict[str, tuple[str, str, bool]]:
    find_duplicates(shards, "demo", out, DuplicateConfig(**config))
    return {row["key"]: (row["cluster"], row["kind"], row["kept"]) for row in read_rows(out, DUPLICATES)}


def test_copies_cluster_around_the_largest_original(tmp_path: Path) -> None:
    bodies = {
        "small": picture(1, (200, 150), "JPEG", quality=70),
        "large": picture(1, (400, 300), "PNG"),
        "middle": picture(1, (300, 225), "WEBP"),
        "other": picture(2, (500, 375), "PNG"),
    }
    keys = write(tmp_path / "s", bodies)
    found = clusters(tmp_path / "s", tmp_path / "d")
    assert found == {
        keys["large"]: (keys["large"], "perceptual", True),
        keys["middle"]: (keys["large"], "perceptual", False),
        keys["small"]: (keys["large"], "perceptual", False),
    }


def test_the_same_pixels_in_another_file_are_an_exact_duplicate(tmp_path: Path) -> None:
    image = Image.open(io.BytesIO(picture(4)))
    bodies = {}
    for name, level in (("a", 1), ("b", 9)):
        file = io.BytesIO()
        image.save(file, "PNG", compress_level=level)
        bodies[name] = file.getvalue()
    keys = write(tmp_path / "s", bodies)
    found = clusters(tmp_path / "s", tmp_path / "d")
    assert {kind for _, kind, _ in found.values()} == {"exact"}
    assert sorted(found) == sorted(keys.values())


def test_pictures_that_differ_in_colour_alone_stay_apart(tmp_path: Path) -> None:
    write(tmp_path / "s", {colour: disc(colour) for colour in ("red", "blue", "green", "purple")})
    assert clusters(tmp_path / "s", tmp_path / "d") == {}
    assert clusters(tmp_path / "s", tmp_path / "d", color_distance=255) != {}


def test_the_order_of_samples_does_not_matter(tmp_path: Path) -> None:
    bodies = {f"{seed}-{side}": picture(seed, (side, side), "JPEG") for seed in range(4) for side in (100, 180, 260)}
    write(tmp_path / "a", bodies)
    write(tmp_path / "b", dict(reversed(bodies.items())))
    one, two = clusters(tmp_path / "a", tmp_path / "da"), clusters(tmp_path / "b", tmp_path / "db")
    assert one == two
    assert sum(kept for _, _, kept in one.values()) == 4


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=40), st.integers(0, 8))
def test_banding_finds_every_pair_within_the_radius(values: list[int], radius: int) -> None:
    values += [value ^ (1 << bit) for value in values[:10] for bit in (0, 17, 63)]
    found = [pair for a, b in near_pairs_among(np.array(values, np.uint64), radius) for pair in zip(a, b, strict=True)]
    near = [(j, i) for i, a in enumerate(values) for j, b in enumerate(values[:i]) if (a ^ b).bit_count() <= radius]
    assert sorted(found) == sorted(near)


def test_a_damaged_image_that_must_be_looked_at_stops_with_what_to_do(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "s", "demo") as writer:
        for number in range(2):
            row = {"source": "s", "image_ext": "jpg", "width": 1, "height": 1, "original_width": 1, "phash": "0" * 16}
            row |= {"original_height": 1, "original_bytes": 1, "original_format": "JPEG", "original_sha256": "0" * 64}
            row |= {"key": f"k{number}", "image_url": "", "consent": "", "alt_text": "", "texts": []}
            writer.write(row, f"no image {number}".encode(), "")
    with pytest.raises(ValueError, match="sample k0 cannot be decoded: run verify"):
        find_duplicates(tmp_path / "s", "demo", tmp_path / "d", DuplicateConfig())
