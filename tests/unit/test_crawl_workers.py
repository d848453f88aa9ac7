"""Child processes that decode: what kills one of them costs one call, and the others never notice."""

import asyncio
import os
import signal
import time
from typing import Any

import pytest

from t2i_assets.crawl.workers import WorkerFailedError, Workers


def act(what: str, constant: int) -> Any:
    """Runs in the child."""
    match what:
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "leave":
            os._exit(3)
        case "grow":
            return len(bytearray(1 << 30))
        case "wait":
            time.sleep(60)
        case "compute":
            while True:
                pass
        case "raise":
            raise ValueError("as told")
        case "process":
            return os.getpid()
    return f"{what} {constant}"


def run(*calls: str, count: int = 2, seconds: float = 20.0) -> list[Any]:
    """Return what the calls gave, made all at once; failures as exceptions."""

    async def all_at_once() -> list[Any]:
        async with Workers(act, count, constants=(7,), seconds=seconds, memory_bytes=256 << 20) as call:
            return await asyncio.gather(*(call(what) for what in calls), return_exceptions=True)

    return asyncio.run(all_at_once())


def test_calls_get_the_constants_and_their_own_results() -> None:
    names = [f"n{i}" for i in range(50)]
    assert run(*names) == [f"{name} 7" for name in names]


def test_an_exception_of_the_function_is_the_callers() -> None:
    (error,) = run("raise")
    assert isinstance(error, ValueError)
    assert str(error) == "as told"


@pytest.mark.parametrize(
    ("what", "kind", "words"),
    [
        ("crash", "died", "SIGSEGV"),
        ("leave", "died", "3"),
        ("grow", "memory", "256 MiB"),
        ("compute", "timeout", "not done within 0.5 s of CPU time"),
        ("wait", "timeout", "no answer within 6 s"),
    ],
)
def test_a_child_that_is_lost_costs_one_call(what: str, kind: str, words: str) -> None:
    results = run("a", what, "b", "c", "d", count=1, seconds=0.5)
    failed = results.pop(1)
    assert isinstance(failed, WorkerFailedError)
    assert failed.kind == kind
    assert words in str(failed)
    assert results == ["a 7", "b 7", "c 7", "d 7"]


def test_a_large_call_passes_while_another_is_held() -> None:
    long = "x" * 5_000_000
    assert run(long, long, long, count=1) == [f"{long} 7"] * 3


def test_no_child_outlives_the_pool() -> None:
    (child,) = run("process", count=1)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
