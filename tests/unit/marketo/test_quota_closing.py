"""The budget closes and opens: 607, everybody's use, the share, Marketo's day; storage that fails; operators."""

import asyncio
import logging
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from local.instances import MORNING, Instances, settings_with
from local.virtual import Time
from shared.marketo.client import USAGE
from shared.marketo.day import day_of
from shared.model.codes import Kind
from shared.model.errors import MarketoError
from tests.support.virtual_time import in_virtual_time

MIDNIGHT = datetime(2026, 3, 5, 6, 5, tzinfo=UTC)
FINE = {"success": True, "result": []}
SPENT = {"success": False, "errors": [{"code": "607", "message": "Daily quota reached"}]}


def usage(total: int) -> dict[str, Any]:
    return {"success": True, "result": [{"total": total}]}


async def until_refused(instances: Instances, *numbers: int) -> MarketoError:
    while True:
        try:
            await asyncio.gather(*(instances.ask(number) for number in numbers))
        except MarketoError as error:
            return error


def seconds(moment: datetime) -> float:
    return (moment - MORNING).total_seconds()


@pytest.mark.parametrize(
    ("moment", "day", "start", "hours"),
    [
        ("2026-03-05T06:04:59Z", "2026-03-04", "2026-03-04T06:05:00Z", 24),
        ("2026-03-05T06:05:00Z", "2026-03-05", "2026-03-05T06:05:00Z", 24),
        ("2026-03-08T12:00:00Z", "2026-03-08", "2026-03-08T06:05:00Z", 23),  # clocks go forward
        ("2026-03-09T05:04:59Z", "2026-03-08", "2026-03-08T06:05:00Z", 23),
        ("2026-07-01T05:05:00Z", "2026-07-01", "2026-07-01T05:05:00Z", 24),
        ("2026-11-01T05:05:00Z", "2026-11-01", "2026-11-01T05:05:00Z", 25),  # clocks go back
        ("2026-11-02T06:04:00Z", "2026-11-01", "2026-11-01T05:05:00Z", 25),
        ("2026-12-31T23:00:00Z", "2026-12-31", "2026-12-31T06:05:00Z", 24),
    ],
)
def test_marketos_day_begins_five_past_midnight_in_chicago(moment: str, day: str, start: str, hours: int) -> None:
    at = datetime.fromisoformat(moment)
    found = day_of(at)
    assert found.date == date.fromisoformat(day)
    assert found.start == datetime.fromisoformat(start)
    assert found.end - found.start == timedelta(hours=hours)
    assert found.elapsed(at) == pytest.approx((at - found.start) / timedelta(hours=hours))
    assert day_of(found.end).start == found.end


@pytest.mark.parametrize(
    ("start", "opens"),
    [("2026-03-08T20:00Z", "2026-03-09T05:05Z"), ("2026-11-01T20:00Z", "2026-11-02T06:05Z")],
)
def test_the_share_is_there_again_after_a_day_with_a_change_of_clocks(start: str, opens: str) -> None:
    instances = Instances(1, allowed=5, time=Time(datetime.fromisoformat(start)))
    opening = datetime.fromisoformat(opens)

    async def days() -> None:
        assert (await instances.until_refused(0)).code == "DayShareSpent"
        closed = instances.budgets[0].usage.closed
        assert closed
        assert closed.opens == opening
        await asyncio.sleep((opening - instances.time.now()).total_seconds())
        assert (await instances.until_refused(0)).code == "DayShareSpent"

    instances.run(days())
    assert len(instances.began) == 10


@in_virtual_time
async def test_after_607_nobody_calls_until_the_next_day(time: Time) -> None:
    instances = Instances(2, time=time)
    instances.answer = lambda _: SPENT

    async def ask(number: int) -> MarketoError:
        with pytest.raises(MarketoError) as refused:
            await instances.ask(number)
        return refused.value

    for number in (0, 1, 0):
        error = await ask(number)
        assert (error.code, error.kind) == ("607", Kind.DAILY)
        assert error.retry_after is not None
        assert seconds(MIDNIGHT) - 60 <= error.retry_after <= seconds(MIDNIGHT) + 60
    assert len(instances.paths) == 1
    told = await instances.budgets[1].refresh()
    assert told.closed
    assert (told.closed.opens, told.closed.code) == (MIDNIGHT, "607")
    assert abs(told.closed.since - MORNING.timestamp()) < 1
    instances.answer = lambda _: FINE
    await asyncio.sleep(seconds(MIDNIGHT))
    await instances.ask(0)
    assert (await instances.budgets[1].refresh()).closed is None


