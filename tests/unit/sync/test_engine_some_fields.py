"""Records of which only some fields are sent: a new field for rows that Marketo has, beside the normal sync."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.config.sync_toml import SyncConfig
from shared.marketo.answers import Result
from shared.marketo.client import Write
from shared.model.entities import ENTITIES, Entity
from shared.model.outcome import Skipped, Synced
from shared.model.record import Record
from tests.support.organisation import PERSON, World
from tests.support.values import NOON, guid

#: Two fields of contacts, so that one can be left alone.
TWO = SyncConfig.model_validate(
    {
        "systemuser": {"fields": {"email": "internalemailaddress"}},
        "account": {"fields": {"company": "name"}},
        "contact": {"fields": {"firstName": "firstname", "name": "name"}},
    }
)


@pytest.fixture
def world() -> World:
    world = World()
    world.rules = TWO
    world.engine = world.restarted(world.known)
    world.marketo.writes = []
    stored = world.marketo.write

    async def written(entity: Entity, bodies: Sequence[bytes], write: Write, **_: Any) -> list[Result]:
        """As Marketo does: who is only to be updated, and is not there, is skipped."""
        world.marketo.writes.append(write)
        results: list[Result] = await stored(entity, bodies)
        if write is not Write.UPDATE:
            return results
        code = "1004" if entity.is_lead else "1013"
        return [Result("skipped", 0, code) if each.status == "created" else each for each in results]

    world.marketo.write = written
    return world


async def test_only_these_fields_and_the_key_are_sent_and_no_parent_is_asked_for(world: World) -> None:
    record = replace(world.person(10), fields=("firstName",))
    world.marketo.has("person", guid(10))
    assert await world.sync("person", record) == [Synced("updated")]
    assert world.marketo.upserts == [[{"firstName": "Ann 10", "externalPersonId": guid(10)}]]
    assert (world.marketo.finds, world.marketo.writes) == ([], [Write.UPDATE])


async def test_an_empty_column_empties_the_field(world: World) -> None:
    record = replace(world.person(10), fields=("FIRSTNAME",))
    world.dataverse.tables["contact"][guid(10)]["firstname"] = None
    world.marketo.has("person", guid(10))
    await world.sync("person", record)
    assert world.marketo.upserts[0][0]["firstName"] is None


@pytest.mark.parametrize(("entity", "table"), [("person", "contact"), ("company", "account")])
async def test_a_record_that_marketo_does_not_have_is_not_created(world: World, entity: str, table: str) -> None:
    world.person(10)
    record = Record(table, guid(10) if table == "contact" else guid(2), NOON, fields=("firstName", "company"))
    assert await world.sync(entity, record) == [Skipped("NotInMarketo")]
    assert world.marketo.writes == [Write.UPDATE]


async def test_neighbours_in_the_same_call_are_synced_as_always(world: World) -> None:
    world.parents()
    part = replace(world.person(10), fields=("firstName",))
    world.marketo.has("person", guid(10))
    whole = world.person(11)
    world.marketo.has("person", guid(11))
    assert await world.sync("person", part, whole) == [Synced("updated")] * 2
    sent = {row["externalPersonId"]: set(row) for row in world.marketo.upserts[-1]}
    assert sent[guid(10)] == {"externalPersonId", "firstName"}
    assert sent[guid(11)] > {"externalPersonId", "firstName", "externalCompanyId"}


async def test_a_later_change_of_the_row_is_not_covered_by_it(world: World) -> None:
    """Marketo has one field of the row as it was read, and not the others."""
    world.parents()
    world.marketo.has("person", guid(10))
    part = replace(world.person(10), fields=("firstName",))
    await world.engine.sync(PERSON, [part], received=NOON + timedelta(minutes=1))
    change = replace(world.person(10), last_seen=NOON)
    ((_, outcome),) = await world.engine.sync(ENTITIES["person"], [change], received=NOON + timedelta(minutes=2))
    assert outcome != Synced("covered")
