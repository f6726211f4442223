"""Carries runs on: a timer's tick reads ids, feeds the queues, looks at what came of it, and ends what is done.

    ids of rows ▸ pages, stored with the place in the run ▸ one call's worth in each queue ▸ outcomes in pages

A comparison stores what it has found instead (comparing.py), and sends of it what it is to send, in full calls.

One instance at a time does it (sole_run.py). It may be killed anywhere: the next tick goes on with what is stored. At
worst a page was sent and that was not stored yet: it is sent twice, which does no harm.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from ...azure.service_bus import Outgoing
from ...config.settings import QueueSettings
from ...dataverse.client import DataverseClient
from ...marketo.day import day_of
from ...marketo.usage import Usage
from ...model.errors import DataverseError, MsiSyncError, StorageUnavailableError, UnavailableError
from ...model.record import MAX_RECORDS, Record, encode
from ...telemetry import spans
from ..routing import chunked
from ..sole_run import LeaseLostError, SoleRun
from . import comparing, feeding, reading
from .events import Event, Tell, of_state
from .model import Run, RunKind, RunState
from .page import PAGE, PARKED, UNFINISHED, UNSENT, Page, pages_of
from .store import Runs, Summary
from .synced_fields import SyncedFields

log = logging.getLogger(__name__)

#: Seconds of a tick: the next one begins after a minute. Seconds between two looks at the pages.
TICK_SECONDS, LOOK_SECONDS = 50.0, 0.5
#: How long a run that is over is kept, with the list of what it has not brought into Marketo.
KEPT = timedelta(days=30)

Totals = dict[str, Counter[str]]


@dataclass(kw_only=True)
class Carrier:
    """The carrier of one process.

    `usage`: of Marketo's day; `calls`: how many of it runs may make. `calls_per_second`: Marketo's rate, of this app.
    `tables`: those of sync.toml. `compare` compares the next rows of a table (comparing.py). `synced_fields` takes note
    of what has reached all rows. `parent_wait`: how long a record may wait for its parent. `tell` hears of events
    (events.py).
    """

    runs: Runs
    dataverse: DataverseClient
    send: Callable[[Sequence[Outgoing]], Awaitable[None]]
    queues: QueueSettings
    usage: Callable[[], Awaitable[Usage]]
    calls: float
    calls_per_second: float
    tables: Collection[str]
    compare: Callable[[Run, str], Awaitable[tuple[Run, list[Page]]]]
    synced_fields: SyncedFields
    parent_wait: timedelta
    sole: SoleRun
    tell: Tell
    now: Callable[[], datetime]
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _next: dict[str, float] = field(default_factory=dict, init=False)  # when a table may have its next page

    async def tick(self) -> None:
        """Carry on all runs for most of a minute. Raises BrokerUnavailableError, nothing else of a neighbour."""
        with spans.invocation("carry_on_runs"):
            try:
                if not any(self._has_work(run) for run in await self.runs.all()):
                    return
                async with self.sole.held() as mine:
                    if mine:
                        await self._carry_on()
                    else:
                        log.info("runs_wait another instance is running")
            except LeaseLostError as error:
                log.warning("runs_stopped %s", error)
            except StorageUnavailableError as error:
                log.warning("runs_wait storage does not answer error=%s", error.cause)

    async def _carry_on(self) -> None:
        deadline, first = self.clock() + TICK_SECONDS, True
        while True:
            runs = await self.runs.all()
            going = [await self._step(run, first=first) for run in runs if self._has_work(run)]
            if not any(going) or self.clock() + LOOK_SECONDS >= deadline:
                return
            first = False
            await self.sleep(LOOK_SECONDS)

    def _has_work(self, run: Run) -> bool:
        return run.state is RunState.RUNNING or run.told is not run.state or self._is_old(run)

    def _is_old(self, run: Run) -> bool:
        return run.ended_at is not None and self.now() - run.ended_at >= KEPT

    async def _step(self, run: Run, *, first: bool) -> bool:
        """Do what can be done for a run now. Gives whether there may be more to do in a second."""
        if run.told is not run.state:
            run = await self._announce(run)
        if self._is_old(run):
            await self.runs.remove(run)
        if run.state is not RunState.RUNNING:
            return False
        if unmapped := [name for name in run.in_order if name not in self.tables]:
            await self._end(run, RunState.FAILED, f"sync.toml maps {', '.join(unmapped)} no longer")
            return False
        busy = await self.runs.busy(run.id)
        if first or self._is_sent(run, busy):
            run = await self._look_back(run)
        return not run.is_over and await self._try_to_feed(run, busy)

    async def _try_to_feed(self, run: Run, busy: list[Summary]) -> bool:
        try:
            return await self._feed(run, busy)
        except UnavailableError:  # that of Azure: the whole tick waits
            raise
        except DataverseError as error:
            if error.kind in reading.FOR_GOOD:
                await self._end(run, RunState.FAILED, f"Dynamics refuses to list the rows: {error}")
            else:
                await self._waits(run, f"Dynamics: {error}")
        except MsiSyncError as error:
            await self._waits(run, str(error))
        return False

    @staticmethod
    def _is_sent(run: Run, busy: Sequence[Summary]) -> bool:
        return not busy and all(table.all_read for table in run.tables.values())

    # -- sending ------------------------------------------------------------------------------------------------

    async def _feed(self, run: Run, busy: list[Summary]) -> bool:
        """Send what there is room for, as long as the day's calls last. Gives whether to look again in a second."""
        if waits := await self._quota():
            await self._waits(run, *waits)
            return False
        for page in busy:
            if feeding.lost(page, self.now(), self.parent_wait):
                log.warning("run_page_again run=%s table=%s page=%d", run.id, page.table, page.number)
                await self._send(run, page.table, page.number)
        tables = feeding.having_their_turn(run, busy)
        for table in tables:
            run, sent = await self._fill(run, table, busy)
            busy = [*busy, *sent]
        await self._waits(run, "")
        return bool(tables)

    async def _fill(self, run: Run, table: str, busy: Sequence[Summary]) -> tuple[Run, list[Summary]]:
        """Send pages of a table until its queue has enough. Gives what was sent."""
        left, sent = feeding.room(table, busy), list[Summary]()
        unsent = [each for each in busy if each.table == table and each.counts[UNSENT]]
        if self.clock() < self._next.get(table, 0.0):
            return run, sent
        if feeding.must_read(run, table, unsent):
            if left < PAGE:
                return run, sent
            run, new = await self._read(run, table)
            unsent += [each for each in new if each.counts[UNSENT]]
            if run.kind is RunKind.RECONCILE:
                self._next[table] = self.clock() + feeding.seconds_of(comparing.CALLS, self.calls_per_second)
            if feeding.must_read(run, table, unsent):
                return run, sent
        for page in unsent:
            if page.counts[UNSENT] > left:
                break
            await self._send(run, table, page.number)
            self._next[table] = self.clock() + feeding.pause(table, self.calls_per_second)
            left -= page.counts[UNSENT]
            sent.append(replace(page, counts=Counter(open=page.counts[UNSENT])))
        return run, sent

    async def _read(self, run: Run, table: str) -> tuple[Run, list[Summary]]:
        """Read the next rows of a table, and store them as pages. Nothing where the run was changed meanwhile."""
        progress = run.tables[table]
        if not (progress.pages or progress.since or progress.link):
            await self.synced_fields.began(run, table)
        if run.kind is RunKind.RECONCILE:
            changed, pages = await self.compare(run, table)
        else:
            block = await reading.read(self.dataverse, run.scope, table, progress)
            pages = pages_of(run.id, table, progress.pages, block.ids)
            changed = run.table(
                table,
                since=block.since,
                link=block.link,
                pages=progress.pages + len(pages),
                rows=progress.rows + sum(len(page.states) for page in pages),
                all_read=not block.link,
            )
        written = await self.runs.replace(run, replace(changed, carried_at=self.now()), pages)
        if written is None:
            return run, []
        return written, [Summary(table, page.number, page.counts) for page in pages]

    async def _send(self, run: Run, table: str, number: int) -> None:
        """Send what a page still waits for, and note that it was sent."""
        page = await self.runs.page(run.id, table, number)
        if page is None:
            return
        ids = page.ids(UNSENT) or [id_ for id_, state in page.states.items() if state in UNFINISHED]
        now, by_entity = self.now(), dict[str, list[Record]]()
        for id_ in ids:
            record = Record(
                table, id_, now, run=page.mark, fields=run.scope.fields, forced=run.kind is RunKind.RECONCILE
            )
            by_entity.setdefault(page.entity_of(id_), []).append(record)
        await self.send(
            [
                Outgoing(self.queues.of(entity), encode(entity, part), session=entity)
                for entity, records in by_entity.items()
                for part in chunked(records, MAX_RECORDS)
            ]
        )
        await self.runs.change_page(run.id, table, number, lambda found: found.sent(now))

    async def _quota(self) -> tuple[str, datetime] | None:
        """Why no more calls may be made for runs today, and until when."""
        usage, now = await self.usage(), self.now()
        if usage.closed and usage.closed.opens > now:
            return usage.closed.reason, usage.closed.opens
        if usage.used_by_runs >= self.calls:
            return f"runs have used their share of Marketo's day, {self.calls:,.0f} calls", day_of(now).end
        return None

    async def _waits(self, run: Run, why: str, until: datetime | None = None) -> Run:
        if (run.waits_for, run.waits_until) == (why, until):
            return run
        log.info("run_waits run=%s until=%s reason=%s", run.id, until, why or "no longer")
        return await self.runs.change(run.id, lambda found: replace(found, waits_for=why, waits_until=until))

    # -- progress and end ---------------------------------------------------------------------------------------

    async def _look_back(self, run: Run) -> Run:
        """Report how far the run is, and end it when nothing is left to do."""
        pages = await self.runs.summaries(run.id)
        totals: Totals = {name: Counter() for name in run.in_order}
        for page in pages:
            totals[page.table].update(page.counts)
        done = [name for name in run.in_order if run.tables[name].all_read and not _left(totals[name])]
        new = [name for name in done if not run.tables[name].complete]
        for name in new:
            await self.tell(Event.TABLE_COMPLETE, run, {name: totals[name]})
            await self.synced_fields.completed(run, name)
        run = await self.runs.change(run.id, lambda found: self._carried(found, new))
        if len(done) == len(run.tables):
            return await self._end(run, RunState.COMPLETE, totals=totals)
        await self.tell(Event.IN_PROGRESS, run, totals)
        for page in pages:
            if page.counts[PARKED] and feeding.lost(page, self.now(), self.parent_wait):
                await self._send(run, page.table, page.number)
        return run

    def _carried(self, run: Run, complete: Sequence[str]) -> Run:
        for name in complete:
            run = run.table(name, complete=True)
        return replace(run, carried_at=self.now())

    async def _end(self, run: Run, state: RunState, reason: str = "", *, totals: Totals | None = None) -> Run:
        """End the run, unless somebody has done so in this moment."""
        ended = await self.runs.change(
            run.id, lambda found: found if found.is_over else found.to(state, self.now(), reason)
        )
        return await self._announce(ended, totals)

    async def _announce(self, run: Run, totals: Totals | None = None) -> Run:
        """Tell of the run's state, then note that it was told: after a kill in between it is told twice."""
        state = run.state
        await self.tell(of_state(run), run, totals if totals is not None else await self.runs.totals(run.id))
        return await self.runs.change(run.id, lambda found: replace(found, told=state))


def _left(counts: Counter[str]) -> int:
    return sum(counts[state] for state in UNFINISHED)
