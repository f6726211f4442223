"""What the history costs: requests to storage, and time, for each 1,000 changes. The app's own code, and Azurite.

Lines are added as the app's functions add them. What an invocation spends is the time in `History.add`; the rest
happens beside it.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from emulators.azurite import connection_string, is_listening
from emulators.processes import Child, free_ports
from local.bench import BenchError
from local.bench.burst import Report
from local.bench.figures import Figure, Target
from shared.azure.history_tables import HistoryTables
from shared.azure.table import Account
from shared.config.settings import StorageSettings
from shared.model.entities import ENTITIES
from shared.model.outcome import LeftOut, Synced
from shared.model.record import Record
from shared.sync.history import Line, row_of
from shared.sync.history_log import History, read
from shared.sync.history_steps import received, settled

CHANGES = 10_000
#: Changes that come one by one: each of them waits for the line before.
ALONE = 500
#: What is written at a time: a second's notifications in a burst, ten batches of 32; and a call of Marketo.
ROUTED, SYNCED = 320, 300
TOO_MUCH = Target(limit=10)
#: Milliseconds for 1,000 changes: the app's own code has 500 (report.py).
TOO_LONG = Target(limit=100)
LEFT_OUT = LeftOut("email", "1003", "")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """For each 1,000 changes. Milliseconds: what invocations spend, what writing takes beside them, and CPU."""

    requests: float
    added: float
    written: float
    cpu: float
    bytes: float


@dataclass(frozen=True, kw_only=True)
class HistoryRun:
    """`look_up`: seconds, of one record among all others, of one day; `look_up_requests`: to storage."""

    full: Cost
    alone: Cost
    run: Cost
    look_up: float
    look_up_requests: int


class _Storage:
    """The tables, and the requests that they get."""

    def __init__(self, connection: str) -> None:
        given = {"AzureWebJobsStorage": connection, "HISTORY_TABLES": f"h{uuid4().hex}"}
        settings = StorageSettings.model_validate(given)
        self.requests = 0
        self.account = Account(settings, raw_request_hook=self._count)
        self.tables = HistoryTables(self.account)

    def _count(self, _: Any) -> None:
        self.requests += 1

    def history(self) -> History:
        return History(self.tables, days=14, now=lambda: datetime.now(UTC), clock=time.monotonic)


async def run_history(directory: Path, *, report: Report) -> HistoryRun:
    """Measure against an Azurite of its own. Raises BenchError when lines are missing in the end."""
    async with _azurite(directory) as connection:
        storage = _Storage(connection)
        records = [_record(number) for number in range(CHANGES)]
        await _cost(storage, [_of_sync(records[:1])], changes=1)  # opens the connection, makes the table
        report("full batches")
        both = [*_batches(records, ROUTED, _of_routing), *_batches(records, SYNCED, _of_sync)]
        full = await _cost(storage, both, changes=CHANGES)
        report("single changes")
        lone = [each for record in records[:ALONE] for each in (_of_routing([record]), _of_sync([record]))]
        alone = await _cost(storage, lone, changes=ALONE)
        report("an initial sync")
        run = await _cost(storage, list(_batches(records, SYNCED, _of_sync)), changes=CHANGES)
        storage.requests = 0
        began = time.perf_counter()
        past = await read(storage.tables, [records[7].id], days=14, now=datetime.now(UTC))
        seconds, requests = time.perf_counter() - began, storage.requests
        await storage.account.close()
        if not past.events:
            raise BenchError("a record whose changes were written has no history")
        return HistoryRun(full=full, alone=alone, run=run, look_up=seconds, look_up_requests=requests)


async def _cost(storage: _Storage, batches: Sequence[list[Line]], *, changes: int) -> Cost:
    """Of these batches, each of which is written before the next one comes."""
    history = storage.history()
    storage.requests, added = 0, 0.0
    began, cpu = time.perf_counter(), time.process_time()
    for batch in batches:
        before = time.perf_counter()
        history.add(batch)
        added += time.perf_counter() - before
        await history.written()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    if history.waiting:
        raise BenchError("storage did not take all lines in time")
    size = sum(len(row_of(line).text) for batch in batches for line in batch)
    thousands = changes / 1000
    return Cost(
        requests=storage.requests / thousands, added=added * 1000 / thousands, written=seconds * 1000 / thousands,
        cpu=cpu * 1000 / thousands, bytes=size / thousands,
    )  # fmt: skip


def _record(number: int) -> Record:
    return Record("contact", str(UUID(int=number)), datetime.now(UTC), correlation_id=str(uuid4()))


def _of_routing(records: Sequence[Record]) -> list[Line]:
    return list(received(records, datetime.now(UTC)))


def _of_sync(records: Sequence[Record]) -> list[Line]:
    outcome = Synced("updated", left_out=(LEFT_OUT,), marketo_id=1_000_017, request_id="14d8#18a3c1f0a11")
    return list(settled(ENTITIES["person"], [(record, outcome) for record in records], datetime.now(UTC)))


def _batches(records: Sequence[Record], size: int, lines: Any) -> Iterator[list[Line]]:
    for start in range(0, len(records), size):
        yield lines(records[start : start + size])


@asynccontextmanager
async def _azurite(directory: Path) -> Any:
    directory.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240  (nothing else runs yet)
    blob, queue, table = free_ports(3)
    command = [sys.executable, "-m", "emulators.azurite", "--location", str(directory / "data")]
    command += ["--blob-port", str(blob), "--queue-port", str(queue), "--table-port", str(table)]
    child = Child("azurite", command, log=directory / "azurite.log", is_ready=is_listening)
    await child.start()
    try:
        yield connection_string(blob_port=blob, queue_port=queue, table_port=table)
    finally:
        await child.kill()


def history_figures(run: HistoryRun) -> list[Figure]:
    """The figures of the section."""

    def figure(name: str, value: float, unit: str, target: Target | None = None) -> Figure:
        return Figure(group="history", name=name, value=value, unit=unit, target=target)

    found: list[Figure] = []
    for name, cost, is_burst in (
        ("in a burst", run.full, True),
        ("one by one", run.alone, False),
        ("of an initial sync", run.run, True),
    ):
        found += [
            figure(f"requests for 1,000 changes {name}", cost.requests, "", TOO_MUCH if is_burst else None),
            figure("  that invocations spend on them", cost.added, "ms"),
            figure("  until they are written, beside them", cost.written, "ms"),
            figure("  CPU of both", cost.cpu, "ms", TOO_LONG if is_burst else None),
            figure("  size", cost.bytes / 1000, "kB"),
        ]
    return [
        *found,
        figure("a look-up of one record, a day kept", run.look_up * 1000, "ms"),
        figure("  requests", run.look_up_requests, ""),
    ]
