"""Keeps this process within Marketo's limits: calls per 20 seconds and concurrent calls (marketo.md 2).

Both limits are those of the whole subscription. quota.py shares them, and the daily quota, between all instances; this
limiter works even while the quota cannot be shared. If other clients of the subscription use up the rest, Marketo
answers 606 or 615, and every call of this process waits.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import KW_ONLY, dataclass, field

from .quota import Budget
from .quota_ledger import WINDOW_SECONDS


@dataclass
class Pacer:
    """Admits at most `calls_per_window` calls in any 20 seconds, `concurrency` at a time, if the budget allows."""

    calls_per_window: int
    concurrency: int
    _: KW_ONLY
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    budget: Budget | None = None
    _running: int = field(default=0, init=False)
    _waiting: deque[asyncio.Future[None]] = field(default_factory=deque, init=False)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _started: deque[float] = field(default_factory=deque, init=False)
    _closed_until: float = field(default=0.0, init=False)

    @asynccontextmanager
    async def admitted(self) -> AsyncIterator[None]:
        """Wait for a place, then hold it while the call runs. Raises MarketoError when the budget is closed."""
        await self._place()
        try:
            async with self._turn:
                while (wait := await self._wait()) > 0:
                    await self.sleep(wait)
                self._started.append(self.clock())
            self._let_in()  # the budget may have given more places
            yield
        finally:
            self._leave()

    def close_for(self, seconds: float) -> None:
        """Start no call for so long: Marketo answered 606 or 615."""
        self._closed_until = max(self._closed_until, self.clock() + seconds)

    async def _place(self) -> None:
        """Wait for one of the places, whose number may change, first come first served."""
        place = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        self._let_in()
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():  # it got the place at the same moment
                self._leave()
            raise

    def _let_in(self) -> None:
        places = min(self.concurrency, self.budget.places) if self.budget else self.concurrency
        while self._waiting and (self._waiting[0].done() or self._running < places):
            place = self._waiting.popleft()
            if not place.done():  # otherwise its caller has given up
                self._running += 1
                place.set_result(None)

    def _leave(self) -> None:
        self._running -= 1
        self._let_in()

    async def _wait(self) -> float:
        now = self.clock()
        while self._started and self._started[0] + WINDOW_SECONDS <= now:
            self._started.popleft()
        is_full = len(self._started) >= self.calls_per_window
        full = self._started[-self.calls_per_window] + WINDOW_SECONDS - now if is_full else 0.0
        wait = max(0.0, full, self._closed_until - now)
        return wait or (await self.budget.take(self._running) if self.budget else 0.0)
