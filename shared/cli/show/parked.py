"""What `msisync show person` asks Table Storage: whom a record waits for, and who waits for it. Looks only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ...azure.errors import storage_within
from ...azure.parked_rows import note_key, note_of, utc
from ...azure.parked_table import Store
from ...model.entities import PERSON
from ...model.outcome import Parent
from .facts import Search, Subject, Wait

#: How long an operator waits for a storage that does not answer.
ANSWER_SECONDS = 15.0


class ParkedRows(Store):
    """Single rows of the table of parked records."""

    async def wait_of(self, subject: Subject, parent: Parent) -> Wait | None:
        """The record's wait for this parent, or None: two point reads."""
        row = await self._table.get(parent.entity, f"{parent.id}|{subject.table}|{subject.id}")
        if row is None:
            return None
        noted = await self._table.get(*note_key(parent).values())
        waits = Wait(parent, utc(row["Since"]), linked_later=bool(row.get("LinkedLater")))
        if noted is None:
            return waits
        note = note_of(noted)
        return replace(waits, next_check=note.next_check, checks=note.checks, cause=note.cause)

    async def number_of_children(self, parent: Parent) -> int:
        """How many records wait for this one: at most a page of 1,000 is counted."""
        async for page in self.children(parent):
            return len(page)
        return 0


async def look(store: ParkedRows, search: Search) -> None:
    """Fill in who waits for whom among the persons and their parents. Raises StorageUnavailableError."""
    async with storage_within(ANSWER_SECONDS):
        sellers = [parent for parent in search.parents if parent.entity == "sales_person"]
        for person in search.persons:
            if person.subject.id:
                person.subject.parked = await _waits(store, person.subject, search.parents)
                parent = Parent(PERSON.name, person.subject.table, person.subject.id)
                person.children = await store.number_of_children(parent)
        for parent, subject in search.parents.items():
            if parent.entity == "company":
                subject.parked = await _waits(store, subject, subject.parents or sellers)


async def _waits(store: ParkedRows, subject: Subject, parents: Iterable[Parent]) -> list[Wait]:
    found = [await store.wait_of(subject, parent) for parent in parents]
    return [parked for parked in found if parked]
