"""Pacing: never more calls than our share in any 20 seconds, never more at a time, and a closed door holds everyone."""

import asyncio
import heapq
from collections.abc import Awaitable, Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.marketo.limiter import Pacer
from shared.marketo.quota_ledger import WINDOW_SECONDS


class Clock:
    """Time that passes only when every task sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self._count += 1
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, self._count, woken))
        await woken

    async def run(self, *work: Awaitable[None]) -> None:
        """Do all of this work, moving time on to the next sleeper whenever nobody can go on."""
        together = asyncio.gather(*work)
        while not together.done():
            for _ in range(8):
                await asyncio.sleep(0)
            if not together.done() and self._sleepers:
                moment, _, woken = heapq.heappop(self._sleepers)
                self.now = max(self.now, moment)
                woken.set_result(None)
        together.result()


class Calls:
    """Calls through one pacer: when each began, and how many ran at a time."""

    def __init__(self, limit: int, concurrency: int) -> None:
        self.clock = Clock()
        self.pacer = Pacer(limit, concurrency, clock=self.clock, sleep=self.clock.sleep)
        self.began: list[float] = []
        self.running = 0
        self.most = 0

    async def call(self, arrives: float, takes: float, then: Callable[[], None] | None = None) -> None:
        await self.clock.sleep(arrives)
        async with self.pacer.admitted():
            self.began.append(self.clock.now)
            self.running += 1
            self.most = max(self.most, self.running)
            await self.clock.sleep(takes)
            self.running -= 1
            if then:
                then()

    def run(self, *work: Awaitable[None]) -> None:
        async def together() -> None:
            await self.clock.run(*work)

        asyncio.run(together())


arrivals = st.lists(st.tuples(st.floats(0, 60), st.floats(0, 30)), max_size=40)


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(1, 4), arrivals)
def test_the_limits_hold_in_every_window(limit: int, concurrency: int, work: list[tuple[float, float]]) -> None:
    calls = Calls(limit, concurrency)
    calls.run(*(calls.call(arrives, takes) for arrives, takes in work))
    assert len(calls.began) == len(work)
    assert calls.most <= concurrency
    began = sorted(calls.began)
    for first, beyond in zip(began, began[limit:], strict=False):
        assert beyond - first > WINDOW_SECONDS - 1e-6


def test_calls_within_the_share_do_not_wait() -> None:
    calls = Calls(50, 5)
    calls.run(*(calls.call(n * 0.1, 0.05) for n in range(50)))
    assert calls.began == [n * 0.1 for n in range(50)]


def test_the_whole_share_is_used_again_in_each_window() -> None:
    calls = Calls(50, 5)
    calls.run(*(calls.call(0, 0.0) for _ in range(150)))
    assert [calls.began.count(moment) for moment in (0.0, 20.0, 40.0)] == [50, 50, 50]


def test_a_closed_door_holds_everyone_until_it_opens() -> None:
    calls = Calls(50, 5)
    calls.run(
        calls.call(0, 1.0, lambda: calls.pacer.close_for(20.0)),
        *(calls.call(arrives, 0.0) for arrives in (2.0, 10.0, 25.0)),
    )
    assert calls.began == [0.0, 21.0, 21.0, 25.0]


def test_a_later_shorter_closing_does_not_open_the_door_earlier() -> None:
    calls = Calls(50, 5)
    calls.pacer.close_for(20.0)
    calls.pacer.close_for(1.0)
    calls.run(calls.call(0, 0.0))
    assert calls.began == [20.0]


def test_a_call_that_fails_gives_its_place_back() -> None:
    calls = Calls(50, 1)

    def fail() -> None:
        raise ConnectionError

    async def failing() -> None:
        try:
            await calls.call(0, 1.0, fail)
        except ConnectionError:
            calls.running = 0

    calls.run(failing(), calls.call(0.5, 0.0))
    assert calls.began == [0.0, 1.0]


async def test_who_gives_up_waiting_takes_nobodys_place() -> None:
    pacer = Pacer(50, 1, clock=lambda: 0.0, sleep=asyncio.sleep)
    order: list[str] = []

    async def call(name: str) -> None:
        async with pacer.admitted():
            order.append(name)
            await asyncio.sleep(0)

    async with pacer.admitted():
        calls = {name: asyncio.create_task(call(name)) for name in ("first", "gives up", "second")}
        await asyncio.sleep(0)
        calls["gives up"].cancel()
    await asyncio.sleep(0)
    await asyncio.wait(calls.values())
    assert order == ["first", "second"]


async def test_a_place_that_was_given_at_the_moment_of_giving_up_goes_to_the_next() -> None:
    pacer = Pacer(50, 1, clock=lambda: 0.0, sleep=asyncio.sleep)
    order: list[str] = []

    async def call(name: str) -> None:
        async with pacer.admitted():
            order.append(name)

    async with pacer.admitted():
        calls = {name: asyncio.create_task(call(name)) for name in ("gives up", "next")}
        await asyncio.sleep(0)
    calls["gives up"].cancel()  # it was let in, and has not run since
    await asyncio.wait(calls.values())
    assert order == ["next"]
