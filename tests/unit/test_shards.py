"""Shards are reproducible, readable by the ecosystem, and every kind of damage is named."""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import webdataset
from PIL import Image

from t2i_assets.corpus.schemas import SAMPLES
from t2i_assets.corpus.shards import ShardWriter, iter_images, read_image, read_samples, verify
from t2i_assets.corpus.tables import write_table


def jpeg(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 12), (20 * shade, 255 - 20 * shade, 7)).save(file, "JPEG")
    return file.getvalue()


def sample(image: bytes, text: str) -> dict[str, Any]:
    digest = hashlib.sha256(image).hexdigest()
    return {
        "key": digest[:32], "source": "site", "image_ext": "jpg", "width": 16, "height": 12,
        "original_width": 16, "original_height": 12, "original_bytes": len(image), "original_format": "JPEG",
        "original_sha256": digest, "phash": "0" * 16, "image_url": f"http://site.test/{digest[:8]}.jpg",
        "page_url": "http://site.test/", "license_url": None, "consent": "allowed", "alt_text": text,
        "texts": [{"text": text, "field": "alt", "page_url": "http://site.test/", "labels": []}],
    }  # fmt: skip


def write_shards(directory: Path, count: int = 7) -> Path:
    with ShardWriter(directory, "demo", samples_per_shard=3) as writer:
        for number in range(count):
            image = jpeg(number)
            writer.write(sample(image, f"número {number}"), image, f"número {number}", {"nice": number})
    return directory


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return write_shards(tmp_path / "shards")


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = write_shards(tmp_path / "a"), write_shards(tmp_path / "b")
    names = sorted(path.name for path in first.iterdir())
    assert names == [f"0000{n}.{ext}" for n in range(3) for ext in ("json", "parquet", "tar")]
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_images_are_read_by_their_offsets(shards: Path) -> None:
    rows = read_samples(shards).to_pylist()
    assert [row["alt_text"] for row in rows] == [f"número {n}" for n in range(7)]
    assert [read_image(shards, row) for row in rows] == [jpeg(n) for n in range(7)]
    assert list(iter_images(shards)) == [(row, jpeg(n)) for n, row in enumerate(rows)]


def test_other_tables_beside_the_shards_are_not_taken_for_sidecars(shards: Path) -> None:
    (shards / "captions.parquet").write_bytes(b"another table")
    assert read_samples(shards).num_rows == 7
    assert verify(shards) == []


def test_webdataset_reads_the_shards_as_they_are(shards: Path) -> None:
    dataset = webdataset.WebDataset(sorted(map(str, shards.glob("*.tar"))), shardshuffle=False)
    samples = list(dataset)
    assert [one["__key__"] for one in samples] == read_samples(shards)["key"].to_pylist()
    assert [one["jpg"] for one in samples] == [jpeg(n) for n in range(7)]
    assert [one["txt"].decode() for one in samples] == [f"número {n}" for n in range(7)]
    assert [json.loads(one["json"])["nice"] for one in samples] == list(range(7))


def test_whole_shards_have_no_problem(shards: Path) -> None:
    assert verify(shards) == []


def test_an_empty_writer_leaves_no_shard(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, "demo", 3):
        pass
    assert list(tmp_path.iterdir()) == []
    assert read_samples(tmp_path).num_rows == 0


def test_an_exception_leaves_no_half_shard(tmp_path: Path) -> None:
    def interrupted() -> None:
        with ShardWriter(tmp_path, "demo", 3) as writer:
            writer.write(sample(jpeg(1), "one"), jpeg(1), "one")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_key_is_written_once(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, "demo", 1) as writer:
        writer.write(sample(jpeg(1), "one"), jpeg(1), "one")
        with pytest.raises(ValueError, match="was written before"):
            writer.write(sample(jpeg(1), "one"), jpeg(1), "one")


