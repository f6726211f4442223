"""What records were synced without: kept for operators, bounded, gone when it is right, and free where nothing is."""

from datetime import timedelta
from typing import Any

import pytest

from local.virtual import MemoryState, MemoryTable
from shared.model.outcome import Failed, LeftOut, Outcome, Synced
from shared.model.record import Record
from shared.sync.left_out_rows import MOST, REFRESH, LeftOutRows, fields_of, kind_of
from tests.support.values import NOON

MAIL = LeftOut("email", "1003", "Invalid value for field 'email'", "an e-mail address of 26 characters")
COMPANY = LeftOut("company", "CompanyField", "the company's", "a value")


class World:
    def __init__(self) -> None:
        self.table = MemoryTable(seconds=0)
        self.now = NOON
        self.rows = self.process()

    def process(self) -> LeftOutRows:
        return LeftOutRows(MemoryState(self.table), now=lambda: self.now)

    async def note(self, rows: LeftOutRows | None = None, **outcomes: Outcome) -> int:
        """Gives the number of requests."""
        before = self.table.requests
        found = [(Record("contact", name, NOON), outcome) for name, outcome in outcomes.items()]
        await (rows or self.rows).note("person", found)
        return self.table.requests - before

    async def kept(self) -> dict[str, list[LeftOut]]:
        found = MemoryState(self.table).all(kind_of("person"))
        return {name.partition("|")[2]: fields_of(value) async for name, value in found}


def without(*fields: LeftOut) -> Synced:
    return Synced("updated", left_out=fields)


async def test_a_field_that_was_left_out_is_kept_with_its_reason_until_the_record_is_synced_whole(world: World) -> None:
    await world.note(a=without(MAIL), b=Synced("created"))
    assert await world.kept() == {"a": [MAIL]}
    await world.note(a=Failed("1007", "no"))
    assert await world.kept() == {"a": [MAIL]}
    await world.note(a=Synced("updated"))
    assert await world.kept() == {}


async def test_another_process_forgets_what_is_right_as_well(world: World) -> None:
    await world.note(a=without(MAIL))
    await world.note(world.process(), a=Synced("updated"))
    assert await world.kept() == {}


async def test_records_without_refusals_cost_one_request_a_minute(world: World) -> None:
    costs = [await world.note(a=Synced("updated"), b=without(COMPANY)) for _ in range(10)]
    world.now += REFRESH
    costs += [await world.note(a=Synced("updated")) for _ in range(10)]
    assert sum(costs) == 2
    assert await world.note(a=Failed("1007", "no")) == 0


async def test_300_refusals_cost_a_handful_of_requests_and_the_newest_are_kept(world: World) -> None:
    for start in range(0, MOST + 300, 300):
        world.now += timedelta(seconds=1)
        names = [f"n{number}" for number in range(start, start + 300)]
        outcomes: dict[str, Any] = dict.fromkeys(names, without(MAIL))
        assert await world.note(**outcomes) <= 8
    kept = await world.kept()
    assert len(kept) == MOST
    assert "n0" not in kept
    assert f"n{MOST + 299}" in kept


async def test_what_another_process_has_taken_away_already_is_no_trouble(world: World) -> None:
    await world.note(a=without(MAIL), b=without(MAIL))
    await MemoryState(world.table).remove(kind_of("person"), "contact|a")
    await world.note(a=Synced("updated"), b=Synced("updated"))
    assert await world.kept() == {}


async def test_without_storage_nothing_stops(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.table.away = True
    await world.note(a=without(MAIL))
    assert "left_out_not_kept" in caplog.text
