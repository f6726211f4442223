"""Parking: who waits for whom, what is requested, who is released, and that no order of events loses a child."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from shared.bus import Outgoing
from shared.census import PAGE
from shared.entities import ENTITIES, Entity
from shared.known import Known
from shared.outcomes import Parent
from shared.parking import Parking
from shared.records import MAX_RECORDS, Record, decode
from shared.store import Parked, Request

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
EARLIER = NOON - timedelta(minutes=5)
CHECK = 60.0
WAIT = 3600.0
QUEUES: Any = SimpleNamespace(of=lambda entity: entity)
PERSON = ENTITIES["person"]
COMPANY = Parent("company", "account", str(UUID(int=1)))
USER = Parent("sales_person", "systemuser", str(UUID(int=2)))
MANY = [Parent("company", "account", str(UUID(int=5000 + n))) for n in range(650)]
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
        self.notes: dict[Parent, Request] = {}
        self.log = log
        self.after: dict[str, Callable[[], Awaitable[Any]]] = {}
        self._left: dict[str, Request] = {}
        self._etags = map(str, count(1))

    async def did(self, step: str) -> None:
        self.log.append(step)
        if act := self.after.pop(step, None):
            await act()

    async def park(self, parked: Iterable[Parked], next_check: datetime) -> None:
        for p in parked:
            self.parked[p.parent.entity, p.row_key] = replace(p, etag=next(self._etags))
            note = self.notes.get(p.parent, Request(p.parent, next_check, next_check, leaving=True))
            self.notes[p.parent] = replace(note)
        await self.did("park")

    async def children(self, parent: Parent) -> AsyncIterator[list[Parked]]:
        found = sorted(key for key, p in self.parked.items() if p.parent == parent)
        await self.did("children")
        for start in range(0, len(found), PAGE):
            yield [self.parked[key] for key in found[start : start + PAGE]]

    async def remove(self, parked: Iterable[Parked]) -> None:
        for p in parked:
            assert p.etag, "read from the table, so it has one"
            if self.parked.get((p.parent.entity, p.row_key)) == p:
                del self.parked[p.parent.entity, p.row_key]
        await self.did("remove")

    async def requested(self, parents: Sequence[Parent]) -> set[Parent]:
        found = {p for p in parents if p in self.notes and not self.notes[p].leaving}
        await self.did("requested")
        return found

    async def waited_for(self, entity: str) -> dict[str, Request]:
        return {parent.id: note for parent, note in self.notes.items() if parent.entity == entity}

    async def leave(self, request: Request) -> str:
        self.notes[request.parent] = replace(request, leaving=True)
        self._left[etag := next(self._etags)] = self.notes[request.parent]
        await self.did("leave")
        return etag

    async def forget(self, parent: Parent, etag: str) -> None:
        if self.notes.get(parent) is self._left[etag]:
            del self.notes[parent]
        await self.did("forget")

    async def mark(self, requests: Iterable[Request]) -> None:
        self.notes |= {r.parent: replace(r) for r in requests}
        await self.did("mark")

    async def unmark(self, parents: Iterable[Parent]) -> None:
        for parent in parents:
            self.notes.pop(parent, None)
        await self.did("unmark")

    async def due(self, entity: str, now: datetime) -> AsyncIterator[list[Request]]:
        due = [r for r in self.notes.values() if r.parent.entity == entity and r.next_check <= now]
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


@pytest.fixture
def world() -> World:
    return World()


async def test_a_child_is_parked_before_anything_else_and_the_request_is_noted_last(world: World) -> None:
    await world.park(child())
    assert world.log == ["park", "requested", "send", "mark"]


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
    assert world.store.notes == {}


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
    assert world.store.notes == {}


async def test_a_parent_that_nobody_waits_for_costs_no_look_and_children_of_others_stay(world: World) -> None:
    await world.park(child())
    world.log.clear()
    assert await world.release(USER, requested=False) == 0
    assert "children" not in world.log
    assert len(world.store.parked) == 1
    assert world.store.notes.keys() == {COMPANY}


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
async def test_a_crash_sends_a_child_twice_at_worst_and_loses_none(
    world: World, way: str, again: str, step: str
) -> None:
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
    assert not world.store.notes


@pytest.mark.parametrize("step", ["park", "requested", "send"])
async def test_a_child_that_dies_while_it_parks_leaves_no_row_behind_when_it_goes_without_waiting_later(
    world: World, step: str
) -> None:
    """Its message comes again, and finds the parent there: then nobody but the timer knows of the row."""
    world.store.after[step] = crash
    with pytest.raises(ConnectionError):
        await world.park(child())
    world.marketo.there = {COMPANY.id: 5}
    world.now += timedelta(seconds=CHECK)
    await world.check()
    assert not world.store.parked
    assert not world.store.notes


async def test_a_child_that_dies_before_it_asks_asks_when_it_comes_again(world: World) -> None:
    world.store.after["park"] = crash
    with pytest.raises(ConnectionError):
        await world.park(child())
    assert not world.bus.take("company")
    await world.park(child())
    assert [r.id for r in world.bus.take("company")] == [COMPANY.id]


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


@pytest.mark.parametrize(
    ("earlier", "step"), [(0, "park"), (0, "requested"), (0, "mark"), (1, "park"), (1, "requested")]
)
async def test_a_parent_that_comes_while_a_child_parks_does_not_leave_it_behind(
    world: World, earlier: int, step: str
) -> None:
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


async def test_a_note_that_outlives_its_parent_delays_a_later_child_until_the_timer_only(world: World) -> None:
    world.store.after["send"] = world.release
    await world.park(child(10))
    assert [r.id for r in world.bus.take("person")] == [child(10).id]
    world.bus.take("company")
    await world.park(child(11))
    assert world.bus.sent == []
    world.marketo.there = {COMPANY.id: 5}
    world.now += timedelta(seconds=CHECK)
    await world.check()
    assert [r.id for r in world.bus.take("person")] == [child(11).id]
    assert world.store.notes == {}


async def test_the_timer_releases_in_its_time_what_the_parents_sync_did_not(world: World) -> None:
    await world.park(child())
    world.marketo.there = {COMPANY.id: 5}
    world.now += timedelta(seconds=CHECK - 1)
    assert await world.check() == {"checked": 0, "released": 0, "expired": 0}
    assert world.marketo.asked == []
    world.now += timedelta(seconds=1)
    assert await world.check() == {"checked": 1, "released": 1, "expired": 0}
    assert [r.id for r in world.bus.take("person")] == [child().id]
    assert world.store.notes == {}
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
        (note,) = world.store.notes.values()
        pauses.append((note.next_check - world.now).total_seconds())
        world.now = note.next_check
        await world.check()
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


async def test_a_missing_parent_is_requested_once_and_then_only_looked_for(world: World) -> None:
    """Its own failure is a dead letter: asking again would make one more of it each time."""
    await world.park(child())
    assert len(world.bus.take("company")) == 1
    for _ in range(5):
        (note,) = world.store.notes.values()
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
    assert world.store.notes[COMPANY].since == NOON + timedelta(seconds=WAIT - 10)


async def test_a_parent_that_nobody_waits_for_any_more_is_forgotten(world: World) -> None:
    await world.park(child())
    world.now += timedelta(seconds=WAIT)
    assert (await world.check())["expired"] == 1
    assert world.store.parked == {}
    assert world.store.notes == {}
