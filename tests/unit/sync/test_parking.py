"""Parking: who waits for whom, what is requested, who is released, and that no order of events loses a child."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.azure.parked_rows import Note, NoteState, Parked
from shared.azure.service_bus import Outgoing
from shared.azure.table import PAGE
from shared.model.entities import ENTITIES, Entity
from shared.model.errors import StorageUnavailableError
from shared.model.outcome import Parent, WillNotCome
from shared.model.record import MAX_RECORDS, Record, decode
from shared.sync.marketo_cache import Known
from shared.sync.parking import Parking
from tests.support.values import NOON

EARLIER = NOON - timedelta(minutes=5)
CHECK = 60.0
WAIT = 3600.0
QUEUES: Any = SimpleNamespace(of=lambda entity: entity)
PERSON = ENTITIES["person"]
COMPANY = Parent("company", "account", str(UUID(int=1)))
USER = Parent("sales_person", "systemuser", str(UUID(int=2)))
MANY = [Parent("company", "account", str(UUID(int=5000 + n))) for n in range(650)]
REFUSED = WillNotCome("1003", "Invalid value for field 'email'", NOON)
LEAVING = ["leave", "children", "send", "remove", "forget"]
#: How children leave: their parent is synced after it was requested, or changed by itself, or the timer finds it.
STEPS = {"requested": ["unmark", "children", "send", "remove"], "itself": LEAVING, "timer": LEAVING}
AGAIN = [("requested", "requested"), ("itself", "itself"), ("itself", "timer"), ("timer", "timer")]


def child(number: int = 10, **facts: Any) -> Record:
    return Record("contact", str(UUID(int=number)), EARLIER, **facts)


async def crash() -> None:
    raise ConnectionError


class MemoryStore:
    """The table in memory, with its etags, and a hook after each step: there another instance may act."""

    def __init__(self, log: list[str]) -> None:
        self.parked: dict[tuple[str, str], Parked] = {}
        self.notes_: dict[Parent, Note] = {}
        self.log = log
        self.after: dict[str, Callable[[], Awaitable[Any]]] = {}
        self._etags = map(str, count(1))

    async def did(self, step: str) -> None:
        self.log.append(step)
        if act := self.after.pop(step, None):
            await act()

    def _write(self, note: Note) -> str:
        self.notes_[note.parent] = replace(note, etag=next(self._etags))
        return self.notes_[note.parent].etag

    async def park(self, parked: Iterable[Parked], next_check: datetime, others: Iterable[Parent] = ()) -> None:
        for p in parked:
            self.parked[p.parent.entity, p.row_key] = replace(p, etag=next(self._etags))
        for parent in [*(p.parent for p in parked), *others]:
            first = Note(parent, next_check, next_check, state=NoteState.UNASKED)
            self._write(self.notes_.get(parent, first))
        await self.did("park")

    async def children(self, parent: Parent) -> AsyncIterator[list[Parked]]:
        found = sorted(key for key, p in self.parked.items() if p.parent == parent)
        await self.did("children")
        for start in range(0, len(found), PAGE):
            yield [self.parked[key] for key in found[start : start + PAGE] if key in self.parked]

    async def remove(self, parked: Iterable[Parked]) -> None:
        for p in parked:
            assert p.etag, "read from the table, so it has one"
            if self.parked.get((p.parent.entity, p.row_key)) == p:
                del self.parked[p.parent.entity, p.row_key]
        await self.did("remove")

    async def notes(self, parents: Collection[Parent]) -> dict[Parent, Note]:
        found = {p: self.notes_[p] for p in parents if p in self.notes_}
        await self.did("notes")
        return found

    async def waited_for(self, entity: str, ids: Collection[str]) -> dict[str, Note]:
        return {p.id: note for p, note in self.notes_.items() if p.entity == entity and p.id in ids}

    async def leave(self, note: Note) -> str:
        etag = self._write(note)
        await self.did("leave")
        return etag

    async def forget(self, parent: Parent, etag: str) -> None:
        if parent in self.notes_ and self.notes_[parent].etag == etag:
            del self.notes_[parent]
        await self.did("forget")

    async def put(self, notes: Iterable[Note]) -> None:
        for note in notes:
            self._write(note)
        await self.did("put")

    async def replace(self, notes: Collection[Note]) -> dict[Parent, str]:
        known = {n.parent: n.etag for n in self.notes_.values()}
        etags = {note.parent: self._write(note) for note in notes if known.get(note.parent) == note.etag}
        await self.did("replace")
        return etags

    async def unmark(self, parents: Iterable[Parent]) -> None:
        for parent in parents:
            self.notes_.pop(parent, None)
        await self.did("unmark")

    async def due(self, entity: str, now: datetime) -> AsyncIterator[list[Note]]:
        due = [r for r in self.notes_.values() if r.parent.entity == entity and r.next_check <= now]
        if due:
            yield due


class MemoryBus:
    def __init__(self, store: MemoryStore) -> None:
        self.sent: list[Outgoing] = []
        self.store = store

    async def send(self, messages: Sequence[Outgoing]) -> None:
        self.sent += messages
        if messages:
            await self.store.did("send")

    def take(self, queue: str) -> list[Record]:
        """The records on a queue, which are then gone from it."""
        found = [record for m in self.sent if m.queue == queue for record in decode(m.body, queue)]
        self.sent = [m for m in self.sent if m.queue != queue]
        return found


class Marketo:
    def __init__(self) -> None:
        self.there, self.asked = dict[str, int](), list[int]()

    async def find(self, _entity: Entity, keys: Sequence[str]) -> dict[str, int]:
        self.asked.append(len(keys))
        return {key: self.there[key] for key in keys if key in self.there}


class World:
    def __init__(self, wait: float = WAIT) -> None:
        self.now = NOON
        self.log: list[str] = []
        self.store = MemoryStore(self.log)
        self.bus = MemoryBus(self.store)
        self.marketo: Any = Marketo()
        self.known = Known(clock=lambda: 0.0)
        parts: list[Any] = [self.store, self.bus, QUEUES]
        self.parking = Parking(*parts, now=lambda: self.now, check_after=CHECK, max_wait=wait)

    async def park(self, *records: Record, parents: tuple[Parent, ...] = (COMPANY,)) -> None:
        await self.parking.park(PERSON, [(record, parents) for record in records])

    async def release(self, parent: Parent = COMPANY, *, requested: bool = True) -> int:
        """What the settler does when this parent has been synced."""
        synced = Record(parent.table, parent.id, EARLIER, requested=requested)
        return await self.parking.release(ENTITIES[parent.entity], [synced])

    async def link_later(self, *records: Record, parents: tuple[Parent, ...] = (COMPANY,)) -> None:
        await self.parking.link_later(PERSON, [(record, parents) for record in records])

    async def give_up(self, parent: Parent = COMPANY, *, skipped: bool = False, requested: bool = True) -> None:
        """What the settler does when this parent is a dead letter, or nothing to sync (`skipped`)."""
        ended = Record(parent.table, parent.id, EARLIER, requested=requested)
        cause = replace(REFUSED, since=self.now, skipped=skipped)
        await self.parking.give_up(ENTITIES[parent.entity], [(ended, cause)])

    async def check(self) -> dict[str, int]:
        return await self.parking.check(self.marketo, self.known)

    async def let_go(self, way: str) -> None:
        await (self.check() if way == "timer" else self.release(requested=way == "requested"))


async def assert_all_leave(world: World, *children: Record) -> None:
    """Each child is sent on: by now, or when a parent that was requested meanwhile is synced."""
    if world.bus.take("company"):
        await world.release()
    assert sorted(r.id for r in world.bus.take("person")) == [r.id for r in children]
    assert not world.store.parked


async def test_a_child_is_parked_before_anything_else_and_the_request_is_noted_last(world: World) -> None:
    await world.park(child())
    assert world.log == ["park", "notes", "replace", "send", "replace"]


async def test_a_child_is_kept_under_the_parent_it_waits_for_with_all_that_travels_with_it(world: World) -> None:
    await world.park(child(correlation_id="c", attempt=3, requested=True), parents=(USER, COMPANY))
    (kept,) = world.store.parked.values()
    assert kept.parent == COMPANY
    assert kept.entity == "person"
    assert kept.record == child(correlation_id="c", attempt=3, requested=True, parked_since=NOON)


async def test_the_parents_are_requested_on_their_own_queues_with_the_age_of_their_oldest_child(world: World) -> None:
    older = Record("contact", str(UUID(int=11)), EARLIER - timedelta(hours=1))
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
    assert world.store.parked == {}
    assert world.store.notes_ == {}


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
    assert world.store.notes_ == {}


async def test_a_parent_that_nobody_waits_for_costs_no_look_and_children_of_others_stay(world: World) -> None:
    await world.park(child())
    world.log.clear()
    assert await world.release(USER, requested=False) == 0
    assert "children" not in world.log
    assert len(world.store.parked) == 1
    assert world.store.notes_.keys() == {COMPANY}


async def test_children_of_several_entities_go_each_to_their_own_queue(world: World) -> None:
    opportunity = Record("opportunity", str(UUID(int=20)), EARLIER)
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


@pytest.mark.parametrize(("way", "again", "step"), [(w, a, s) for w, a in AGAIN for s in STEPS[w]])
async def test_a_crash_sends_a_child_twice_at_worst(world: World, way: str, again: str, step: str) -> None:
    """A parent that was requested comes again for sure; one that changed by itself may not, then the timer must do."""
    await world.park(child())
    world.marketo.there = {COMPANY.id: 5}
    world.now += timedelta(seconds=CHECK)
    world.store.after[step] = crash
    with pytest.raises(ConnectionError):
        await world.let_go(way)
    await world.let_go(again)
    assert [r.id for r in world.bus.take("person")] == [child().id] * (2 if step == "send" else 1)
    assert not world.store.parked
    assert not world.store.notes_


@pytest.mark.parametrize("step", ["park", "notes", "send"])
async def test_a_child_that_dies_while_it_parks_and_goes_later_leaves_no_row(world: World, step: str) -> None:
    """Its message comes again, and finds the parent there: then nobody but the timer knows of the row."""
    world.store.after[step] = crash
    with pytest.raises(ConnectionError):
        await world.park(child())
    world.marketo.there = {COMPANY.id: 5}
    world.now += timedelta(seconds=CHECK)
    await world.check()
    assert not world.store.parked
    assert not world.store.notes_


async def test_a_child_that_dies_before_it_asks_asks_when_it_comes_again(world: World) -> None:
    world.store.after["park"] = crash
    with pytest.raises(ConnectionError):
        await world.park(child())
    assert not world.bus.take("company")
    await world.park(child())
    assert [r.id for r in world.bus.take("company")] == [COMPANY.id]


async def test_a_child_that_dies_while_it_asks_leaves_that_to_the_timer(world: World) -> None:
    """Nobody knows whether the request was sent: the child does not ask again, which might be a second dead letter."""
    world.store.after["replace"] = crash
    with pytest.raises(ConnectionError):
        await world.park(child())
    await world.park(child())
    assert not world.bus.take("company")
    for requests in (1, 0):
        world.now = world.store.notes_[COMPANY].next_check
        await world.check()
        assert len(world.bus.take("company")) == requests


async def test_two_children_that_park_at_the_same_time_ask_once(world: World) -> None:
    world.store.after["notes"] = lambda: world.park(child(11))
    await world.park(child(10))
    assert len(world.bus.take("company")) == 1


async def test_a_child_that_must_wait_again_while_it_is_being_released_is_not_lost(world: World) -> None:
    """Released children are on their queue before their rows are removed: another instance may park one anew."""
    await world.park(child(10), child(11))
    world.bus.take("company")

    async def other_instance() -> None:
        (released, _) = world.bus.take("person")
        await world.park(released)

    world.store.after["send"] = other_instance
    await world.release()
    assert [p.record.id for p in world.store.parked.values()] == [child(10).id]
    await assert_all_leave(world, child(10))


@pytest.mark.parametrize(("earlier", "step"), [(0, "park"), (0, "notes"), (0, "replace"), (1, "park"), (1, "notes")])
async def test_a_parent_that_comes_while_a_child_parks_takes_it_along(world: World, earlier: int, step: str) -> None:
    """The parent's sync finishes right after this step of the child, which may be its first or a further one."""
    siblings = [child(9)] * earlier
    await world.park(*siblings)
    world.bus.take("company")
    world.store.after[step] = world.release
    await world.park(child(10))
    assert not world.store.after, "the step was taken"
    await assert_all_leave(world, *siblings, child(10))


