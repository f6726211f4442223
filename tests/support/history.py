"""The tables of the history in memory, and a history that writes to them."""

import asyncio
from collections.abc import Collection, Iterable
from datetime import UTC, date, datetime, timedelta

from shared.azure.history_tables import HistoryTables, Row
from shared.model.errors import StorageUnavailableError
from shared.sync.history import Event, events_of
from shared.sync.history_log import History

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


class MemoryTables(HistoryTables):
    """`away`: what each write meets, None: nothing. `gate`: writes wait until it is set."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.writes: list[int] = []
        self.away: StorageUnavailableError | Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.kept: list[date] = []
        self.dropped: list[date] = []
        self.looks = 0
        self.begun = asyncio.Event()

    async def write(self, rows: Iterable[Row]) -> None:
        given = list(rows)
        self.begun.set()
        await self.gate.wait()
        self.writes.append(len(given))
        if self.away:
            raise self.away
        self.rows += given

    async def read(self, id_: str, days: Collection[date]) -> list[Row]:
        return [row for row in reversed(self.rows) if row.id == id_ and row.at.date() in days]

    async def days(self) -> list[date]:
        self.looks += 1
        if self.away:
            raise self.away
        return self.kept or sorted({row.at.date() for row in self.rows})

    async def drop(self, days: Collection[date]) -> None:
        self.dropped += days


class Kept:
    """A history whose clock stands still until a test turns it."""

    def __init__(self, days: int = 14, start: datetime = NOON) -> None:
        self.tables = MemoryTables()
        self.time, self.start = 0.0, start
        self.history = History(self.tables, days=days, now=lambda: self.now, clock=lambda: self.time)

    @property
    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.time)

    async def events(self) -> list[Event]:
        """Wait until all is written, and give what is kept."""
        await self.history.written()
        return events_of(self.tables.rows)

    async def texts(self) -> list[str]:
        """The same as people read it."""
        return [event.text for event in await self.events()]
