"""What the instances of the app share, in Table Storage: the use of Marketo's day, counters, circuits, cursors.

One table; a row holds one thing as JSON under (kind, name). A write says which version it has read and fails when
another instance was faster: then the caller reads again. But for the leases, nothing here is needed to sync: who
cannot reach it goes on with what it knows.

==================  ====================  ==============================================
PartitionKey        RowKey                columns
==================  ====================  ==============================================
``budget``          ``marketo``           Value: JSON of shared/marketo/quota.py
``arrivals``        see there             Value: JSON of shared/sync/arrivals.py
``circuit``         entity                Value: JSON of shared/sync/circuit_breaker.py
``lease``           entity                Value: JSON of shared/sync/lease.py
``heartbeat``       function              Value: JSON of shared/sync/heartbeat.py
``left_out_…``      ``<table>|<id>``      Value: JSON of shared/sync/left_out_rows.py
``reference``       see there             Value: JSON of sync/reference_state.py, as of ``labels`` and ``relabel``
``counts``          ``<hour>|<entity>``   Value: JSON of shared/sync/statistics.py
``redelivery``      queue                 Value: JSON of shared/sync/redelivery.py
``write_back``      see there             Value: JSON of shared/write_back/
``write_back_due``  ``<table>|<id>``      Value: JSON of shared/write_back/due.py
==================  ====================  ==============================================
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from ..config.settings import StorageSettings

if TYPE_CHECKING:
    from datetime import datetime

    from azure.data.tables.aio import TableClient

Value = dict[str, Any]
#: Operations in one transaction, all of one partition (a limit of Table Storage).
TRANSACTION = 100
NOT_FOUND = 404
#: Writers of one row are few; each of them reads again at most so often.
TRIES = 20
#: Seconds that they get out of each other's way, at most the longer: after each try twice as far.
ASIDE_SECONDS = (0.01, 0.3)


@dataclass(frozen=True, slots=True)
class Seen:
    """A row as written. `etag`: empty when there is none. `age`: seconds since then, by storage's clock."""

    value: Value
    etag: str
    age: float


