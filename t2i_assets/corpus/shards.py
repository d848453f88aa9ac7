"""Shards: WebDataset tars with a sidecar table that knows where each image lies.

``00000.tar`` holds ``{key}.jpg``, ``{key}.txt`` and ``{key}.json`` for each sample, so open_clip, webdataset and
Hugging Face datasets read it as it is. ``00000.parquet`` (SAMPLES) holds the byte offset of each image, so anything
can be read by seeking. ``00000.json`` holds figures about the shard and the digest of its tar.

The same samples in the same order give the same bytes: members carry no time, owner or counter.
"""

import hashlib
import json
import mmap
import os
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from t2i_assets.corpus.schemas import GENERATED, SAMPLES
from t2i_assets.corpus.tables import as_table, read_rows, read_table, write_table

SHARD_GLOB = "[0-9]" * 5 + ".parquet"
_RECORD = tarfile.RECORDSIZE

Bytes: TypeAlias = bytes | mmap.mmap


class ShardWriter:
    """Writes samples into numbered shards; a shard appears under its name once it is whole.

    Use as a context manager: leaving it finishes the last shard, an exception discards it.
    """

    def __init__(self, directory: Path, snapshot: str, samples_per_shard: int = 1000) -> None:
        if samples_per_shard < 1:
            raise ValueError(f"samples_per_shard is {samples_per_shard}: a shard holds at least one sample")
        self.directory = Path(directory)
        self.snapshot = snapshot
        self.samples_per_shard = samples_per_shard
        self.shards = 0
        self._keys: set[str] = set()
        self._rows: list[dict[str, Any]] = []
        self._tar: TarWriter | None = None
        self.directory.mkdir(parents=True, exist_ok=True)

    def write(self, sample: Mapping[str, Any], image: bytes, text: str, extra: Mapping[str, Any] | None = None) -> None:
        """Append one sample.

        ``sample`` is a row of SAMPLES without the fields that the writer fills (snapshot, shard, offset, size and
        digest of the stored image). ``image`` is the encoded image of type ``sample["image_ext"]``, ``text`` becomes
        ``{key}.txt``, and ``sample`` and ``extra`` together become ``{key}.json``.
        Raises ValueError where the key was written before or cannot name a tar member.
        """
        key = sample["key"]
        if key in self._keys:
            raise ValueError(f"sample {key} was written before: a key stands once in a snapshot")
        if not key or set(key) & set("./ \0"):
            raise ValueError(f"key {key!r} cannot name a tar member: it must hold no dot, slash or space")
        if self._tar is None:
            self._tar = TarWriter(self.directory / f"{self.shards:05d}.tar")
        digest = hashlib.sha256(image).hexdigest()
        about = {**sample, "image_sha256": digest, "snapshot": self.snapshot, **(extra or {})}
        offset = self._tar.add(f"{key}.{sample['image_ext']}", image)
        self._tar.add(f"{key}.txt", text.encode())
        self._tar.add(f"{key}.json", json.dumps(about, sort_keys=True, ensure_ascii=False).encode())
        self._keys.add(key)
        self._rows.append(
            {
                **sample,
                "snapshot": self.snapshot,
                "shard": self._tar.path.name,
                "image_offset": offset,
                "image_bytes": len(image),
                "image_sha256": digest,
            }
        )
        if len(self._rows) == self.samples_per_shard:
            self._finish_shard()

    def close(self) -> None:
        """Finish the last shard; a writer that got no sample leaves no shard."""
        if self._rows:
            self._finish_shard()

    def _finish_shard(self) -> None:
        assert self._tar is not None
        table = as_table(self._rows, SAMPLES)
        tar_bytes, tar_sha256 = self._tar.close()
        stats = {
            "shard": self._tar.path.name,
            "samples": len(self._rows),
            "texts": sum(len(row.get("texts") or ()) for row in self._rows),
            "tar_bytes": tar_bytes,
            "tar_sha256": tar_sha256,
            "image_bytes": sum(row["image_bytes"] for row in self._rows),
            "original_bytes": sum(row["original_bytes"] for row in self._rows),
            "original_formats": dict(sorted(Counter(row["original_format"] for row in self._rows).items())),
        }
        write_table(self._tar.path.with_suffix(".parquet"), table, SAMPLES)
        self._tar.path.with_suffix(".json").write_text(json.dumps(stats, indent=1) + "\n")
        self._tar, self._rows = None, []
        self.shards += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        elif self._tar is not None:
            self._tar.discard()