@pytest.mark.parametrize(("way", "step"), [(way, step) for way, steps in STEPS.items() for step in steps])
async def test_a_child_that_parks_while_others_leave_is_not_left_behind(world: World, way: str, step: str) -> None:
    await world.park(child(10))
    world.bus.take("company")
    world.marketo.there = {COMPANY.id: 5}
    world.now += timedelta(seconds=CHECK)
    world.store.after[step] = lambda: world.park(child(11))
    await world.let_go(way)
    assert not world.store.after, "the step was taken"
    await assert_all_leave(world, child(10), child(11))


async def test_a_parent_that_comes_before_its_request_is_noted_leaves_no_note(world: World) -> None:
    """Else a later child would take it for asked for, and wait for the timer."""
    world.store.after["send"] = world.release
    await world.park(child(10))
    assert [r.id for r in world.bus.take("person")] == [child(10).id]
    assert not world.store.notes_
    world.bus.take("company")
    await world.park(child(11))
    await assert_all_leave(world, child(11))


async def test_the_timer_releases_in_its_time_what_the_parents_sync_did_not(world: World) -> None:
    await world.park(child())
    world.marketo.there = {COMPANY.id: 5}
    world.now += timedelta(seconds=CHECK - 1)
    assert await world.check() == {"checked": 0, "released": 0, "expired": 0}
    assert world.marketo.asked == []
    world.now += timedelta(seconds=1)
    assert await world.check() == {"checked": 1, "released": 1, "expired": 0}
    assert [r.id for r in world.bus.take("person")] == [child().id]
    assert world.store.notes_ == {}
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
    assert [p.record.id for p in world.store.parked.values()] == [child(11).id]
    assert world.store.notes_[COMPANY].since == NOON + timedelta(seconds=WAIT - 10)