class State:
    """The table. Raises azure.core's AzureError when storage does not answer."""

    def __init__(
        self,
        settings: StorageSettings,
        client: Callable[[], TableClient] | None = None,
        *,
        heard: Callable[[datetime], None] = lambda _: None,
    ) -> None:
        """`client`: makes the table's client, for who does not connect as the app does.

        `heard` gets the time by storage's clock with every answer (of a client that is made here).
        """
        self._heard = heard
        self._client = client or partial(connect, settings, settings.state_table, heard=heard)
        self._table: TableClient | None = None
        self._opening = asyncio.Lock()
        self._written: dict[tuple[str, str], tuple[str, str]] = {}

    async def read(self, kind: str, name: str) -> Value:
        """The value of a row, empty when there is none."""
        return _value((await self._read(kind, name))[0])

    async def all(self, kind: str, *, first: str = "", last: str = "~") -> AsyncIterator[tuple[str, Value]]:
        """(name, value) of every row of a kind whose name is within these two."""
        table = await self._open()
        query = "PartitionKey eq @kind and RowKey ge @first and RowKey le @last"
        async for row in table.query_entities(query, parameters={"kind": kind, "first": first, "last": last}):
            yield row["RowKey"], json.loads(row["Value"])

    async def add(self, kind: str, name: str, value: Mapping[str, Any]) -> None:
        """Write a row whose name nobody else uses: one request."""
        table = await self._open()
        await table.create_entity({"PartitionKey": kind, "RowKey": name, "Value": json.dumps(value)})

    async def put(self, kind: str, name: str, value: Mapping[str, Any]) -> None:
        """Write a row whatever was there: one request. For what is new to everybody, not made of what was there."""
        table = await self._open()
        await table.upsert_entity({"PartitionKey": kind, "RowKey": name, "Value": json.dumps(value)})

    async def change(
        self, kind: str, name: str, change: Callable[[Value], Mapping[str, Any] | None], *, alone: bool = False
    ) -> Value:
        """Write what `change` makes of the row's value, of the newest one; None leaves it. Gives the value after that.

        `change` may be called several times: it must not have effects. `alone`: the caller believes that nobody else
        writes the row, so what was written last is tried before it is read again: one request instead of two.
        """
        row = kind, name
        for tried in range(TRIES):
            remembered = self._written.pop(row, None) if alone else None
            text, etag = remembered or await self._read(kind, name)
            changed = change(_value(text))
            if changed is not None:
                text = json.dumps(changed)
                etag = await self._write(kind, name, text, etag)
                if etag and alone:
                    self._written[row] = text, etag
                if etag:
                    return dict(changed)
                if remembered is None:
                    first, longest = ASIDE_SECONDS
                    await asyncio.sleep(random.uniform(0, min(longest, first * (1 << tried))))  # noqa: S311  (jitter)
            elif remembered is None:
                return _value(text)
        raise _contested(kind, name)

    async def look(self, kind: str, name: str) -> Seen:
        """A row with its version and its age."""
        from azure.core.exceptions import ResourceNotFoundError  # noqa: PLC0415  (cold start)

        answered: list[datetime] = []

        def at(moment: datetime) -> None:
            answered.append(moment)
            self._heard(moment)

        try:
            row = await (await self._open()).get_entity(kind, name, raw_response_hook=partial(_tell, at))
        except ResourceNotFoundError:
            return Seen({}, "", 0.0)
        written = row.metadata["timestamp"]
        # The answer's time has no fractions: a row is never taken for older than it is.
        age = max(0.0, (answered[-1] - written).total_seconds()) if answered and written else 0.0
        return Seen(_value(row["Value"]), str(row.metadata["etag"]), age)

    async def swap(self, kind: str, name: str, etag: str, value: Mapping[str, Any]) -> str:
        """Write a row that still has this etag (empty: is not there). Gives the new one, or empty when it has not."""
        return await self._write(kind, name, json.dumps(value), etag)

    async def put_all(self, kind: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Write these rows by name, whatever they were before: one request for 100."""
        entities = [{"PartitionKey": kind, "RowKey": name, "Value": json.dumps(value)} for name, value in rows.items()]
        for start in range(0, len(entities), TRANSACTION):
            part = entities[start : start + TRANSACTION]
            await (await self._open()).submit_transaction([("upsert", entity) for entity in part])

    async def remove_all(self, kind: str, names: Sequence[str]) -> None:
        """Take these rows away, as far as they are there: one request for 100 that are."""
        from azure.core.exceptions import HttpResponseError  # noqa: PLC0415  (cold start)

        for start in range(0, len(names), TRANSACTION):
            part = names[start : start + TRANSACTION]
            steps = [("delete", {"PartitionKey": kind, "RowKey": name}) for name in part]
            try:
                await (await self._open()).submit_transaction(steps)
            except HttpResponseError as error:  # one that is not there undoes the others
                if error.status_code != NOT_FOUND:
                    raise
                for name in part:
                    await self.remove(kind, name)

    async def remove(self, kind: str, name: str) -> None:
        """Take a row away, if it is there."""
        from azure.core.exceptions import ResourceNotFoundError  # noqa: PLC0415

        with suppress(ResourceNotFoundError):
            await (await self._open()).delete_entity(kind, name)

    async def close(self) -> None:
        """Close the connection."""
        if self._table:
            await self._table.close()
            self._table = None

    async def _read(self, kind: str, name: str) -> tuple[str, str]:
        """(JSON, etag) of a row; the etag is empty when there is none."""
        from azure.core.exceptions import ResourceNotFoundError  # noqa: PLC0415

        try:
            row = await (await self._open()).get_entity(kind, name)
        except ResourceNotFoundError:
            return "{}", ""
        return row["Value"], str(row.metadata["etag"])

    async def _write(self, kind: str, name: str, text: str, etag: str) -> str:
        """The new etag; empty when the row is not (any more) the one with this etag."""
        from azure.core import MatchConditions  # noqa: PLC0415  (cold start)
        from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError  # noqa: PLC0415

        table = await self._open()
        row = {"PartitionKey": kind, "RowKey": name, "Value": text}
        try:
            if etag:
                written = await table.update_entity(row, etag=etag, match_condition=MatchConditions.IfNotModified)
            else:
                written = await table.create_entity(row)
        except (ResourceExistsError, ResourceModifiedError, ResourceNotFoundError):
            return ""
        return str(written["etag"])

    async def _open(self) -> TableClient:
        from azure.core.exceptions import ResourceExistsError  # noqa: PLC0415

        async with self._opening:
            if self._table is None:
                table = self._client()
                with suppress(ResourceExistsError):
                    await table.create_table()
                self._table = table
            return self._table


def _value(text: str) -> Value:
    return dict(json.loads(text))


def _contested(kind: str, name: str) -> Exception:
    from azure.core.exceptions import ResourceModifiedError  # noqa: PLC0415  (cold start)

    return ResourceModifiedError(f"{kind}|{name} was changed by others {TRIES} times in a row")


def connect(
    settings: StorageSettings, table: str, *, heard: Callable[[datetime], None] = lambda _: None
) -> TableClient:
    """A client of a table, by connection string or with the app's identity. `heard` gets the time of every answer."""
    from azure.data.tables.aio import TableClient  # noqa: PLC0415

    hook = partial(_tell, heard)
    if settings.connection.get_secret_value():
        connection = settings.connection.get_secret_value()
        return TableClient.from_connection_string(connection, table, raw_response_hook=hook)
    from azure.identity.aio import ManagedIdentityCredential  # noqa: PLC0415

    credential = ManagedIdentityCredential(client_id=settings.identity_client_id or None)
    return TableClient(settings.table_uri, table, credential=credential, raw_response_hook=hook)


def _tell(heard: Callable[[datetime], None], response: Any) -> None:
    """Pass on when an answer was given, by the clock of who gave it."""
    with suppress(KeyError, TypeError, ValueError):
        heard(parsedate_to_datetime(response.http_response.headers["Date"]))
