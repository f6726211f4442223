"""Table Storage: who waits for whom. One table, two kinds of rows.

==================  ============================  ==========================================================
PartitionKey        RowKey                        columns
==================  ============================  ==========================================================
``company``         ``<parent>|<table>|<id>``     a parked record: Entity, FirstSeen, Correlation, Attempt, Since, …
``company!``        ``<parent>``                  a parent that was asked for: Table, Since, NextCheck, Checks, Leaving
==================  ============================  ==========================================================

The first part is the parent's entity. Children of one parent lie side by side, and a transaction takes 100 rows of
one partition, whatever their parents: parking and releasing cost one request per 100 records.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from shared.outcomes import Parent
from shared.records import Record
from shared.settings import StorageSettings
from shared.state import connect

if TYPE_CHECKING:
    from azure.data.tables.aio import TableClient

#: Operations in one transaction, all of one partition (a limit of Table Storage).
TRANSACTION = 100
PAGE = 1000
CONCURRENCY = 16


@dataclass(frozen=True, slots=True)
class Parked:
    """A record that waits for `parent`; `entity` is its own."""

    parent: Parent
    entity: str
    record: Record
    etag: str = ""

    @property
    def row_key(self) -> str:
        """Where its row lies among the children of its parent."""
        return f"{self.parent.id}|{self.record.table}|{self.record.id}"


@dataclass(frozen=True, slots=True)
class Request:
    """A parent that was asked for. `since`: its oldest child's wait; `checks`: looks of the timer so far.

    `leaving`: its children are being released, so a child that parks now must ask for it again.
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

    async def park(self, parked: Iterable[Parked]) -> None:
        """Keep these records. A record that is parked already under the same parent is overwritten."""
        await self._write("upsert", [_child_row(child) for child in parked])

    async def children(self, parent: Parent) -> AsyncIterator[list[Parked]]:
        """The records that wait for a parent, by pages of at most 1,000."""
        table = await self._open()
        found = table.query_entities(
            "PartitionKey eq @partition and RowKey gt @low and RowKey lt @high",
            parameters={"partition": parent.entity, "low": f"{parent.id}|", "high": f"{parent.id}}}"},
            results_per_page=PAGE,
        )
        async for page in found.by_page():
            yield [_parked(parent, row) async for row in page]

    async def everybody(self, entity: str) -> AsyncIterator[list[Parked]]:
        """The records that wait for any parent of this entity, by pages; the parents' tables are not told."""
        table = await self._open()
        found = table.query_entities(
            "PartitionKey eq @partition", parameters={"partition": entity}, results_per_page=PAGE
        )
        async for page in found.by_page():
            yield [_parked(Parent(entity, "", row["RowKey"].partition("|")[0]), row) async for row in page]

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
        await self._write("delete", [{"PartitionKey": f"{p.entity}!", "RowKey": p.id} for p in parents])

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
            await table.delete_entity(
                f"{parent.entity}!", parent.id, etag=etag, match_condition=MatchConditions.IfNotModified
            )

    async def waited_for(self, entity: str) -> dict[str, Request]:
        """Parents of this entity that are waited for, by id: at most 1,000 of them, which is one request."""
        table = await self._open()
        found = table.query_entities(
            "PartitionKey eq @partition", parameters={"partition": f"{entity}!"}, results_per_page=PAGE
        )
        async for page in found.by_page():
            return {row["RowKey"]: _request(entity, row) async for row in page}
        return {}

    async def due(self, entity: str, now: datetime) -> AsyncIterator[list[Request]]:
        """Requests of one parent entity whose next check has come, by pages."""
        table = await self._open()
        found = table.query_entities(
            "PartitionKey eq @partition and NextCheck le @now",
            parameters={"partition": f"{entity}!", "now": now},
            results_per_page=PAGE,
        )
        async for page in found.by_page():
            yield [_request(entity, row) async for row in page]

    async def close(self) -> None:
        """Close the connection."""
        if self._table:
            await self._table.close()
            self._table = None

    async def _is_requested(self, parent: Parent) -> bool:
        from azure.core.exceptions import ResourceNotFoundError  # noqa: PLC0415  (cold start)

        table = await self._open()
        try:
            row = await table.get_entity(f"{parent.entity}!", parent.id, select=["Leaving"])
        except ResourceNotFoundError:
            return False
        return not row["Leaving"]

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
    return Parked(parent, row["Entity"], record, row.metadata["etag"])


def _key(row: dict[str, Any]) -> dict[str, Any]:
    return {"PartitionKey": row["PartitionKey"], "RowKey": row["RowKey"]}


def _unless_modified(row: dict[str, Any]) -> dict[str, Any]:
    from azure.core import MatchConditions  # noqa: PLC0415  (cold start)

    return {"etag": row["etag"], "match_condition": MatchConditions.IfNotModified} if row.get("etag") else {}


def _request_row(request: Request) -> dict[str, Any]:
    return {
        "PartitionKey": f"{request.parent.entity}!",
        "RowKey": request.parent.id,
        "Table": request.parent.table,
        "Since": request.since,
        "NextCheck": request.next_check,
        "Checks": request.checks,
        "Leaving": request.leaving,
    }


def _request(entity: str, row: Any) -> Request:
    parent = Parent(entity, row["Table"], row["RowKey"])
    return Request(parent, _utc(row["Since"]), _utc(row["NextCheck"]), row["Checks"], row["Leaving"])


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
