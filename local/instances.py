"""Instances of the app that share Marketo's limits, in virtual time: what they call, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from pydantic import SecretStr

from local.virtual import MemoryState, MemoryTable, Time
from shared.config.settings import MarketoSettings
from shared.marketo.auth import MarketoAuth
from shared.marketo.client import MarketoClient
from shared.marketo.limiter import Pacer
from shared.marketo.quota import Budget
from shared.model.errors import MarketoError

#: Ten in the morning in Chicago.
MORNING = datetime(2026, 3, 4, 16, 0, tzinfo=UTC)


def settings_with(
    *, calls: int = 50, concurrency: int = 5, daily: int = 50_000, allowed: int = 30_000
) -> MarketoSettings:
    """The settings of an app that has these limits, and nothing else."""
    share = (allowed + 0.5) / daily  # of which the app takes the whole calls
    return MarketoSettings.model_construct(
        calls_per_20_seconds=calls, concurrency=concurrency, daily_calls=daily, daily_share=share
    )


class Instances:
    """Processes that share one table: each has a budget, a pacer and a client of a Marketo that `answer` plays.

    `began`: when each call began, in seconds since the start. `most`: calls that ran at a time.
    """

    def __init__(
        self,
        number: int,
        *,
        calls: int = 50,
        concurrency: int = 5,
        daily: int = 50_000,
        allowed: int = 30_000,
        time: Time | None = None,
    ) -> None:
        self.time = time or Time(MORNING)
        self.run = self.time.run
        self.table = MemoryTable()
        self.limits = settings_with(calls=calls, concurrency=concurrency, daily=daily, allowed=allowed)
        self.answer: Callable[[str], dict[str, Any]] = lambda _path: {"success": True, "result": []}
        self.began: list[float] = []
        self.paths: list[str] = []
        self.running = 0
        self.most = 0
        self.budgets: list[Budget] = []
        self.clients: list[MarketoClient] = []
        self._pacers: list[Pacer] = []
        for _ in range(number):
            self.start()

    def start(self, *, operator: bool = False, ahead: timedelta = timedelta()) -> int:
        """Start one more, whose clock is `ahead`, and return its number."""
        number, clock, sleep = len(self.budgets), self.time.clock, asyncio.sleep

        def now() -> datetime:
            return self.time.now() + ahead

        budget = Budget(MemoryState(self.table), self.limits, instance_id=f"i{number}", now=now, operator=operator)
        rate, places = self.limits.calls_per_20_seconds, self.limits.concurrency
        pacer = Pacer(rate, places, clock=clock, sleep=sleep, budget=budget)
        http: Any = self
        auth = MarketoAuth(http, "id", SecretStr("secret"), clock=clock, sleep=sleep)
        self.budgets.append(budget)
        self._pacers.append(pacer)
        self.clients.append(MarketoClient(http, auth, pacer, clock=clock, sleep=sleep, budget=budget))
        return number

    async def call(self, number: int, takes: float = 0.0) -> None:
        """Make one call that takes so many seconds. Raises MarketoError while the budget is closed."""
        async with self._pacers[number].admitted():
            with self._runs():
                await asyncio.sleep(takes)

    async def calls(self, number: int, count: int, takes: float = 0.0) -> None:
        """Make calls, as many at a time as may be."""
        await asyncio.gather(*(self.call(number, takes) for _ in range(count)))

    async def until_refused(self, number: int) -> MarketoError:
        """Make calls, one after the other, until the budget refuses one."""
        while True:
            try:
                await self.call(number)
            except MarketoError as error:
                return error

    async def ask(self, number: int) -> dict[str, Any]:
        """Make a call of the client."""
        return await self.clients[number].get("/rest/v1/anything.json")

    async def post(self, url: str, **_: Any) -> httpx.Response:
        """Marketo's identity."""
        answer = {"access_token": "token", "expires_in": 3600}
        return httpx.Response(200, json=answer, request=httpx.Request("POST", f"https://marketo{url}"))

    async def request(self, _method: str, path: str, **_: Any) -> httpx.Response:
        """Marketo."""
        self.paths.append(path)
        with self._runs():
            await asyncio.sleep(0)
        return httpx.Response(200, json=self.answer(path))

    @contextmanager
    def _runs(self) -> Iterator[None]:
        self.began.append(self.time.passed)
        self.running += 1
        self.most = max(self.most, self.running)
        yield
        self.running -= 1