def test_a_flipped_bit_in_an_image_names_shard_and_key(shards: Path) -> None:
    row = read_samples(shards).to_pylist()[4]
    flip(shards / row["shard"], row["image_offset"] + row["image_bytes"] // 2)
    (problem,) = verify(shards)
    assert (problem.shard, problem.key, problem.kind) == ("00001.tar", row["key"], "bit_rot")
    assert row["key"] in str(problem)


@pytest.mark.parametrize("suffix", ["txt", "json"])
def test_a_flipped_bit_anywhere_in_a_member_is_found(shards: Path, suffix: str) -> None:
    with tarfile.open(shards / "00002.tar") as tar:
        member = next(info for info in tar if info.name.endswith(suffix))
    for position in range(member.offset_data, member.offset_data + member.size, 23):
        flip(shards / "00002.tar", position)
        (problem,) = verify(shards)
        assert problem.shard == "00002.tar"
        flip(shards / "00002.tar", position)
    assert verify(shards) == []


@pytest.mark.parametrize("part", ["header", "padding"])
def test_a_flipped_bit_between_members_is_found(shards: Path, part: str) -> None:
    row = read_samples(shards).to_pylist()[0]
    position = row["image_offset"] - 200 if part == "header" else row["image_offset"] + row["image_bytes"] + 1
    flip(shards / "00000.tar", position)
    assert {problem.kind for problem in verify(shards)} & {"bit_rot", "missing_member"}


def test_every_truncation_is_found(shards: Path) -> None:
    path = shards / "00001.tar"
    whole = path.read_bytes()
    for length in range(0, len(whole), 331):
        path.write_bytes(whole[:length])
        problems = verify(shards)
        assert problems
        assert {problem.shard for problem in problems} == {"00001.tar"}
    row = read_samples(shards).to_pylist()[5]
    path.write_bytes(whole[: row["image_offset"] + 10])
    assert ("truncated", row["key"]) in {(problem.kind, problem.key) for problem in verify(shards)}
    with pytest.raises(EOFError, match=row["key"]):
        read_image(shards, row)


def test_a_missing_member_is_named(shards: Path) -> None:
    key = read_samples(shards)["key"][1].as_py()
    rewrite(shards / "00000.tar", without=f"{key}.txt")
    assert ("missing_member", key) in {(problem.kind, problem.key) for problem in verify(shards)}


def test_a_sidecar_of_other_samples_is_found(shards: Path) -> None:
    rows = read_samples(shards).to_pylist()
    write_table(shards / "00000.parquet", [{**rows[0], "image_offset": 1024}, *rows[1:3]], SAMPLES)
    assert [(p.key, p.kind) for p in verify(shards)] == [(rows[0]["key"], "sidecar_mismatch")]
    write_table(shards / "00000.parquet", rows[1:3], SAMPLES)
    kinds = {(problem.key, problem.kind) for problem in verify(shards)}
    assert {(rows[0]["key"], "unknown_member"), (None, "sidecar_mismatch")} <= kinds


@pytest.mark.parametrize("suffix", ["tar", "parquet", "json"])
def test_a_missing_file_is_named(shards: Path, suffix: str) -> None:
    (shards / f"00001.{suffix}").unlink()
    (problem,) = verify(shards)
    assert (problem.shard, problem.kind) == ("00001.tar", "missing_file")


def test_a_missing_shard_is_named(shards: Path) -> None:
    for suffix in ("tar", "parquet", "json"):
        (shards / f"00001.{suffix}").unlink()
    assert [(problem.shard, problem.kind) for problem in verify(shards)] == [("00001.tar", "missing_file")]


@pytest.mark.parametrize(("suffix", "kind"), [("parquet", "unreadable_sidecar"), ("json", "unreadable_stats")])
def test_damaged_companions_are_named(shards: Path, suffix: str, kind: str) -> None:
    (shards / f"00001.{suffix}").write_bytes(b"\xff\xfenothing")
    assert [(problem.shard, problem.kind) for problem in verify(shards)] == [("00001.tar", kind)]


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def rewrite(path: Path, without: str) -> None:
    with tarfile.open(path) as tar:
        members = [(info, tar.extractfile(info).read()) for info in tar if info.name != without]  # type: ignore[union-attr]
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
