"""What the sync has read and stored, noted for the search for missed changes and for other processes.

The notes are small, best effort, and gone after a day.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.virtual import MemoryState, MemoryTable
from shared.azure.shared_state import State
from shared.sync.marketo_cache import Known
from shared.sync.synced_versions import GONE, IN_A_ROW, KEPT, OF_A_BURST, OF_A_RUN, Noted, SyncedVersions, kind_of
from tests.support.values import NOON, guid


class World:
    """The notes of processes that share one storage."""

    def __init__(self) -> None:
        self.table = MemoryTable(seconds=0)
        self.now = NOON

    def process(self) -> SyncedVersions:
        return SyncedVersions(MemoryState(self.table), now=lambda: self.now)


async def test_what_one_process_has_read_another_one_knows(world: World) -> None:
    await world.process().note(
        "person", {("contact", guid(1)): 7, ("lead", guid(2)): 8, ("contact", guid(3)): GONE}, {}, {}
    )
    noted = await world.process().of("person", "contact", [guid(1), guid(2), guid(3), guid(4)], NOON)
    assert noted.versions == {guid(1): 7, guid(3): GONE}
    assert noted.covers(guid(1), 7)
    assert noted.covers(guid(1), 6)
    assert not noted.covers(guid(1), 8)
    assert not noted.covers(guid(1), None), "a version that cannot be read may be any"
    assert not noted.covers(guid(4), 7)
    assert noted.knows_gone(guid(3))
    assert not noted.covers(guid(3), 7)
    assert not any(noted.knows_gone(guid(n)) for n in (1, 4))


@given(st.lists(st.sampled_from([GONE, 3, 5]), min_size=1, max_size=6))
async def test_the_last_note_of_a_row_counts(versions: list[int]) -> None:
    world = World()
    for version in versions:
        world.now += timedelta(seconds=1)
        await world.process().note("company", {("account", guid(1)): version}, {}, {})
    assert (await world.process().of("company", "account", [guid(1)], NOON)).versions == {guid(1): versions[-1]}


async def test_thousands_of_rows_cost_one_request_and_fit_into_values(world: World) -> None:
    keys = [("connection", guid(n)) for n in range(32 * 100)]
    await world.process().note("opportunity_role", dict.fromkeys(keys, 2**63), {key: [guid(1)] * 2 for key in keys}, {})
    assert world.table.requests == 1
    assert len(world.table.rows) == len(keys) / IN_A_ROW
    assert max(len(text) for text, _ in world.table.rows.values()) < 32_000
    noted = await world.process().of("opportunity_role", "connection", [guid(5)], NOON)
    assert noted == Noted({guid(5): 2**63}, {guid(5): [guid(1), guid(1)]})


async def test_only_what_was_noted_since_then_is_read_with_some_minutes_to_spare(world: World) -> None:
    await world.process().note("company", {("account", guid(1)): 1}, {}, {})
    assert (await world.process().of("company", "account", [guid(1)], NOON + timedelta(minutes=9))).versions
    assert not (await world.process().of("company", "account", [guid(1)], NOON + timedelta(minutes=11))).versions


async def test_what_is_old_is_dropped_and_the_rest_is_kept(world: World) -> None:
    await world.process().note("company", {("account", guid(1)): 1}, {}, {})
    world.now += KEPT / 2
    await world.process().note("company", {("account", guid(2)): 1}, {}, {})
    world.now += KEPT / 2 + timedelta(seconds=1)
    timer = world.process()
    await timer.tend()
    assert (await world.process().of("company", "account", [guid(1), guid(2)], NOON)).versions == {guid(2): 1}
    requests = world.table.requests
    await timer.tend()
    assert world.table.requests == requests, "once an hour is enough"
    world.table.away = True
    world.now += timedelta(hours=1)
    await timer.tend()


async def test_without_storage_nothing_fails_and_nobody_waits_again_for_a_minute(world: World) -> None:
    process = world.process()
    world.table.away = True
    await process.note("company", {("account", guid(1)): 1}, {}, {})
    asked = world.table.requests
    await process.note("company", {("account", guid(1)): 1}, {}, {})
    assert world.table.requests == asked
    world.table.away = False
    world.now += timedelta(minutes=1)
    await process.note("company", {("account", guid(1)): 1}, {}, {})
    assert len(world.table.rows) == 1


async def test_what_another_version_of_the_app_has_written_is_ignored(world: World) -> None:
    state = MemoryState(world.table)
    await state.put("synced_company", "2026-03-04T12:00:01", {"account": "x", "opportunities": [1]})
    await state.put("synced_company", "2026-03-04T12:00:02", {"account": {"a": 1}})
    await state.put("synced_company", "2026-03-04T12:00:03", {"account": "YWJj"})
    assert await world.process().of("company", "account", [guid(1)], NOON) == Noted()


async def test_an_invocation_that_has_read_nothing_writes_nothing(world: World) -> None:
    await world.process().note("company", {}, {}, {})
    assert world.table.requests == 0


class Process:
    """One instance: what it knows, and what it learns from the table that all share."""

    def __init__(self, table: MemoryTable, *, behind: timedelta = timedelta()) -> None:
        self.now = NOON - behind
        self.known = Known(clock=lambda: 0.0)
        self.versions = SyncedVersions(MemoryState(table), now=lambda: self.now)

    async def stores(self, numbers: Sequence[int], entity: str = "person") -> None:
        for number in numbers:
            self.known.add(entity, guid(number), 1_000 + number)
        keys = {("contact", guid(number)): number for number in numbers}
        await self.versions.note(entity, keys, {}, {key: 1_000 + number for key, number in keys.items()})

    async def knows(self, numbers: Sequence[int], entity: str = "person", since: timedelta = OF_A_BURST) -> list[int]:
        await self.versions.learn(self.known, {entity}, since)
        return [number for number in numbers if self.known.id_of(entity, guid(number)) == 1_000 + number]


@pytest.fixture
def table() -> MemoryTable:
    return MemoryTable(seconds=0.0)


async def test_another_process_knows_what_was_stored_with_its_marketo_ids(table: MemoryTable) -> None:
    writer, reader = Process(table), Process(table)
    numbers = range(1, 2 * IN_A_ROW + 2)
    await writer.stores(numbers)
    assert len(table.rows) == 3
    assert await reader.knows(numbers) == list(numbers)
    assert max(len(text) for text, _ in table.rows.values()) < 32_000


async def test_what_was_stored_is_known_in_its_version_as_well(table: MemoryTable) -> None:
    await Process(table).stores([1, 2])
    noted = await Process(table).versions.of("person", "contact", [guid(1), guid(2)], NOON)
    assert noted.versions == {guid(1): 1, guid(2): 2}


async def test_what_was_stored_and_has_no_version_is_learned_and_not_covered(table: MemoryTable) -> None:
    await Process(table).versions.note("person", {}, {}, {("contact", guid(1)): 1_001})
    assert await Process(table).knows([1]) == [1]
    assert not (await Process(table).versions.of("person", "contact", [guid(1)], NOON)).versions


async def test_what_was_read_and_not_stored_is_not_learned(table: MemoryTable) -> None:
    reader = Process(table)
    await Process(table).versions.note("person", {("contact", guid(1)): 1_001}, {}, {})
    assert await reader.knows([1]) == []
    assert reader.known.id_of("person", guid(1)) is None


@pytest.mark.parametrize("behind", [timedelta(), timedelta(seconds=50)])
async def test_clocks_that_differ_hide_nothing(table: MemoryTable, behind: timedelta) -> None:
    writer, reader = Process(table, behind=behind), Process(table)
    assert await reader.knows([1]) == []
    await writer.stores([1])
    assert await reader.knows([1]) == [1]


async def test_what_marketo_contradicts_is_not_learned_again_from_the_same_row(table: MemoryTable) -> None:
    writer, reader = Process(table), Process(table)
    await writer.stores([1])
    assert await reader.knows([1]) == [1]
    for process in (reader, writer):
        process.known.forget("person", guid(1))
        assert await process.knows([1]) == []
    await writer.stores([1])
    assert await reader.knows([1]) == [1]


async def test_a_look_costs_one_request_and_a_batch_that_was_stored_one(table: MemoryTable) -> None:
    writer, reader = Process(table), Process(table)
    await writer.stores(range(300))
    assert table.requests == 1
    await reader.knows([])
    assert table.requests == 2


async def test_rows_of_an_earlier_burst_count_no_more_and_are_taken_away(table: MemoryTable) -> None:
    writer, reader = Process(table), Process(table)
    await writer.stores([1])
    reader.now = NOON + OF_A_BURST + timedelta(seconds=1)
    assert await reader.knows([1]) == []
    reader.now = NOON + KEPT + timedelta(seconds=1)
    await reader.versions.tend()
    assert not table.rows


async def test_a_run_looks_further_back(table: MemoryTable) -> None:
    writer, reader = Process(table), Process(table)
    await writer.stores([1], entity="company")
    reader.now = NOON + OF_A_RUN - timedelta(seconds=1)
    assert await reader.knows([1], "company", OF_A_RUN) == [1]


async def test_a_run_looks_as_far_back_where_a_burst_has_been_looked_for(table: MemoryTable) -> None:
    writer, reader = Process(table), Process(table)
    await writer.stores([1], entity="company")
    reader.now = NOON + OF_A_BURST + timedelta(minutes=1)
    assert await reader.knows([1], "company") == [], "it is too old for a burst"
    assert await reader.knows([1], "company", OF_A_RUN) == [1]


async def test_without_storage_nothing_is_known_and_nothing_is_raised(table: MemoryTable) -> None:
    writer, reader = Process(table), Process(table)
    table.away = True
    await writer.stores([1])
    assert await reader.knows([1]) == []


async def test_a_row_that_is_damaged_spoils_nothing(table: MemoryTable) -> None:
    reader = Process(table)
    state: State = MemoryState(table)
    damaged: list[Any] = [{"stored": "%"}, {"stored": "AAAA"}, {"stored": 7}, {}]
    for number, value in enumerate(damaged):
        await state.put(kind_of("person"), f"{NOON:%Y-%m-%dT%H:%M}:00.00{number}|x", value)
    await Process(table).stores([1])
    assert await reader.knows([1]) == [1]
