"""The memory of a process and all that it started, sampled from /proc while it runs."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Self


class PeakMemory:
    """Samples the proportional set size of a process tree; ``peak_bytes`` is the most that was seen. Linux only."""

    def __init__(self, process_id: int, every_seconds: float = 0.2) -> None:
        self.peak_bytes = 0
        self._process_id = process_id
        self._every = every_seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        while not self._over.wait(self._every):
            self.peak_bytes = max(self.peak_bytes, sum(map(_pss, _tree(self._process_id))))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()


def _tree(process_id: int) -> list[int]:
    found = [process_id]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*"):
            try:
                found += map(int, (task / "children").read_text().split())
            except OSError:
                continue  # it ended meanwhile
    return found


def _pss(process_id: int) -> int:
    try:
        for line in Path(f"/proc/{process_id}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        return 0  # it ended meanwhile
    return 0
