"""One table of Table Storage: reading and writing rows. The only place that calls its SDK.

A table that is missing holds nothing; the first write makes it. Rows are dicts with PartitionKey and RowKey.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cached_property, partial
from typing import Any, TypeVar
from urllib.request import getproxies

from ..config.settings import StorageSettings
from . import sdk
from .errors import storage_errors

T = TypeVar("T")
Row = Mapping[str, Any]
#: ("create", row), ("upsert", row), ("update", row) or ("delete", row); of a row with an `etag`, only while it has that
#: etag.
Step = tuple[str, Row]
#: Rows of one answer, the most that Table Storage gives.
PAGE = 1000
#: Operations in one transaction, all of one partition (a limit of Table Storage).
TRANSACTION = 100
#: Requests of one piece of work at a time.
CONCURRENCY = 16
#: Seconds to connect, and until more of an answer comes. Storage itself gives up after 30; the SDK would wait for 300.
TIMES = {"connection_timeout": 10, "read_timeout": 35}


class Account:
    """A storage account: one client, signed in once, for all of its tables."""

    def __init__(
        self,
        settings: StorageSettings,
        *,
        credential: Callable[[], Any] | None = None,
        heard: Callable[[datetime], None] | None = None,
        **options: Any,
    ) -> None:
        """Signed in by connection string, with this credential or with the app's identity.

        `heard` gets the time of every answer by storage's clock; `options` are the SDK's.
        """
        self.settings = settings
        self._credential = credential or self._identity
        self._options = {**http_settings(), **({"raw_response_hook": partial(tell_time, heard)} if heard else {})}
        self._options |= options

    @cached_property
    def service(self) -> sdk.tables.TableServiceClient:
        """The SDK's client of all tables."""
        if connection := self.settings.connection.get_secret_value():
            return sdk.tables.TableServiceClient.from_connection_string(connection, **self._options)
        return sdk.tables.TableServiceClient(self.settings.table_uri, credential=self._credential(), **self._options)

    def table(self, name: str) -> Table:
        """A table, whether or not it is there."""
        return Table(lambda: self.service.get_table_client(name))

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if "service" in self.__dict__:
            await self.service.close()

    def _identity(self) -> Any:
        return sdk.identity.ManagedIdentityCredential(client_id=self.settings.identity_client_id or None)


