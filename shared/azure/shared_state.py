"""What the instances of the app share, in Table Storage: the use of Marketo's day, counters, circuits, cursors.

One table; a row holds one thing as JSON under (kind, name). A write says which version it has read and fails when
another instance was faster: then the caller reads again. But for the leases, nothing here is needed to sync: who
cannot reach it goes on with what it knows.

==================  ====================  ==============================================
PartitionKey        RowKey                columns
==================  ====================  ==============================================
``action``          see there             Value: JSON of shared/cli/console/journal.py
``budget``          ``marketo``           Value: JSON of shared/marketo/quota.py
``circuit``         entity                Value: JSON of shared/sync/circuit_breaker.py
``lease``           entity                Value: JSON of shared/sync/lease.py
``delete_brake``    entity                Value: JSON of shared/sync/delete_brake.py
``heartbeat``       function              Value: JSON of shared/sync/heartbeat.py
``left_out_…``      ``<table>|<id>``      Value: JSON of shared/sync/left_out_rows.py
``reference``       see there             Value: JSON of sync/reference_state.py, as of ``labels`` and ``relabel``
``counts``          ``<hour>|<entity>``   Value: JSON of shared/sync/statistics.py
``mapped``          table                 Value: JSON of shared/sync/runs/synced_fields.py
``missed_changes``  table                 Value: JSON of shared/sync/missed_changes_place.py
``role_of``         ``<table>|<id>``      Value: JSON of shared/sync/role_memory.py
``synced_…``        see there             Value: JSON of shared/sync/synced_versions.py
``redelivery``      queue                 Value: JSON of shared/sync/redelivery.py
``runs``            see there             see shared/sync/runs/store.py
``write_back``      see there             Value: JSON of shared/write_back/
``write_back_due``  ``<table>|<id>``      Value: JSON of shared/write_back/due.py
==================  ====================  ==============================================
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from ..model.errors import StorageUnavailableError
from .table import Table

T = TypeVar("T")
Value = dict[str, Any]
#: What reads and writes values of a type. To make one takes milliseconds: a process makes those that it uses.
adapter_of: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)
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
    """The table. Raises StorageUnavailableError when storage does not answer."""

    def __init__(self, table: Table) -> None:
        #: For what has rows with columns of its own.
        self.table = table
        self._written: dict[tuple[str, str], tuple[str, str]] = {}

    async def read(self, kind: str, name: str) -> Value:
        """The value of a row, empty when there is none."""
        return _value((await self._read(kind, name))[0])

    async def all(self, kind: str, *, first: str = "", last: str = "~") -> AsyncIterator[tuple[str, Value]]:
        """(name, value) of every row of a kind whose name is within these two."""
        query = "PartitionKey eq @kind and RowKey ge @first and RowKey le @last"
        async for page in self.table.pages(query, {"kind": kind, "first": first, "last": last}):
            for row in page:
                yield row["RowKey"], json.loads(row["Value"])

    async def put(self, kind: str, name: str, value: Mapping[str, Any]) -> None:
        """Write a row whatever was there: one request. For what is new to everybody, not made of what was there."""
        await self.table.upsert(_row(kind, name, value))

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
        raise StorageUnavailableError(f"{kind}|{name} was changed by others {TRIES} times in a row")

    async def look(self, kind: str, name: str) -> Seen:
        """A row with its version and its age."""
        answered: list[datetime] = []
        row = await self.table.get(kind, name, answered=answered.append)
        if row is None:
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
        await self.table.write("upsert", [_row(kind, name, value) for name, value in rows.items()])

    async def remove_all(self, kind: str, names: Sequence[str]) -> None:
        """Take these rows away, as far as they are there: one request for 100 that are."""
        await self.table.write("delete", [{"PartitionKey": kind, "RowKey": name} for name in names])

    async def remove(self, kind: str, name: str) -> None:
        """Take a row away, if it is there."""
        await self.table.delete({"PartitionKey": kind, "RowKey": name})

    async def _read(self, kind: str, name: str) -> tuple[str, str]:
        """(JSON, etag) of a row; the etag is empty when there is none."""
        row = await self.table.get(kind, name)
        return ("{}", "") if row is None else (row["Value"], str(row.metadata["etag"]))

    async def _write(self, kind: str, name: str, text: str, etag: str) -> str:
        """The new etag; empty when the row is not (any more) the one with this etag."""
        row = {"PartitionKey": kind, "RowKey": name, "Value": text}
        return await (self.table.update(row, etag) if etag else self.table.insert(row))


def parsed(type_: type[T], value: object) -> T | None:
    """The value of a row as this type; None where there is none, or another version has written it."""
    try:
        return adapter_of(type_).validate_python(value) if value else None
    except ValidationError:
        return None


def dumped(value: object, *, exclude_defaults: bool = False) -> Value:
    """What a row has of this value, in JSON's types; `exclude_defaults`: without what has its default value."""
    found: Value = adapter_of(type(value)).dump_python(value, mode="json", exclude_defaults=exclude_defaults)
    return found


def _row(kind: str, name: str, value: Mapping[str, Any]) -> dict[str, str]:
    return {"PartitionKey": kind, "RowKey": name, "Value": json.dumps(value)}


def _value(text: str) -> Value:
    return dict(json.loads(text))
