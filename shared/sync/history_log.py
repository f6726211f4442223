"""Writes the history beside the work, and reads it.

Writing: `History.add` keeps lines in memory and returns at once; a task of its own writes what has come in a second. No
invocation waits for that, or fails for it. Lines are lost when a process is killed, and when storage is away for so
long that `MOST_LINES` wait; nothing else is.

Reading, for commands and the console: ``past = await read(tables, [id, …], days=settings.storage.history_days, now=…)``
gives a `Past`: its `events`, the oldest first, each with `text` (a sentence) and `as_json()`; and in `why_nothing` a
sentence for who finds nothing. Raises StorageUnavailableError.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from ..azure.errors import best_effort, storage_within
from ..azure.history_tables import HistoryTables, Row
from ..model.errors import StorageUnavailableError
from ..telemetry import metrics
from ..telemetry.redaction import described
from .history import AT_LARGE, Event, Line, What, events_of, row_of

log = logging.getLogger(__name__)

#: Lines that wait in memory at most: some megabytes. Of more of them, the oldest are lost.
MOST_LINES = 5_000
#: Lines that are written at a time, and seconds that this may take.
AT_ONCE = 1_000
PATIENCE_SECONDS = 15.0
#: Seconds that lines wait for others, unless somebody waits for them: they share requests then.
LINGER_SECONDS = 1.0
#: After a failure nothing is tried for so long.
AGAIN_SECONDS = 60.0
#: Seconds that dropping old days may take, and that a command waits for its own lines.
DROP_SECONDS = 5.0
LAST_SECONDS = 3.0
#: Old days are looked for so often.
DROP_EVERY = timedelta(hours=1)
#: Answers of storage to lines that it will never take.
_NEVER = frozenset({400, 413})


#: A row of Dynamics: table and id.
Key = tuple[str, str]


class History:
    """What one process writes. Nothing here raises, or waits for storage but for `drop_old` and `close`."""

    def __init__(
        self, tables: HistoryTables | None, *, days: int, now: Callable[[], datetime], clock: Callable[[], float]
    ) -> None:
        """`days`: how many are kept; 0, or no tables: nothing is."""
        self._tables = tables
        self._days = days if tables else 0
        self._now = now
        self._clock = clock
        self._waiting: deque[Row] = deque()
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._again = float("-inf")
        self._fails = False
        self._looked: datetime | None = None

    def add(self, lines: Iterable[Line]) -> None:
        """Have these lines written soon. Costs some microseconds for each."""
        if not self._days:
            return
        try:
            self._waiting.extend(map(row_of, lines))
            self._lose(len(self._waiting) - MOST_LINES)
            if self._waiting and (self._task is None or self._task.done()) and self._clock() >= self._again:
                # With a context of its own: its requests are no part of the trace of whoever adds a line.
                self._task = asyncio.get_running_loop().create_task(self._write_all(), context=Context())
        except Exception as error:  # noqa: BLE001  (whatever it is, the sync goes on)
            log.error("history_not_kept error=%s", described(error))

    def happened(self, what: What, rows: Iterable[Key], *, by: str = "", request_id: str = "", **facts: Any) -> None:
        """Have it written that this happened to these rows (table, id) just now; `by`: an operator."""
        now = self._now()
        self.add([Event(now, table, id_, what, facts, by=by, request_id=request_id)] for table, id_ in rows)

    def happened_at_large(self, what: What, *, by: str, run: str = "", **facts: Any) -> None:
        """Have it written that an operator did this just now, which concerns no single record; `run`: but a run."""
        self.add([[Event(self._now(), "", AT_LARGE, what, facts, run=run, by=by)]])

    @property
    def waiting(self) -> int:
        """Lines that are not written yet."""
        return len(self._waiting)

    async def written(self) -> None:
        """Wait until what was added is written, some seconds at most: for commands that add many lines."""
        if self._task:
            self._hurry.set()
            await asyncio.wait([self._task], timeout=LAST_SECONDS)
            self._hurry.clear()

    async def drop_old(self) -> None:
        """The timer's part: take away the tables of the days that are over, once an hour."""
        now = self._now()
        if self._tables is None or (self._looked and now - self._looked < DROP_EVERY):
            return
        self._looked = now
        async with best_effort(DROP_SECONDS, log, "history_not_dropped"):
            first = first_day(now, self._days)
            if old := [day for day in await self._tables.days() if day < first or not self._days]:
                await self._tables.drop(old)
                log.info("history_dropped days=%d", len(old))

    async def close(self) -> None:
        """Write what waits, for some seconds at most."""
        await self.written()
        if self._task:
            self._task.cancel()

    async def _write_all(self) -> None:
        assert self._tables  # noqa: S101  (nothing waits without)
        while self._waiting:
            if len(self._waiting) < AT_ONCE:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LINGER_SECONDS):
                        await self._hurry.wait()
            part = [self._waiting.popleft() for _ in range(min(len(self._waiting), AT_ONCE))]
            try:
                async with storage_within(PATIENCE_SECONDS):
                    await self._tables.write(part)
            except StorageUnavailableError as error:
                self._failed(part, error)
                return
            except Exception as error:  # noqa: BLE001  (these lines must not keep those that follow)
                log.error("history_lost lines=%d error=%s", len(part), described(error))
                metrics.record(metrics.HISTORY, len(part), "lost")
                continue
            metrics.record(metrics.HISTORY, len(part), "written")
            if self._fails:
                self._fails = False
                log.info("history_goes_on")

    def _failed(self, part: list[Row], error: StorageUnavailableError) -> None:
        """Keep them for later; the first failure in a row is logged."""
        if not self._fails:
            log.warning("history_not_written error=%s", error.cause)
        self._fails = True
        self._again = self._clock() + AGAIN_SECONDS
        metrics.record(metrics.HISTORY, len(part), "failed")
        if error.status in _NEVER:
            metrics.record(metrics.HISTORY, len(part), "lost")
            return
        self._waiting.extendleft(reversed(part))
        self._lose(len(self._waiting) - MOST_LINES)

    def _lose(self, number: int) -> None:
        if number > 0:
            for _ in range(number):
                self._waiting.popleft()
            metrics.record(metrics.HISTORY, number, "lost")


def nothing_kept() -> History:
    """For who runs without the app's storage."""
    return History(None, days=0, now=lambda: datetime.now(UTC), clock=lambda: 0.0)


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of some records. `since`: from which day on, None where no day is kept; `days`: the setting."""

    events: list[Event] = field(default_factory=list)
    since: date | None = None
    days: int = 0

    @property
    def why_nothing(self) -> str:
        """Why there is no event; empty where there is one."""
        if self.events:
            return ""
        if not self.days:
            return "The history is off: HISTORY_DAYS is 0."
        if self.since is None:
            return "No history has been written yet: it begins with the first change that the app syncs."
        return (
            f"Nothing has happened to it since {self.since}. What is older is not kept (HISTORY_DAYS is {self.days})."
        )


async def read(tables: HistoryTables, ids: Collection[str], *, days: int, now: datetime) -> Past:
    """What happened to these records. Raises StorageUnavailableError. Costs a request, and one per record and day."""
    if not days:
        return Past()
    kept = [day for day in await tables.days() if day >= first_day(now, days)]
    found = await asyncio.gather(*(tables.read(id_, kept) for id_ in dict.fromkeys(ids)))
    return Past(events_of(row for rows in found for row in rows), kept[0] if kept else None, days)


def first_day(now: datetime, days: int) -> date:
    """The first day that is kept whole."""
    return (now.astimezone(UTC) - timedelta(days=days)).date()
