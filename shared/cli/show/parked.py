"""What `msisync show person` asks Table Storage: whom a record waits for, and who waits for it. Looks only."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...azure.parked_rows import note_key, note_of, utc
from ...azure.parked_table import Store
from ...azure.shared_state import connect
from ...model.entities import PERSON
from ...model.errors import MsiSyncError
from ...model.outcome import Parent
from .facts import Search, Subject, Wait

if TYPE_CHECKING:
    from azure.data.tables.aio import TableClient

#: How long an operator waits for a storage that does not answer.
ANSWER_SECONDS = 15.0


class StorageUnavailable(MsiSyncError):  # noqa: N818  (a state of the storage, not a fault)
    """Table Storage cannot be read now."""


class ParkedRows(Store):
    """Single rows of the table of parked records. Never creates the table: without it, nobody waits."""

    async def wait_of(self, subject: Subject, parent: Parent) -> Wait | None:
        """The record's wait for this parent, or None: two point reads."""
        row = await self._row(parent.entity, f"{parent.id}|{subject.table}|{subject.id}")
        if row is None:
            return None
        noted = await self._row(*note_key(parent).values())
        waits = Wait(parent, utc(row["Since"]), linked_later=bool(row.get("LinkedLater")))
        if noted is None:
            return waits
        note = note_of(noted)
        return replace(waits, next_check=note.next_check, checks=note.checks, cause=note.cause)

    async def number_of_children(self, parent: Parent) -> int:
        """How many records wait for this one: at most a page of 1,000 is counted."""
        from azure.core.exceptions import ResourceNotFoundError  # noqa: PLC0415  (slow to import)

        with suppress(ResourceNotFoundError):
            async for page in self.children(parent):
                return len(page)
        return 0

    async def _row(self, partition: str, key: str) -> Mapping[str, Any] | None:
        from azure.core.exceptions import ResourceNotFoundError  # noqa: PLC0415

        try:
            return await (await self._open()).get_entity(partition, key)
        except ResourceNotFoundError:
            return None

    async def _open(self) -> TableClient:
        self._table = self._table or connect(self._settings, self._settings.parked_table)
        return self._table


async def look(store: ParkedRows, search: Search) -> None:
    """Fill in who waits for whom among the persons and their parents. Raises StorageUnavailable."""
    from azure.core.exceptions import AzureError  # noqa: PLC0415

    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            sellers = [parent for parent in search.parents if parent.entity == "sales_person"]
            for person in search.persons:
                if person.subject.id:
                    person.subject.parked = await _waits(store, person.subject, search.parents)
                    parent = Parent(PERSON.name, person.subject.table, person.subject.id)
                    person.children = await store.number_of_children(parent)
            for parent, subject in search.parents.items():
                if parent.entity == "company":
                    subject.parked = await _waits(store, subject, subject.parents or sellers)
    except TimeoutError:
        raise StorageUnavailable("NoAnswer", "it does not answer") from None
    except (AzureError, OSError) as error:
        raise StorageUnavailable("NoAnswer", f"it cannot be read ({type(error).__name__})") from None


async def _waits(store: ParkedRows, subject: Subject, parents: Iterable[Parent]) -> list[Wait]:
    found = [await store.wait_of(subject, parent) for parent in parents]
    return [parked for parked in found if parked]
