"""Memory of a process that computes on the CPU."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Have what is freed kept for the next allocation instead of given back; where the C library cannot, do nothing.

    Each step of training frees its activations and takes as much again. glibc gives large blocks back to the system
    and maps them anew, and every page of them is a fault: 3 % of a step at ``tiny``, 10 % at ``small``. The process
    stays as large as it ever was.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)
