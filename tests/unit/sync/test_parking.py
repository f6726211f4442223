"""Parking: who waits for whom, what is requested, who is released, and what the timer finds."""

import json
from dataclasses import replace
from datetime import timedelta

from shared.model.entities import ENTITIES
from shared.model.outcome import Parent
from shared.model.record import MAX_RECORDS, Record
from tests.support.parking import CHECK, COMPANY, EARLIER, LEAVING, PERSON, STEPS, USER, WAIT, World, child
from tests.support.values import NOON, guid

MANY = [Parent("company", "account", guid(5000 + n)) for n in range(650)]


async def test_a_child_is_parked_before_anything_else_and_the_request_is_noted_last(world: World) -> None:
    await world.park(child())
    assert world.log == ["park", "notes", "replace", "send", "replace"]


async def test_a_child_is_kept_under_the_parent_it_waits_for_with_all_that_travels_with_it(world: World) -> None:
    await world.park(child(correlation_id="c", attempt=3, requested=True), parents=(USER, COMPANY))
    (kept,) = world.store.parked
    assert (kept.parent.entity, kept.parent.id) == ("company", COMPANY.id)
    assert kept.entity == "person"
    assert kept.record == child(correlation_id="c", attempt=3, requested=True, parked_since=NOON)


async def test_the_parents_are_requested_on_their_own_queues_with_the_age_of_their_oldest_child(world: World) -> None:
    older = Record("contact", guid(11), EARLIER - timedelta(hours=1))
    await world.park(child(), older, parents=(USER, COMPANY))
    assert [(m.queue, m.session, m.at) for m in world.bus.sent] == [(n, n, None) for n in ("sales_person", "company")]
    assert world.bus.take("company") == [Record("account", COMPANY.id, older.first_seen, requested=True)]
    assert world.bus.take("sales_person") == [Record("systemuser", USER.id, older.first_seen, requested=True)]


async def test_a_parent_is_requested_once_however_many_children_come(world: World) -> None:
    await world.park(*[child(n) for n in range(500)])
    await world.park(*[child(n) for n in range(500, 1000)])
    assert len(world.bus.take("company")) == 1
    assert len(world.store.parked) == 1000


async def test_many_parents_are_requested_in_few_messages(world: World) -> None:
    await world.parking.park(PERSON, [(child(n), (parent,)) for n, parent in enumerate(MANY[:250])])
    assert [len(json.loads(m.body)["records"]) for m in world.bus.sent] == [MAX_RECORDS, MAX_RECORDS, 50]


async def test_released_children_go_to_their_queue_as_they_were(world: World) -> None:
    waiting = child(correlation_id="c", attempt=3, requested=True, parked_since=EARLIER)
    await world.park(waiting)
    assert await world.release() == 1
    assert world.bus.take("person") == [replace(waiting, released=True)]
    assert not world.store.parked
    assert not world.store.notes_


async def test_a_parent_takes_its_note_away_first_and_removes_children_only_when_they_are_sent(world: World) -> None:
    await world.park(child())
    world.log.clear()
    await world.release()
    assert world.log == STEPS["requested"]


async def test_a_parent_that_changes_by_itself_releases_children_too_and_its_note_goes_last(world: World) -> None:
    """It need not come again after a crash: until then the note brings the timer."""
    await world.park(child())
    world.log.clear()
    assert await world.release(requested=False) == 1
    assert world.log[-5:] == LEAVING
    assert not world.store.notes_


async def test_a_parent_that_nobody_waits_for_costs_no_look_and_children_of_others_stay(world: World) -> None:
    await world.park(child())
    world.log.clear()
    assert await world.release(USER, requested=False) == 0
    assert "children" not in world.log
    assert len(world.store.parked) == 1
    assert world.store.notes_.keys() == {COMPANY}


async def test_children_of_several_entities_go_each_to_their_own_queue(world: World) -> None:
    opportunity = Record("opportunity", guid(20), EARLIER)
    await world.park(child())
    await world.parking.park(ENTITIES["opportunity"], [(opportunity, (COMPANY,))])
    assert await world.release() == 2
    assert [r.table for r in world.bus.take("person")] == ["contact"]
    assert [r.table for r in world.bus.take("opportunity")] == ["opportunity"]


async def test_the_children_of_a_large_parent_leave_page_by_page_in_full_messages(world: World) -> None:
    await world.park(*[child(n) for n in range(2500)])
    world.log.clear()
    assert await world.release() == 2500
    assert world.log == ["unmark", "children", *["send", "remove"] * 3]
    sizes = [len(json.loads(m.body)["records"]) for m in world.bus.sent if m.queue == "person"]
    assert sizes == [MAX_RECORDS] * 25


async def test_the_timer_releases_in_its_time_what_the_parents_sync_did_not(world: World) -> None:
    await world.park(child())
    world.marketo.there = {COMPANY.id: 5}
    world.now += timedelta(seconds=CHECK - 1)
    assert await world.check() == {"checked": 0, "released": 0, "expired": 0}
    assert world.marketo.asked == []
    world.now += timedelta(seconds=1)
    assert await world.check() == {"checked": 1, "released": 1, "expired": 0}
    assert [r.id for r in world.bus.take("person")] == [child().id]
    assert not world.store.notes_
    assert world.known.id_of("company", COMPANY.id) == 5


async def test_the_timer_asks_once_per_300_parents(world: World) -> None:
    await world.parking.park(PERSON, [(child(n), (parent,)) for n, parent in enumerate(MANY)])
    world.now += timedelta(seconds=CHECK)
    await world.check()
    assert sorted(world.marketo.asked) == [50, 300, 300]


async def test_the_timer_asks_for_a_missing_parent_less_and_less_often_up_to_an_hour() -> None:
    world = World(wait=86_400.0)
    await world.park(child())
    pauses = []
    for _ in range(9):
        (note,) = world.store.notes_.values()
        pauses.append((note.next_check - world.now).total_seconds())
        world.now = note.next_check
        await world.check()
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


async def test_a_missing_parent_is_requested_once_and_then_only_looked_for(world: World) -> None:
    """Its own failure is a dead letter: asking again would make one more of it each time."""
    await world.park(child())
    assert len(world.bus.take("company")) == 1
    for _ in range(5):
        (note,) = world.store.notes_.values()
        world.now = note.next_check
        assert (await world.check())["checked"] == 1
    assert world.bus.sent == []
    assert world.store.parked


async def test_children_that_have_waited_too_long_get_a_last_look_and_younger_ones_stay(world: World) -> None:
    await world.park(child(10))
    world.now += timedelta(seconds=WAIT - 10)
    await world.park(child(11))
    world.now += timedelta(seconds=10)
    assert (await world.check())["expired"] == 1
    (leaving,) = world.bus.take("person")
    assert leaving == child(10, parked_since=NOON, released=True)
    assert [p.record.id for p in world.store.parked] == [child(11).id]
    assert world.store.notes_[COMPANY].since == NOON + timedelta(seconds=WAIT - 10)


async def test_a_parent_that_nobody_waits_for_any_more_is_forgotten(world: World) -> None:
    await world.park(child())
    world.now += timedelta(seconds=WAIT)
    assert (await world.check())["expired"] == 1
    assert not world.store.parked
    assert not world.store.notes_