def read_samples(directory: Path) -> pa.Table:
    """Return the sidecar rows (SAMPLES) of every shard in ``directory``, in order of shard and offset."""
    files = sorted(Path(directory).glob(SHARD_GLOB))
    return pa.concat_tables([read_table(file, SAMPLES) for file in files]) if files else SAMPLES.empty_table()


def generated_rows(directory: Path) -> list[dict[str, Any]]:
    """Return the rows of GENERATED of a directory, each with the ``shard`` that holds its image."""
    tables = sorted(Path(directory).glob(SHARD_GLOB))
    return [{**row, "shard": f"{table.stem}.tar"} for table in tables for row in read_rows(table, GENERATED)]


def read_image(directory: Path, row: Mapping[str, Any]) -> bytes:
    """Return the stored bytes of one image; ``row`` holds shard, image_offset and image_bytes.

    Raises EOFError where the tar ends before the image does.
    """
    with (Path(directory) / row["shard"]).open("rb") as file:
        return _read_at(file, row)


def iter_images(directory: Path) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield (sidecar row, stored image bytes) of every sample, each tar opened once."""
    for path in sorted(Path(directory).glob(SHARD_GLOB)):
        with path.with_suffix(".tar").open("rb") as file:
            for row in read_table(path, SAMPLES).to_pylist():
                yield row, _read_at(file, row)


def _read_at(file: BinaryIO, row: Mapping[str, Any]) -> bytes:
    file.seek(row["image_offset"])
    image = file.read(row["image_bytes"])
    if len(image) != row["image_bytes"]:
        wanted = row["image_offset"] + row["image_bytes"]
        raise EOFError(f"{file.name} ends before byte {wanted}, where the image of sample {row.get('key')} ends")
    return image


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a shard directory."""

    shard: str
    key: str | None
    kind: str
    detail: str

    def __str__(self) -> str:
        where = f"shard {self.shard}" + (f", sample {self.key}" if self.key else "")
        return f"{where}: {self.kind}: {self.detail}"


def verify(directory: Path) -> list[Problem]:
    """Read every byte of every shard and return what is wrong, naming shard and key.

    Kinds: ``missing_file``, ``unreadable_sidecar``, ``unreadable_stats``, ``truncated``, ``missing_member``,
    ``unknown_member``, ``sidecar_mismatch``, ``bit_rot``, ``duplicate_key``.
    """
    directory = Path(directory)
    parts = (path for path in directory.iterdir() if path.suffix in {".tar", ".parquet", ".json"})
    stems = sorted({path.stem for path in parts if path.stem.isdigit()})
    problems: list[Problem] = []
    shard_of_key: dict[str, str] = {}
    for number, stem in enumerate(stems):
        if stem != f"{number:05d}":
            problems.append(Problem(f"{number:05d}.tar", None, "missing_file", f"the next shard is {stem}.tar"))
            break
    for stem in stems:
        problems += _verify_shard(directory, stem, shard_of_key)
    return problems


def _verify_shard(directory: Path, stem: str, shard_of_key: dict[str, str]) -> list[Problem]:
    shard, sidecar, stats_file = (directory / f"{stem}{suffix}" for suffix in (".tar", ".parquet", ".json"))
    missing = [path.name for path in (shard, sidecar, stats_file) if not path.exists()]
    if missing:
        return [Problem(shard.name, None, "missing_file", f"{name} is not there") for name in missing]
    try:
        rows = as_table(pq.read_table(sidecar), SAMPLES).to_pylist()
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        return [Problem(shard.name, None, "unreadable_sidecar", f"{sidecar.name}: {error}")]
    try:
        stats = json.loads(stats_file.read_text())
        promised = (stats["samples"], stats["tar_sha256"])
    except (ValueError, KeyError, TypeError) as error:
        return [Problem(shard.name, None, "unreadable_stats", f"{stats_file.name}: {error!r}")]

    with shard.open("rb") as file, _mapped(file) as data:
        return _verify_bytes(shard, sidecar, stats_file, data, rows, promised, shard_of_key)