async def test_a_parent_that_nobody_waits_for_any_more_is_forgotten(world: World) -> None:
    await world.park(child())
    world.now += timedelta(seconds=WAIT)
    assert (await world.check())["expired"] == 1
    assert world.store.parked == {}
    assert world.store.notes_ == {}


# -- parents that will not come ---------------------------------------------------------------------------------


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
    assert [p.linked_later for p in world.store.parked.values()] == [True]
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
    person = Parent("person", "contact", str(UUID(int=3)))
    role = Record("connection", str(UUID(int=30)), EARLIER)
    for skipped in (False, True):
        world = World()
        await world.parking.park(ENTITIES["opportunity_role"], [(role, (person,))])
        await world.give_up(person, skipped=skipped)
        assert [r.id for r in world.bus.take("opportunity_role")] == [role.id] * skipped
        assert len(world.store.parked) == (not skipped)


async def test_a_role_whose_parent_stays_a_dead_letter_gets_its_last_look_in_its_time(world: World) -> None:
    person = Parent("person", "contact", str(UUID(int=3)))
    role = Record("connection", str(UUID(int=30)), EARLIER)
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


@pytest.mark.parametrize("step", ["park", "notes", "send", "replace"])
async def test_a_parent_given_up_while_a_child_parks_does_not_leave_it(world: World, step: str) -> None:
    """Its sync ends right after this step of the child."""
    world.store.after[step] = world.give_up
    await world.park(child(10))
    assert not world.store.after, "the step was taken"
    assert [r.id for r in world.bus.take("person")] == [child(10).id]
    assert not world.store.parked
    assert world.store.notes_[COMPANY].state is NoteState.WILL_NOT_COME, "a request must not replace what is known"


