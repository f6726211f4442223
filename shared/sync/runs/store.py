"""Runs and their pages in Table Storage: rows of the table that holds the shared state.

==============================  ============================================================================
RowKey (PartitionKey ``runs``)  columns
==============================  ============================================================================
``<run>``                       Value: JSON of model.py
``!<table>``                    Run: the run that has this table until it is over
``page|<run>|<table>|<page>``   Page: JSON of page.py, compressed; Counts: JSON, of its records' states; Busy: how many
                                are in those of BUSY; SentAt, Sends
``lease``                       Value: JSON of shared/sync/lease.py, of who carries the runs on
==============================  ============================================================================

They are one partition for the sake of transactions. A run and its claims of tables are written in one: no two runs that
are not over have a table in common. So are new pages and the place in the run up to which they were read: no row is
left out or read twice, wherever a process is killed. Whoever changes a row changes the one that it has read.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ...azure.parked_rows import utc
from ...azure.shared_state import adapter_of, dumped
from ...azure.table import Row, Step, Table
from ...model.errors import StorageUnavailableError
from ..comparison import Difference
from . import page
from .model import Run, RunRefusedError, RunState
from .page import DIFFERS, FAILED, OPEN, RETRYING, SKIPPED, UNSENT, Page

log = logging.getLogger(__name__)

RUNS = "runs"
#: Writers of one row are few; each of them reads again at most so often, this long after the first try at most.
TRIES = 12
ASIDE_SECONDS = 0.1
#: States of records that the carrier must look after.
BUSY = (UNSENT, OPEN, RETRYING)
_COLUMNS = ("PartitionKey", "RowKey", "Counts", "SentAt", "Sends")
_WITHIN = "PartitionKey eq @kind and RowKey ge @first and RowKey lt @last"


@dataclass(frozen=True, slots=True)
class Summary:
    """A page without its ids: how many records are in each state, and when it was sent last."""

    table: str
    number: int
    counts: Counter[str]
    sent_at: datetime | None = None
    sends: int = 0


@dataclass(frozen=True, slots=True)
class NotThere:
    """A record that a run has not brought into Marketo: `state` of page.py, and Marketo's or our own words for it."""

    table: str
    id: str
    state: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """How a record differs, and what has become of it since: `state` and `message` as in `NotThere`."""

    difference: Difference
    state: str
    message: str = ""


