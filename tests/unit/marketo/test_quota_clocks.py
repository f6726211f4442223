"""An instance whose clock is wrong neither opens nor closes the budget of the others, and takes one share at most."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.instances import MORNING, Instances, settings_with
from local.virtual import Time
from shared.config.settings import MarketoSettings
from shared.marketo.day import day_of
from shared.marketo.quota_ledger import Ledger, read
from tests.support.virtual_time import in_virtual_time

DAY = timedelta(days=1)
WRONG = [DAY, -DAY, timedelta(hours=15), timedelta(days=400), -timedelta(days=400)]
IDS = ["a day ahead", "a day behind", "over midnight", "a year ahead", "a year behind"]


@pytest.mark.parametrize("ahead", WRONG, ids=IDS)
@in_virtual_time
async def test_a_share_that_is_used_up_stays_so_whatever_another_clock_says(time: Time, ahead: timedelta) -> None:
    instances = Instances(1, allowed=100, time=time)
    other = instances.start(ahead=ahead)
    assert (await instances.until_refused(0)).code == "DayShareSpent"
    used = len(instances.began)
    await instances.call(other)
    await asyncio.sleep(90)
    assert (await instances.until_refused(0)).code == "DayShareSpent"
    assert len(instances.began) == used + 1


CLOSES: dict[str, Callable[[Instances, int], Awaitable[object]]] = {
    "the share": lambda instances, number: instances.until_refused(number),
    "a 607": lambda instances, number: instances.budgets[number].exhausted(),
    "everybody's calls": lambda instances, number: instances.budgets[number].measured(50_000),
}


@pytest.mark.parametrize("ahead", WRONG, ids=IDS)
@pytest.mark.parametrize("closes", CLOSES.values(), ids=CLOSES)
@in_virtual_time
async def test_what_closes_for_a_wrong_clock_is_open_for_the_others(
    time: Time, ahead: timedelta, closes: Callable[[Instances, int], Awaitable[object]]
) -> None:
    instances = Instances(1, allowed=100, time=time)
    other = instances.start(ahead=ahead)
    await instances.call(0)
    await closes(instances, other)
    await asyncio.sleep(90)
    before = len(instances.began)
    await instances.until_refused(0)
    assert len(instances.began) - before >= 90


@in_virtual_time
async def test_a_wrong_clock_holds_nobody_back_for_long(time: Time) -> None:
    instances = Instances(1, time=time)
    other = instances.start(ahead=DAY)
    await instances.budgets[other].hold_back(20)
    await instances.call(0)
    assert instances.time.passed <= 61


@in_virtual_time
async def test_a_wrong_clock_gets_a_share_once_and_not_again_and_again(time: Time) -> None:
    instances = Instances(1, allowed=100, time=time)
    other = instances.start(ahead=DAY)
    for _ in range(5):
        await instances.until_refused(0)
        await instances.until_refused(other)
        await asyncio.sleep(120)
    assert len(instances.began) <= 2 * 100 + 2 * 10


@in_virtual_time
async def test_the_next_day_is_a_new_one_although_a_wrong_clock_has_counted_in_it(time: Time) -> None:
    instances = Instances(1, allowed=100, time=time)
    other = instances.start(ahead=DAY)
    await instances.until_refused(other)
    await instances.until_refused(0)
    await asyncio.sleep(15 * 3_600)  # past midnight in Chicago
    before = len(instances.began)
    await instances.until_refused(0)
    assert len(instances.began) - before >= 90


@in_virtual_time
async def test_what_is_ignored_is_told(time: Time, caplog: pytest.LogCaptureFixture) -> None:
    instances = Instances(1, time=time)
    other = instances.start(ahead=DAY)
    await instances.call(other)
    await asyncio.sleep(90)
    with caplog.at_level(logging.ERROR):
        await instances.call(0)
    assert [r.message for r in caplog.records] == ["budget_ahead ignored=instance i1: an instance's clock is wrong"]


def test_clocks_that_differ_by_seconds_around_midnight_count_each_in_its_day() -> None:
    midnight = day_of(MORNING).end
    limits = settings_with(calls=50, concurrency=5, daily=50_000, allowed=100)
    before, after = (midnight - timedelta(seconds=2)).timestamp(), (midnight + timedelta(seconds=2)).timestamp()
    ledger = read({}, before)
    ledger.report("a", [before] * 7)
    ledger = read(ledger.model_dump(mode="json"), after)
    assert ledger.used == 0
    ledger.report("b", [after] * 3)
    ledger = read(ledger.model_dump(mode="json"), before)
    assert ledger.used == 7, "who is behind by seconds goes on in the day that ends"
    ledger.close_share(limits, before)
    ledger = read(ledger.model_dump(mode="json"), after)
    assert (ledger.used, ledger.closed) == (3, None)


#: What somebody does to a ledger, at a time.
ACTS: dict[str, Callable[[Ledger, MarketoSettings, float], object]] = {
    "call": lambda ledger, _, now: ledger.report("me", [now]),
    "close": lambda ledger, limits, now: ledger.close_share(limits, now),
    "quota": lambda ledger, _, now: ledger.close_quota(now),
    "hold": lambda ledger, _, now: ledger.hold_back(now + 20),
    "measure": lambda ledger, limits, now: ledger.measure(2_000, limits, now),
    "reserve": lambda ledger, limits, now: ledger.reserve("me", 3, 0, limits, now),
}
moments = st.floats(-3 * 86_400, 3 * 86_400).map(lambda seconds: MORNING.timestamp() + seconds)


@settings(max_examples=200)
@given(st.lists(st.tuples(moments, st.sampled_from(list(ACTS)))))
def test_the_numbers_of_a_day_are_changed_by_those_only_who_live_in_it(acts: list[tuple[float, str]]) -> None:
    """Each look at the row is that of somebody whose clock says another time."""
    limits = settings_with(calls=50, concurrency=5, daily=1_000, allowed=100)
    value: dict[str, object] = {}
    used: dict[str, int] = {}
    for now, act in acts:
        ledger = read(value, now)
        before = ledger.used
        ACTS[act](ledger, limits, now)
        used[str(ledger.day)] = ledger.used - before
        assert len(ledger.other_days) <= 3
        assert all(at <= now + 3_600 for at, _ in ledger.recent)
        assert all(instance.seen <= now + 3_600 for instance in ledger.instances.values())
        assert ledger.closed is None or ledger.closed.since <= now + 3_600
        value = ledger.model_dump(mode="json")
    assert Ledger.model_validate(value or read({}, 0.0).model_dump(mode="json"))
