"""Parking: parents that will not come, and records that are linked later."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.model.entities import ENTITIES
from shared.model.errors import StorageUnavailableError
from shared.model.outcome import Parent
from shared.model.record import Record
from tests.support.parking import COMPANY, EARLIER, REFUSED, USER, WAIT, World, child
from tests.support.values import NOON, guid


@pytest.mark.parametrize("skipped", [False, True])
async def test_a_parent_that_will_not_come_lets_its_children_go_at_once(world: World, skipped: bool) -> None:
    await world.park(child(10), child(11))
    world.bus.take("company")
    await world.give_up(skipped=skipped)
    assert [r.id for r in world.bus.take("person")] == [child(10).id, child(11).id]
    assert not world.store.parked
    assert await world.parking.causes([COMPANY, USER]) == {COMPANY: replace(REFUSED, skipped=skipped)}


async def test_who_parks_under_a_parent_that_will_not_come_goes_at_once_and_asks_for_nobody(world: World) -> None:
    await world.give_up(requested=False)
    await world.park(child(10))
    assert [r.id for r in world.bus.take("person")] == [child(10).id]
    assert world.bus.sent == []
    assert not world.store.parked


async def test_a_row_that_nobody_waits_for_is_not_noted_when_it_is_skipped(world: World) -> None:
    """Rows that are deleted would leave a note each."""
    await world.give_up(skipped=True, requested=False)
    assert not world.store.notes_


async def test_what_is_linked_later_stays_when_its_parent_will_not_come_and_leaves_when_it_comes(world: World) -> None:
    await world.link_later(child(10, attempt=2, requested=True, filter_changed=True, replays=1))
    assert len(world.bus.take("company")) == 1
    await world.give_up()
    assert world.bus.sent == []
    assert [p.linked_later for p in world.store.parked] == [True]
    assert await world.release(requested=False) == 1
    assert world.bus.take("person") == [replace(child(10, released=True), first_seen=NOON)], (
        "it is in Marketo: nothing is counted against it"
    )
    assert not world.store.parked
    assert not world.store.notes_


async def test_what_its_parent_has_sent_on_itself_is_released_only_if_it_was_parked_again(world: World) -> None:
    await world.link_later(child(10), child(11))
    await world.park(child(12))
    world.bus.take("company")
    sent = await world.parking.links_to([COMPANY])
    assert [each.record.id for each in sent] == [child(10).id, child(11).id], "who waits is not in Marketo yet"
    await world.link_later(child(11))
    await world.parking.linked(sent)
    await world.release()
    assert sorted(r.id for r in world.bus.take("person")) == [child(11).id, child(12).id]


async def test_while_storage_is_away_no_cause_and_no_link_is_known(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def away() -> None:
        raise StorageUnavailableError("ServiceRequestError")

    await world.link_later(child(10))
    await world.give_up()
    world.store.after = {"notes": away, "children": away}
    assert (await world.parking.causes([COMPANY]), await world.parking.links_to([COMPANY])) == ({}, [])
    assert caplog.text.count("storage_away") == 2
    assert await world.parking.causes([COMPANY])
    assert await world.parking.links_to([COMPANY])


async def test_what_lacks_two_links_is_sent_again_for_each_of_the_parents(world: World) -> None:
    await world.link_later(child(10), parents=(USER, COMPANY))
    for parent in (USER, COMPANY):
        assert len(world.bus.take(parent.entity)) == 1
        await world.release(parent)
        assert [r.id for r in world.bus.take("person")] == [child(10).id]
    assert not world.store.parked


async def test_a_role_waits_for_a_parent_that_is_a_dead_letter_and_not_for_one_that_is_nothing_to_sync() -> None:
    person = Parent("person", "contact", guid(3))
    role = Record("connection", guid(30), EARLIER)
    for skipped in (False, True):
        world = World()
        await world.parking.park(ENTITIES["opportunity_role"], [(role, (person,))])
        await world.give_up(person, skipped=skipped)
        assert [r.id for r in world.bus.take("opportunity_role")] == [role.id] * skipped
        assert len(world.store.parked) == (not skipped)


async def test_a_role_whose_parent_stays_a_dead_letter_gets_its_last_look_in_its_time(world: World) -> None:
    person = Parent("person", "contact", guid(3))
    role = Record("connection", guid(30), EARLIER)
    await world.parking.park(ENTITIES["opportunity_role"], [(role, (person,))])
    await world.give_up(person)
    world.now += timedelta(seconds=WAIT)
    assert (await world.check())["expired"] == 1
    assert [r.id for r in world.bus.take("opportunity_role")] == [role.id]
    assert await world.parking.causes([person]), "the reason is there for the engine to name"


async def test_that_a_parent_will_not_come_is_checked_ever_less_and_forgotten(world: World) -> None:
    await world.give_up(requested=False)
    for _ in range(80):
        if not world.store.notes_:
            break
        world.now = world.store.notes_[COMPANY].next_check
        await world.check()
    assert not world.store.notes_
    assert world.now - NOON > timedelta(days=29)
    assert len(world.marketo.asked) < 60


async def test_what_is_linked_later_keeps_the_note_of_its_parent_for_ever(world: World) -> None:
    await world.link_later(child(10))
    await world.give_up()
    for _ in range(100):
        world.now = world.store.notes_[COMPANY].next_check
        assert (await world.check())["expired"] == 0
    assert world.now - NOON > timedelta(days=60)
    world.marketo.there = {COMPANY.id: 5}
    world.now = world.store.notes_[COMPANY].next_check
    await world.check()
    assert [r.id for r in world.bus.take("person")] == [child(10).id]