class Runs:
    """The rows. Raises StorageUnavailableError when storage does not answer."""

    def __init__(self, table: Table, *, now: Callable[[], datetime]) -> None:
        """`table`: that of the shared state."""
        self._table = table
        self._now = now

    # -- runs ---------------------------------------------------------------------------------------------------

    async def create(self, run: Run) -> None:
        """Store a new run: the app takes it up within a minute. Raises RunRefusedError while another has a table of it.

        The same run again, after an answer that did not come, is no other.
        """
        steps = [("create", _row_of(run)), *(("create", _claim(run, name)) for name in run.scope.tables)]
        if await self._table.transact(steps) is not None:
            return
        for name in run.scope.tables:
            claim = await self._table.get(RUNS, f"!{name}")
            if claim and claim["Run"] != run.id:
                other = claim["Run"]
                text = f"run {other} is not over yet, and has the table {name} too: msisync initial-sync status {other}"
                raise RunRefusedError(text, other)
        if await self.read(run.id) is None:  # the other one has ended in this moment
            await self.create(run)

    async def read(self, run_id: str) -> Run | None:
        """A run; None where there is none."""
        row = await self._table.get(RUNS, run_id)
        return _run_of(row) if row else None

    async def all(self) -> list[Run]:
        """Every run that is kept, the newest first."""
        rows = [row async for part in self._table.pages(_WITHIN, _within("0", ":")) for row in part]
        return sorted(map(_run_of, rows), key=lambda run: run.id, reverse=True)

    async def change(self, run_id: str, change: Callable[[Run], Run]) -> Run:
        """Write what `change` makes of the newest row of a run, and give up its tables when it is over.

        `change` may be called several times. Raises RunRefusedError where there is no such run, and what `change` does.
        """
        for tried in range(TRIES):
            run = await self.read(run_id)
            if run is None:
                raise RunRefusedError(f"there is no run {run_id}")
            changed = change(run)
            if changed == run:
                return run
            if written := await self.replace(run, changed):
                return written
            await _aside(tried)
        raise StorageUnavailableError(f"a row of run {run_id} was changed by others {TRIES} times in a row")

    async def replace(self, run: Run, changed: Run, pages: Sequence[Page] = ()) -> Run | None:
        """Write a run over the one that was read, with new pages (90 at most), and give it back.

        None: somebody else has changed the run since then, so nothing was written.
        """
        steps: list[Step] = [("update", {**_row_of(changed), "etag": run.etag})]
        steps += [("create", _page_row(each)) for each in pages]
        if changed.is_over and not run.is_over:
            steps += [("delete", _claim(run, name)) for name in run.scope.tables]
        etags = await self._table.transact(steps)
        return replace(changed, etag=etags[0]) if etags else None

    async def to(self, run_id: str, state: RunState, reason: str = "") -> Run:
        """Have the run send nothing more (PAUSED), go on where it was (RUNNING), or end (CANCELLED).

        What is in the queues already is synced all the same. Raises RunRefusedError.
        """
        return await self.change(run_id, lambda run: run.to(state, self._now(), reason))

    async def remove(self, run: Run) -> None:
        """Forget a run that is over, its pages first."""
        async for rows in self._table.pages(_WITHIN, _pages(run.id), select=("PartitionKey", "RowKey")):
            await self._table.write("delete", rows)
        await self._table.delete({"PartitionKey": RUNS, "RowKey": run.id})

    # -- pages --------------------------------------------------------------------------------------------------

    async def page(self, run_id: str, table: str, number: int) -> Page | None:
        """A page; None where there is none."""
        row = await self._table.get(RUNS, _key(run_id, table, number))
        return _page_of(row) if row else None

    async def change_page(self, run_id: str, table: str, number: int, change: Callable[[Page], Page]) -> Page | None:
        """Write what `change` makes of the newest row of a page; None where there is no such page (any more)."""
        for tried in range(TRIES):
            found = await self.page(run_id, table, number)
            if found is None:
                return None
            changed = change(found)
            if changed == found or await self._table.update(_page_row(changed), found.etag):
                return changed
            await _aside(tried)
        raise StorageUnavailableError(f"a row of run {run_id} was changed by others {TRIES} times in a row")

    async def busy(self, run_id: str) -> list[Summary]:
        """The pages with records that are unsent, open or to be tried again."""
        return await self._summaries(f"{_WITHIN} and Busy gt 0", run_id)

    async def summaries(self, run_id: str) -> list[Summary]:
        """All pages of a run: one request for 1,000 of them, which are 300,000 records."""
        return await self._summaries(_WITHIN, run_id)

    async def totals(self, run_id: str) -> dict[str, Counter[str]]:
        """How many records of each table are in each state of page.py."""
        found: dict[str, Counter[str]] = {}
        for each in await self.summaries(run_id):
            found.setdefault(each.table, Counter()).update(each.counts)
        return found

    async def not_in_marketo(self, run_id: str) -> AsyncIterator[list[NotThere]]:
        """The records that a run has not brought into Marketo, or not yet, or that differ there, page by page."""
        async for found in self._whole(run_id):
            left = [
                NotThere(found.table, id_, state, found.message(state))
                for id_, state in found.states.items()
                if state in page.UNFINISHED or state.startswith((DIFFERS, FAILED, SKIPPED))
            ]
            if left:
                yield left

    async def differences(self, run_id: str) -> AsyncIterator[list[Found]]:
        """How records differ, as a comparison has found, page by page."""
        async for found in self._whole(run_id):
            if found.found:
                yield [
                    Found(each, found.states[id_], found.message(found.states[id_]))
                    for id_, those in found.found.items()
                    for each in those
                ]

    async def _whole(self, run_id: str) -> AsyncIterator[Page]:
        async for rows in self._table.pages(_WITHIN, _pages(run_id)):
            for row in rows:
                yield _page_of(row)

    async def _summaries(self, query: str, run_id: str) -> list[Summary]:
        pages = self._table.pages(query, _pages(run_id), select=_COLUMNS)
        return [_summary(row) async for rows in pages for row in rows]


def _run_of(row: Any) -> Run:
    run: Run = adapter_of(Run).validate_python(json.loads(row["Value"]))
    return replace(run, etag=row.metadata["etag"])


def _row_of(run: Run) -> Row:
    return {"PartitionKey": RUNS, "RowKey": run.id, "Value": json.dumps(dumped(run))}


def _claim(run: Run, table: str) -> Row:
    return {"PartitionKey": RUNS, "RowKey": f"!{table}", "Run": run.id}


def _within(first: str, last: str) -> dict[str, str]:
    return {"kind": RUNS, "first": first, "last": last}


def _pages(run_id: str) -> dict[str, str]:
    return _within(f"page|{run_id}|", f"page|{run_id}}}")


def _key(run_id: str, table: str, number: int) -> str:
    return f"page|{run_id}|{table}|{number:08d}"


def _page_row(found: Page) -> Row:
    counts = found.counts
    row = {
        "PartitionKey": RUNS,
        "RowKey": _key(found.run, found.table, found.number),
        "Page": page.as_bytes(found),
        "Counts": json.dumps(counts),
        "Sends": found.sends,
        "Busy": sum(counts[state] for state in BUSY),
    }
    return row | ({"SentAt": found.sent_at} if found.sent_at else {})


def _page_of(row: Any) -> Page:
    return page.from_bytes(row["Page"], row.metadata["etag"])


def _summary(row: Any) -> Summary:
    _, _, table, number = row["RowKey"].split("|")
    sent_at = utc(row["SentAt"]) if row.get("SentAt") else None
    return Summary(table, int(number), Counter(json.loads(row["Counts"])), sent_at, row["Sends"])


async def _aside(tried: int) -> None:
    await asyncio.sleep(random.uniform(0, ASIDE_SECONDS * (1 + tried)))  # noqa: S311  (jitter)
