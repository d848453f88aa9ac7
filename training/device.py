"""Where a job's model runs, and how data comes to it."""

import dataclasses
from typing import Any, TypeVar

import torch
from torch import Tensor

Value = TypeVar("Value")


def device_for(choice: str) -> torch.device:
    """Return the device that ``auto``, ``cpu`` or ``cuda`` means in this process; each local rank has its own GPU.

    Raises ValueError where CUDA is asked for and there is none.
    """
    if choice == "cpu" or (choice == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise ValueError("device is 'cuda', but torch sees no CUDA GPU here: set it to 'auto' or 'cpu'")
    return torch.device("cuda", torch.distributed.get_node_local_rank(fallback_rank=0))


def moved(value: Value, device: torch.device) -> Value:
    """Return ``value`` with every tensor in it on ``device``: dicts, lists, tuples and dataclasses are gone through."""
    return _moved(value, device)


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {name: _moved(item, device) for name, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_moved(item, device) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(_moved(item, device) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _moved(getattr(value, field.name), device) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    return value
