"""Parked records in memory, with a hook after each step, and the queues and the Marketo beside them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any

from shared.azure.parked_rows import Note, NoteState, Parked
from shared.azure.service_bus import Outgoing
from shared.azure.table import PAGE
from shared.model.entities import ENTITIES, Entity
from shared.model.outcome import Parent, WillNotCome
from shared.model.record import Record, decode
from shared.sync.marketo_cache import Known
from shared.sync.parking import Parking
from tests.support.values import NOON, guid

EARLIER = NOON - timedelta(minutes=5)
CHECK = 60.0
WAIT = 3600.0
QUEUES: Any = SimpleNamespace(of=lambda entity: entity)
PERSON = ENTITIES["person"]
COMPANY = Parent("company", "account", guid(1))
USER = Parent("sales_person", "systemuser", guid(2))
REFUSED = WillNotCome("1003", "Invalid value for field 'email'", NOON)
LEAVING = ["leave", "children", "send", "remove", "forget"]
#: How children leave: their parent is synced after it was requested, or changed by itself, or the timer finds it.
STEPS = {"requested": ["unmark", "children", "send", "remove"], "itself": LEAVING, "timer": LEAVING}


def child(number: int = 10, **facts: Any) -> Record:
    return Record("contact", guid(number), EARLIER, **facts)


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
