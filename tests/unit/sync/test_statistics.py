"""What became of records is counted by entity and hour; storage that is away costs nothing but a line of the log."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.model.outcome import Deferred, Failed, Later, Outcome, Parent, Removed, Retry, Skipped, Synced
from shared.model.record import Record
from shared.sync import statistics
from shared.sync.statistics import KIND, WARM, Counts, hottest, last_error, row_name, series, totals
from shared.sync.storms import TOO_SOON
from tests.support.state import SharedState

NOON = datetime(2026, 3, 4, 12, 7, 30, tzinfo=UTC)
ALL_KINDS: list[Outcome] = [
    Synced("created"), Removed("deleted", "Deleted"), Skipped("Filtered"),
    Deferred((Parent("company", "account", "a"),)), Retry(20, "606", "Max rate limit exceeded"),
    Failed("1003", "Value too long", "marketo"),
]  # fmt: skip


class World(SharedState):
    """The shared state, which may be slow, and a clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOON
        self.slow = False
        itself: Any = self
        self.counts = Counts(itself, now=lambda: self.now)

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        return {name: value for (kind, name), value in self.stored.items() if kind == KIND}

    async def change(self, *given: Any) -> dict[str, Any]:
        if self.slow:
            await asyncio.sleep(60)
        return await super().change(*given)

    async def add(self, *outcomes: Outcome, entity: str = "person", **record: Any) -> None:
        await self.counts.add(
            entity, [(Record("contact", str(n), self.now, **record), o) for n, o in enumerate(outcomes)]
        )

    def since(self, age: timedelta, entity: str = "person") -> dict[str, int]:
        return totals(self.rows, entity, self.now - age)


HOUR, DAY = timedelta(hours=1), timedelta(days=1)


async def test_each_outcome_is_counted_for_its_entity(world: World) -> None:
    await world.add(*ALL_KINDS, Synced("updated"))
    assert list(world.rows) == ["2026-03-04T12|person"]
    counted = {"synced": 2, "removed": 1, "skipped": 1, "parked": 1, "retried": 1, "failed": 1, "left_out": 0}
    assert world.since(HOUR) == counted
    assert set(world.since(HOUR, "company").values()) == {0}


async def test_invocations_add_up_over_hours_and_what_is_older_is_left_out(world: World) -> None:
    for minutes in (0, 30, 59, 61, 24 * 60):
        world.now = NOON + timedelta(minutes=minutes)
        await world.add(Synced("created"))
    assert world.since(HOUR)["synced"] == 1
    assert world.since(DAY)["synced"] == 5
    world.now += timedelta(minutes=6)
    assert world.since(DAY)["synced"] == 4


async def test_what_goes_on_at_once_is_not_counted(world: World) -> None:
    await world.add(Later("FillsACall"), Retry(0, "OutOfTime", "the invocation's time was over"))
    assert world.requests == 0


async def test_the_newest_error_is_kept_with_its_record(world: World) -> None:
    await world.add(Failed("1003", "m" * 1000, "marketo"))
    world.now += timedelta(minutes=1)
    await world.add(Synced("created"), Retry(60, "1029", "Too many jobs"), Synced("created"))
    error = last_error(world.rows, "person")
    assert error == {
        "code": "1029", "message": "Too many jobs", "at": "2026-03-04T12:08:30.000Z",
        "table": "contact", "id": "1", "final": False,
    }  # fmt: skip
    world.now += HOUR
    await world.add(Failed("1003", "m" * 1000, "marketo"))
    newest = last_error(world.rows, "person")
    assert newest
    assert (newest["code"], len(newest["message"]), newest["final"]) == ("1003", 300, True)
    assert last_error(world.rows, "company") is None


