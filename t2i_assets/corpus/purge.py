"""Purges: samples that must go are taken out of every artifact of the home, and what learned from them is marked.

A purge is a plan (``purges/<name>/plan.json``) that is carried out: one that was killed is carried out again. Plans
stay, for they keep what was purged from coming back (``suppression``).
"""

import json
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from t2i_assets.corpus.artifacts import Artifact, read_artifact
from t2i_assets.corpus.digests import digest
from t2i_assets.corpus.home import Home
from t2i_assets.corpus.purge_files import Victims, purge_artifact, purge_ledgers
from t2i_assets.corpus.schemas import LEDGER, PURGES, SAMPLES, TAINTED
from t2i_assets.corpus.suppression import Suppression
from t2i_assets.corpus.tables import read_rows, write_table
from t2i_assets.corpus.views import MANIFEST_GLOBS


@dataclass(frozen=True)
class Purge:
    """One purge: its directory and what its plan says."""

    path: Path
    plan: Mapping[str, Any]

    @property
    def done(self) -> bool:
        return (self.path / "done.json").exists()


def plan_purge(home: Home, rules: Iterable[tuple[str, str]], reason: str) -> Purge:
    """Find what the rules, as (key, host or url; value), match and what was trained on it; nothing is written."""
    wanted = [{"kind": kind, "value": value} for kind, value in sorted(set(rules))]
    by_kind = {kind: frozenset(r["value"] for r in wanted if r["kind"] == kind) for kind in ("key", "url", "host")}
    wish = Suppression(by_kind["key"], by_kind["url"], by_kind["host"])
    artifacts = _artifacts(home)
    samples: dict[tuple[str, str], dict[str, Any]] = {}
    for artifact in artifacts:
        for row in _sample_rows(artifact.path):
            rule = wish.rule(url=row["image_url"], key=row["key"])
            rule = rule or next((found for page in row["pages"] if (found := wish.rule(url=page))), None)
            if rule:
                samples[row["snapshot"], row["key"]] = {**row, "rule": rule}
    keys = frozenset(key for _, key in samples)
    image_urls, spared = _addresses(home, artifacts, keys | by_kind["key"])
    image_urls |= {row["image_url"] for row in samples.values()}
    now = time.time()
    name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now)) + "-" + digest(wanted)
    plan = {
        "name": name,
        "rules": wanted,
        "reason": reason,
        "purged_at": now,
        "samples": [samples[place] for place in sorted(samples)],
        "image_urls": sorted(image_urls),
        "spared": sorted(place for place in spared if place[1] in image_urls),
        "tainted": _tainted(home, artifacts, keys),
        "identities": {a.identity: a.path.relative_to(home.root).as_posix() for a in artifacts},
    }
    return Purge(home.purges / name, plan)


def carry_out(home: Home, purge: Purge) -> None:
    """Write the plan, take out what it names, mark the models and record it; safe to run again after a kill."""
    purge.path.mkdir(parents=True, exist_ok=True)
    _write_json(purge.path / "plan.json", purge.plan)
    victims = _victims(purge.plan)
    tainted_places = {home.root / row["path"] for row in purge.plan["tainted"]}
    for path in _artifact_places(home):
        purge_artifact(path, victims, show_nothing=path in tainted_places)
    purge_ledgers(home, victims)
    home.report.unlink(missing_ok=True)
    shutil.rmtree(home.root / "tics", ignore_errors=True)  # texts that several captions share stand there without keys
    about = {"purge": purge.plan["name"], "reason": purge.plan["reason"], "purged_at": purge.plan["purged_at"]}
    rows = [{**about, **{name: row[name] for name in ("snapshot", "key", "rule")}} for row in purge.plan["samples"]]
    write_table(purge.path / "purges.parquet", rows, PURGES)
    tainted = [{"purge": purge.plan["name"], **row} for row in purge.plan["tainted"]]
    write_table(purge.path / "tainted.parquet", tainted, TAINTED)
    for row in tainted:
        if (home.root / row["path"]).is_dir():
            _write_json(home.root / row["path"] / "tainted.json", row)
    _write_json(purge.path / "done.json", {"done": time.time()})


def list_purges(home: Home) -> list[Purge]:
    """Return every purge of the home, oldest first, unfinished ones included."""
    plans = sorted(home.purges.glob("[!.]*/plan.json"))
    return [Purge(plan.parent, json.loads(plan.read_text())) for plan in plans]


