"""One function, run in child processes that may die: what the web sends is decoded where it can do no harm.

A decoder that crashes, grows without end or never returns takes its child with it, not the crawl. A child talks over a
socket in frames: eight bytes of length, then a pickle.
"""

import asyncio
import contextlib
import importlib
import os
import pickle
import resource
import signal
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self

FRAME = struct.Struct(">Q")
_AHEAD = 2
"""Calls that a child holds at once, so that it need not wait for the parent between them."""

OUT_OF_TIME = signal.SIGPROF
"""What the timer of CPU time sends; nobody handles it, so that it ends code in any language."""
_PATIENCE = 12
"""Seconds by the clock that a call may take for each second of CPU time."""

Failure = Literal["died", "memory", "timeout"]


class WorkerFailedError(RuntimeError):
    """A call that cost its child the life; ``kind`` says how."""

    def __init__(self, kind: Failure, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


@dataclass
class _Call:
    frame: bytes
    result: "asyncio.Future[Any]"


class Workers:
    """A pool of ``count`` children for one importable ``function``; calling it runs the function in one of them.

    ``constants`` are its last arguments in every call, sent once; ``seconds`` is the limit of one call in CPU time,
    which a busy machine does not shorten (a call that waits instead has _PATIENCE times as long by the clock),
    ``memory_bytes`` what a child may take beyond what it needs to start. Use as an async context manager.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        count: int,
        *,
        constants: tuple[Any, ...] = (),
        seconds: float = 30.0,
        memory_bytes: int = 1 << 30,
    ) -> None:
        self._name = f"{function.__module__}:{function.__qualname__}"
        self._constants = _frame(constants)
        self._count = count
        self._seconds = seconds
        self._memory_bytes = memory_bytes
        self._calls: asyncio.Queue[_Call] = asyncio.Queue()
        self._children: list[_Child] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        limits = (self._memory_bytes, self._seconds)
        self._children = [_Child(self._name, self._constants, *limits) for _ in range(self._count)]
        self._tasks = [asyncio.create_task(child.work(self._calls)) for child in self._children]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for child in self._children:
            child.end()

    async def __call__(self, *args: Any) -> Any:
        """Return ``function(*args, *constants)``; raises what it raises.

        Raises WorkerFailedError where the child did not survive it.
        """
        call = _Call(_frame(args), asyncio.get_running_loop().create_future())
        self._calls.put_nowait(call)
        return await call.result

    @property
    def process_ids(self) -> list[int]:
        """The children as they are now."""
        return [child.process.pid for child in self._children]


@dataclass
class _Child:
    name: str
    constants: bytes
    memory_bytes: int
    seconds: float
    held: deque[_Call] = field(default_factory=deque)
    unsent: memoryview = field(default_factory=lambda: memoryview(b""))

    def __post_init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self.socket, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    __name__,
                    self.name,
                    *map(str, (theirs.fileno(), self.memory_bytes, self.seconds)),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
        self.socket.sendall(self.constants)
        self.socket.setblocking(False)

    def end(self) -> None:
        self.socket.close()
        self.process.kill()
        self.process.wait()

    async def work(self, calls: "asyncio.Queue[_Call]") -> None:
        """Take calls for ever; a child that is lost is replaced, and what it had not begun is given to the next."""
        while True:
            first = None if self.held else await calls.get()
            try:
                async with asyncio.timeout(_PATIENCE * self.seconds):
                    if first is not None:
                        self._begin_to_send(first)
                    await self._send_the_rest()
                    while len(self.held) < _AHEAD and not self.unsent and not calls.empty():
                        self._begin_to_send(calls.get_nowait())
                    done, value = await self._receive()
            except TimeoutError:
                self._replace(WorkerFailedError("timeout", f"no answer within {_PATIENCE * self.seconds:g} s"))
                continue
            except (EOFError, OSError):
                self._replace(self._obituary())
                continue
            self._settle(done, value)
            if done == _Outcome.OUT_OF_MEMORY:
                self._replace(None)  # what is left of it may lack the memory for the next call

    def _settle(self, done: int, value: Any) -> None:
        call = self.held.popleft()
        if call.result.done():
            return
        if done == _Outcome.RETURNED:
            call.result.set_result(value)
        elif done == _Outcome.RAISED:
            call.result.set_exception(value)
        else:
            limit = f"more than {self.memory_bytes >> 20} MiB"
            call.result.set_exception(WorkerFailedError("memory", f"needs {limit} of memory"))

    def _begin_to_send(self, call: _Call) -> None:
        """Send what fits into the socket now: a child that is busy sending its result must not be waited for."""
        self.held.append(call)
        sent = 0
        with contextlib.suppress(OSError):  # a child that is gone is noticed when it is listened to
            sent = self.socket.send(call.frame)
        self.unsent = memoryview(call.frame)[sent:]

    async def _send_the_rest(self) -> None:
        """Send what did not fit; the child has nothing else to do than to read it."""
        rest, self.unsent = self.unsent, memoryview(b"")
        if rest:
            with contextlib.suppress(OSError):
                await asyncio.get_running_loop().sock_sendall(self.socket, rest)

    async def _receive(self) -> tuple[int, Any]:
        loop = asyncio.get_running_loop()
        head = await self._receive_exactly(loop, FRAME.size)
        done, value = pickle.loads(await self._receive_exactly(loop, FRAME.unpack(head)[0]))
        return done, value

    async def _receive_exactly(self, loop: asyncio.AbstractEventLoop, size: int) -> bytearray:
        data = bytearray(size)
        view, filled = memoryview(data), 0
        while filled < size:
            count = await loop.sock_recv_into(self.socket, view[filled:])
            if not count:
                raise EOFError
            filled += count
        return data

    def _replace(self, failure: WorkerFailedError | None) -> None:
        self.end()
        if failure is not None and not self.held[0].result.done():
            self.held[0].result.set_exception(failure)
        if failure is not None:
            self.held.popleft()
        calls, self.held, self.unsent = self.held, deque(), memoryview(b"")
        self._start()
        for call in calls:
            self._begin_to_send(call)

    def _obituary(self) -> WorkerFailedError:
        code = self.process.wait()
        if code == -OUT_OF_TIME:
            return WorkerFailedError("timeout", f"not done within {self.seconds:g} s of CPU time")
        how = f"the decoding process ended by {signal.Signals(-code).name}" if code < 0 else f"it ended with {code}"
        return WorkerFailedError("died", how)


class _Outcome:
    RETURNED, RAISED, OUT_OF_MEMORY = range(3)


def _frame(value: Any) -> bytes:
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return FRAME.pack(len(data)) + data


def _serve(name: str, descriptor: str, memory_bytes: str, seconds: str) -> None:
    """Answer calls until the parent hangs up; OUT_OF_TIME ends this process, whatever it is in the middle of."""
    module, _, attribute = name.partition(":")
    function = getattr(importlib.import_module(module), attribute)
    _limit_memory(int(memory_bytes))
    with socket.socket(fileno=int(descriptor)) as parent, parent.makefile("rb") as frames:
        constants = _read(frames, frames.read(FRAME.size))
        while head := frames.read(FRAME.size):
            args = _read(frames, head)
            signal.setitimer(signal.ITIMER_PROF, float(seconds))
            try:
                answer = _frame((_Outcome.RETURNED, function(*args, *constants)))
            except MemoryError:
                answer = _frame((_Outcome.OUT_OF_MEMORY, None))
            except Exception as error:  # noqa: BLE001 - it is the caller's, who gets it
                answer = _frame((_Outcome.RAISED, error))
            signal.setitimer(signal.ITIMER_PROF, 0)
            parent.sendall(answer)


def _read(frames: BinaryIO, head: bytes) -> Any:
    return pickle.loads(frames.read(FRAME.unpack(head)[0]))


def _limit_memory(more: int) -> None:
    """Let this process map ``more`` bytes beyond what it maps now; where the system cannot tell, set no limit."""
    try:
        with open("/proc/self/statm") as file:
            mapped = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (mapped + more, mapped + more))


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        _serve(*sys.argv[1:])
