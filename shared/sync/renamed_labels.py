"""Renamed choices: the rows that were synced with the old label are synced again.

No notification tells of it, so labels are compared with those that were read before, whenever they have been read.
Which rows are to be sent is noted in the shared state, and the timer sends them page by page: a crash costs a page that
is sent twice. Rows of the shared state: see shared/sync/reference_state.py.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from urllib.parse import quote

from ..azure.errors import best_effort
from ..azure.shared_state import State
from ..dataverse.client import API, DataverseClient
from ..dataverse.metadata import Column, Metadata
from ..model.codes import Kind
from ..model.entities import TABLES
from ..model.errors import DataverseError, MsiSyncError, cause_of
from ..model.record import Record
from .mapping import Labels
from .reference_state import STORAGE_SECONDS, ReferenceState

log = logging.getLogger(__name__)

LABELS, RELABEL = "labels", "relabel"
#: Rows in a page, and pages in one run of the timer: the rest follows with the next run, a minute later.
PAGE_ROWS, PAGES = 1_000, 10

#: Kinds of refusals of a query that come again.
_FOR_GOOD = frozenset({Kind.PERMANENT, Kind.CONFIGURATION, Kind.GONE})

Send = Callable[[Sequence[Record]], Awaitable[None]]


@dataclass
class RenamedLabels:
    """Notices renamed choices, and has their rows synced again."""

    state: State
    dataverse: DataverseClient
    metadata: Metadata
    _: KW_ONLY
    language: int
    now: Callable[[], datetime]
    _seen: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict, init=False)

    async def seen(self, table: str, labels: Labels) -> None:
        """Compare labels that have just been read. Without storage, the next time that they are read will do."""
        async with best_effort(STORAGE_SECONDS, log, "labels_not_compared table=%s", table):
            for column, names in labels.items():
                await self._compare(table, column, {str(value): name for value, name in names.items()})

    async def _compare(self, table: str, column: str, names: dict[str, str]) -> None:
        if self._seen.get((table, column)) == names:
            return
        row = f"{table}|{column}|{self.language}"
        before = await self.state.read(LABELS, row)
        renamed = sorted(value for value, name in names.items() if before.get(value, name) != name)
        for value in renamed:
            log.warning("label_renamed table=%s column=%s value=%s: its rows are synced again", table, column, value)
            await self.state.put(RELABEL, f"{table}|{column}|{value}", {"next": ""})
        if renamed:
            await ReferenceState(self.state).renew("schema")
        if before != names:
            await self.state.put(LABELS, row, names)
        self._seen[table, column] = names

    async def send(self, send: Send) -> int:
        """Send some of the rows that are noted, and note what is left. Gives how many.

        Raises nothing that is about a vendor or storage: it is tried again with the timer's next run.
        """
        count = 0
        try:
            for name, value in [row async for row in self.state.all(RELABEL)]:
                count += await self._send_rows(name, str(value.get("next") or ""), send)
        except MsiSyncError as error:
            log.warning("relabelling_waits error=%s", cause_of(error))
        if count:
            log.info("relabelled rows=%d", count)
        return count

    async def _send_rows(self, name: str, url: str, send: Send) -> int:
        """Some pages of the rows with one choice. What Dataverse refuses for good is given up, and reported."""
        table, column, choice = name.split("|")
        key = TABLES[table][1].key
        count = 0
        try:
            url = url or await self._query(table, column, choice)
            for _ in range(PAGES):
                rows, url = await self.dataverse.page(url, PAGE_ROWS) if url else ([], "")
                await send([Record(table, str(row[key]).lower(), self.now()) for row in rows])
                count += len(rows)
                if not url:
                    break
                await self.state.put(RELABEL, name, {"next": url})
            else:
                return count
        except DataverseError as error:
            if error.kind not in _FOR_GOOD:
                raise
            log.error("relabelling_refused %s: msisync resync %s --query … sends its rows", error, table)
        await self.state.remove(RELABEL, name)
        return count

    async def _query(self, table: str, column: str, choice: str) -> str:
        """The query for the rows with this choice; empty when there is no such column any more."""
        found = (await self.metadata.readable_columns(table)).get(column)
        if found is None:
            return ""
        source = TABLES[table][1]
        return f"{API}/{source.entity_set}?$select={source.key}&$filter={quote(_condition(found, choice))}"


def _condition(column: Column, choice: str) -> str:
    if column.kind == "Boolean":
        return f"{column.web_name} eq {'true' if choice == '1' else 'false'}"
    if column.type_name == "MultiSelectPicklistType":
        return f"Microsoft.Dynamics.CRM.ContainValues(PropertyName='{column.name}',PropertyValues=['{choice}'])"
    return f"{column.web_name} eq {choice}"
