"""Table Storage: who waits for whom. One table, two kinds of rows.

==================  ============================  ==============================================================
PartitionKey        RowKey                        columns
==================  ============================  ==============================================================
``company``         ``<parent>|<table>|<id>``     a parked record: Entity, FirstSeen, Correlation, Attempt, Since, …
``company``         ``!<parent>``                 a parent's note: Table, Since, NextCheck, Checks, Leaving, Unasked
==================  ============================  ==============================================================

The partition is the parent's entity. Children of one parent lie side by side, and a transaction takes 100 rows of
one partition, whatever their parents: parking and releasing cost one request per 100 records. A record and the note
of its parent are written in one transaction, so no row is ever left without a note, by which the timer finds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shared import census
from shared.census import PAGE, RECORDS
from shared.outcomes import Parent
from shared.records import Record
from shared.settings import StorageSettings
from shared.state import connect

if TYPE_CHECKING:
    from azure.data.tables.aio import TableClient

#: Operations in one transaction, all of one partition (a limit of Table Storage).
TRANSACTION = 100
CONCURRENCY = 16
#: A query for the notes of one entity's parents.
_NOTES = "PartitionKey eq @entity and RowKey ge '!' and RowKey lt '0'"


@dataclass(frozen=True, slots=True)
class Parked:
    """A record that waits for `parent`; `entity` is its own. `trace`: the span that parked it."""

    parent: Parent
    entity: str
    record: Record
    etag: str = ""
    trace: str = ""

    @property
    def row_key(self) -> str:
        """Where its row lies among the children of its parent."""
        return f"{self.parent.id}|{self.record.table}|{self.record.id}"


@dataclass(frozen=True, slots=True)
class Request:
    """A parent that is waited for. `since`: its oldest child's wait; `checks`: looks of the timer so far.

    `leaving`: who waits must ask for it, as nobody has yet, or its children are being released.
    """

    parent: Parent
    since: datetime
    next_check: datetime
    checks: int = 0
    leaving: bool = False


class Store:
    """The table of parked records. Raises azure.core's AzureError when storage does not answer."""

    def __init__(self, settings: StorageSettings, table: TableClient | None = None) -> None:
        """`table`: of somebody who is signed in otherwise, as operators are; it is not created."""
        self._settings = settings
        self._table = table
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._opening = asyncio.Lock()

    async def park(self, parked: Iterable[Parked], next_check: datetime) -> None:
        """Keep these records. A record that is parked already under the same parent is overwritten.

        Each parent has a note from the same moment on: one that is new says that nobody has asked for it, and that the
        timer is to look at it at `next_check`.
        """
        by_partition: dict[str, dict[str, Parked]] = {}
        for child in parked:
            by_partition.setdefault(child.parent.entity, {})[child.row_key] = child
        parts = [part for unique in by_partition.values() for part in _with_notes(sorted(unique.items()), next_check)]
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
            yield [_parked(parent, row) async for row in page]

    async def everybody(self, entity: str) -> AsyncIterator[list[Parked]]:
        """The records that wait for any parent of this entity, by pages; the parents' tables are not told."""
        table = await self._open()
        found = table.query_entities(RECORDS, parameters={"entity": entity}, results_per_page=PAGE)
        async for page in found.by_page():
            yield [_parked(Parent(entity, "", row["RowKey"].partition("|")[0]), row) async for row in page]

    async def census(self, most: int) -> tuple[dict[str, census.Parked], bool]:
        """How many records wait, by entity, of the first so many; and whether there are more."""
        return await census.count(await self._open(), most)

    async def remove(self, parked: Iterable[Parked]) -> None:
        """These records wait no more, except those that have been parked again since they were read."""
        rows = [{"PartitionKey": child.parent.entity, "RowKey": child.row_key, "etag": child.etag} for child in parked]
        await self._write("delete", rows)

    async def requested(self, parents: Sequence[Parent]) -> set[Parent]:
        """Which of these parents have been asked for and have not come yet."""
        found = await asyncio.gather(*(self._limited(self._is_requested(parent)) for parent in parents))
        return {parent for parent, there in zip(parents, found, strict=True) if there}

    async def mark(self, requests: Iterable[Request]) -> None:
        """Note that these parents were asked for, or looked for again."""
        await self._write("upsert", [_request_row(request) for request in requests])

    async def unmark(self, parents: Iterable[Parent]) -> None:
        """These parents have come."""
        await self._write("delete", [note_key(parent) for parent in parents])

    async def leave(self, request: Request) -> str:
        """Note that the children of this parent are being released. Gives the etag for `forget`."""
        table = await self._open()
        answer = await table.upsert_entity(_request_row(replace(request, leaving=True)))
        return str(answer["etag"])

    async def forget(self, parent: Parent, etag: str) -> None:
        """Take the note of `leave` away, unless somebody has asked for the parent since then."""
        from azure.core import MatchConditions  # noqa: PLC0415  (cold start)
        from azure.core.exceptions import ResourceModifiedError  # noqa: PLC0415

        table = await self._open()
        with suppress(ResourceModifiedError):
            await table.delete_entity(note_key(parent), etag=etag, match_condition=MatchConditions.IfNotModified)

    async def waited_for(self, entity: str) -> dict[str, Request]:
        """Parents of this entity that are waited for, by id: at most 1,000 of them, which is one request."""
        table = await self._open()
        found = table.query_entities(_NOTES, parameters={"entity": entity}, results_per_page=PAGE)
        async for page in found.by_page():
            return {request.parent.id: request for request in [_request(row) async for row in page]}
        return {}

    async def due(self, entity: str, now: datetime) -> AsyncIterator[list[Request]]:
        """Requests of one parent entity whose next check has come, by pages."""
        table = await self._open()
        found = table.query_entities(
            f"{_NOTES} and (NextCheck le @now or Unasked le @now )",  # the SDK looks for parameters between blanks
            parameters={"entity": entity, "now": now},
            results_per_page=PAGE,
        )
        async for page in found.by_page():
            yield [request async for row in page if (request := _request(row)).next_check <= now]

    async def close(self) -> None:
        """Close the connection."""
        if self._table:
            await self._table.close()
            self._table = None

    async def _is_requested(self, parent: Parent) -> bool:
        from azure.core.exceptions import ResourceNotFoundError  # noqa: PLC0415  (cold start)

        table = await self._open()
        try:
            row = await table.get_entity(*note_key(parent).values(), select=["Leaving"])
        except ResourceNotFoundError:
            return False
        return not row.get("Leaving", True)

    async def _write(self, operation: str, rows: Sequence[dict[str, Any]]) -> None:
        """Write or delete rows, 100 of one partition at a time."""
        by_partition: dict[str, dict[str, dict[str, Any]]] = {}
        for row in rows:
            by_partition.setdefault(row["PartitionKey"], {})[row["RowKey"]] = row
        parts = [
            list(unique.values())[start : start + TRANSACTION]
            for unique in by_partition.values()
            for start in range(0, len(unique), TRANSACTION)
        ]
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
            if operation == "upsert" or error.status_code not in (404, 412):
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


