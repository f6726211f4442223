"""Keeps this process within its share of Marketo's limits: calls per 20 seconds and calls at a time (marketo.md 2).

Both limits belong to the whole subscription. This is one process's part of them; a 606 or 615 still means that others
used up the rest, and then every sender of this process waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

WINDOW_SECONDS = 20.0


class Pacer:
    """Admits calls. `calls_per_window` in any 20 seconds, `concurrency` at a time."""

    def __init__(
        self,
        calls_per_window: int,
        concurrency: int,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._limit = calls_per_window
        self._slots = asyncio.Semaphore(concurrency)
        self._turn = asyncio.Lock()
        self._started: deque[float] = deque()
        self._closed_until = 0.0
        self._clock = clock
        self._sleep = sleep

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """Wait for a place, then hold it while the call runs."""
        async with self._slots:
            async with self._turn:
                while (wait := self._wait()) > 0:
                    await self._sleep(wait)
                self._started.append(self._clock())
            yield

    def close_for(self, seconds: float) -> None:
        """Let nobody start a call for so long: Marketo said 606 or 615."""
        self._closed_until = max(self._closed_until, self._clock() + seconds)

    def _wait(self) -> float:
        now = self._clock()
        while self._started and self._started[0] + WINDOW_SECONDS <= now:
            self._started.popleft()
        full = self._started[-self._limit] + WINDOW_SECONDS - now if len(self._started) >= self._limit else 0.0
        return max(full, self._closed_until - now)
