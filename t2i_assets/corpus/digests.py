"""Digests: the names of things that were made, computed from what made them."""

import hashlib
import json
from pathlib import Path
from typing import Any

DIGEST_LENGTH = 16
KEY_LENGTH = 32


def digest(value: Any) -> str:
    """Return 16 hex digits of the sha256 of ``value`` as canonical JSON.

    Raises TypeError where ``value`` is not made of JSON types.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def sample_key(image_bytes: bytes) -> str:
    """Return the key of a sample: 32 hex digits of the sha256 of its original image bytes."""
    return hashlib.sha256(image_bytes).hexdigest()[:KEY_LENGTH]


def caption_id(key: str, source: str, text: str) -> str:
    """Return the name of one caption of one sample, equal for equal texts of one source."""
    return digest([key, source, text])


NOT_CONTENT = frozenset({"manifest.json", "ledger.parquet", "funnel.json", "tainted.json"})


def tree_digest(directory: Path, ignore: frozenset[str] = NOT_CONTENT) -> str:
    """Return the digest of every file below ``directory``: relative names and contents.

    Ledgers and funnels are left out: they tell how the files came, which the same files need not share. So is the
    mark of a purge.
    """
    rows = []
    for path in sorted(p for p in directory.rglob("*") if p.is_file() and p.name not in ignore):
        with path.open("rb") as file:
            rows.append([path.relative_to(directory).as_posix(), hashlib.file_digest(file, "sha256").hexdigest()])
    return digest(rows)
