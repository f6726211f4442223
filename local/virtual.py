"""Time that passes only when everybody waits, and a table in memory: for simulations of hours within seconds."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextvars import Context
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any, TypeVar

from azure.core.exceptions import (
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
    ServiceRequestError,
)
from azure.data.tables import TableEntity

from shared.azure.shared_state import State
from shared.config.settings import StorageSettings
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


class MemoryTable:
    """What azure/shared_state.py uses of a table client. `seconds`: how long each request takes. `away`: none
    is answered.

    `clock`: storage's own, in seconds; else it is the event loop's.
    """

    def __init__(self, seconds: float = 0.01, clock: Callable[[], float] | None = None) -> None:
        self.seconds = seconds
        self.away = False
        self.requests = 0
        self.rows: dict[tuple[str, str], tuple[str, int]] = {}  # JSON, version
        self.written: dict[tuple[str, str], datetime] = {}
        self._clock = clock

    async def get_entity(
        self, partition: str, row: str, *, raw_response_hook: Callable[[Any], None] = lambda _: None
    ) -> TableEntity:
        """Return a row with its etag and the time of its last write, as the SDK does."""
        await self._request()
        if (partition, row) not in self.rows:
            raise ResourceNotFoundError
        text, version = self.rows[partition, row]
        date = {"Date": format_datetime(self._now().replace(microsecond=0), usegmt=True)}
        raw_response_hook(SimpleNamespace(http_response=SimpleNamespace(headers=date)))
        return _Entity({"RowKey": row, "Value": text}, str(version), self.written[partition, row])

    async def create_entity(self, entity: Mapping[str, str]) -> dict[str, str]:
        """Create a row that is not there."""
        await self._request()
        if _key(entity) in self.rows:
            raise ResourceExistsError
        return self._store(entity, 1)

    async def update_entity(self, entity: Mapping[str, str], *, etag: str, **_: Any) -> dict[str, str]:
        """Write a row that still has this etag."""
        await self._request()
        version = self.rows.get(_key(entity), ("", 0))[1]
        if str(version) != etag:
            raise ResourceModifiedError
        return self._store(entity, version + 1)

    async def submit_transaction(self, steps: Sequence[tuple[str, Mapping[str, str]]]) -> None:
        """Do all of it or nothing."""
        await self._request()
        if any(step == "delete" and _key(entity) not in self.rows for step, entity in steps):
            raise _not_found()
        for step, entity in steps:
            if step == "delete":
                del self.rows[_key(entity)]
            else:
                self._store(entity, self.rows.get(_key(entity), ("", 0))[1] + 1)

    async def delete_entity(self, partition: str, row: str) -> None:
        """Take a row away that is there."""
        await self._request()
        if self.rows.pop((partition, row), None) is None:
            raise ResourceNotFoundError

    async def query_entities(self, _query: str, *, parameters: Mapping[str, str]) -> AsyncIterator[dict[str, str]]:
        """Return the rows of a kind whose names are within these two."""
        await self._request()
        for (partition, row), (text, _) in list(self.rows.items()):
            if partition == parameters["kind"] and parameters["first"] <= row <= parameters["last"]:
                yield {"RowKey": row, "Value": text}

    async def _request(self) -> None:
        self.requests += 1
        await asyncio.sleep(self.seconds)
        if self.away:
            raise ServiceRequestError("away")

    def _now(self) -> datetime:
        return EPOCH + timedelta(seconds=self._clock() if self._clock else asyncio.get_running_loop().time())

    def _store(self, entity: Mapping[str, str], version: int) -> dict[str, str]:
        self.rows[_key(entity)] = entity["Value"], version
        self.written[_key(entity)] = self._now()
        return {"etag": str(version)}


class MemoryState(State):
    """The state over a table in memory. Each instance has its own."""

    def __init__(self, table: MemoryTable) -> None:
        super().__init__(StorageSettings.model_validate({"AzureWebJobsStorage": "UseDevelopmentStorage=true"}))
        self._memory = table

    async def _open(self) -> Any:
        return self._memory


def leases(clock: Callable[[], float], table: MemoryTable | None = None, **more: Any) -> Leases:
    """The leases of one process, over this table or one of its own."""
    state = MemoryState(table or MemoryTable(seconds=0))
    return Leases(state, **{"instance_id": "one", "longest_call": 90.0, "clock": clock, **more})


class _Entity(TableEntity):
    def __init__(self, values: Mapping[str, str], etag: str, written: datetime) -> None:
        super().__init__(values)
        self._metadata = {"etag": etag, "timestamp": written}


def _not_found() -> ResourceNotFoundError:
    error = ResourceNotFoundError()
    error.status_code = 404
    return error


def _key(entity: Mapping[str, str]) -> tuple[str, str]:
    return entity["PartitionKey"], entity["RowKey"]
