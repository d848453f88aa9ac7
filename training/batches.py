"""The batches of a run in the order of its steps, made ahead by background threads where that is asked for.

What a batch holds depends on the number of its step alone: neither the number of threads nor that of processes changes
which samples, and which captions of them, a step sees.
"""

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, runtime_checkable

import numpy as np

from training.schedule import samples_of_step

AHEAD = 2  # batches per thread that are made before they are due

Batch = dict[str, Any]


class Data(Protocol):
    """Samples by index. ``batch`` returns tensors and ``keys``, the list of sample keys.

    It follows from its arguments alone and may be called by several threads at once.
    """

    def __len__(self) -> int: ...

    def batch(self, indices: np.ndarray, epochs: np.ndarray) -> Batch: ...


@runtime_checkable
class OrderedData(Data, Protocol):
    """Data that says itself which samples a step has, such as where those of a step must be of one shape."""

    def samples_of_step(self, seed: int, step: int, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the sample indices of a step and the epoch of each, both [batch_size]."""


def batches_of_steps(
    data: Data,
    steps: range,
    batch_size: int,
    seed: int,
    rank: int = 0,
    ranks: int = 1,
    parts: int = 1,
    workers: int = 0,
) -> Generator[list[Batch], None, None]:
    """Yield, step by step, what process ``rank`` of ``ranks`` trains on: ``parts`` batches of equal size.

    Together the processes' parts are the samples of the step, in order. Raises ValueError where they cannot be equal.
    """
    if batch_size % (ranks * parts):
        raise ValueError(
            f"batch_size {batch_size} cannot be parted evenly: it must be a multiple of {ranks} processes "
            f"times accumulate {parts}"
        )
    size = batch_size // (ranks * parts)

    def of_step(step: int) -> list[Batch]:
        if isinstance(data, OrderedData):
            indices, epochs = data.samples_of_step(seed, step, batch_size)
        else:
            indices, epochs = samples_of_step(seed, step, batch_size, len(data))
        starts = range(rank * parts * size, (rank + 1) * parts * size, size)
        return [data.batch(indices[start : start + size], epochs[start : start + size]) for start in starts]

    if workers == 0:
        yield from map(of_step, steps)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="batches") as pool:
        ahead: deque[Future[list[Batch]]] = deque()
        try:
            for step in steps:
                ahead.append(pool.submit(of_step, step))
                if len(ahead) > AHEAD * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
