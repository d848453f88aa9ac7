"""Checkpoints of a job in progress: whole or absent, and refused where they belong to another run."""

import os
from pathlib import Path
from typing import Any

import torch


class CheckpointMismatchError(RuntimeError):
    """The checkpoint in the output directory was written under another configuration."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` (tensors and JSON types) through a temporary name and a rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def load_checkpoint(path: Path, run: dict[str, Any]) -> dict[str, Any] | None:
    """Return the state at ``path``, or None where there is none.

    Raises CheckpointMismatchError where its ``run`` (configuration and seed) differs from the one given.
    """
    if not path.exists():
        return None
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state["run"] != run:
        changed = sorted(key for key in run.keys() | state["run"].keys() if run.get(key) != state["run"].get(key))
        raise CheckpointMismatchError(f"{path} was written under another {', '.join(changed)}: delete it to start anew")
    return state