@pytest.mark.parametrize("step", ["put", "children", "send", "remove"])
async def test_a_crash_while_a_parent_gives_up_leaves_it_to_its_next_try(world: World, step: str) -> None:
    await world.park(child(10))
    world.bus.take("company")
    world.store.after[step] = crash
    with pytest.raises(ConnectionError):
        await world.give_up()
    await world.give_up()
    assert {r.id for r in world.bus.take("person")} == {child(10).id}
    assert not world.store.parked


@given(
    st.lists(st.sampled_from(["park", "link_later", "give_up", "release", "check"]), min_size=1, max_size=7),
    st.lists(st.sampled_from(["park", "notes", "children", "send", "remove", "replace", "put", "unmark", "leave"])),
    st.booleans(),
)
def test_whatever_dies_between_any_two_steps_every_child_is_sent_on_when_its_parent_is_there(
    acts: list[str], crashes: list[str], requested: bool
) -> None:
    """What dies comes again, as its message is redelivered; others may act in between."""

    async def run() -> None:
        world = World()
        number = 10
        deaths = list(crashes)
        waiting: set[str] = set()
        for act in acts:
            number += 1
            work: dict[str, Callable[[], Awaitable[Any]]] = {
                "park": partial(world.park, child(number)), "link_later": partial(world.link_later, child(number)),
                "give_up": partial(world.give_up, requested=requested),
                "release": partial(world.release, requested=requested), "check": world.check,
            }  # fmt: skip
            if act in ("park", "link_later"):
                waiting.add(child(number).id)
            if deaths:
                world.store.after[deaths.pop()] = crash
            while True:
                try:
                    await work[act]()
                except ConnectionError:
                    continue
                break
            world.store.after.clear()
            world.now += timedelta(seconds=CHECK)
        world.marketo.there = {COMPANY.id: 5}
        for note in list(world.store.notes_.values()):
            world.now = max(world.now, note.next_check)
        await world.check()
        assert {r.id for r in world.bus.take("person")} == waiting
        assert not world.store.parked
        assert not world.store.notes_

    asyncio.run(run())
