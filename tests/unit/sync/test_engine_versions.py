"""The engine writes down in which version it has read each row, whatever has become of it."""

from dataclasses import replace
from typing import Any

import pytest

from local.virtual import MemoryState, MemoryTable
from shared.model.entities import ENTITIES
from shared.model.outcome import Deferred, Synced
from shared.model.record import Record
from shared.sync.synced_versions import GONE, SyncedVersions
from tests.support.organisation import World
from tests.support.values import NOON, guid


class Versioned(World):
    """Rows have the version `100 + number of the id`."""

    def __init__(self) -> None:
        super().__init__()
        self.table = MemoryTable(seconds=0)
        rows = self.dataverse.rows

        async def with_versions(*asked: Any, **more: Any) -> dict[str, Any]:
            found = await rows(*asked, **more)
            return {id_: {**row, "@odata.etag": f'W/"{100 + int(id_[-4:], 16)}"'} for id_, row in found.items()}

        self.dataverse.rows = with_versions
        self.engine.synced_versions = self.versions()

    def versions(self) -> SyncedVersions:
        return SyncedVersions(MemoryState(self.table), now=lambda: NOON)

    async def become(self, *records: Record) -> dict[str, Any]:
        return {record.id: outcome for record, outcome in await self.engine.sync(ENTITIES["person"], records)}

    async def noted(self, table: str = "contact") -> dict[str, int]:
        found = await self.versions().of("person", table, [guid(n) for n in range(100)], NOON)
        return found.versions


@pytest.fixture
def world() -> Versioned:
    return Versioned()


async def test_what_is_in_marketo_is_noted(world: Versioned) -> None:
    world.parents()
    there = world.person(11)
    assert isinstance((await world.become(there))[there.id], Synced)
    assert await world.noted() == {guid(11): 111}


async def test_what_waits_for_its_parent_is_on_its_way_and_noted(world: Versioned) -> None:
    world.marketo.has("sales_person", world.user)
    waits = world.person(10)
    assert isinstance((await world.become(waits))[waits.id], Deferred)
    assert await world.noted() == {guid(10): 110}


async def test_a_row_that_is_gone_is_noted_as_gone(world: Versioned) -> None:
    await world.become(Record("contact", guid(12), NOON, "delete"))
    assert await world.noted() == {guid(12): GONE}


async def test_a_row_of_which_only_some_fields_are_sent_is_not_noted(world: Versioned) -> None:
    world.parents()
    part = replace(world.person(16), fields=("firstName",))
    await world.become(part)
    assert await world.noted() == {}


async def test_what_could_not_be_read_is_not_noted(world: Versioned) -> None:
    world.dataverse.hidden = {guid(13)}
    await world.become(Record("contact", guid(13), NOON), Record("contact", guid(14), NOON))
    assert await world.noted() == {}


async def test_without_storage_the_sync_goes_on(world: Versioned) -> None:
    world.parents()
    world.table.away = True
    there = world.person(15)
    assert isinstance((await world.become(there))[there.id], Synced)
