"""The registry of models: which of those that were trained are in use, and since when.

A model is an artifact and needs no entry. What a person decides, its stage, is one event in ``models/registry.json``:
an append-only list, replaced whole or not at all. A model's stage is that of its last event.
"""

import json
import os
import time
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from t2i_assets.corpus.artifacts import MissingArtifactError, locked
from t2i_assets.corpus.catalog import QueryError, build_catalog, query
from t2i_assets.corpus.home import Home

Stage = Literal["none", "staging", "production", "archived"]
STAGES: tuple[str, ...] = get_args(Stage)
NAMED_IN_ERRORS = 10


class Event(BaseModel):
    """A model got a stage."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int = Field(description="Place in the history, from 0.")
    changed_at: float = Field(description="When, in seconds since 1970.")
    digest: str = Field(description="Digest of the model.")
    kind: str = Field(description="Asset that it is.")
    partition: str = Field(description="Recipe; '_' where the asset has no partitions.")
    was: Stage = Field(description="Stage before.")
    stage: Stage = Field(description="Stage from then on.")
    instead_of: str | None = Field(default=None, description="Digest of the model that took its place, if one did.")


class ModelChoiceError(MissingArtifactError):
    """No model goes by a digest, or several do; the message names those there are."""


def list_models(home: Home, kind: str | None = None) -> list[dict[str, Any]]:
    """Return the rows of the view ``registry``, kind by kind, newest first; ``config`` and ``summary`` as objects.

    Raises ModelChoiceError where there is no model of ``kind``.
    """
    rows = _rows(home, "FROM registry ORDER BY kind, partition, created DESC, digest")
    for row in rows:
        row["config"], row["summary"] = json.loads(row["config"]), json.loads(row["summary"])
    if kind is None:
        return rows
    chosen = [row for row in rows if row["kind"] == kind]
    if not chosen:
        kinds = ", ".join(sorted({row["kind"] for row in rows})) or "none"
        raise ModelChoiceError(f"there is no model of kind {kind!r} in {home.root}: it has {kinds}")
    return chosen


def find_model(home: Home, prefix: str) -> dict[str, Any]:
    """Return the one model whose digest begins with ``prefix``. Raises ModelChoiceError, naming candidates."""
    rows = list_models(home)
    found = [row for row in rows if row["digest"].startswith(prefix)]
    if len(found) == 1:
        return found[0]
    problem = (
        f"{len(found)} models have a digest that begins with" if found else "no model has a digest that begins with"
    )
    candidates = found or rows
    named = [f"  {row['digest']}  {row['kind']}  {row['partition']}" for row in candidates[:NAMED_IN_ERRORS]]
    if len(candidates) > NAMED_IN_ERRORS:
        named.append(f"  … and {len(candidates) - NAMED_IN_ERRORS} more: t2i models list")
    heading = "candidates" if found else f"those in {home.root}"
    raise ModelChoiceError("\n".join([f"{problem} {prefix!r}; {heading}:", *(named or ["  none"])]))


def promote(home: Home, prefix: str, stage: Stage) -> list[Event]:
    """Give the model whose digest begins with ``prefix`` a stage; return the events, none where it has that stage.

    Of a kind and recipe one model is in production: the one before it is archived in the same write.
    """
    model = find_model(home, prefix)
    with locked(home.registry):
        history = read_history(home)
        stages = {event.digest: event for event in history}
        now, own = time.time(), stages.get(model["digest"])
        was: Stage = "none" if own is None else own.stage
        if was == stage:
            return []
        new: list[Event] = []
        same = {"kind": model["kind"], "partition": model["partition"]}
        former = [
            event
            for event in stages.values()
            if stage == "production" and event.stage == "production" and event.model_dump(include=set(same)) == same
        ]
        for event in former:
            new.append(
                Event(
                    number=len(history) + len(new),
                    changed_at=now,
                    digest=event.digest,
                    **same,
                    was="production",
                    stage="archived",
                    instead_of=model["digest"],
                )
            )
        new.append(
            Event(number=len(history) + len(new), changed_at=now, digest=model["digest"], **same, was=was, stage=stage)
        )
        _write(home.registry, [*history, *new])
    return new


def read_history(home: Home) -> list[Event]:
    """Return every event, oldest first."""
    if not home.registry.exists():
        return []
    return TypeAdapter(list[Event]).validate_json(home.registry.read_text())


def scores(home: Home) -> dict[str, list[dict[str, Any]]]:
    """Return what was scored of each model, by digest: metric, style, value, the interval (low, high) or null, and n.

    From the leaderboard; of a model that is on none, means of its scores.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for row in _rows(home, _SCORES):
        found.setdefault(row.pop("model"), []).append(row)
    return found


_SCORES = """
WITH ranked AS (FROM leaderboard WHERE current AND baseline IS NULL AND model IS NOT NULL)
SELECT model, metric, style, value, low, high, n FROM ranked
UNION ALL BY NAME
SELECT model, metric, style, avg(value) AS value, count(*) AS n FROM evals
WHERE current AND model IS NOT NULL AND model NOT IN (SELECT model FROM ranked) AND NOT contains(metric, '/')
GROUP BY ALL ORDER BY ALL
"""


def _rows(home: Home, sql: str) -> list[dict[str, Any]]:
    try:
        table = query(home, sql)
    except QueryError:  # no catalog yet, or one of before this view
        build_catalog(home)
        table = query(home, sql)
    rows: list[dict[str, Any]] = table.to_pylist(maps_as_pydicts="strict")
    return rows


def _write(path: Path, history: list[Event]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps([event.model_dump(mode="json") for event in history], indent=1))
    temporary.replace(path)
