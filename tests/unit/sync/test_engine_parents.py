"""The engine and the parents of records: those that are there, late, or will not come."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.marketo.answers import Result
from shared.model.entities import ENTITIES
from shared.model.outcome import Deferred, Failed, Parent, Retry, Skipped, Synced, WillNotCome
from shared.model.record import Record
from tests.support.organisation import World, owned_by, to
from tests.support.values import NOON, guid


async def test_both_missing_parents_are_named_and_the_later_one_is_waited_for(world: World) -> None:
    assert await world.sync("person", world.person(10)) == [
        Deferred((Parent("sales_person", "systemuser", world.user), Parent("company", "account", world.account)))
    ]
    assert world.marketo.upserts == []


async def test_only_the_parent_that_is_missing_is_named(world: World) -> None:
    world.marketo.has("sales_person", world.user)
    assert await world.sync("person", world.person(10)) == [Deferred((Parent("company", "account", world.account),))]


async def test_a_child_whose_parent_came_through_this_process_goes_on_without_a_call(world: World) -> None:
    world.marketo.has("sales_person", world.user)
    person = world.person(10)
    assert isinstance((await world.sync("person", person))[0], Deferred)
    assert await world.sync("company", Record("account", world.account, NOON)) == [Synced("created")]
    calls = len(world.marketo.finds)
    assert await world.sync("person", person) == [Synced("created")]
    assert len(world.marketo.finds) == calls


async def test_a_released_child_does_not_believe_what_this_instance_last_heard_of_its_parent(world: World) -> None:
    world.marketo.has("sales_person", world.user)
    person = world.person(10)
    assert isinstance((await world.sync("person", person))[0], Deferred)
    await world.restarted().sync(ENTITIES["company"], [Record("account", world.account, NOON)])
    assert await world.sync("person", replace(person, parked_since=NOON, released=True)) == [Synced("created")]


async def test_a_warm_batch_asks_marketo_for_no_parent(world: World) -> None:
    world.parents()
    await world.sync("person", world.person(10))
    asked = len(world.marketo.finds)
    await world.sync("person", world.person(11))
    assert len(world.marketo.finds) == asked


async def test_a_cold_batch_of_300_asks_marketo_twice_at_most(world: World) -> None:
    people = [world.person(1000 + n) for n in range(300)]
    for n, person in enumerate(people):
        row = to("_ownerid_value", "systemuser", guid(5000 + n)) | to(
            "_parentcustomerid_value", "account", guid(6000 + n)
        )
        world.dataverse.put("contact", person.id, firstname="Ann", **row)
        world.dataverse.put("systemuser", guid(5000 + n), internalemailaddress="a@b.com")
        world.marketo.has("sales_person", guid(5000 + n))
        world.marketo.has("company", guid(6000 + n))
    assert await world.sync("person", *people) == [Synced("created")] * 300
    assert sorted(world.marketo.finds) == [("company", 300), ("sales_person", 300)]
    assert len(world.marketo.upserts) == 1


async def test_a_child_that_waited_too_long_fails_naming_the_parent(world: World) -> None:
    for_a_day = replace(world.person(10), parked_since=NOON - timedelta(days=1))
    (outcome,) = await world.sync("person", replace(for_a_day, parked_since=NOON - timedelta(seconds=86_399)))
    assert isinstance(outcome, Deferred)
    (outcome,) = await world.sync("person", for_a_day)
    assert isinstance(outcome, Failed)
    assert outcome.code == "ParentMissing"
    assert f"company {world.account} (table account)" in outcome.message
    assert "2026-03-03T12:00:00" in outcome.message


async def test_a_child_that_waited_too_long_is_synced_if_its_parents_are_there_now(world: World) -> None:
    world.parents()
    waiting = Record("contact", world.person(10).id, NOON, parked_since=NOON - timedelta(days=9))
    assert await world.sync("person", waiting) == [Synced("created")]


REFUSED = WillNotCome("1003", "Invalid value for field 'email'", NOON)


async def test_a_person_that_marketo_has_does_not_wait_for_a_new_owner(world: World) -> None:
    """The old link stays until the new one is there; everything else is sent now."""
    world.parents()
    record = world.person(10)
    assert await world.sync("person", record) == [Synced("created")]
    late = Parent("sales_person", "systemuser", world.dataverse.put("systemuser", guid(7), internalemailaddress="l@x"))
    world.dataverse.tables["contact"][record.id] |= owned_by(late.id) | {"firstname": "Anna"}
    world.marketo.finds.clear()
    assert await world.sync("person", record) == [Synced("updated", (late,))]
    (sent,) = world.marketo.upserts[-1]
    assert sent == {"firstName": "Anna", "externalCompanyId": world.account, "externalPersonId": record.id}
    assert world.marketo.finds == [("sales_person", 1), ("person", 1)]
    world.marketo.has("sales_person", late.id)
    assert await world.sync("person", replace(record, released=True)) == [Synced("updated")]
    assert world.marketo.upserts[-1][0]["externalSalesPersonId"] == late.id


async def test_one_call_tells_of_300_records_whether_marketo_has_them(world: World) -> None:
    records = [world.person(n) for n in range(10, 610)]
    for record in records[:2]:
        world.marketo.has("person", record.id)
    outcomes = await world.sync("person", *records)
    missing = Parent("sales_person", "systemuser", world.user), Parent("company", "account", world.account)
    assert outcomes.count(Synced("updated", missing)) == 2
    assert outcomes.count(Deferred(missing)) == 598
    assert [entity for entity, _ in world.marketo.finds].count("person") == 2


async def test_who_has_all_its_parents_costs_no_question_about_itself(world: World) -> None:
    world.parents()
    await world.sync("person", world.person(10))
    assert "person" not in {entity for entity, _ in world.marketo.finds}


async def test_a_new_person_goes_at_once_without_an_owner_whom_marketo_refuses(world: World) -> None:
    refused = Parent("sales_person", "systemuser", world.user)
    world.causes[refused] = REFUSED
    world.marketo.has("company", world.account)
    assert await world.sync("person", world.person(10)) == [Synced("created", (refused,))]
    assert world.marketo.upserts == [
        [{"firstName": "Ann 10", "externalCompanyId": world.account, "externalPersonId": guid(10)}]
    ]


async def test_a_new_person_waits_for_the_parent_that_is_late_only(world: World) -> None:
    world.causes[Parent("sales_person", "systemuser", world.user)] = REFUSED
    assert await world.sync("person", world.person(10)) == [Deferred((Parent("company", "account", world.account),))]


async def test_whoever_has_come_in_spite_of_his_note_is_linked(world: World) -> None:
    world.parents()
    world.causes[Parent("sales_person", "systemuser", world.user)] = REFUSED
    assert await world.sync("person", world.person(10)) == [Synced("created")]


async def test_a_role_waits_for_a_refused_person_and_names_the_reason_when_its_time_is_over(world: World) -> None:
    person, deal = world.person(10), world.dataverse.put("opportunity", guid(20), name="Chairs")
    world.marketo.has("opportunity", deal)
    refused = Parent("person", "contact", person.id)
    world.causes[refused] = REFUSED
    (role, _) = world.connection(30, person.id, deal)
    assert await world.sync("opportunity_role", role) == [Deferred((refused,))]
    late = replace(role, parked_since=NOON - timedelta(days=2), released=True)
    (outcome,) = await world.sync("opportunity_role", late)
    assert isinstance(outcome, Failed)
    assert outcome.code == "ParentMissing"
    assert f"person {person.id} (table contact), which is not in Marketo: 1003, {REFUSED.message}" in outcome.message


async def test_a_role_of_what_is_nothing_to_sync_is_nothing_to_sync(world: World) -> None:
    person, deal = world.person(10), world.dataverse.put("opportunity", guid(20), name="Chairs")
    world.marketo.has("opportunity", deal)
    world.causes[Parent("person", "contact", person.id)] = replace(REFUSED, code="RowGone", skipped=True)
    (role, _) = world.connection(30, person.id, deal)
    assert await world.sync("opportunity_role", role) == [Skipped("ParentNotSynced")]


@pytest.mark.parametrize(
    ("told", "is_of_a_parent"),
    [
        ("Invalid data", True),
        ("Invalid value for field 'leadId' and value '101'", True),
        ("Invalid value for field 'externalOpportunityId'", True),
        ("Invalid value for field 'role'", False),
    ],
)
async def test_of_a_role_marketo_may_say_1003_when_a_parent_is_not_there(
    world: World, monkeypatch: pytest.MonkeyPatch, told: str, is_of_a_parent: bool
) -> None:
    person, deal = world.person(10), world.dataverse.put("opportunity", guid(20), name="Chairs")
    world.marketo.has("opportunity", deal)
    world.marketo.has("person", person.id)
    (role, _) = world.connection(30, person.id, deal)
    monkeypatch.setattr(world.marketo, "_store", lambda *_: Result("skipped", code="1003", message=told))
    tried_again = Retry(5.0, "1003", told, counted=True)
    assert await world.sync("opportunity_role", role) == [
        tried_again if is_of_a_parent else Failed("1003", told, "marketo")
    ]
    remembers = world.known.id_of("person", person.id) is not None
    assert remembers != is_of_a_parent


async def test_what_was_refused_before_does_not_trust_what_is_remembered_of_its_parents(world: World) -> None:
    """Each process remembers for itself: the one that was told better may not be the one that tries again."""
    world.parents()
    assert await world.sync("person", world.person(10)) == [Synced("created")]
    del world.marketo.stored["company"][world.account]
    again = replace(world.person(11), attempt=1)
    assert await world.sync("person", again) == [Deferred((Parent("company", "account", world.account),))]