def test_a_607_just_after_midnight_may_be_the_day_befores() -> None:
    """Should Marketo's day end an hour later in summer, no day must be lost for it."""
    instances = Instances(1, time=Time(MIDNIGHT))
    instances.answer = lambda _: SPENT if instances.time.passed < 3600 else FINE

    async def day() -> float:
        while True:
            try:
                await instances.ask(0)
            except MarketoError as error:
                await asyncio.sleep(error.retry_after or 0)
            else:
                return instances.time.passed

    assert 3600 <= instances.run(day()) < 5000
    assert len(instances.paths) <= 6


@in_virtual_time
async def test_everybodys_use_is_measured_by_one_instance_at_a_time_and_closes_when_it_is_all(time: Time) -> None:
    instances = Instances(3, calls=1000, time=time)
    everybody = 49_000
    instances.answer = lambda path: usage(everybody) if path == USAGE else FINE
    for _ in range(100):
        await asyncio.gather(*(instances.ask(number) for number in range(3)))
    assert instances.paths.count(USAGE) == 1
    assert (await instances.budgets[0].refresh()).everybody == 49_000
    everybody = 50_000
    assert (await until_refused(instances, *range(3))).code == "DayShareSpent"
    await asyncio.sleep(11)
    told = await instances.budgets[0].refresh()
    assert told.closed
    assert (told.closed.opens, told.closed.code) == (MIDNIGHT, "DayShareSpent")
    assert "50,000 of its 50,000" in told.closed.reason
    assert instances.paths.count(USAGE) == 2
    assert told.used_today < 600


@in_virtual_time
async def test_everybodys_use_is_measured_each_quarter_of_an_hour_and_before_the_share_closes(time: Time) -> None:
    instances = Instances(1, allowed=100, time=time)
    instances.answer = lambda path: usage(77) if path == USAGE else FINE
    for _ in range(48):
        await instances.ask(0)
        await asyncio.sleep(20)
    assert instances.paths.count(USAGE) == 1
    assert (await until_refused(instances, 0)).code == "DayShareSpent"
    assert instances.paths.count(USAGE) == 2
    assert len(instances.paths) == 100


@in_virtual_time
async def test_a_use_that_cannot_be_measured_stops_nothing(time: Time) -> None:
    instances = Instances(1, time=time)
    instances.answer = lambda path: {"success": True} if path == USAGE else FINE
    for _ in range(300):
        await instances.ask(0)
    assert len([path for path in instances.paths if path != USAGE]) == 300
    assert 1 <= instances.paths.count(USAGE) <= 3


@in_virtual_time
async def test_a_606_holds_every_instance_back(time: Time) -> None:
    instances = Instances(2, time=time)
    answers = [{"success": False, "errors": [{"code": "606", "message": "Max rate limit"}]}]
    instances.answer = lambda _: answers.pop() if answers else FINE
    first = asyncio.create_task(instances.ask(0))
    await asyncio.sleep(1)
    await instances.ask(1)
    assert instances.time.passed >= 20
    await first


@pytest.mark.parametrize("daily", [50_000, 60_000])
@in_virtual_time
async def test_a_raised_share_opens_at_the_next_start(time: Time, daily: int) -> None:
    instances = Instances(1, allowed=10, time=time)
    await instances.until_refused(0)
    instances.limits = settings_with(allowed=10, daily=60_000)
    assert (await instances.until_refused(instances.start())).code == "DayShareSpent", "a larger day is no reason"
    instances.limits = settings_with(allowed=20, daily=daily)
    await instances.call(instances.start())


