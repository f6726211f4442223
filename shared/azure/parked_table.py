"""Table Storage: who waits for whom. One table, two kinds of rows (shared/azure/parked_rows.py).

The partition is the parent's entity. Children of one parent lie side by side, and a transaction takes 100 rows of
one partition, whatever their parents: parking and releasing cost one request per 100 records. A record and the note
of its parent are written in one transaction, so no row is ever left without a note, by which the timer finds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from ..config.settings import StorageSettings
from ..model.entities import ENTITIES
from ..model.outcome import Parent
from .parked_rows import Note, Parked, ParkedCount, child_of, child_row, first_note, note_key, note_of, note_row
from .shared_state import connect

if TYPE_CHECKING:
    from azure.data.tables.aio import TableClient

T = TypeVar("T")
#: Rows of one answer, the most that Table Storage gives.
PAGE = 1000
#: Operations in one transaction, all of one partition (a limit of Table Storage).
TRANSACTION = 100
CONCURRENCY = 16
#: So many notes are read one by one.
FEW = 10
#: Pages of notes that are read to find those of some parents; with more notes, these are read one by one.
NOTE_PAGES = 5
#: Queries for the parked records of one parent's entity, whose keys begin with a GUID, and for its parents' notes.
_RECORDS = "PartitionKey eq @entity and RowKey ge '0'"
_NOTES = "PartitionKey eq @entity and RowKey ge '!' and RowKey lt '0'"
#: A row is gone, or was written anew.
_CHANGED = (404, 412)


class Store:
    """The table of parked records. Raises azure.core's AzureError when storage does not answer."""

    def __init__(self, settings: StorageSettings, table: TableClient | None = None) -> None:
        """`table`: of somebody who is signed in otherwise, as operators are; it is not created."""
        self._settings = settings
        self._table = table
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._opening = asyncio.Lock()

    async def park(self, parked: Iterable[Parked], next_check: datetime, others: Iterable[Parent] = ()) -> None:
        """Keep these records. A record that is parked already under the same parent is overwritten.

        Each parent has a note from the same moment on, and `others` have one, too: one that is new says that nobody
        has asked for it, and that the timer is to look at it at `next_check`.
        """
        by_partition: dict[str, dict[str, Parked]] = {}
        for child in parked:
            by_partition.setdefault(child.parent.entity, {})[child.row_key] = child
        parts = [part for unique in by_partition.values() for part in _with_notes(sorted(unique.items()), next_check)]
        await self._write("upsert", [first_note(parent, next_check) for parent in others])
        await asyncio.gather(*(self._limited(self._transact("upsert", part)) for part in parts))

    async def children(self, parent: Parent) -> AsyncIterator[list[Parked]]:
        """The records that wait for a parent, by pages of at most 1,000."""
        table = await self._open()
        found = table.query_entities(
            "PartitionKey eq @entity and RowKey gt @low and RowKey lt @high",
            parameters={"entity": parent.entity, "low": f"{parent.id}|", "high": f"{parent.id}}}"},
            results_per_page=PAGE,
        )
        async for page in found.by_page():
            yield [child_of(parent, row) async for row in page]

    async def everybody(self, entity: str) -> AsyncIterator[list[Parked]]:
        """The records that wait for any parent of this entity, by pages; the parents' tables are not told."""
        table = await self._open()
        found = table.query_entities(_RECORDS, parameters={"entity": entity}, results_per_page=PAGE)
        async for page in found.by_page():
            yield [child_of(Parent(entity, "", row["RowKey"].partition("|")[0]), row) async for row in page]

    async def count(self, most: int) -> tuple[dict[str, ParkedCount], bool]:
        """How many records wait, by entity, of the first so many; and whether there are more."""
        return await count(await self._open(), most)

    async def remove(self, parked: Iterable[Parked]) -> None:
        """These records wait no more, except those that have been parked again since they were read."""
        rows = [{"PartitionKey": child.parent.entity, "RowKey": child.row_key, "etag": child.etag} for child in parked]
        await self._write("delete", rows)

    async def notes(self, parents: Collection[Parent]) -> dict[Parent, Note]:
        """The notes of these parents; one that nobody waits for has none."""
        found = await asyncio.gather(*(self._limited(self._note(parent)) for parent in parents))
        return {note.parent: note for note in found if note}

    async def put(self, notes: Iterable[Note]) -> None:
        """Write these notes, whatever is there."""
        await self._write("upsert", [note_row(note) for note in notes])

    async def replace(self, notes: Collection[Note]) -> dict[Parent, str]:
        """Write these notes over those with their etags, but none that somebody else has changed or taken away.

        Gives the new etags, by the parents whose notes were written.
        """
        etags: dict[Parent, str] = {}
        parts = _transactions(notes, lambda note: note.parent.entity)
        await asyncio.gather(*(self._limited(self._replace(part, etags)) for part in parts))
        return etags

    async def unmark(self, parents: Iterable[Parent]) -> None:
        """These parents have come."""
        await self._write("delete", [note_key(parent) for parent in parents])

    async def leave(self, note: Note) -> str:
        """Write a note before the children of its parent are sent on. Gives the etag for `forget`."""
        table = await self._open()
        answer = await table.upsert_entity(note_row(note))
        return str(answer["etag"])

    async def forget(self, parent: Parent, etag: str) -> None:
        """Take the note of `leave` away, unless somebody has parked under the parent or asked for it since then."""
        from azure.core import MatchConditions  # noqa: PLC0415  (cold start)
        from azure.core.exceptions import ResourceModifiedError  # noqa: PLC0415

        table = await self._open()
        with suppress(ResourceModifiedError):
            await table.delete_entity(note_key(parent), etag=etag, match_condition=MatchConditions.IfNotModified)

    async def waited_for(self, entity: str, ids: Collection[str]) -> dict[str, Note]:
        """The notes of those of these parents of an entity that have one, by id.

        Few are asked for one by one. Of many, the notes of the entity are read: one request in most cases.
        """
        if len(ids) <= FEW:
            return await self._by_id(entity, ids)
        table = await self._open()
        found: dict[str, Note] = {}
        pages = 0
        async for page in table.query_entities(_NOTES, parameters={"entity": entity}, results_per_page=PAGE).by_page():
            pages += 1
            notes = [note_of(row) async for row in page]
            found |= {note.parent.id: note for note in notes if note.parent.id in ids}
            if pages == NOTE_PAGES and len(notes) == PAGE:
                found |= await self._by_id(entity, [id_ for id_ in ids if id_ not in found])
                break
        return found

    async def due(self, entity: str, now: datetime) -> AsyncIterator[list[Note]]:
        """Notes of one parent entity whose next check has come, by pages."""
        table = await self._open()
        found = table.query_entities(
            f"{_NOTES} and (NextCheck le @now or Unasked le @now )",  # the SDK looks for parameters between blanks
            parameters={"entity": entity, "now": now},
            results_per_page=PAGE,
        )
        async for page in found.by_page():
            yield [note async for row in page if (note := note_of(row)).next_check <= now]

    async def close(self) -> None:
        """Close the connection."""
        if self._table:
            await self._table.close()
            self._table = None

    async def _by_id(self, entity: str, ids: Collection[str]) -> dict[str, Note]:
        found = await self.notes([Parent(entity, "", id_) for id_ in ids])
        return {parent.id: note for parent, note in found.items()}

    async def _note(self, parent: Parent) -> Note | None:
        from azure.core.exceptions import ResourceNotFoundError  # noqa: PLC0415  (cold start)

        table = await self._open()
        try:
            return note_of(await table.get_entity(*note_key(parent).values()))
        except ResourceNotFoundError:
            return None

    async def _replace(self, notes: list[Note], etags: dict[Parent, str]) -> None:
        """One transaction; when one of the notes was changed, which undoes the whole, one by one."""
        from azure.core import MatchConditions  # noqa: PLC0415  (cold start)
        from azure.core.exceptions import HttpResponseError  # noqa: PLC0415

        table = await self._open()
        unchanged = {"mode": "merge", "match_condition": MatchConditions.IfNotModified}
        steps: list[Any] = [("update", note_row(note), {**unchanged, "etag": note.etag}) for note in notes]
        try:
            answers = await table.submit_transaction(steps)
        except HttpResponseError as error:
            if error.status_code not in _CHANGED:
                raise
            for note in notes if len(notes) > 1 else ():
                await self._replace([note], etags)
        else:
            etags |= {note.parent: str(answer["etag"]) for note, answer in zip(notes, answers, strict=True)}

    async def _write(self, operation: str, rows: Sequence[dict[str, Any]]) -> None:
        """Write or delete rows, 100 of one partition at a time."""
        unique = {(row["PartitionKey"], row["RowKey"]): row for row in rows}
        parts = _transactions(unique.values(), lambda row: row["PartitionKey"])
        await asyncio.gather(*(self._limited(self._transact(operation, part)) for part in parts))

    async def _transact(self, operation: str, rows: list[dict[str, Any]]) -> None:
        from azure.core.exceptions import HttpResponseError, ResourceModifiedError, ServiceRequestError  # noqa: PLC0415

        table = await self._open()
        steps: list[Any] = [("upsert", row) for row in rows]
        if operation == "delete":
            steps = [("delete", _key(row), _unless_modified(row)) for row in rows]
        try:
            try:
                await table.submit_transaction(steps)
            except ServiceRequestError:  # an idle connection that the server has closed: the SDK does not try again
                await table.submit_transaction(steps)
        except HttpResponseError as error:
            # One row that is gone or was written anew undoes the whole transaction: then one by one.
            if operation == "upsert" or error.status_code not in _CHANGED:
                raise
            for row in rows:
                with suppress(ResourceModifiedError):
                    await table.delete_entity(_key(row), **_unless_modified(row))

    async def _limited(self, work: Awaitable[Any]) -> Any:
        async with self._slots:
            return await work

    async def _open(self) -> TableClient:
        from azure.core.exceptions import ResourceExistsError  # noqa: PLC0415

        async with self._opening:
            if self._table is None:
                table = connect(self._settings, self._settings.parked_table)
                with suppress(ResourceExistsError):
                    await table.create_table()
                self._table = table
            return self._table


