"""Records of a web archive (WARC and WAT, ISO 28500), one at a time, as many as can be read.

An archive is damaged where a record's length is wrong, bytes were changed, or the file ends early. Each record of a
gzipped one is a member of its own, so reading goes on at the next member; in a plain one at the next record's first
words.
"""

import base64
import hashlib
import mmap
import os
import re
import zlib
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

_BEGINNING = re.compile(rb"\x1f\x8b\x08|WARC/1\.[01]\r?\n")
_HEAD_LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
_PIECE = 1 << 14
_MOST_RESTARTS = 10_000


@dataclass(frozen=True)
class Record:
    """One record: its headers by name in lower case, and its block."""

    headers: dict[str, str]
    block: bytes

    @property
    def target(self) -> str:
        """The URL the record is about; early writers put it in angle brackets."""
        return self.headers.get("warc-target-uri", "").strip("<> ")


class Archive:
    """The records of a file; while they are gone through, ``lost`` counts what could not be read, by reason.

    truncated: shorter than the record says. too_large: longer than ``max_block_bytes``. digest: not what its digest
    says. damaged: a stretch of the file that holds no record.
    """

    def __init__(self, path: Path, max_block_bytes: int, verify_digests: bool = True) -> None:
        self.path = path
        self.lost: Counter[str] = Counter()
        self.first_lost: str | None = None
        self._max_block_bytes = max_block_bytes
        self._verify_digests = verify_digests

    def records(self, kind: WarcRecordType) -> Iterator[Record]:
        """Yield the records of one type. Raises OSError where the file cannot be opened."""
        with self.path.open("rb") as file:
            start: int | None = 0
            restarts = 0
            while start is not None:
                file.seek(start)
                start = yield from self._records_from(file, start, kind, counted=restarts > 0)
                restarts += 1
                if restarts > _MOST_RESTARTS:
                    self.lose("damaged", f"more than {_MOST_RESTARTS} places, the last before byte {start}")
                    return

    def lose(self, reason: str, what: str) -> None:
        """Count something as lost."""
        self.lost[reason] += 1
        self.first_lost = self.first_lost or f"{reason}: {what}"

    def _records_from(
        self, file: BinaryIO, start: int, kind: WarcRecordType, counted: bool
    ) -> Generator[Record, None, int | None]:
        """Yield records up to where the archive is damaged; return where to go on, None at its end.

        ``counted`` says that the damage before ``start`` has been counted: trying in vain to go on is no new damage.
        """
        position = start
        passed_over = False
        try:
            for record in ArchiveIterator(file, parse_http=False):
                position, counted, passed_over = record.stream_pos, False, True
                if record.record_type == WarcRecordType.unknown:
                    self.lose("damaged", f"at byte {position}: a record of no known type")
                if record.record_type != kind:
                    continue
                target = record.headers.get("WARC-Target-URI") or f"record at byte {position}"
                if record.content_length > self._max_block_bytes:
                    self.lose("too_large", target)
                    continue
                declared, passed_over = record.content_length, False
                record.freeze()
                if record.content_length < declared:
                    self.lose("truncated", target)
                    return _next_beginning(file, position + 1)
                block = record.reader.read()
                if self._verify_digests and not _fits_digest(record, block):
                    self.lose("digest", target)
                    continue
                yield Record({name.lower(): value for name, value in record.headers.items()}, block)
        except OSError as error:
            if not counted:
                self.lose("damaged", f"after byte {position}: {error}"[:300])
            return _next_beginning(file, position + 1)
        # a record whose length is wrong, passed over, takes what follows with it
        following = _next_beginning(file, position + 1) if passed_over else None
        if following is None and not counted and _is_torn(file, position):
            self.lose("truncated", f"after byte {position}: the file ends within a record")
        return following


def _fits_digest(record: WarcRecord, block: bytes) -> bool:
    """Return whether the block is what WARC-Block-Digest says; one that is missing or of no known form says nothing."""
    name, _, expected = (record.headers.get("WARC-Block-Digest") or "").partition(":")
    if name.lower() not in ("sha1", "sha256", "md5"):
        return True
    digest = hashlib.new(name.lower(), block, usedforsecurity=False).digest()
    return expected.strip().lower() in (base64.b32encode(digest).decode().lower(), digest.hex())


def _next_beginning(file: BinaryIO, position: int) -> int | None:
    """Return where the next record may begin, at ``position`` or after it."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        match = _BEGINNING.search(data, position)
        return match.start() if match else None


def _is_torn(file: BinaryIO, position: int) -> bool:
    """Return whether the file breaks off in the last record, which begins at ``position``, or in one behind it."""
    size = os.fstat(file.fileno()).st_size
    if not size:
        return False
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[position : position + 2] == b"\x1f\x8b"[: size - position]:
            return _ends_within_member(data, position)
        end = data.find(b"\r\n\r\n", position)
        length = _HEAD_LENGTH.search(data, position, max(end, position))
        return end < 0 or length is None or bool(data[end + 4 + int(length[1]) :].strip())


def _ends_within_member(data: mmap.mmap, position: int) -> bool:
    """Return whether the gzip members from ``position`` on do not end where the file does."""
    inflate = zlib.decompressobj(31)
    unfinished = False
    try:
        for start in range(position, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            while piece:
                inflate.decompress(piece)
                unfinished = not inflate.eof
                if unfinished:
                    break
                piece, inflate = inflate.unused_data, zlib.decompressobj(31)
    except zlib.error:
        return True
    return unfinished
