"""What is stored in a burst is known to the functions that sync its children, in whatever process they run."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from local.virtual import MemoryState, MemoryTable
from shared.azure.shared_state import State
from shared.sync.marketo_cache import Known
from shared.sync.synced_versions import IN_A_ROW, KEPT, OF_A_BURST, OF_A_RUN, SyncedVersions, kind_of
from tests.support.values import NOON, guid


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