async def test_what_storage_missed_is_written_later(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.storage_away = True
    for _ in range(10):
        await world.add(Synced("created"), Failed("1003", "too long"))
    assert world.requests == 1
    assert [record.getMessage() for record in caplog.records] == ["counts_not_written error=ServiceRequestError"]
    world.storage_away = False
    world.now += timedelta(seconds=61)
    await world.counts.tend()
    assert world.since(HOUR)["synced"] == 10
    assert last_error(world.rows, "person")
    await world.counts.tend()
    assert world.since(HOUR)["synced"] == 10


async def test_storage_that_hangs_holds_nobody_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "PATIENCE_SECONDS", 0.01)
    world.slow = True
    await asyncio.wait_for(world.add(Synced("created")), 5)
    world.slow = False
    world.now += timedelta(seconds=61)
    await world.add(Synced("created"))
    assert world.since(HOUR)["synced"] == 2


async def test_the_timer_removes_what_is_older_than_two_days_once_an_hour(world: World) -> None:
    for hours in (72, 49, 47, 0):
        world.stored[KIND, row_name(NOON - timedelta(hours=hours), "person")] = {}
    await world.counts.tend()
    assert sorted(world.rows) == ["2026-03-02T13|person", "2026-03-04T12|person"]
    world.stored[KIND, row_name(NOON - timedelta(hours=72), "person")] = {}
    await world.counts.tend()
    assert len(world.rows) == 3
    world.now += 2 * HOUR
    await world.counts.tend()
    assert sorted(world.rows) == ["2026-03-04T12|person"]


def changes(row: int, number: int) -> list[tuple[Record, Outcome]]:
    return [(Record("contact", f"r{row}", NOON), Later(TOO_SOON, after=3.0))] * number


async def test_the_hottest_rows_are_kept_with_what_is_written_anyway(world: World) -> None:
    for row in range(1, 9):
        await world.counts.add("person", changes(row, row))
    assert world.requests == 0, "a wait alone costs storage nothing"
    await world.counts.add("person", [*changes(8, 400), (Record("contact", "r8", NOON), Synced("covered"))])
    assert hottest(world.rows, "person", world.now - HOUR) == {
        ("contact", "r8"): 408, ("contact", "r7"): 7, ("contact", "r6"): 6, ("contact", "r5"): 5, ("contact", "r4"): 4
    }  # fmt: skip
    assert hottest(world.rows, "company", world.now - HOUR) == {}
    world.now += timedelta(hours=3)
    assert hottest(world.rows, "person", world.now - HOUR) == {}


async def test_several_instances_add_up_what_is_hot(world: World) -> None:
    itself: Any = world
    other = Counts(itself, now=lambda: world.now)
    for each in (world.counts, other):
        await each.add("person", [*changes(1, 30), (Record("contact", "r1", NOON), Synced("updated"))])
    assert hottest(world.rows, "person", world.now) == {("contact", "r1"): 60}
    assert world.since(HOUR)["synced"] == 2


async def test_what_is_hot_is_not_lost_while_storage_is_away_and_needs_little_room(world: World) -> None:
    world.storage_away = True
    for row in range(0, 3 * WARM, 50):
        await world.counts.add("person", [*(each for n in range(50) for each in changes(row + n, 1)), *changes(7, 50)])
    world.storage_away = False
    await world.counts.tend()
    assert hottest(world.rows, "person", world.now)["contact", "r7"] > 2 * WARM
    assert len(world.rows["2026-03-04T12|person"]["hot"]) == 5


def test_a_series_ends_with_the_slot_of_now() -> None:
    five, hour = timedelta(minutes=5), timedelta(hours=1)
    rows = {
        row_name(NOON, "person"): {"synced": {"0": 1, "5": 2}, "failed": {"5": 9}},
        row_name(NOON - hour, "person"): {"synced": {"5": 100, "10": 10, "55": 20}},
        row_name(NOON - hour, "company"): {"synced": {"55": 7}},
        row_name(NOON - 24 * hour, "person"): {"synced": {"5": 5000, "10": 400}},
    }
    assert series(rows, "person", until=NOON, step=five, number=12) == [10, 0, 0, 0, 0, 0, 0, 0, 0, 20, 1, 2]
    by_hour = series(rows, "person", until=NOON, step=hour, number=24)
    assert (by_hour[0], by_hour[-2], by_hour[-1]) == (400, 100, 33)
    assert sum(by_hour) + 5000 == totals(rows, "person", NOON - 24 * hour)["synced"]
    assert series({}, "person", until=NOON, step=five, number=2) == [0, 0]