@contextmanager
def _mapped(file: BinaryIO) -> Iterator[Bytes]:
    """Yield the bytes of a file without holding them in memory."""
    if not os.fstat(file.fileno()).st_size:
        yield b""
        return
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def _verify_bytes(
    shard: Path,
    sidecar: Path,
    stats_file: Path,
    data: Bytes,
    rows: list[dict[str, Any]],
    promised: tuple[int, str],
    shard_of_key: dict[str, str],
) -> list[Problem]:
    members, problems = _members(shard.name, data)
    for row in rows:
        if row["key"] in shard_of_key:
            other = shard_of_key[row["key"]]
            problems.append(Problem(shard.name, row["key"], "duplicate_key", f"the key stands in {other} too"))
        shard_of_key[row["key"]] = shard.name
        problem = _verify_sample(shard.name, row, data, members)
        if problem:
            problems.append(problem)
    for name in members:
        problems.append(Problem(shard.name, name.split(".")[0], "unknown_member", f"{name} has no sidecar row"))
    if promised[0] != len(rows):
        detail = f"{stats_file.name} promises {promised[0]} samples, {sidecar.name} holds {len(rows)}"
        problems.append(Problem(shard.name, None, "sidecar_mismatch", detail))
    if not problems and promised[1] != hashlib.sha256(data).hexdigest():
        problems.append(Problem(shard.name, None, "bit_rot", f"the tar is not the one {stats_file.name} describes"))
    return problems


def _members(shard: str, data: Bytes) -> tuple[dict[str, tuple[int, int]], list[Problem]]:
    """Return offset and size of each member by name, as the tar's own headers tell them."""
    members: dict[str, tuple[int, int]] = {}
    position = 0
    while True:
        header = data[position : position + tarfile.BLOCKSIZE]
        if len(header) < tarfile.BLOCKSIZE:
            return members, [Problem(shard, None, "truncated", f"the tar ends at byte {len(data)} without an end mark")]
        if not any(header):
            return members, []
        try:
            info = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
        except (tarfile.HeaderError, UnicodeDecodeError) as error:
            return members, [Problem(shard, None, "bit_rot", f"the header at byte {position} is damaged: {error}")]
        start = position + tarfile.BLOCKSIZE
        members[info.name] = (start, info.size)
        if start + info.size > len(data):
            key = info.name.split(".")[0]
            return members, [Problem(shard, key, "truncated", f"{info.name} ends past the end of the tar")]
        position = start + -(-info.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _verify_sample(shard: str, row: dict[str, Any], data: Bytes, members: dict[str, tuple[int, int]]) -> Problem | None:
    """Return the first thing wrong with one sample; takes its members out of ``members``."""
    key = row["key"]
    places = {ext: members.pop(f"{key}.{ext}", None) for ext in (row["image_ext"], "txt", "json")}
    for ext, place in places.items():
        if place is None:
            return Problem(shard, key, "missing_member", f"{key}.{ext} is not in the tar")
        if sum(place) > len(data):
            return Problem(shard, key, "truncated", f"{key}.{ext} ends past the end of the tar")
    image_place, text_place, json_place = (place for place in places.values() if place)
    if row["shard"] != shard or image_place != (row["image_offset"], row["image_bytes"]):
        detail = f"the sidecar says {row['shard']} {row['image_offset']}+{row['image_bytes']}, the tar {image_place}"
        return Problem(shard, key, "sidecar_mismatch", detail)
    image, text, about = (data[start : start + size] for start, size in (image_place, text_place, json_place))
    if hashlib.sha256(image).hexdigest() != row["image_sha256"]:
        return Problem(shard, key, "bit_rot", "the image is not the one the sidecar describes")
    if text != row["alt_text"].encode():
        return Problem(shard, key, "bit_rot", f"{key}.txt is not the sidecar's alt_text")
    try:
        told = json.loads(about).get("image_sha256")
    except ValueError as error:
        return Problem(shard, key, "bit_rot", f"{key}.json: {error}")
    if told != row["image_sha256"]:
        return Problem(shard, key, "bit_rot", f"{key}.json describes another image")
    return None


class TarWriter:
    """A tar whose bytes depend on names and contents alone; it appears under its name when closed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._file = self._temporary.open("wb")
        self._sha256 = hashlib.sha256()
        self._position = 0

    def add(self, name: str, data: bytes) -> int:
        """Append a member; return the byte offset of its data."""
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = len(data), 0o644, 0
        header = info.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")
        offset = self._position + len(header)
        self._append(header + data + bytes(-len(data) % tarfile.BLOCKSIZE))
        return offset

    def close(self) -> tuple[int, str]:
        """Write the end mark and publish the file; return its size and sha256."""
        self._append(bytes(2 * tarfile.BLOCKSIZE))
        self._append(bytes(-self._position % _RECORD))
        self._file.close()
        self._temporary.replace(self.path)
        return self._position, self._sha256.hexdigest()

    def discard(self) -> None:
        """Drop what was written."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)

    def _append(self, data: bytes) -> None:
        self._file.write(data)
        self._sha256.update(data)
        self._position += len(data)
