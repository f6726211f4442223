"""Who became whom, as the engine did it: each adoption, merge and deletion is in the history with both systems' ids."""

import pytest

from shared.model.entities import ENTITIES, PERSON
from shared.model.record import Record
from shared.sync.history import Event, What, events_of, row_of
from shared.sync.history_steps import settled
from tests.support import deletions
from tests.support.history import Kept
from tests.support.persons import FLAG, World
from tests.support.ties import ANN, DEAL, ROLES, Tie
from tests.support.ties import World as Roles
from tests.support.values import NOON, guid, to


async def synced(world: World, *records: Record) -> list[Event]:
    outcomes = await world.engine.sync(PERSON, list(records))
    return events_of(row_of(line) for line in settled(PERSON, outcomes, NOON))


async def test_a_person_that_marketing_had(world: World) -> None:
    world.marketo.has(7, "Ann@x.com")
    (event,) = await synced(world, world.contact(1))
    assert (event.what, event.facts) == (What.ADOPTED, {"marketo_id": 7, "found_by": "its e-mail address"})


async def test_the_contact_of_a_qualified_lead(world: World) -> None:
    await synced(world, world.lead(1))
    contact, lead = await synced(world, world.contact(2, "new@x.com", lead=1))
    assert (contact.what, contact.facts) == (
        What.ADOPTED, {"marketo_id": 1000, "found_by": "Qualify", "from_row": f"lead {guid(1)}"},
    )  # fmt: skip
    assert (lead.id, lead.what, lead.facts) == (guid(1), What.CONTINUED, {"into": f"contact {guid(2)}"})


async def test_the_person_of_a_deleted_row_that_was_made_anew() -> None:
    world = World(lifecycle={"deleted_flag": FLAG})
    world.marketo.has(7, "ann@x.com", guid(5), **{FLAG: True})
    new, old = await synced(world, world.row("contact", 2))
    assert (new.what, new.facts["marketo_id"]) == (What.ADOPTED, 7)
    assert (old.id, old.what, old.facts) == (guid(5), What.LEFT_BEHIND, {"into": f"contact {guid(2)}"})


async def test_rows_whose_persons_marketo_merged() -> None:
    world = World(lifecycle={"merged": "merge"})
    world.marketo.has(1, "ann@x.com", guid(1), title="Dr.")
    world.marketo.has(2, "ann@y.com", guid(2), title=None)
    world.contact(2)
    loser, winner = await synced(
        world, world.row("contact", 1, merged=True, statecode=1, **to("_masterid_value", "contact", guid(2)))
    )
    assert (loser.what, loser.facts) == (
        What.MERGED,
        {"into": f"contact {guid(2)}", "action": "merged", "marketo_id": "1", "into_marketo_id": 2},
    )
    assert (winner.id, winner.what, winner.facts) == (
        guid(2), What.TOOK_OVER, {"from_row": f"contact {guid(1)}", "action": "merged", "marketo_id": 2},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rules", "what"),
    [
        ({"person": "delete"}, What.DELETED),
        ({"person": "unlink"}, What.UNLINKED),
        ({"deleted_flag": deletions.FLAG}, What.FLAGGED),
    ],
)
async def test_a_row_that_is_deleted(rules: dict[str, str], what: What) -> None:
    world = deletions.World()
    world.with_rules(**rules)
    number = world.person()
    outcomes = await world.engine.sync(ENTITIES["person"], [deletions.deleted()])
    (event,) = events_of(row_of(line) for line in settled(PERSON, outcomes, NOON))
    assert (event.what, event.facts) == (what, {"marketo_id": str(number), "reason": "Deleted"})


async def test_a_role_that_has_ended() -> None:
    world, kept = Roles(), Kept()
    id_, name = next(iter(ROLES.items()))
    world.connect(Tie("connection", DEAL, ANN, id_))
    await world.work(history=kept.history)
    world.disconnect(next(iter(world.ties)))
    await world.work(history=kept.history)
    (event,) = await kept.events()
    assert (event.table, event.id, event.what) == ("opportunity", DEAL, What.ROLE_DELETED)
    assert event.facts == {"marketo_id": world.leads[ANN]}, f"{name} is a value"
