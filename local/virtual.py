"""Time that passes only when everybody waits, and a table in memory: for simulations of hours within seconds."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from azure.data.tables import TableEntity

from shared.azure.shared_state import State
from shared.azure.table import Row, Step, Table
from shared.model.errors import StorageUnavailableError
from shared.sync.lease import Leases

T = TypeVar("T")

#: Seconds.
SHORTEST = 1e-6
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Time:
    """A clock that jumps to the next timer whenever nothing is left to do: asyncio.sleep takes no time at all."""

    def __init__(self, start: datetime) -> None:
        self._start = start
        #: Seconds since the start.
        self.passed = 0.0

    def now(self) -> datetime:
        """Return the virtual time."""
        return self._start + timedelta(seconds=self.passed)

    def clock(self) -> float:
        """Return the seconds since the start."""
        return self.passed

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` in virtual time. It must not do real input or output."""
        with asyncio.Runner(loop_factory=lambda: _Loop(self)) as runner:
            return runner.run(work)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, time: Time) -> None:
        self._virtual = time
        super().__init__(_Jumps(time))

    def time(self) -> float:
        return self._virtual.passed

    def call_at(  # type: ignore[override]  # the stubs' tuple of type variables says no more
        self, when: float, callback: Callable[..., object], *arguments: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Let some time pass in every sleep, however short: else who waits for a rounding error waits for ever."""
        return super().call_at(max(when, self.time() + SHORTEST), callback, *arguments, context=context)


class _Jumps(selectors.DefaultSelector):
    def __init__(self, time: Time) -> None:
        super().__init__()
        self._time = time

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everybody waits, and nothing is going to happen")
        self._time.passed += timeout
        return super().select(0)


class MemoryTable(Table):
    """A table in memory. `seconds`: how long each request takes. `away`: none is answered.

    `clock`: storage's own, in seconds; else it is the event loop's.
    """

    def __init__(self, seconds: float = 0.01, clock: Callable[[], float] | None = None) -> None:
        self.seconds = seconds
        self.away = False
        self.requests = 0
        self.rows: dict[tuple[str, str], tuple[str, int]] = {}  # JSON, version
        self.written: dict[tuple[str, str], datetime] = {}
        self._clock = clock

    async def get(
        self, partition: str, key: str, *, answered: Callable[[datetime], None] | None = None
    ) -> TableEntity | None:
        """Return a row with its etag and the time of its last write, as the SDK does."""
        await self._request()
        if answered:
            answered(self._now().replace(microsecond=0))
        if (partition, key) not in self.rows:
            return None
        text, version = self.rows[partition, key]
        return _Entity({"RowKey": key, "Value": text}, str(version), self.written[partition, key])

    async def pages(
        self, query: str, parameters: Mapping[str, Any], *, select: Sequence[str] | None = None
    ) -> AsyncIterator[list[Any]]:
        """Return the rows of a kind whose names are within these two."""
        del query, select
        await self._request()
        yield [
            {"RowKey": key, "Value": text}
            for (partition, key), (text, _) in list(self.rows.items())
            if partition == parameters["kind"] and parameters["first"] <= key <= parameters["last"]
        ]

    async def insert(self, row: Row) -> str:
        """Create a row that is not there."""
        await self._request()
        return self._store(row, 1) if _key(row) not in self.rows else ""

    async def upsert(self, row: Row) -> str:
        """Write a row."""
        await self._request()
        return self._store(row, self._version(row) + 1)

    async def update(self, row: Row, etag: str) -> str:
        """Write a row that still has this etag."""
        await self._request()
        return self._store(row, self._version(row) + 1) if str(self._version(row)) == etag else ""

    async def transact(self, steps: Sequence[Step]) -> list[str] | None:
        """Do all of it or nothing."""
        await self._request()
        if any(operation == "delete" and _key(row) not in self.rows for operation, row in steps):
            return None
        etags = []
        for operation, row in steps:
            if operation == "delete":
                etags.append(str(self.rows.pop(_key(row))[1]))
            else:
                etags.append(self._store(row, self._version(row) + 1))
        return etags

    async def delete(self, row: Row) -> None:
        """Take a row away."""
        await self._request()
        self.rows.pop(_key(row), None)

    async def close(self) -> None:
        """Nothing is open."""

    async def _request(self) -> None:
        self.requests += 1
        await asyncio.sleep(self.seconds)
        if self.away:
            raise StorageUnavailableError("ServiceRequestError")

    def _now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._clock() if self._clock else asyncio.get_running_loop().time())

    def _version(self, row: Row) -> int:
        return self.rows.get(_key(row), ("", 0))[1]

    def _store(self, row: Row, version: int) -> str:
        self.rows[_key(row)] = row["Value"], version
        self.written[_key(row)] = self._now()
        return str(version)


class MemoryState(State):
    """The state over a table in memory. Each instance has its own."""

    def __init__(self, table: MemoryTable) -> None:
        super().__init__(table)


def leases(clock: Callable[[], float], table: MemoryTable | None = None, **more: Any) -> Leases:
    """The leases of one process, over this table or one of its own."""
    state = MemoryState(table or MemoryTable(seconds=0))
    return Leases(state, **{"instance_id": "one", "longest_call": 90.0, "clock": clock, **more})


class _Entity(TableEntity):
    def __init__(self, values: Mapping[str, str], etag: str, written: datetime) -> None:
        super().__init__(values)
        self._metadata = {"etag": etag, "timestamp": written}


def _key(row: Row) -> tuple[str, str]:
    return row["PartitionKey"], row["RowKey"]
