"""What a run is worth in samples per second, in floating-point operations and in memory."""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

PEAKS = {  # dense bf16 with fp32 sums, and fp32 without tensor cores, TFLOP/s; source: NVIDIA's data sheets
    "NVIDIA A10": (125.0, 31.2),
    "NVIDIA A100-PCIE-40GB": (312.0, 19.5),
    "NVIDIA A100 80GB PCIe": (312.0, 19.5),
    "NVIDIA A100-SXM4-40GB": (312.0, 19.5),
    "NVIDIA A100-SXM4-80GB": (312.0, 19.5),
    "NVIDIA H100 PCIe": (756.0, 51.0),
    "NVIDIA H100 80GB HBM3": (989.0, 67.0),
    "NVIDIA H200": (989.0, 67.0),
    "NVIDIA L4": (121.0, 30.3),
    "NVIDIA L40S": (362.0, 91.6),
}
MEBIBYTE = 2**20


class Meter:
    """Counts the operations of a step once and samples over time; figures are for all processes together."""

    def __init__(self, device: torch.device, precision: str, ranks: int) -> None:
        self.device, self.ranks = device, ranks
        self.flops: int | None = None
        peaks = PEAKS.get(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
        self.peak = None if peaks is None else 1e12 * peaks[precision != "bf16"]
        self.restart()

    def restart(self) -> None:
        """Begin to count samples, and time, from here on."""
        self._started = time.monotonic()
        self._samples = self._steps = 0

    def pause(self, seconds: float) -> None:
        """Take time out that went into something other than training."""
        self._started += seconds

    def add(self, samples: int) -> None:
        """Count a step of ``samples`` samples."""
        self._samples += samples
        self._steps += 1

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count the operations of a step in the block, matrix products and convolutions alone; it takes no time."""
        started = time.monotonic()
        with _FlopCount() as count:
            yield
        self.flops = count.total
        self.pause(time.monotonic() - started)

    def figures(self, step: int) -> dict[str, float]:
        """Return rates since the last ``restart``, the largest memory of one process and what ``step`` steps cost."""
        seconds = max(1e-9, time.monotonic() - self._started)
        figures = {
            "samples_per_second": self._samples / seconds,
            "peak_memory_mib": peak_memory(self.device) / MEBIBYTE,
        }
        if self.flops is not None:
            rate = self.ranks * self.flops * self._steps / seconds
            figures["flops_per_second"] = rate
            figures["total_flops"] = float(self.ranks * self.flops * step)
            if self.peak is not None:
                figures["share_of_peak"] = rate / (self.ranks * self.peak)
        return figures


def peak_memory(device: torch.device) -> int:
    """Return the most bytes that this process held at once: on the GPU where it runs on one, else of its memory."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class _FlopCount(TorchDispatchMode):
    """Adds up operations by torch's own formulas, forward and backward, without changing what is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Tensor:
        result = function(*args, **(kwargs or {}))
        if (formula := flop_registry.get(getattr(function, "_overloadpacket", None))) is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result