def note_key(parent: Parent) -> dict[str, str]:
    """Where the note of a parent lies."""
    return {"PartitionKey": parent.entity, "RowKey": f"!{parent.id}"}


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
            parts[-1].append({**note_key(noted), "Table": noted.table, "Unasked": next_check})
        parts[-1].append(_child_row(child))
    return parts


def _child_row(child: Parked) -> dict[str, Any]:
    record = child.record
    return {
        "PartitionKey": child.parent.entity,
        "RowKey": child.row_key,
        "Entity": child.entity,
        "FirstSeen": record.first_seen,
        "Correlation": record.correlation_id,
        "Attempt": record.attempt,
        "Requested": record.requested,
        "FilterChanged": record.filter_changed,
        "Forced": record.forced,
        "Replays": record.replays,
        "WriteBack": record.write_back,
        "Since": record.parked_since,
        "Trace": child.trace,
    }


def _parked(parent: Parent, row: Any) -> Parked:
    _, table, id_ = row["RowKey"].split("|")
    record = Record(
        table,
        id_,
        _utc(row["FirstSeen"]),
        correlation_id=row["Correlation"],
        attempt=row["Attempt"],
        requested=row["Requested"],
        filter_changed=row.get("FilterChanged", False),
        forced=row.get("Forced", False),
        replays=row.get("Replays", 0),
        write_back=row.get("WriteBack", False),
        parked_since=_utc(row["Since"]),
    )
    return Parked(parent, row["Entity"], record, row.metadata["etag"], row.get("Trace", ""))


def _key(row: dict[str, Any]) -> dict[str, Any]:
    return {"PartitionKey": row["PartitionKey"], "RowKey": row["RowKey"]}


def _unless_modified(row: dict[str, Any]) -> dict[str, Any]:
    from azure.core import MatchConditions  # noqa: PLC0415  (cold start)

    return {"etag": row["etag"], "match_condition": MatchConditions.IfNotModified} if row.get("etag") else {}


def _request_row(request: Request) -> dict[str, Any]:
    return {
        **note_key(request.parent),
        "Table": request.parent.table,
        "Since": request.since,
        "NextCheck": request.next_check,
        "Unasked": request.next_check,  # what was parked meanwhile needs no look of its own
        "Checks": request.checks,
        "Leaving": request.leaving,
    }


def _request(row: Any) -> Request:
    parent = Parent(row["PartitionKey"], row["Table"], row["RowKey"][1:])
    next_check = _utc(row.get("NextCheck") or row["Unasked"])  # who was killed before asking has noted no more
    return Request(
        parent, _utc(row.get("Since", next_check)), next_check, row.get("Checks", 0), row.get("Leaving", True)
    )


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
