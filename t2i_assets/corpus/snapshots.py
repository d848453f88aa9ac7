"""Names of snapshots: one is the human set's own."""

HUMAN = "human"
"""Stands for a snapshot on the samples of the human set and in the names of its places."""


class SnapshotNameError(ValueError):
    """A snapshot cannot have its name; the message says why."""


def check_snapshot_name(name: str) -> None:
    """Raise SnapshotNameError where a snapshot of this name would lie where the human set does."""
    if name == HUMAN:
        raise SnapshotNameError(f"a snapshot cannot be named {name!r}: that name is the human set's; choose another")
