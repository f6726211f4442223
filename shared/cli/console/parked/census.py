"""Who waits for whom, parent by parent: Table Storage has the records, but no counts of them.

All outlines are read through, as `msisync status` does, and the notes of the parents with them. What is kept is one
`Waits` for each parent, some 400 bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from ....azure.errors import storage_within
from ....azure.parked_rows import Note, NoteState, Outline
from ....azure.parked_table import Store
from ....model.entities import ENTITIES
from ....model.outcome import WillNotCome
from ...context import Context
from ...finding import Finding
from ...resync import ANY_TIME
from ...show.facts import Subject
from ...show.stuck import not_coming
from ...status.look import STORAGE_SECONDS
from ..latest import Latest
from ..page import Visit

#: Records that are counted; of more of them, those of the first parents.
MOST = 200_000
#: Seconds after which they are counted again, and of a long look so many times as long as it took.
FRESH_SECONDS, FRESH_TIMES = 10.0, 20
_EVER = datetime.max.replace(tzinfo=UTC)

Counts = tuple[tuple[str, int], ...]
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Waits:
    """The records that wait for one parent: how many by their entity, and how many of them are in Marketo already.

    `state`, `next_check` and `cause` are those of the parent's note. `is_gone`: the console has sent them on since.
    """

    entity: str
    id: str
    counts: Counts
    linked_later: int
    oldest: datetime | None
    newest: datetime | None
    table: str = ""
    state: NoteState = NoteState.UNASKED
    next_check: datetime | None = None
    cause: WillNotCome | None = None
    is_gone: bool = False

    @property
    def count(self) -> int:
        """All of them."""
        return sum(number for _, number in self.counts)

    @property
    def why(self) -> Finding | None:
        """Why the parent is not there, if that is known to last."""
        subject = Subject(self.table or ENTITIES[self.entity].tables[0].name, self.id)
        return not_coming(subject, self.cause) if self.cause else None


@dataclass(slots=True)
class Census:
    """All parents that are waited for, those of the most records first. `more`: than were counted."""

    at: datetime
    all_of_them: list[Waits] = field(default_factory=list)
    more: bool = False

    @property
    def parents(self) -> list[Waits]:
        """Those for which something waits."""
        return [waits for waits in self.all_of_them if not waits.is_gone]

    @property
    def newest(self) -> datetime:
        """Since when the newest record waits, by the clock of the app."""
        return max((waits.newest for waits in self.all_of_them if waits.newest), default=_EVER)


def latest(visit: Visit) -> Latest[Census]:
    """The census of this console: one for all who visit it."""
    return visit.looks.of("parked", partial(take, visit.context), fresh=FRESH_SECONDS, times=FRESH_TIMES)


async def take(context: Context) -> Census:
    """Count all that wait. Raises StorageUnavailableError."""
    census, store = Census(datetime.now(UTC)), context.parked
    async with storage_within(STORAGE_SECONDS):
        for entity in ENTITIES:
            counting = Counting(entity)
            census.more = await _count(store, counting, MOST - sum(each.count for each in census.all_of_them))
            async for notes in store.due(entity, ANY_TIME):
                for note in notes:
                    counting.add_note(note)
            census.all_of_them += counting.found.values()
            if census.more:
                break
    census.all_of_them.sort(key=lambda waits: (-waits.count, waits.oldest or _EVER, waits.id))
    return census


async def _count(store: Store, counting: Counting, most: int) -> bool:
    """Count what waits for parents of an entity; gives whether there is more than `most`."""
    async for page in store.outlines(counting.entity):
        for outline in page:
            if counting.number == most:
                return True
            counting.add(outline)
    return False


class Counting:
    """Counts the records that wait for parents of one entity. What many have in common is kept once."""

    def __init__(self, entity: str) -> None:
        self.entity = entity
        self.number = 0
        self.found: dict[str, Waits] = {}
        self._common: dict[object, object] = {}

    def add(self, outline: Outline) -> None:
        """One more record."""
        self.number += 1
        waits = self.found.get(outline.parent_id)
        if waits is None:
            waits = self.found[outline.parent_id] = Waits(self.entity, outline.parent_id, (), 0, None, None)
        counts = dict(waits.counts)
        counts[outline.entity] = counts.get(outline.entity, 0) + 1
        waits.counts = self._once(tuple(counts.items()))
        waits.linked_later += outline.linked_later
        if since := outline.since:
            waits.oldest, waits.newest = min(waits.oldest or since, since), max(waits.newest or since, since)

    def add_note(self, note: Note) -> None:
        """What is known of a parent."""
        if waits := self.found.get(note.parent.id):
            waits.table, waits.state = self._once(note.parent.table), note.state
            waits.next_check = note.next_check
            if cause := note.cause:
                waits.cause = replace(cause, code=self._once(cause.code), message=self._once(cause.message))

    def _once(self, value: T) -> T:
        return self._common.setdefault(value, value)  # type: ignore[return-value]
