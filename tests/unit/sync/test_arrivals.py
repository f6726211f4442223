"""What is stored in a burst is known to the functions that sync its children, in whatever process they run."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from local.virtual import MemoryState, MemoryTable
from shared.azure.shared_state import State
from shared.model.entities import ENTITIES
from shared.model.outcome import Outcome, Retry, Skipped, Synced
from shared.model.record import Record
from shared.sync.arrivals import KEPT, KEPT_LONGEST, KIND, MAX_KEYS, Arrivals
from shared.sync.marketo_cache import Known
from tests.support.values import NOON, guid

STORED = Synced("created")


class Process:
    """One instance: what it knows, and what it learns from the table that all share."""

    def __init__(self, table: MemoryTable, *, behind: timedelta = timedelta()) -> None:
        self.now = NOON - behind
        self.known = Known(clock=lambda: 0.0)
        self.arrivals = Arrivals(MemoryState(table), self.known, now=lambda: self.now)

    async def stores(self, numbers: Sequence[int], outcome: Outcome = STORED, entity: str = "person") -> None:
        for number in numbers:
            self.known.add(entity, guid(number), 1_000 + number)
        records = [(Record("contact", guid(number), NOON), outcome) for number in numbers]
        await self.arrivals.tell(ENTITIES[entity], records)

    async def knows(self, numbers: Sequence[int], entity: str = "person") -> list[int]:
        await self.arrivals.learn({entity})
        return [number for number in numbers if self.known.id_of(entity, guid(number)) == 1_000 + number]


@pytest.fixture
def table() -> MemoryTable:
    return MemoryTable(seconds=0.0)


async def test_another_process_knows_what_was_stored_with_its_marketo_ids(table: MemoryTable) -> None:
    writer, reader = Process(table), Process(table)
    numbers = range(1, 2 * MAX_KEYS + 2)
    await writer.stores(numbers)
    assert len(table.rows) == 3
    assert await reader.knows(numbers) == list(numbers)
    assert max(len(text) for text, _ in table.rows.values()) < 32_768


@pytest.mark.parametrize("outcome", [Retry(60.0, "502", ""), Skipped("RowGone")])
async def test_what_was_not_stored_is_not_told(table: MemoryTable, outcome: Outcome) -> None:
    await Process(table).stores([1], outcome)
    assert not table.rows


async def test_nobody_waits_for_a_role(table: MemoryTable) -> None:
    await Process(table).stores([1], entity="opportunity_role")
    assert not table.rows


@pytest.mark.parametrize("behind", [timedelta(), timedelta(seconds=50)])
async def test_clocks_that_differ_hide_no_arrival(table: MemoryTable, behind: timedelta) -> None:
    writer, reader = Process(table, behind=behind), Process(table)
    assert await reader.knows([1]) == []
    await writer.stores([1])
    assert await reader.knows([1]) == [1]


async def test_what_marketo_contradicts_is_not_learned_again_from_the_same_row(table: MemoryTable) -> None:
    writer, reader = Process(table), Process(table)
    await writer.stores([1])
    assert await reader.knows([1]) == [1]
    reader.known.forget("person", guid(1))
    assert await reader.knows([1]) == []
    await writer.stores([1])
    assert await reader.knows([1]) == [1]


async def test_a_look_costs_one_request_and_a_told_batch_one(table: MemoryTable) -> None:
    writer, reader = Process(table), Process(table)
    await writer.stores([0])
    table.requests = 0
    await writer.stores(range(300))
    assert table.requests == 1
    await reader.knows([])
    assert table.requests == 2


async def test_rows_of_an_earlier_burst_count_no_more_and_are_taken_away(table: MemoryTable) -> None:
    writer, reader = Process(table), Process(table)
    await writer.stores([1])
    writer.now = reader.now = NOON + KEPT + timedelta(seconds=1)
    assert await reader.knows([1]) == []
    writer.now = NOON + KEPT_LONGEST + timedelta(seconds=1)
    await writer.stores([2])
    assert [name for kind, name in table.rows if kind == KIND] == [name for _, name in table.rows if "13:00" in name]


async def test_a_run_looks_further_back(table: MemoryTable) -> None:
    writer, reader = Process(table), Process(table)
    await writer.stores([1], entity="company")
    reader.now = NOON + KEPT_LONGEST - timedelta(seconds=1)
    await reader.arrivals.learn({"company"}, since=KEPT_LONGEST)
    assert reader.known.id_of("company", guid(1)) == 1_001


async def test_a_run_looks_as_far_back_where_a_burst_has_been_looked_for(table: MemoryTable) -> None:
    writer, reader = Process(table), Process(table)
    await writer.stores([1], entity="company")
    reader.now = NOON + KEPT + timedelta(minutes=1)
    assert await reader.knows([1], "company") == [], "it is too old for a burst"
    await reader.arrivals.learn({"company"}, since=KEPT_LONGEST)
    assert reader.known.id_of("company", guid(1)) == 1_001


async def test_without_storage_nothing_is_known_and_nothing_is_raised(table: MemoryTable) -> None:
    writer, reader = Process(table), Process(table)
    table.away = True
    await writer.stores([1])
    assert await reader.knows([1]) == []


async def test_a_row_that_is_damaged_spoils_nothing(table: MemoryTable) -> None:
    reader = Process(table)
    state: State = MemoryState(table)
    damaged: list[Any] = [{"keys": "%"}, {"keys": "AAAA"}, {"keys": 7}, {}]
    for number, value in enumerate(damaged):
        await state.put(KIND, f"person|{NOON:%Y-%m-%dT%H:%M}:00.00{number}Z|x", value)
    await Process(table).stores([1])
    assert await reader.knows([1]) == [1]
