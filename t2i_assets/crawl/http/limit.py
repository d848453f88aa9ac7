"""How many requests may be in flight: more while all goes well, fewer as soon as it hurts."""

import asyncio
from collections import deque
from types import TracebackType


class AdaptiveLimit:
    """A semaphore whose size moves between ``least`` and ``most``, where it begins; first come, first served."""

    def __init__(self, most: int, least: int = 1) -> None:
        self.most = most
        self.size = float(most)
        self._least = min(least, most)
        self._in_use = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def idle(self) -> bool:
        return not self._in_use and not self._waiting

    async def __aenter__(self) -> None:
        if self._in_use < int(self.size) and not self._waiting:
            self._in_use += 1
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():  # its turn had come
                self._give_back()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()

    def shrink(self, factor: float) -> None:
        """Multiply the size by ``factor``; who is in stays in."""
        self.size = max(self._least, self.size * factor)

    def grow(self, amount: float) -> None:
        """Add to the size, and let in who has room now."""
        if self.size < self.most:
            self.size = min(self.most, self.size + amount)
            self._let_in()

    def cap(self, most: int) -> None:
        """Set a new upper bound."""
        self.most = most
        self._least = min(self._least, most)
        self.size = min(self.size, most)

    def _give_back(self) -> None:
        self._in_use -= 1
        if self._waiting:
            self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._in_use < int(self.size):
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                self._in_use += 1
