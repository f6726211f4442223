"""Table Storage: who waits for whom. One table, two kinds of rows (shared/azure/parked_rows.py).

The partition is the parent's entity. Children of one parent lie side by side, and a transaction takes 100 rows of
one partition, whatever their parents: parking and releasing cost one request per 100 records. A record and the note
of its parent are written in one transaction, so no row is ever left without a note, by which the timer finds it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from ..model.entities import ENTITIES
from ..model.outcome import Parent
from .parked_rows import (
    OUTLINE,
    Note,
    Outline,
    Parked,
    ParkedCount,
    child_of,
    child_row,
    first_note,
    note_key,
    note_of,
    note_row,
    outline_of,
)
from .table import PAGE, TRANSACTION, Table, some_at_a_time, transactions

#: So many notes are read one by one.
FEW = 10
#: Pages of notes that are read to find those of some parents; with more notes, these are read one by one.
NOTE_PAGES = 5
#: Queries for the parked records of one parent's entity, whose keys begin with a GUID, and for its parents' notes.
_RECORDS = "PartitionKey eq @entity and RowKey ge '0'"
_NOTES = "PartitionKey eq @entity and RowKey ge '!' and RowKey lt '0'"


class Store:
    """The table of parked records. Raises StorageUnavailableError when storage does not answer."""

    def __init__(self, table: Table) -> None:
        self.table = table

    async def park(self, parked: Iterable[Parked], next_check: datetime, others: Iterable[Parent] = ()) -> None:
        """Keep these records. A record that is parked already under the same parent is overwritten.

        Each parent has a note from the same moment on, and `others` have one, too: one that is new says that nobody
        has asked for it, and that the timer is to look at it at `next_check`.
        """
        by_partition: dict[str, dict[str, Parked]] = {}
        for child in parked:
            by_partition.setdefault(child.parent.entity, {})[child.row_key] = child
        parts = [part for unique in by_partition.values() for part in _with_notes(sorted(unique.items()), next_check)]
        await self.table.write("upsert", [first_note(parent, next_check) for parent in others])
        await some_at_a_time(self.table.write("upsert", part) for part in parts)

    async def children(self, parent: Parent, after: str = "") -> AsyncIterator[list[Parked]]:
        """The records that wait for a parent, by pages of at most 1,000; `after`: those behind this row key."""
        query = "PartitionKey eq @entity and RowKey gt @low and RowKey lt @high"
        within = {"entity": parent.entity, "low": max(f"{parent.id}|", after), "high": f"{parent.id}}}"}
        async for page in self.table.pages(query, within):
            yield [child_of(parent, row) for row in page]

    async def everybody(self, entity: str) -> AsyncIterator[list[Parked]]:
        """The records that wait for any parent of this entity, by pages; the parents' tables are not told."""
        async for page in self.table.pages(_RECORDS, {"entity": entity}):
            yield [child_of(Parent(entity, "", row["RowKey"].partition("|")[0]), row) for row in page]

    async def count(self, most: int) -> tuple[dict[str, ParkedCount], bool]:
        """The records by entity, and whether there are more than the `most` that are counted.

        One pass over the table, with a page of few columns in memory at a time.
        """
        found: dict[str, ParkedCount] = {}
        seen = 0
        for parent in ENTITIES:
            async for page in self.outlines(parent):
                for waits in page:
                    if seen == most:
                        return found, True
                    seen += 1
                    found.setdefault(waits.entity, ParkedCount()).add(parent, waits)
        return found, False

    async def outlines(self, entity: str) -> AsyncIterator[list[Outline]]:
        """What waits for parents of this entity, parent by parent, by pages of few columns."""
        async for page in self.table.pages(_RECORDS, {"entity": entity}, select=OUTLINE):
            yield [outline_of(row) for row in page]

    async def remove(self, parked: Iterable[Parked]) -> None:
        """These records wait no more, except those that have been parked again since they were read."""
        rows = [{"PartitionKey": child.parent.entity, "RowKey": child.row_key, "etag": child.etag} for child in parked]
        await self.table.write("delete", rows)

    async def notes(self, parents: Collection[Parent]) -> dict[Parent, Note]:
        """The notes of these parents; one that nobody waits for has none."""
        rows = await some_at_a_time(self.table.get(*note_key(parent).values()) for parent in parents)
        return {note.parent: note for note in map(note_of, filter(None, rows))}

    async def put(self, notes: Iterable[Note]) -> None:
        """Write these notes, whatever is there."""
        await self.table.write("upsert", [note_row(note) for note in notes])

    async def replace(self, notes: Collection[Note]) -> dict[Parent, str]:
        """Write these notes over those with their etags, but none that somebody else has changed or taken away.

        Gives the new etags, by the parents whose notes were written.
        """
        etags: dict[Parent, str] = {}
        parts = transactions(notes, lambda note: note.parent.entity)
        await some_at_a_time(self._replace(part, etags) for part in parts)
        return etags

    async def unmark(self, parents: Iterable[Parent]) -> None:
        """These parents have come."""
        await self.table.write("delete", [note_key(parent) for parent in parents])

    async def leave(self, note: Note) -> str:
        """Write a note before the children of its parent are sent on. Gives the etag for `forget`."""
        return await self.table.upsert(note_row(note))

    async def forget(self, parent: Parent, etag: str) -> None:
        """Take the note of `leave` away, unless somebody has parked under the parent or asked for it since then."""
        await self.table.delete({**note_key(parent), "etag": etag})

    async def waited_for(self, entity: str, ids: Collection[str]) -> dict[str, Note]:
        """The notes of those of these parents of an entity that have one, by id.

        Few are asked for one by one. Of many, the notes of the entity are read: one request in most cases.
        """
        if len(ids) <= FEW:
            return await self._by_id(entity, ids)
        found: dict[str, Note] = {}
        pages = 0
        async for page in self.table.pages(_NOTES, {"entity": entity}):
            pages += 1
            notes = [note_of(row) for row in page]
            found |= {note.parent.id: note for note in notes if note.parent.id in ids}
            if pages == NOTE_PAGES and len(notes) == PAGE:
                found |= await self._by_id(entity, [id_ for id_ in ids if id_ not in found])
                break
        return found

    async def due(self, entity: str, now: datetime) -> AsyncIterator[list[Note]]:
        """Notes of one parent entity whose next check has come, by pages."""
        # The SDK looks for parameters between blanks.
        query = f"{_NOTES} and (NextCheck le @now or Unasked le @now )"
        async for page in self.table.pages(query, {"entity": entity, "now": now}):
            yield [note for row in page if (note := note_of(row)).next_check <= now]

    async def _by_id(self, entity: str, ids: Collection[str]) -> dict[str, Note]:
        found = await self.notes([Parent(entity, "", id_) for id_ in ids])
        return {parent.id: note for parent, note in found.items()}

    async def _replace(self, notes: list[Note], etags: dict[Parent, str]) -> None:
        """One transaction; when one of the notes was changed, which undoes the whole, one by one."""
        written = await self.table.transact([("update", {**note_row(note), "etag": note.etag}) for note in notes])
        if written is not None:
            etags |= {note.parent: etag for note, etag in zip(notes, written, strict=True)}
        elif len(notes) > 1:
            for note in notes:
                await self._replace([note], etags)


def _with_notes(children: Sequence[tuple[str, Parked]], next_check: datetime) -> list[list[dict[str, Any]]]:
    """The rows of these children (of one partition, parent by parent) and of their parents' notes, by transactions."""
    parts: list[list[dict[str, Any]]] = []
    noted: Parent | None = None
    for _, child in children:
        if not parts or len(parts[-1]) > TRANSACTION - 2:
            parts.append([])
            noted = None
        if child.parent != noted:
            noted = child.parent
            parts[-1].append(first_note(noted, next_check))
        parts[-1].append(child_row(child))
    return parts