async def count(table: TableClient, most: int) -> tuple[dict[str, ParkedCount], bool]:
    """The parked records by entity, and whether there are more than the `most` that are counted.

    One pass over the table, with a page of few columns in memory at a time. Raises azure.core's AzureError.
    """
    from azure.core.exceptions import ResourceNotFoundError  # noqa: PLC0415  (slow to import)

    found: dict[str, ParkedCount] = {}
    seen = 0
    columns = ["Entity", "Since", "LinkedLater"]
    try:
        for parent in ENTITIES:
            rows = table.query_entities(_RECORDS, parameters={"entity": parent}, select=columns, results_per_page=PAGE)
            async for row in rows:
                if seen == most:
                    return found, True
                seen += 1
                found.setdefault(row["Entity"], ParkedCount()).add(parent, row)
    except ResourceNotFoundError:  # the app makes the table when it first parks a record
        return {}, False
    return found, False


def _transactions(items: Iterable[T], partition: Callable[[T], str]) -> list[list[T]]:
    """Parts of one partition each, as large as a transaction may be."""
    by_partition: dict[str, list[T]] = {}
    for item in items:
        by_partition.setdefault(partition(item), []).append(item)
    return [
        same[start : start + TRANSACTION]
        for same in by_partition.values()
        for start in range(0, len(same), TRANSACTION)
    ]


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


def _key(row: dict[str, Any]) -> dict[str, Any]:
    return {"PartitionKey": row["PartitionKey"], "RowKey": row["RowKey"]}


def _unless_modified(row: dict[str, Any]) -> dict[str, Any]:
    from azure.core import MatchConditions  # noqa: PLC0415  (cold start)

    return {"etag": row["etag"], "match_condition": MatchConditions.IfNotModified} if row.get("etag") else {}
