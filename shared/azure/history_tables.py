"""The history in Table Storage: a table for each day, so that old days are dropped as whole tables.

A table is `<HISTORY_TABLES><yyyymmdd>` (of the day in UTC). Its rows:

============  ==============================================================================================
PartitionKey  ``lines``: one partition, so that whatever is written at a time fills transactions of 100. Table
              Storage takes 2,000 rows a second in a partition; the app's default share of Marketo's rate is
              750 records a second, and each of them has two lines at most.
RowKey        ``<id of the row in Dynamics>|<milliseconds, counting down>|<something of its own>``: the lines
              of one record are one range of a day, the newest first
Line          JSON of shared/sync/history.py
============  ==============================================================================================
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ..config.settings import StorageSettings
from . import sdk
from .errors import storage_errors
from .table import Table, some_at_a_time, transactions

if TYPE_CHECKING:
    from azure.data.tables.aio import TableServiceClient

PARTITION = "lines"
#: A number of milliseconds that is not reached: what is taken from it counts down.
_END = 10**13 - 1


@dataclass(frozen=True, slots=True)
class Row:
    """What is kept of one record and one moment, as JSON. `own`: tells it from others of the same millisecond."""

    id: str
    at: datetime
    text: str
    own: str = field(default_factory=lambda: uuid4().hex[:8])


class HistoryTables:
    """The tables. Raises StorageUnavailableError when storage does not answer, or refuses."""

    def __init__(self, settings: StorageSettings, *, connect: Callable[[], TableServiceClient] | None = None) -> None:
        """`connect`: makes the client of somebody who is signed in otherwise, as operators are."""
        self._prefix = settings.history_tables
        self._connect = connect or partial(service, settings)
        self._client: TableServiceClient | None = None
        self._tables: dict[date, Table] = {}

    async def write(self, rows: Iterable[Row]) -> None:
        """Keep these rows: 100 of a day in a transaction. Written twice, they are there once."""
        parts = transactions(rows, lambda row: _day(row).isoformat())
        await some_at_a_time(self._write(part) for part in parts)

    async def read(self, id_: str, days: Collection[date]) -> list[Row]:
        """The rows of a record on these days, the newest first; of each day the newest 1,000. A request for each."""
        found = await asyncio.gather(*(self._read(id_, day) for day in sorted(days, reverse=True)))
        return [row for rows in found for row in rows]

    async def days(self) -> list[date]:
        """The days of which there is a table, the oldest first. One request."""
        first, last = f"{self._prefix}0", f"{self._prefix}9999999999"
        name = re.compile(rf"{self._prefix}(\d{{8}})", re.IGNORECASE)
        found = set[date]()
        with storage_errors():
            # Storage compares the names as they were given when the tables were made.
            query = "TableName ge @first and TableName le @last"
            async for table in self._open().query_tables(query, parameters={"first": first, "last": last}):
                if match := name.fullmatch(table.name):
                    with suppress(ValueError):  # somebody else's table: no day has this number
                        found.add(datetime.strptime(match[1], "%Y%m%d").replace(tzinfo=UTC).date())
        return sorted(found)

    async def drop(self, days: Collection[date]) -> None:
        """Take the tables of these days away. A request for each."""
        for day in days:
            self._tables.pop(day, None)
            with storage_errors():
                await self._open().delete_table(self._name(day))

    async def close(self) -> None:
        """Close the connection."""
        self._tables.clear()
        if self._client:
            await self._client.close()
            self._client = None

    async def _write(self, rows: Sequence[Row]) -> None:
        steps = [("upsert", {"PartitionKey": PARTITION, "RowKey": _row_key(row), "Line": row.text}) for row in rows]
        await self._table(_day(rows[0])).transact(steps)

    async def _read(self, id_: str, day: date) -> list[Row]:
        query = "PartitionKey eq @lines and RowKey gt @low and RowKey lt @high"
        pages = self._table(day).pages(query, {"lines": PARTITION, "low": f"{id_}|", "high": f"{id_}}}"})
        page: list[Any] = await anext(pages, [])
        return [_row_of(row) for row in page]

    def _table(self, day: date) -> Table:
        if day not in self._tables:
            self._tables[day] = Table(lambda: self._open().get_table_client(self._name(day)))
        return self._tables[day]

    def _name(self, day: date) -> str:
        return f"{self._prefix}{day:%Y%m%d}"

    def _open(self) -> TableServiceClient:
        self._client = self._client or self._connect()
        return self._client


def service(
    settings: StorageSettings, credential: Callable[[], Any] | None = None, **options: Any
) -> TableServiceClient:
    """The SDK's client of all tables, signed in as `connect` of shared/azure/table.py. `options`: the SDK's."""
    if settings.connection.get_secret_value():
        return sdk.tables.TableServiceClient.from_connection_string(settings.connection.get_secret_value(), **options)
    own = credential or partial(sdk.identity.ManagedIdentityCredential, client_id=settings.identity_client_id or None)
    return sdk.tables.TableServiceClient(settings.table_uri, credential=own(), **options)


def _day(row: Row) -> date:
    return row.at.astimezone(UTC).date()


def _row_key(row: Row) -> str:
    return f"{row.id}|{_END - round(row.at.timestamp() * 1000):013d}|{row.own}"


def _row_of(row: Any) -> Row:
    id_, down, own = row["RowKey"].split("|")
    return Row(id_, datetime.fromtimestamp((_END - int(down)) / 1000, UTC), row["Line"], own)