class Table:
    """A table. Raises StorageUnavailableError when storage does not answer, or refuses."""

    def __init__(self, connect: Callable[[], sdk.tables.TableClient]) -> None:
        """`connect` makes the SDK's client, when it is first needed."""
        self._connect = connect
        self._client: sdk.tables.TableClient | None = None

    async def get(self, partition: str, key: str, *, answered: Callable[[datetime], None] | None = None) -> Any:
        """A row, None when there is none; its `metadata` has "etag" and "timestamp".

        `answered` gets the time of the answer by storage's clock.
        """
        more: dict[str, Any] = {"raw_response_hook": partial(tell_time, answered)} if answered else {}
        with storage_errors():
            try:
                return await self._open().get_entity(partition, key, **more)
            except sdk.core_errors.ResourceNotFoundError:
                return None

    async def pages(
        self, query: str, parameters: Row, *, select: Sequence[str] | None = None
    ) -> AsyncIterator[list[Any]]:
        """The rows that a query finds, by pages of at most 1,000."""
        with storage_errors():
            rows = self._open().query_entities(
                query, parameters=dict(parameters), select=list(select) if select else None, results_per_page=PAGE
            )
            pages = rows.by_page()
        while True:
            with storage_errors():
                try:
                    page = [row async for row in await anext(pages)]
                except (StopAsyncIteration, sdk.core_errors.ResourceNotFoundError):
                    return
            yield page

    async def insert(self, row: Row) -> str:
        """Write a new row. Gives its etag; empty when there is one already."""
        with storage_errors():
            try:
                written = await self._creating(lambda: self._open().create_entity(dict(row)))
            except sdk.core_errors.ResourceExistsError:
                return ""
        return str(written["etag"])

    async def upsert(self, row: Row) -> str:
        """Write a row, whatever is there; columns that it does not have stay. Gives its etag."""
        with storage_errors():
            return str((await self._creating(lambda: self._open().upsert_entity(dict(row))))["etag"])

    async def update(self, row: Row, etag: str) -> str:
        """Write a row that still has this etag. Gives the new one; empty when it has another, or is gone."""
        with storage_errors():
            try:
                written = await self._open().update_entity(dict(row), **_unless_changed(etag))
            except (sdk.core_errors.ResourceModifiedError, sdk.core_errors.ResourceNotFoundError):
                return ""
        return str(written["etag"])

    async def delete(self, row: Row) -> None:
        """Take a row away, if it is there; one with an `etag` only while it has that etag."""
        with storage_errors(), suppress(sdk.core_errors.ResourceModifiedError, sdk.core_errors.ResourceNotFoundError):
            await self._open().delete_entity(_key(row), **_unless_changed(row.get("etag")))

    async def transact(self, steps: Sequence[Step]) -> list[str] | None:
        """Do these steps, at most 100, of one partition: all of them or none. Gives the new etags.

        None: a row is gone or was changed, or one to be created is there already, so nothing was done.
        """
        only_upserts = all(operation == "upsert" for operation, _ in steps)
        needs_none = all(operation in ("create", "upsert") for operation, _ in steps)
        prepared: list[Any] = [_prepared(*step) for step in steps]
        with storage_errors():
            try:
                work = partial(self._transact, prepared)
                answers = await (self._creating(work) if needs_none else work())
            except sdk.core_errors.HttpResponseError as error:
                if only_upserts or error.status_code not in (404, 409, 412):  # gone, there already, or written anew
                    raise
                return None
        return [str(answer.get("etag", "")) for answer in answers]

    async def write(self, operation: str, rows: Iterable[Row]) -> None:
        """Upsert or delete rows, 100 of one partition in a transaction. Deleting takes what is there and unchanged."""
        unique = {(row["PartitionKey"], row["RowKey"]): row for row in rows}
        parts = transactions(unique.values(), lambda row: str(row["PartitionKey"]))
        await some_at_a_time(self._write(operation, part) for part in parts)

    async def _write(self, operation: str, rows: Sequence[Row]) -> None:
        if await self.transact([(operation, row) for row in rows]) is None:  # one that is gone undoes them all
            for row in rows:
                await self.delete(row)

    async def _transact(self, steps: list[Any]) -> list[Mapping[str, Any]]:
        try:
            return await self._open().submit_transaction(steps)
        except sdk.core_errors.ServiceRequestError:  # the server had closed an idle connection: the SDK does not retry
            return await self._open().submit_transaction(steps)

    async def _creating(self, write: Callable[[], Awaitable[T]]) -> T:
        """Write; where the table is missing, make it first."""
        try:
            return await write()
        except sdk.core_errors.HttpResponseError as error:
            if error.status_code != 404:
                raise
        with suppress(sdk.core_errors.ResourceExistsError):  # somebody else was faster
            await self._open().create_table()
        return await write()

    def _open(self) -> sdk.tables.TableClient:
        self._client = self._client or self._connect()
        return self._client


def transactions(items: Iterable[T], partition: Callable[[T], str]) -> list[list[T]]:
    """Parts of one partition each, as large as a transaction may be."""
    by_partition: dict[str, list[T]] = {}
    for item in items:
        by_partition.setdefault(partition(item), []).append(item)
    return [
        same[start : start + TRANSACTION]
        for same in by_partition.values()
        for start in range(0, len(same), TRANSACTION)
    ]


async def some_at_a_time(works: Iterable[Awaitable[T]]) -> list[T]:
    """What all of these give, `CONCURRENCY` of them running at a time."""
    slots = asyncio.Semaphore(CONCURRENCY)

    async def limited(work: Awaitable[T]) -> T:
        async with slots:
            return await work

    return await asyncio.gather(*map(limited, works))


def http_settings() -> dict[str, Any]:
    """How the SDK is to make HTTP requests: it looks for a proxy where the environment has one, and not otherwise.

    It would look for one at each request, and for a password in ~/.netrc, in two threads: a third of the request's CPU.
    """
    return {**TIMES, **({} if getproxies().keys() & {"http", "https"} else {"use_env_settings": False})}


def tell_time(heard: Callable[[datetime], None], response: Any) -> None:
    """Pass on when an answer was given, by the clock of who gave it."""
    with suppress(KeyError, TypeError, ValueError):
        heard(parsedate_to_datetime(response.http_response.headers["Date"]))


def _prepared(operation: str, row: Row) -> tuple[Any, ...]:
    """A step as the SDK takes it."""
    if operation == "delete":
        return operation, _key(row), _unless_changed(row.get("etag"))
    bare = {name: value for name, value in row.items() if name != "etag"}
    return (operation, bare, _unless_changed(row.get("etag")))


def _key(row: Row) -> dict[str, Any]:
    return {"PartitionKey": row["PartitionKey"], "RowKey": row["RowKey"]}


def _unless_changed(etag: str | None) -> dict[str, Any]:
    return {"etag": etag, "match_condition": sdk.core.MatchConditions.IfNotModified} if etag else {}
