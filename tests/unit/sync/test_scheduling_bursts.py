"""Bursts: each entity has its turn once in a cycle, parents before children; lone changes go at once."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.model.entities import ENTITIES
from shared.model.record import Record, encode, read
from shared.sync.scheduling import Bursts, Windows
from tests.support import parking
from tests.support.clocks import WallClock
from tests.support.values import guid

MINUTE = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
NAMES = ["sales_person", "company", "person", "opportunity", "opportunity_role"]
#: What a float of today's seconds and a datetime cannot tell apart.
ROUNDING = timedelta(microseconds=2)

moments = st.integers(0, 10**12).map(lambda milliseconds: MINUTE + timedelta(milliseconds=milliseconds))
lengths = st.one_of(st.integers(1, 60), st.floats(1.0, 60.0))
entities = st.sampled_from(NAMES)


def burst(now: datetime = MINUTE, seconds: float = 20.0) -> tuple[Windows, WallClock]:
    """Windows at this moment, with a burst that has just begun."""
    clock = WallClock(now)
    return Bursts(burst_batch=50, seconds=seconds, now=clock).noticed(50), clock


def turns(windows: Windows, which: str) -> list[datetime]:
    """The turns of all entities, in the order of their tiers."""
    found = [getattr(windows, which)(name) for name in NAMES]
    assert all(found)
    return found


def seconds_of(times: Sequence[datetime]) -> list[float]:
    return [(moment - MINUTE).total_seconds() for moment in times]


@pytest.mark.parametrize(
    ("second", "cycle", "following"),
    [
        (0, [0, 4, 8, 12, 16], [0, 4, 8, 12, 16]), (0.1, [20, 24, 28, 32, 36], [20, 4, 8, 12, 16]),
        (4, [20, 24, 28, 32, 36], [20, 4, 8, 12, 16]), (9.5, [20, 24, 28, 32, 36], [20, 24, 28, 12, 16]),
        (19.9, [20, 24, 28, 32, 36], [20, 24, 28, 32, 36]),
    ],
)  # fmt: skip
def test_a_cycle_of_20_seconds_has_a_turn_every_4(second: float, cycle: list[float], following: list[float]) -> None:
    windows, _ = burst(MINUTE + timedelta(seconds=second))
    assert seconds_of(turns(windows, "next_cycle")) == cycle
    assert seconds_of(turns(windows, "next_turn")) == following


@given(moments, lengths)
def test_in_the_next_cycle_parents_come_first_with_the_same_pause(now: datetime, seconds: float) -> None:
    found = turns(burst(now, seconds)[0], "next_cycle")
    step = timedelta(seconds=seconds / len(NAMES))
    assert found == sorted(set(found))
    assert all(abs(after - before - step) <= ROUNDING for before, after in pairwise(found))


@given(moments, lengths)
def test_a_cycle_begins_and_every_turn_is_within_one_cycle_and_not_in_the_past(now: datetime, seconds: float) -> None:
    windows, _ = burst(now, seconds)
    for moment in (turns(windows, "next_cycle")[0], *turns(windows, "next_turn")):
        assert -ROUNDING <= moment - now <= timedelta(seconds=seconds) + ROUNDING


@given(moments, moments, lengths, st.sampled_from(["next_cycle", "next_turn"]))
def test_turns_are_whole_cycles_apart_everywhere(now: datetime, later: datetime, seconds: float, which: str) -> None:
    for one, other in zip(
        turns(burst(now, seconds)[0], which), turns(burst(later, seconds)[0], "next_turn"), strict=True
    ):
        rest = (other - one).total_seconds() % seconds
        assert min(rest, seconds - rest) < 1e-4


@given(moments, st.lists(st.floats(0.01, 1), min_size=2, max_size=5), lengths)
def test_one_cycle_s_changes_become_visible_together(now: datetime, parts: list[float], seconds: float) -> None:
    clock = WallClock(now)
    bursts = Bursts(burst_batch=50, seconds=seconds, now=clock)
    start = turns(bursts.noticed(50), "next_cycle")[0]
    seen = []
    for part in parts:
        clock.now = start - timedelta(seconds=seconds * 0.99) * part
        seen.append(turns(bursts.noticed(50), "next_cycle"))
    assert all(abs(a - b) <= ROUNDING for found in seen for a, b in zip(found, seen[0], strict=True))


@pytest.mark.parametrize("waiting", [0, 1, 49])
def test_few_changes_are_no_burst_and_go_at_once(waiting: int) -> None:
    bursts = Bursts(burst_batch=50, seconds=20.0, now=lambda: MINUTE)
    for _ in range(10):
        windows = bursts.noticed(waiting)
        assert not windows.is_burst
        assert [windows.next_cycle(name) for name in NAMES] == [None] * 5
        assert [windows.next_turn(name) for name in NAMES] == [None] * 5
        assert windows.burst is None


@given(moments, lengths, entities)
def test_a_burst_is_over_two_cycles_after_its_last_full_batch(now: datetime, seconds: float, entity: str) -> None:
    clock = WallClock(now)
    bursts = Bursts(burst_batch=50, seconds=seconds, now=clock)
    bursts.noticed(50)
    clock.now = now + 2 * timedelta(seconds=seconds) - timedelta(milliseconds=1)
    windows = bursts.noticed(3)
    assert windows.is_burst
    assert windows.next_turn(entity)
    clock.now = now + 2 * timedelta(seconds=seconds)
    assert not windows.is_burst
    assert windows.next_turn(entity) is None
    assert windows.next_cycle(entity) is None


def test_each_full_batch_makes_the_burst_last_longer() -> None:
    clock = WallClock(MINUTE)
    bursts = Bursts(burst_batch=50, seconds=20.0, now=clock)
    windows = bursts.noticed(50)
    for _ in range(5):
        clock.now += timedelta(seconds=39)
        assert windows.is_burst
        windows = bursts.noticed(50)
    clock.now += timedelta(seconds=40)
    assert not windows.is_burst


CHILD = Record("contact", guid(10), MINUTE)


@pytest.mark.parametrize("is_burst", [False, True])
async def test_in_a_burst_requested_parents_and_released_children_wait_for_their_turns(is_burst: bool) -> None:
    around = parking.World()
    around.now = MINUTE + timedelta(seconds=5)
    windows = Bursts(burst_batch=50, seconds=20.0, now=lambda: around.now).noticed(50 if is_burst else 1)
    await around.parking.park(ENTITIES["person"], [(CHILD, (parking.COMPANY,))], windows)
    await around.parking.release(
        ENTITIES["company"], [Record("account", parking.COMPANY.id, MINUTE, requested=True)], windows
    )
    expected = [MINUTE + timedelta(seconds=24), MINUTE + timedelta(seconds=8)] if is_burst else [None, None]
    assert [(m.queue, m.at) for m in around.bus.sent] == list(zip(("company", "person"), expected, strict=True))
    assert [read(m.body, m.queue).burst for m in around.bus.sent] == [windows.burst] * 2


@given(moments, st.integers(-(10**6), 10**6), lengths)
def test_an_invocation_is_in_the_burst_that_its_messages_tell_of(now: datetime, ahead: int, seconds: float) -> None:
    """Two processes whose clocks differ by `ahead` milliseconds: one notices the burst, one is told of it."""
    here, there = WallClock(now), WallClock(now + timedelta(milliseconds=ahead))
    told = read(encode("person", [CHILD], Bursts(burst_batch=1, seconds=seconds, now=there).noticed(1).burst), "person")
    windows = Bursts(burst_batch=3, seconds=seconds, now=here).carried([None, told.burst])
    assert told.burst is not None
    assert windows.is_burst == (told.burst > here.now)
    assert windows.burst is None or windows.burst <= here.now + 2 * timedelta(seconds=seconds)


def test_a_full_batch_of_a_burst_prolongs_it_and_a_full_one_of_lone_changes_is_none() -> None:
    clock = WallClock(MINUTE)
    bursts = Bursts(burst_batch=3, seconds=20.0, now=clock)
    over = MINUTE - timedelta(minutes=5)
    assert not bursts.carried([over, None]).is_burst
    prolonged = bursts.carried([over, None, None])
    assert (prolonged.until, prolonged.more) == (MINUTE + timedelta(seconds=40), True)
    lone = bursts.carried([None] * 3)
    assert (lone.is_burst, lone.more) == (False, False)


def test_without_a_word_of_a_burst_there_is_none() -> None:
    bursts = Bursts(burst_batch=1, seconds=20.0, now=WallClock(MINUTE))
    bursts.noticed(1)
    assert not bursts.carried([None, None]).is_burst
    assert not bursts.carried([]).is_burst