@in_virtual_time
async def test_a_larger_day_opens_at_the_next_start(time: Time) -> None:
    instances = Instances(1, calls=1000, time=time)
    instances.answer = lambda path: usage(50_000) if path == USAGE else FINE
    await until_refused(instances, 0)
    await until_refused(instances, instances.start())
    instances.limits = settings_with(calls=1000, daily=60_000)
    await instances.ask(instances.start())


@in_virtual_time
async def test_operators_are_counted_and_neither_bound_by_the_share_nor_refused_while_it_is_closed(time: Time) -> None:
    instances = Instances(1, allowed=10, concurrency=4, time=time)
    await instances.until_refused(0)
    operator = instances.start(operator=True)
    await instances.calls(operator, 3)
    told = await instances.budgets[operator].refresh()
    assert told.closed
    assert (told.used_today, told.closed.code) == (13, "DayShareSpent")
    instances.answer = lambda _: SPENT
    with pytest.raises(MarketoError, match="607") as refused:
        await instances.ask(operator)
    assert refused.value.retry_after is not None
    closed = (await instances.budgets[operator].refresh()).closed
    assert closed
    assert closed.code == "607"


@in_virtual_time
async def test_operators_stay_within_the_rate_of_all(time: Time) -> None:
    instances = Instances(1, calls=10, time=time)
    await instances.calls(0, 8)
    operator = instances.start(operator=True)
    await instances.calls(operator, 4)
    assert sum(at < 20 for at in instances.began) <= 10


@in_virtual_time
async def test_without_storage_the_sync_goes_on_at_the_pace_of_the_process(
    time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    instances = Instances(1, time=time)
    instances.table.away = True
    with caplog.at_level(logging.WARNING):
        await instances.calls(0, 230)
    assert instances.time.passed == pytest.approx(80, abs=1)
    for first, beyond in zip(instances.began, instances.began[50:], strict=False):
        assert beyond - first >= 20 - 1e-6
    assert caplog.text.count("budget_not_shared") == 2  # once a minute
    assert instances.table.requests <= 9


@in_virtual_time
async def test_storage_that_hangs_delays_a_call_by_seconds_only(time: Time) -> None:
    instances = Instances(1, time=time)
    instances.table.seconds = 120
    for _ in range(20):
        await instances.call(0, takes=0.1)
    assert instances.time.passed < 6


@in_virtual_time
async def test_calls_made_without_storage_are_told_when_it_is_back(time: Time) -> None:
    instances = Instances(2, time=time)
    await instances.calls(0, 2)
    instances.table.away = True
    await instances.calls(0, 5)
    instances.table.away = False
    await asyncio.sleep(11)
    await instances.call(0)
    assert instances.budgets[0].usage.used_today == 8
    assert (await instances.budgets[1].refresh()).used_today == 7 + 4  # with the block that the other one holds


@in_virtual_time
async def test_without_storage_the_share_ends_where_the_own_count_says(time: Time) -> None:
    instances = Instances(1, allowed=10, time=time)
    await instances.calls(0, 4)
    instances.table.away = True
    error = await instances.until_refused(0)
    assert error.code == "DayShareSpent"
    assert len(instances.began) <= 10
    assert len(instances.began) >= 8


@in_virtual_time
async def test_what_was_known_last_still_holds_when_storage_fails(time: Time) -> None:
    instances = Instances(2, concurrency=6, time=time)
    await instances.call(0)
    await instances.call(1)
    await asyncio.sleep(6)
    await instances.call(0)
    instances.table.away = True
    await asyncio.sleep(6)
    await instances.calls(0, 20, takes=0.5)
    assert instances.most == 3
    assert (await instances.budgets[0].refresh()).as_of is not None


@in_virtual_time
async def test_a_row_that_cannot_be_understood_is_begun_anew(time: Time) -> None:
    instances = Instances(1, time=time)
    await instances.call(0)
    key = ("budget", "marketo")
    instances.table.rows[key] = '{"day": "yesterday"}', instances.table.rows[key][1]
    await instances.call(instances.start())
    assert len(instances.began) == 2
