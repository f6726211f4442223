"""Pacing: never more calls than our share in any 20 seconds, never more at a time, and a closed door holds everyone."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.instances import MORNING
from local.virtual import Time
from shared.marketo.limiter import Pacer
from shared.marketo.quota_ledger import WINDOW_SECONDS


class Calls:
    """Calls through one pacer, in virtual time: when each began, and how many ran at a time."""

    def __init__(self, limit: int = 50, concurrency: int = 5) -> None:
        self.time = Time(MORNING)
        self.pacer = Pacer(limit, concurrency, clock=self.time.clock, sleep=asyncio.sleep)
        self.began: list[float] = []
        self.running = 0
        self.most = 0

    async def call(self, arrives: float, takes: float = 0.0, then: Callable[[], None] | None = None) -> None:
        await asyncio.sleep(arrives)
        async with self.pacer.admitted():
            self.began.append(self.time.passed)
            self.running += 1
            self.most = max(self.most, self.running)
            await asyncio.sleep(takes)
            self.running -= 1
            if then:
                then()

    def run(self, *work: Coroutine[None, None, None]) -> list[float]:
        """Do all of this work, and return when each call began."""

        async def together() -> None:
            await asyncio.gather(*work)

        self.time.run(together())
        return self.began


arrivals = st.lists(st.tuples(st.floats(0, 60), st.floats(0, 30)), max_size=40)


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(1, 4), arrivals)
def test_the_limits_hold_in_every_window(limit: int, concurrency: int, work: list[tuple[float, float]]) -> None:
    calls = Calls(limit, concurrency)
    began = calls.run(*(calls.call(arrives, takes) for arrives, takes in work))
    assert len(began) == len(work)
    assert calls.most <= concurrency
    for first, beyond in zip(sorted(began), sorted(began)[limit:], strict=False):
        assert beyond - first > WINDOW_SECONDS - 1e-6


def test_calls_within_the_share_do_not_wait() -> None:
    calls = Calls()
    began = calls.run(*(calls.call(n * 0.1, 0.05) for n in range(50)))
    assert began == pytest.approx([n * 0.1 for n in range(50)], abs=0.01)


def test_the_whole_share_is_used_again_in_each_window() -> None:
    calls = Calls()
    began = calls.run(*(calls.call(0) for _ in range(150)))
    assert began == pytest.approx([0.0] * 50 + [20.0] * 50 + [40.0] * 50, abs=0.01)


def test_a_closed_door_holds_everyone_until_it_opens() -> None:
    calls = Calls()
    others = (calls.call(arrives) for arrives in (2.0, 10.0, 25.0))
    began = calls.run(calls.call(0, 1.0, lambda: calls.pacer.close_for(20.0)), *others)
    assert began == pytest.approx([0.0, 21.0, 21.0, 25.0], abs=0.01)


def test_a_later_shorter_closing_does_not_open_the_door_earlier() -> None:
    calls = Calls()
    calls.pacer.close_for(20.0)
    calls.pacer.close_for(1.0)
    assert calls.run(calls.call(0)) == pytest.approx([20.0], abs=0.01)


def test_a_call_that_fails_gives_its_place_back() -> None:
    calls = Calls(concurrency=1)

    def fail() -> None:
        raise ConnectionError

    async def failing() -> None:
        with pytest.raises(ConnectionError):
            await calls.call(0, 1.0, fail)

    assert calls.run(failing(), calls.call(0.5)) == pytest.approx([0.0, 1.0], abs=0.01)


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