def _victims(plan: Mapping[str, Any]) -> Victims:
    by_kind = {
        kind: frozenset(r["value"] for r in plan["rules"] if r["kind"] == kind) for kind in ("key", "url", "host")
    }
    keys = frozenset(row["key"] for row in plan["samples"]) | by_kind["key"]
    pages = frozenset(page for row in plan["samples"] for page in row["pages"])
    spared = frozenset((snapshot, url) for snapshot, url in plan["spared"])
    wish = Suppression(keys, by_kind["url"], by_kind["host"])
    return Victims(wish, pages, frozenset(plan["image_urls"]), spared)


def _addresses(home: Home, artifacts: list[Artifact], keys: frozenset[str]) -> tuple[set[str], set[tuple[str, str]]]:
    """Return every URL that gave one of ``keys``, and the (snapshot, URL) at which another image stood."""
    files = set(home.root.glob("ledger/*/*.parquet"))
    files |= {file for artifact in artifacts for file in artifact.path.rglob("*.parquet")}
    ours: set[str] = set()
    others: set[tuple[str, str]] = set()
    for file in sorted(files):
        if {"url", "status", "etag"} <= set(pq.read_schema(file).names):
            for row in read_rows(file, LEDGER, ["snapshot", "url", "key"]):
                if row["key"] in keys:
                    ours.add(row["url"])
                elif row["key"]:
                    others.add((row["snapshot"], row["url"]))
    return ours, others


def _artifacts(home: Home) -> list[Artifact]:
    places = [manifest.parent for glob in MANIFEST_GLOBS for manifest in sorted(home.root.glob(glob))]
    return [artifact for place in places if (artifact := read_artifact(place)) is not None]


def _artifact_places(home: Home) -> list[Path]:
    """Return every place of an artifact, those that a killed job left under a hidden name only included."""
    places = {artifact.path for artifact in _artifacts(home)}
    for depth in (1, 2):
        for hidden in home.root.glob("[!.]*/" * depth + ".*"):
            if hidden.is_dir() and hidden.suffix == ".partial":
                places.add(hidden.parent / hidden.name[1:].removesuffix(".partial").rpartition(".")[0])
            elif hidden.is_dir() and hidden.suffix == ".old":
                places.add(hidden.parent / hidden.name[1:].removesuffix(".old"))
    return sorted(places)


def _sample_rows(directory: Path) -> Iterable[dict[str, Any]]:
    for file in sorted(directory.glob("[0-9]*.parquet")):
        if {"image_sha256", "image_url"} <= set(pq.read_schema(file).names):
            for row in read_rows(file, SAMPLES, ["snapshot", "key", "image_url", "page_url", "texts"]):
                texts = row.pop("texts") or ()
                pages = {row["page_url"], *(text["page_url"] for text in texts)} - {None}
                yield {**row, "pages": sorted(pages)}


def _tainted(home: Home, artifacts: list[Artifact], keys: frozenset[str]) -> list[dict[str, Any]]:
    """Return the models, and what was made with them, that stand on ``keys``, through the manifests' inputs."""
    known = {artifact.identity: artifact for artifact in artifacts}
    by_path = {artifact.path: artifact for artifact in artifacts}
    for purge in list_purges(home):
        for identity, place in purge.plan["identities"].items():
            if home.root / place in by_path:
                known.setdefault(identity, by_path[home.root / place])
    stood_on: dict[Path, frozenset[str]] = {}

    def keys_of(artifact: Artifact) -> frozenset[str]:
        if artifact.path not in stood_on:
            stood_on[artifact.path] = frozenset()
            kind = artifact.path.relative_to(home.root).parts[0]
            inputs = [known[identity] for identity in artifact.manifest.inputs.values() if identity in known]
            blends = [source for source in inputs if "blends" in source.path.parts]
            models = [source for source in inputs if "models" in source.path.parts]
            sources = [*blends, *models] if blends else inputs
            if kind in {"models", "evals"}:
                stood_on[artifact.path] = frozenset().union(*map(keys_of, sources))
            else:
                stood_on[artifact.path] = _keys_in(artifact.path) & keys
        return stood_on[artifact.path]

    made = [a for a in artifacts if a.path.relative_to(home.root).parts[0] in {"models", "evals"} and keys_of(a)]
    return [
        {
            "path": artifact.path.relative_to(home.root).as_posix(),
            "asset": artifact.manifest.asset,
            "digest": artifact.digest,
            "samples": len(keys_of(artifact)),
        }
        for artifact in made
    ]


def _keys_in(directory: Path) -> frozenset[str]:
    tables = [file for file in directory.rglob("*.parquet") if "key" in pq.read_schema(file).names]
    columns = [pq.read_table(file, columns=["key"]).column("key") for file in tables]
    return frozenset(key for column in columns for key in column.unique().to_pylist())


def _write_json(path: Path, value: Any) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")
    temporary.replace(path)
