"""What a purge does to files: rows go from tables, members from tars, and everything else keeps its bytes."""

import json
import os
import shutil
import sqlite3
import tarfile
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from t2i_assets.corpus.artifacts import locked, read_artifact, recover, swap
from t2i_assets.corpus.digests import tree_digest
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.schemas import SAMPLES
from t2i_assets.corpus.shards import TarWriter
from t2i_assets.corpus.suppression import Suppression
from t2i_assets.corpus.tables import as_table, write_table

LEDGER_CLEARED = ("etag", "last_modified", "sha256")
_TELLING = ("key", "cluster", "image_url", "url", "final_url", "page_url", "snapshot")
_SHOWING_SAMPLES = ("reconstructions.png", "samples.txt")
"""What a job leaves beside a model to show real images and texts of its data."""


@dataclass(frozen=True)
class Victims:
    """What goes: samples by key, URL and host, the bodies of the pages where their texts stand, and their pairs.

    ``image_urls`` gave a purged image in some snapshot; at those of ``spared``, (snapshot, URL), another one stood.
    """

    rules: Suppression
    pages: frozenset[str]
    image_urls: frozenset[str]
    spared: frozenset[tuple[str, str]]


def purge_artifact(path: Path, victims: Victims, show_nothing: bool = False) -> bool:
    """Take the victims out of one artifact in one rename, drop unfinished tries with them; return whether it changed.

    ``show_nothing`` drops the pictures and texts that a job left to show its data. Waits for the process that is
    making the artifact, as ``publish`` does.
    """
    with locked(path):
        recover(path)
        for partial in path.parent.glob(f".{path.name}.*.partial"):
            if _holds_victims(partial, victims):
                shutil.rmtree(partial)
        artifact = read_artifact(path)
        if artifact is None:
            return False
        stage = path.parent / f".{path.name}.purge.partial"
        shutil.copytree(path, stage, copy_function=os.link)
        changed = [file for file in sorted(stage.rglob("*.parquet")) if _purge_file(file, victims)]
        for shown in (stage / name for name in _SHOWING_SAMPLES if show_nothing):
            if shown.exists():
                shown.unlink()
                changed.append(shown)
        if not changed:
            shutil.rmtree(stage)
            return False
        manifest = artifact.manifest.model_copy(update={"output_digest": tree_digest(stage)})
        (stage / "manifest.json").unlink()
        (stage / "manifest.json").write_text(manifest.model_dump_json(indent=1))
        swap(stage, path)
        return True


def purge_ledgers(home: Home, victims: Victims) -> None:
    """Mark the victims' rows in the ledgers that lie outside of artifacts."""
    for file in sorted((home.root / "ledger").glob("*/*.parquet")):
        _purge_file(file, victims)


def _purge_file(file: Path, victims: Victims) -> bool:
    table = pq.read_table(file)
    names = set(table.column_names)
    if {"url", "status", "etag"} <= names:
        return _mark_ledger(file, table, victims)
    columns = [name for name in _TELLING if name in names]
    if columns in ([], ["snapshot"]) or "attempts" in names:
        return False
    kept = [not _goes(row, victims) for row in table.select(columns).to_pylist()]
    if all(kept):
        return False
    left = table.filter(pa.array(kept))
    if {"shard", "image_offset", "image_sha256"} <= names:
        left = as_table(_rewrite_tar(file, left), SAMPLES)
    write_table(file, left, left.schema)
    return True


def _holds_victims(partial: Path, victims: Victims) -> bool:
    """Whether an unfinished try has a victim in its tables or its journal; our own unfinished copy always goes."""
    if partial.name.endswith(".purge.partial"):
        return True
    try:
        for journal in partial.rglob("journal.sqlite"):
            with closing(sqlite3.connect(journal)) as database:
                for key, text in database.execute("SELECT blob, row FROM outcomes"):
                    row = json.loads(text)
                    urls = {row["url"], row.get("final_url") or row["url"]}
                    if victims.rules.rule(key=key) or any(map(_rule_of(victims), urls)):
                        return True
                    if urls & victims.pages or urls & victims.image_urls:
                        return True
                if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'offers'").fetchone():
                    for (pair,) in database.execute("SELECT pair FROM offers"):
                        row = json.loads(pair)
                        if row["image_url"] in victims.image_urls or _goes(row, victims):
                            return True
        for file in sorted(partial.rglob("*.parquet")):
            table = pq.read_table(file)
            columns = [name for name in _TELLING if name in table.column_names]
            if any(_goes(row, victims) for row in table.select(columns).to_pylist()):
                return True
    except (sqlite3.DatabaseError, pa.ArrowException, OSError):
        return True  # torn: what it holds cannot be told
    return False


def _rule_of(victims: Victims) -> Callable[[str], str | None]:
    return lambda url: victims.rules.rule(url=url)


def _goes(row: dict[str, Any], victims: Victims) -> bool:
    if victims.rules.rule(key=row.get("key")) or victims.rules.rule(key=row.get("cluster")):
        return True
    if victims.pages & {row.get("url"), row.get("final_url")}:
        return True
    is_pair_of_ours = "key" not in row and row.get("image_url") in victims.image_urls
    if is_pair_of_ours and (row.get("snapshot"), row["image_url"]) not in victims.spared:
        return True
    urls = [row.get(name) for name in ("image_url", "url", "final_url", "page_url")]
    return any(victims.rules.rule(url=url) for url in urls if url)


def _mark_ledger(file: Path, table: pa.Table, victims: Victims) -> bool:
    """Keep every row; a purged one says so and can no longer be asked for its changes."""
    rows, changed = table.to_pylist(), False
    for row in rows:
        rule = victims.rules.rule(url=row["url"], key=row["key"]) or victims.rules.rule(url=row["final_url"])
        if rule:
            wanted = {**row, "status": "purged", "detail": f"purged: {rule}", **dict.fromkeys(LEDGER_CLEARED)}
        elif row["url"] in victims.pages:
            wanted = {**row, **dict.fromkeys(LEDGER_CLEARED)}
        else:
            continue
        changed |= wanted != row
        row.update(wanted)
    if changed:
        write_table(file, rows, table.schema)
    return changed


def _rewrite_tar(sidecar: Path, left: pa.Table) -> list[dict[str, Any]]:
    """Write tar and figures anew with the samples that are left, if any; return their rows with the new offsets."""
    rows, tar = left.to_pylist(), TarWriter(sidecar.with_suffix(".tar"))
    with tarfile.open(sidecar.with_suffix(".tar")) as old:
        for row in rows:
            for ext in (row["image_ext"], "txt", "json"):
                member = old.extractfile(f"{row['key']}.{ext}")
                assert member is not None
                offset = tar.add(f"{row['key']}.{ext}", member.read())
                if ext == row["image_ext"]:
                    row["image_offset"] = offset
    tar_bytes, tar_sha256 = tar.close()
    stats_file = sidecar.with_suffix(".json")
    stats = {
        **json.loads(stats_file.read_text()),
        "samples": len(rows),
        "texts": sum(len(row["texts"] or ()) for row in rows),
        "tar_bytes": tar_bytes,
        "tar_sha256": tar_sha256,
        "image_bytes": sum(row["image_bytes"] for row in rows),
        "original_bytes": sum(row["original_bytes"] for row in rows),
        "original_formats": dict(sorted(Counter(row["original_format"] for row in rows).items())),
    }
    stats_file.unlink()
    stats_file.write_text(json.dumps(stats, indent=1) + "\n")
    return rows
