"""Parked records in memory, with a hook after each step, and the queues and the Marketo beside them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from shared.azure.parked_rows import Note, Parked, child_of, note_of
from shared.azure.parked_table import Store
from shared.azure.service_bus import Outgoing
from shared.model.entities import ENTITIES
from shared.model.outcome import Parent, WillNotCome
from shared.model.record import Record, decode
from shared.sync.marketo_cache import Known
from shared.sync.parking import Parking
from tests.support.tables import Entity, FullTable
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


class Steps:
    """A store whose table is in memory, with a hook after each of its steps: there another instance may act."""

    def __init__(self, log: list[str]) -> None:
        self.table = FullTable()
        self.log = log
        self.after: dict[str, Callable[[], Awaitable[Any]]] = {}
        self._store = Store(self.table)

    @property
    def parked(self) -> list[Parked]:
        """What waits, in the order of the table."""
        rows = [Entity(*found) for (_, key), found in sorted(self.table.rows.items()) if not key.startswith("!")]
        parents = [Parent(row["PartitionKey"], "", row["RowKey"].partition("|")[0]) for row in rows]
        return [child_of(parent, row) for parent, row in zip(parents, rows, strict=True)]

    @property
    def notes_(self) -> dict[Parent, Note]:
        """The notes of parents."""
        notes = [note_of(Entity(*found)) for (_, key), found in self.table.rows.items() if key.startswith("!")]
        return {note.parent: note for note in notes}

    async def did(self, step: str) -> None:
        self.log.append(step)
        if act := self.after.pop(step, None):
            await act()

    async def children(self, parent: Parent) -> AsyncIterator[list[Parked]]:
        pages = self._store.children(parent)
        first: list[Parked] = await anext(pages, [])
        await self.did("children")
        yield first
        async for page in pages:
            yield page

    def __getattr__(self, name: str) -> Any:
        work = getattr(self._store, name)
        if name in ("due", "waited_for"):
            return work

        async def step(*given: Any) -> Any:
            found = await work(*given)
            await self.did(name)
            return found

        return step


class MemoryBus:
    def __init__(self, store: Steps) -> None:
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

    async def find(self, _entity: Any, keys: Sequence[str]) -> dict[str, int]:
        self.asked.append(len(keys))
        return {key: self.there[key] for key in keys if key in self.there}


class World:
    def __init__(self, wait: float = WAIT) -> None:
        self.now = NOON
        self.log: list[str] = []
        self.store: Any = Steps(self.log)
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
