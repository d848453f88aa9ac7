"""What a stretch of code opens and starts, seen through Python's audit events: images read, processes launched."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Watch:
    """Shards opened, by path, and programs started, by name."""

    shards: list[str] = field(default_factory=list)
    programs: list[str] = field(default_factory=list)


_watching: list[Watch] = []


def _see(event: str, arguments: tuple[Any, ...]) -> None:
    for watch in _watching:
        if event == "open" and str(arguments[0]).endswith(".tar"):
            watch.shards.append(str(arguments[0]))
        elif event in ("subprocess.Popen", "os.posix_spawn", "os.exec", "os.fork"):
            watch.programs.append(str(arguments[0] if arguments else event))


sys.addaudithook(_see)


@contextmanager
def watched() -> Iterator[Watch]:
    """Collect what is opened and started until the block ends."""
    watch = Watch()
    _watching.append(watch)
    try:
        yield watch
    finally:
        _watching.remove(watch)
