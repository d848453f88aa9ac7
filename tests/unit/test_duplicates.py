"""Copies of a picture are one cluster with its largest original kept; pictures that differ in colour alone are not."""

import base64
import hashlib
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from t2i_assets.corpus.duplicates.config import DuplicateConfig
from t2i_assets.corpus.duplicates.hamming import Indices, Pairs, near_pairs, near_pairs_among
from t2i_assets.corpus.duplicates.leaders import leaders
from t2i_assets.corpus.duplicates.perceptual import find_duplicates
from t2i_assets.corpus.schemas import DUPLICATES
from t2i_assets.corpus.shards import ShardWriter
from t2i_assets.corpus.tables import read_rows
from t2i_assets.crawl.config import ImageConfig
from t2i_assets.crawl.images import process_image
from t2i_assets.metadata import SIDE, cluster_sheet
from tests.unit.crawl_site import picture

IMAGES = ImageConfig(size=64, min_bytes=0)


def write(directory: Path, bodies: dict[str, bytes]) -> dict[str, str]:
    """Write one shard; return the key of each name."""
    keys = {}
    with ShardWriter(directory, "demo") as writer:
        for name, body in bodies.items():
            image = process_image(body, IMAGES)
            about = {field: value for field, value in vars(image).items() if field not in ("data", "ext", "exif")}
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


GREYS = (0, 3, 40)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 255), st.sampled_from(GREYS), st.integers(1, 3)), max_size=60),
    st.integers(0, 3),
    st.randoms(use_true_random=False),
)
def test_clusters_part_the_samples_around_kept_ones_that_are_near_and_unlike_each_other(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[int, int, int]], radius: int, random: Any
) -> None:
    about = {hashlib.sha256(str(number).encode()).hexdigest()[:32]: one for number, one in enumerate(drawn)}
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    write_solid(one / "s", about)
    write_solid(two / "s", dict(random.sample(sorted(about.items()), len(about))))
    config = DuplicateConfig(radius=radius, color_distance=6)
    for root in (one, two):
        find_duplicates(root / "s", "demo", root / "d", config)
    found = read_rows(one / "d", DUPLICATES)
    assert found == read_rows(two / "d", DUPLICATES)

    def near(a: str, b: str) -> bool:
        (bits, grey, _), (other_bits, other_grey, _) = about[a], about[b]
        return (bits ^ other_bits).bit_count() <= radius and abs(grey - other_grey) <= 6

    kept_for = {row["key"]: row["cluster"] for row in found}
    assert len(kept_for) == len(found)
    for row in found:
        assert kept_for[row["cluster"]] == row["cluster"]
        assert row["kept"] == (row["key"] == row["cluster"])
        assert near(row["key"], row["cluster"]) or row["kind"] == "exact"
        assert row["distance"] == (about[row["key"]][0] ^ about[row["cluster"]][0]).bit_count()
        assert (-about[row["cluster"]][2], row["cluster"]) <= (-about[row["key"]][2], row["key"])
    kept = [key for key in about if kept_for.get(key, key) == key]
    assert not any(near(a, b) for a, b in itertools.combinations(kept, 2))
    assert all(sum(cluster == head for cluster in kept_for.values()) > 1 for head in set(kept_for.values()))


def write_solid(directory: Path, about: dict[str, tuple[int, int, int]]) -> None:
    """Write samples, by key: low bits of the perceptual hash, grey, width of the original."""
    with ShardWriter(directory, "demo", 25) as writer:
        for key, (bits, grey, width) in about.items():
            file = io.BytesIO()
            Image.new("L", (8, 8), grey).save(file, "PNG")
            row = {"key": key, "source": "s", "image_ext": "png", "image_url": "", "consent": "", "texts": []}
            row |= {"width": 8, "height": 8, "original_width": width, "original_height": 1, "original_bytes": 1}
            row |= {"original_format": "PNG", "original_sha256": "0" * 64, "phash": f"{bits:016x}", "alt_text": ""}
            writer.write(row, file.getvalue(), "")


def test_each_member_says_why_it_is_kept_or_not(tmp_path: Path) -> None:
    bodies = {"small": picture(1, (200, 150), "JPEG", quality=70), "large": picture(1, (400, 300), "PNG")}
    keys = write(tmp_path / "s", bodies)
    find_duplicates(tmp_path / "s", "demo", tmp_path / "d", DuplicateConfig())
    reasons = {row["key"]: row["reason"] for row in read_rows(tmp_path / "d", DUPLICATES)}
    assert reasons[keys["large"]] == "kept: the largest original, 400 x 300"
    assert "perceptual hash" in reasons[keys["small"]]
    assert reasons[keys["small"]].endswith("its original is 200 x 150, the kept one's 400 x 300")


def test_the_contact_sheet_shows_a_cluster_a_row_with_the_kept_member_first(tmp_path: Path) -> None:
    write_solid(tmp_path / "s", {"dim": (0, 90, 1), "kept": (0, 93, 3), "dark": (0, 96, 2), "alone": (255, 200, 1)})
    find_duplicates(tmp_path / "s", "demo", tmp_path / "d", DuplicateConfig())
    markdown = cluster_sheet(tmp_path / "d", tmp_path / "s").value
    sheet = Image.open(io.BytesIO(base64.b64decode(markdown.split("base64,")[1].rstrip(")"))))
    assert sheet.height == SIDE
    assert [sheet.getpixel((column * SIDE + 2, 2)) for column in range(4)] == [
        *((93, 93, 93), (96, 96, 96), (90, 90, 90)),
        (255, 255, 255),
    ]


@pytest.mark.timeout(60)
def test_many_samples_of_one_hash_take_neither_quadratic_memory_nor_time() -> None:
    class Same:
        pairs = 0

        def of_kept(self, kept: Indices, new: Indices) -> Iterator[Pairs]:
            hashes = np.zeros(max(len(kept), len(new)), np.uint64)
            yield from self._named(near_pairs(hashes[: len(kept)], hashes[: len(new)], 4), kept, new)

        def among(self, new: Indices) -> Iterator[Pairs]:
            yield from self._named(near_pairs_among(np.zeros(len(new), np.uint64), 4), new, new)

        def _named(self, found: Iterator[Pairs], a: Indices, b: Indices) -> Iterator[Pairs]:
            for one, other in found:
                self.pairs += len(one)
                yield a[one], b[other]

    same = Same()
    assert not leaders(100_000, same).any()
    assert same.pairs < 2_000_000


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(0, 2**64 - 1), max_size=40),
    st.lists(st.integers(0, 2**64 - 1), max_size=40),
    st.integers(0, 8),
)
def test_banding_finds_every_pair_between_two_sets(left: list[int], right: list[int], radius: int) -> None:
    right += [value ^ (1 << bit) for value in left[:10] for bit in (0, 17, 63)]
    hashes = np.array(left, np.uint64), np.array(right, np.uint64)
    found = [pair for a, b in near_pairs(*hashes, radius) for pair in zip(a, b, strict=True)]
    near = [(i, j) for i, a in enumerate(left) for j, b in enumerate(right) if (a ^ b).bit_count() <= radius]
    assert sorted(found) == sorted(near)


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
