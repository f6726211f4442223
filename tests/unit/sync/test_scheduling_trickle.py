"""A steady stream of single changes: at once while the day's use is ahead of the pace, else collected for seconds."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.marketo.usage import Usage
from shared.model.entities import ENTITIES
from shared.sync.scheduling import GRID_SECONDS, LOOK_SECONDS, UNHURRIED_SECONDS, WIDER, Bursts, Trickle, Windows
from tests.support.clocks import WallClock
from tests.support.values import NOON

DAILY = 50_000
SHARE = 0.18
LONGEST = 60.0
#: Calls that are right at half of the day.
PACE = int(SHARE * DAILY / 2)


@dataclass
class Use:
    used_today: int
    elapsed: float = 0.5
    used_by_runs: float = 0.0
    asked: int = 0


def trickle_of(use: Use, now: Callable[[], datetime], longest: float = LONGEST) -> Trickle:
    async def usage() -> Usage:
        use.asked += 1
        return Usage(use.used_today, DAILY, use.elapsed, None, None, None, None, use.used_by_runs)

    return Trickle(usage, daily_calls=DAILY, share=SHARE, longest=longest, now=now)


def wide(seconds: float, clock: WallClock) -> Trickle:
    """A trickle whose windows are this wide."""
    trickle = trickle_of(Use(0), clock)
    trickle.width = seconds
    return trickle


@pytest.mark.parametrize("used", [0, PACE, PACE + 100])
async def test_while_the_day_is_ahead_of_the_pace_changes_go_at_once(used: int) -> None:
    trickle = trickle_of(Use(used), WallClock())
    await trickle.adapt()
    assert trickle.width == 0
    assert [trickle.end(entity) for entity in ENTITIES] == [None] * 5


async def test_what_runs_use_makes_no_change_wait() -> None:
    trickle = trickle_of(Use(PACE + 5_000, used_by_runs=5_000.0), WallClock())
    await trickle.adapt()
    assert trickle.width == 0


@pytest.mark.parametrize(
    ("over", "width"), [(21, 9.6), (8 * 21, 19.2), (27 * 21, 28.8), (216 * 21, 57.6), (5200, 60), (40_000, 60)]
)
async def test_the_more_the_pace_is_exceeded_the_wider_up_to_the_setting(over: int, width: float) -> None:
    trickle = trickle_of(Use(PACE + 100 + over), WallClock())
    await trickle.adapt()
    assert trickle.width == pytest.approx(width)


async def test_a_setting_of_0_collects_nothing() -> None:
    trickle = trickle_of(Use(40_000), WallClock(), longest=0.0)
    await trickle.adapt()
    assert trickle.end("person") is None


async def test_the_use_is_looked_at_every_few_seconds_only_and_the_width_follows() -> None:
    use, clock = Use(0), WallClock()
    trickle = trickle_of(use, clock)
    for _ in range(100):
        await trickle.adapt()
    assert use.asked == 1
    use.used_today = 40_000
    clock.tick(LOOK_SECONDS)
    await trickle.adapt()
    assert (use.asked, trickle.width) == (2, LONGEST)
    use.used_today = 0
    clock.tick(LOOK_SECONDS)
    await trickle.adapt()
    assert trickle.width == 0


seconds = st.floats(0, 100_000)
entities = st.sampled_from(list(ENTITIES))


@given(seconds, st.floats(1, 60), entities)
async def test_a_window_ends_in_time_and_never_later_than_the_setting(later: float, width: float, entity: str) -> None:
    clock = WallClock(NOON + timedelta(seconds=later))
    trickle = wide(width, clock)
    end = trickle.end(entity)
    assert end is not None
    own = min(LONGEST, trickle.width * WIDER.get(entity, 1.0))
    wait = (end - clock.now).total_seconds()
    assert own - min(GRID_SECONDS, own) - 1e-4 <= wait <= own + 1e-4
    assert wait <= LONGEST + 1e-4


@given(seconds, st.lists(st.floats(0, 20), max_size=30), entities)
async def test_changes_go_with_the_window_of_the_first_one(later: float, pauses: list[float], entity: str) -> None:
    clock = WallClock(NOON + timedelta(seconds=later))
    trickle = wide(30, clock)
    end = trickle.end(entity)
    assert end is not None
    for pause in pauses:
        clock.tick(pause)
        before, end = end, trickle.end(entity)
        assert end is not None
        assert end == before or before <= clock.now < end


@given(seconds, st.floats(0, 0.5), st.floats(5, 60))
async def test_windows_opened_at_about_the_same_time_mostly_end_at_once(
    later: float, apart: float, width: float
) -> None:
    first, second = WallClock(NOON + timedelta(seconds=later)), WallClock(NOON + timedelta(seconds=later + apart))
    ends = [wide(width, clock).end("person") for clock in (first, second)]
    assert ends[0] is not None
    assert ends[1] is not None
    assert round((ends[1] - ends[0]).total_seconds(), 3) in (0, GRID_SECONDS)


@given(seconds)
async def test_of_what_ends_in_the_same_place_of_the_grid_parents_come_first(later: float) -> None:
    clock = WallClock(NOON + timedelta(seconds=later))
    trickle = wide(30, clock)
    offsets = []
    for entity in ENTITIES:
        end = trickle.end(entity)
        assert end is not None
        offsets.append(round(end.timestamp() % GRID_SECONDS, 3) % GRID_SECONDS)
    assert offsets == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8], abs=1e-3)


async def test_a_window_that_is_open_keeps_its_end_when_the_day_is_ahead_again() -> None:
    use, clock = Use(40_000), WallClock()
    trickle = trickle_of(use, clock)
    await trickle.adapt()
    end = trickle.end("person")
    assert end is not None
    use.used_today = 0
    clock.tick(LOOK_SECONDS)
    await trickle.adapt()
    assert trickle.end("person") == end
    assert trickle.end("company") is None
    clock.now = end
    assert trickle.end("person") is None


async def test_in_a_burst_the_cycle_decides_and_after_it_the_trickle() -> None:
    clock = WallClock(NOON + timedelta(seconds=1))
    bursts = Bursts(burst_batch=50, seconds=20.0, now=clock, trickle=trickle_of(Use(40_000), clock))
    await bursts.adapt()
    windows = bursts.noticed(50)
    assert windows.next_cycle("person") == NOON + timedelta(seconds=28)
    assert windows.next_turn("person") == NOON + timedelta(seconds=8)
    clock.tick(40)
    assert windows.next_turn("person") is None, "what others wait for goes at once"
    end = windows.next_cycle("person")
    assert end is not None
    assert 58 <= (end - clock.now).total_seconds() <= 60


async def test_without_a_trickle_lone_changes_go_at_once() -> None:
    bursts = Bursts(burst_batch=50, seconds=20.0, now=WallClock())
    await bursts.adapt()
    assert bursts.noticed(1).next_cycle("person") is None


@given(seconds, st.just(0.0) | st.floats(0.001, 60))
async def test_what_may_wait_comes_for_all_instances_at_once_while_changes_are_collected(
    later: float, width: float
) -> None:
    clock = WallClock(NOON + timedelta(seconds=later))
    trickle = wide(width, clock)
    windows = Windows(now=clock, trickle=trickle)
    due, changes = windows.unhurried("person"), windows.next_cycle("person")
    assert (due is None) == (changes is None), "else with the changes"
    if due and changes:
        assert 0 < (due - changes).total_seconds() <= UNHURRIED_SECONDS, "what the changes store is there by then"
        assert due.timestamp() % UNHURRIED_SECONDS == 0
    in_a_burst = replace(windows, until=clock.now + timedelta(seconds=1))
    assert in_a_burst.unhurried("person") is None, "a burst has its cycles"
