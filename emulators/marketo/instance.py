"""One Marketo instance: its clock, switches, limits, fields, records and log."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from emulators.gates import Gates
from emulators.marketo.activities import ActivityLog
from emulators.marketo.catalog import object_types_of
from emulators.marketo.clock import Clock
from emulators.marketo.errors import CallError
from emulators.marketo.faults import Faults
from emulators.marketo.identity import Identity
from emulators.marketo.limits import Limits
from emulators.marketo.objects import object_types
from emulators.marketo.schema import Schema
from emulators.marketo.stats import Stats
from emulators.marketo.store import Table
from emulators.marketo.switches import Switches

MAX_BATCH = 300


@dataclass(frozen=True, slots=True)
class Call:
    """One admitted call: its effective verb (that of `_method`), its parameters and its JSON body.

    `hold` keeps it in the middle of its work for as long as a test wants.
    """

    verb: str
    path: str
    params: dict[str, str]
    body: Any = None
    hold: Callable[[], Awaitable[None]] | None = None

    def text(self, name: str) -> str:
        """Return a required parameter.

        Raises:
            CallError: 701, it is missing or empty.
        """
        value = self.params.get(name, "")
        if not value:
            raise CallError("701", f"{name} cannot be blank")
        return value

    def listed(self, name: str) -> list[str]:
        """Return the parts of a comma-separated parameter."""
        return [part for part in self.params.get(name, "").split(",") if part]

    def batch_size(self) -> int:
        """Return the page size asked for.

        Raises:
            CallError: 1001, it is not a number from 1 to 300.
        """
        wanted = self.params.get("batchSize", "") or str(MAX_BATCH)
        if not wanted.isdecimal() or not 1 <= int(wanted) <= MAX_BATCH:
            raise CallError("1001", f"Invalid value '{wanted}'. Required of type 'integer from 1 to {MAX_BATCH}'")
        return int(wanted)


class Instance:
    """Everything that one subscription holds. Times come from `now`."""

    def __init__(
        self,
        *,
        calls_per_window: int = 100,
        concurrency: int = 10,
        daily: int = 50_000,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.clock = Clock(now)
        self.switches = Switches()
        self.identity = Identity(self.clock)
        self.limits = Limits(self.clock, calls_per_window=calls_per_window, concurrency=concurrency, daily=daily)
        self.faults = Faults()
        self.gates = Gates()
        self.stats = Stats()
        self.log = ActivityLog(self.clock)
        self.schemas: dict[str, Schema] = {}
        self.tables: dict[str, Table] = {}
        # Sales persons of deleted companies stay "in use" (sales-persons.md).
        self.owners_of_deleted_companies: set[str] = set()
        self.switch({})
        self.clear()

    def switch(self, wanted: dict[str, Any]) -> None:
        """Change the switches named in `wanted`, all or none.

        Raises:
            ValueError: a switch or value that does not exist, or fields that Marketo would not have.
        """
        switches = self.switches.changed(wanted)
        kinds = object_types_of(switches)
        self.schemas = {name: Schema(kind, switches.strictness) for name, kind in kinds.items()}
        self.switches = switches
        self.clock.offset = switches.clock_offset
        self._search_custom_fields()

    def clear(self) -> None:
        """Delete all records and activities; switches, limits and counters stay."""
        # Tables are built with Sales Insight's fields, so that the feature can be switched without losing records.
        self.tables = {name: Table(kind) for name, kind in object_types(msi=True).items()}
        self._search_custom_fields()
        self.owners_of_deleted_companies.clear()
        self.log.clear()

    def _search_custom_fields(self) -> None:
        for name, table in self.tables.items():
            fields = self.schemas[name].kind.fields
            table.search_custom([field for field in fields if field.custom and field.searchable])

    async def work(self, call: Call, milliseconds: float) -> None:
        """Execute for a while, as a call does; other calls go on meanwhile."""
        if milliseconds > 0:
            await asyncio.sleep(milliseconds / 1000)
        if call.hold is not None:
            await call.hold()
