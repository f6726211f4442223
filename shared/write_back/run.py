"""A run of the write-back: what may have changed, or all of it page by page; what differs is written.

    persons that may have changed ─┐
    rows of a page of the sweep ───┼─▸ Marketo's values ▸ the rows as they are ▸ differences ▸ write ▸ cursor
    rows whose last write failed ──┘

A cursor is stored only after what lies before it is written: a run that is cut off does a part twice, and that is all.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from uuid import uuid4

from ..azure.service_bus import Outgoing
from ..azure.shared_state import State
from ..config.settings import Settings
from ..dataverse.client import DataverseClient, Row
from ..marketo.client import MarketoClient
from ..model.errors import DataverseError, MarketoError, MsiSyncError, UnavailableError
from ..model.record import timestamp
from ..sync import measures
from ..sync.history_log import History, nothing_kept
from ..sync.routing import chunked
from ..sync.sole_run import LeaseLostError, SoleRun
from ..telemetry.redaction import without_values
from ..transport import call_count
from . import results
from .by_hand import ByHand
from .drift import Drift, DriftCount
from .drift import keep as keep_drift
from .due import DueRows
from .persons import Changed, Feed, Persons
from .plan import KIND, Plan, Plans
from .results import Run, RunKind
from .rows import Rows
from .sweep import Cursor, Sweeps, pages
from .writer import SLICE, Writer

log = logging.getLogger(__name__)

#: The circuit of its Marketo calls.
CIRCUIT = "write_back"
#: Rows of a page of the sweep: full calls of Marketo.
PAGE = 1500
CALL = 300
#: Seconds after the end of its time in which what has begun may end: the host ends everything after 290.
GRACE_SECONDS = 60.0


@dataclass(kw_only=True)
class WriteBack:
    """The write-back of one process, the app's or an operator's.

    `send`: to the queue of dead letters. `turn`: around Marketo's calls of a run. `time_budget`: seconds of a run.
    `dry_run`: nothing is written anywhere. `on_progress` hears how a run goes on.
    """

    settings: Settings
    state: State
    plans: Plans
    dataverse: DataverseClient
    marketo: MarketoClient
    send: Callable[[Sequence[Outgoing]], Awaitable[None]]
    turn: Callable[[], AbstractAsyncContextManager[object]]
    now: Callable[[], datetime]
    time_budget: float
    drift: DriftCount | None = None
    dry_run: bool = False
    history: History = field(default_factory=nothing_kept)
    on_progress: Callable[[Run], None] = lambda _: None
    instance_id: str = field(default_factory=lambda: uuid4().hex[:12])
    clock: Callable[[], float] = time.monotonic
    _deadline: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        given, queues, state, now = self.settings.sync, self.settings.queues, self.state, self.now
        self.rows, self.persons = Rows(self.dataverse), Persons(self.marketo)
        self.feed = Feed(self.marketo, state, now=now)
        self.due = DueRows(state, self.send, queues, now=now, max_attempts=given.max_attempts)
        self.by_hand = ByHand(
            self.rows, self.send, queues, tables=self.plans.tables, history=self.history, now=now,
            creates=self.plans.config.lifecycle.deleted_in_marketo == "create",
        )  # fmt: skip
        share = self.settings.marketo.allowed * given.sweep_share
        self.sweeps = Sweeps(state, hour=given.sweep_hour, calls=int(share), now=now)
        self.lease = SoleRun(state, instance_id=self.instance_id, clock=self.clock, kind=KIND)
        self._writer = Writer(
            plans=self.plans, rows=self.rows, due=self.due, dry_run=self.dry_run, on_progress=self.on_progress,
            history=self.history, now=now,
        )  # fmt: skip

    # -- what is asked for --------------------------------------------------------------------------------------

    async def tick(self) -> None:
        """The timer's run: what has changed, then a part of the sweep when it is due. Raises nothing of a vendor."""
        with without_values():
            try:
                async with self.lease.held() as mine:
                    if mine:
                        self._begin()
                        await self.changes()
                        await self.sweep()
                    else:
                        log.info("write_back_waits another instance is running")
            except LeaseLostError as error:
                log.warning("write_back_stopped %s", error)
            except UnavailableError as error:
                log.warning("write_back_waits storage does not answer error=%s", error.cause)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[bool]:
        """For an operator's run, which has all the time that it needs: whether no other run is in progress.

        Raises LeaseLostError when storage was away for so long that another may have begun.
        """
        async with nullcontext(True) if self.dry_run else self.lease.held() as mine:
            self._begin()
            yield mine

    async def changes(self) -> Run:
        """Write what has changed since the last run, and what could not be written then."""
        return await self._run("changes", self._changes)

    async def people(self, ids: Sequence[str], mails: Sequence[str]) -> Run:
        """Write back to these persons, whatever happened to them before."""

        async def work(run: Run, plan: Plan) -> bool:
            for filter_type, values in ((self.persons.key, ids), ("email", mails)):
                for part in chunked(values, SLICE):
                    known = await self.persons.by(filter_type, part, plan, self._last_moment)
                    await self._writer.find_and_write(run, plan, known, self._last_moment, forced=True)
            return True

        return await self._run("persons", work)

    async def sweep(self, *, whole: bool = False) -> Run | None:
        """Go on with the sweep if one is due; `whole`: all of it, from its beginning, whatever the day's share."""
        tables = self.plans.tables
        cursor = await (self.sweeps.whole(tables) if whole else self.sweeps.due(tables))
        if not cursor.under_way or not (whole or self.sweeps.may_call(cursor)):
            return None

        async def work(run: Run, plan: Plan) -> bool:
            return await self._sweep(run, plan, cursor.of_plan(plan.identity), whole=whole)

        return await self._run("sweep", work)

    # -- a run --------------------------------------------------------------------------------------------------

    async def _run(self, kind: RunKind, work: Callable[[Run, Plan], Awaitable[bool]]) -> Run:
        """Do it, and keep what became of it. An error of a vendor ends it: the next run begins where this one was."""
        run = Run(kind, timestamp(self.now()))
        with call_count.counted() as calls:
            try:
                async with self.turn():
                    await self.due.load()
                    run.complete = await self._healed(run, work)
            except UnavailableError:  # what became of the run cannot be kept either
                raise
            except MsiSyncError as error:
                run.error = str(error)
                log.warning("write_back_stopped kind=%s %s", kind, error)
            run.marketo_calls, run.dataverse_requests = calls["marketo"], calls["dataverse"]
        run.finished = timestamp(self.now())
        log.info("write_back %s", " ".join(f"{name}={value}" for name, value in run.as_json().items()))
        if not self.dry_run:
            await results.keep(self.state, run)
            measures.written_back(kind, run.outcomes)
        return run

    async def _healed(self, run: Run, work: Callable[[Run, Plan], Awaitable[bool]]) -> bool:
        """Do it with the plan; once more with a new one when a field or column of it turns out to be gone."""
        try:
            return await work(run, await self.plans.current())
        except (MarketoError, DataverseError) as error:
            gone = error.code == "1006" if isinstance(error, MarketoError) else error.is_unknown_column
            if not gone:
                raise
            log.warning("write_back_plan_forgotten %s", error)
        await self.plans.forget()
        if self.drift:
            self.drift.forget()
        return await work(run, await self.plans.current())

    def _begin(self) -> None:
        self._deadline = self.clock() + self.time_budget

    @property
    def _is_over(self) -> bool:
        return self.clock() >= self._deadline

    @property
    def _last_moment(self) -> float:
        return self._deadline + GRACE_SECONDS

    # -- changes ------------------------------------------------------------------------------------------------

    async def _changes(self, run: Run, plan: Plan) -> bool:
        if not (plan.fields or plan.merges):
            return True
        await self._writer.again(run, plan, self.persons, self._last_moment)
        cursors = await self.feed.cursors()
        while not self._is_over:
            changed, tells = await self.feed.next(
                plan, cursors, SLICE, is_over=lambda: self._is_over, deadline=self._last_moment
            )
            if plan.logged and not tells and not self.dry_run:
                plan = await self.plans.without_changes(plan)
            if not self.dry_run:
                self.by_hand.gone(changed.deleted)
            for part in chunked(sorted(changed.ids), SLICE):
                persons = await self.persons.by("id", part, plan, self._last_moment)
                await self._writer.find_and_write(run, plan, persons, self._last_moment)
                if not self.dry_run:
                    merged = {id_: changed.merged[id_] for id_ in part if id_ in changed.merged}
                    await self.by_hand.merged(merged, persons, self._last_moment)
            cursors = {**cursors, **changed.cursors}
            if not self.dry_run:
                await self._past(changed)
            if not changed.more:
                return True
        return False

    async def _past(self, changed: Changed) -> None:
        """What these pages have named is done."""
        looks_for_rows = self.by_hand.creates and bool(changed.deleted)
        if changed.lost or looks_for_rows:
            await self.sweeps.ask(missing=looks_for_rows)
        await self.feed.store(changed.cursors)

    # -- sweep --------------------------------------------------------------------------------------------------

    async def _sweep(self, run: Run, plan: Plan, cursor: Cursor, *, whole: bool) -> bool:
        """Pages until the time or the day's share is over. Rows that fill no call wait for the next page.

        What is stored is the page of the oldest row that waits: it is where to go on, should the run be cut off.
        """
        waiting: dict[str, Row] = {}
        page_of: dict[str, str] = {}
        charged = 0
        async for page in pages(cursor, partial(self._page, plan, missing=cursor.missing)):
            waiting |= page.rows
            page_of |= {id_: page.of.link for id_ in page.rows if id_ not in page_of}
            full = len(waiting) if page.is_last else len(waiting) // CALL * CALL
            drift = await self._compare(run, plan, page.of, waiting, full)
            calls = call_count.made("marketo")
            cursor = self.sweeps.charged(replace(page.following, **cursor.account), calls - charged)
            charged = calls
            goes_on = whole or (self.sweeps.may_call(cursor) and not self._is_over)
            if not goes_on:
                drift += await self._compare(run, plan, page.of, waiting, len(waiting))
            cursor = cursor.with_drift(page.of, drift)
            page_of = {id_: page_of[id_] for id_ in waiting}
            if not self.dry_run:
                oldest = next(iter(waiting), None)
                await self.sweeps.store(replace(page.of, **cursor.account, link=page_of[oldest]) if oldest else cursor)
            if not goes_on:
                break
        if not cursor.under_way and not self.dry_run:
            await keep_drift(self.state, KIND, cursor.drift, self.now())
        return not cursor.under_way

    async def _compare(self, run: Run, plan: Plan, cursor: Cursor, waiting: dict[str, Row], number: int) -> Drift:
        """Take so many rows, and bring them up to date. Gives how far their persons have drifted."""
        ids, table = list(waiting)[:number], cursor.tables[0]
        if not ids:
            return Drift()
        more = await self.drift.fields(table) if self.drift else ()
        persons = await self.persons.by(self.persons.key, ids, plan, self._last_moment, more)
        rows = {id_: waiting.pop(id_) for id_ in ids}
        await self._writer.write(
            run, plan, persons, {(table, id_): row for id_, row in rows.items()}, self._last_moment
        )
        if cursor.missing and not self.dry_run:
            await self.by_hand.missing(table, [id_ for id_ in ids if id_ not in persons])
        return await self.drift.of(table, rows, persons, self.now()) if self.drift else Drift()

    async def _page(self, plan: Plan, table: str, link: str, *, missing: bool) -> tuple[dict[str, Row], str]:
        """The rows of a page that are synced, and the link of the next one; none of a table without fields, unless rows
        without a person are wanted.
        """
        if not (missing or plan.tables.get(table)):
            return {}, ""
        more = await self.drift.columns(table) if self.drift else ()
        columns = {*self._writer.columns_of(plan, table), *more}
        rows, following = await self.rows.page(table, link, columns, size=PAGE, deadline=self._last_moment)
        wanted = self.plans.filter_of(plan, table)
        return {id_: row for id_, row in rows.items() if not wanted.excludes(row)}, following
