"""What a run does with persons and rows: compare them, write what differs, and keep what could not be written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ..dataverse.client import Row
from ..sync.history import Event, Line, What
from ..sync.history_log import History
from ..sync.routing import chunked
from .due import DueRows
from .persons import Persons, Values
from .plan import Plan, Plans
from .results import Run
from .rows import Key, Rows, Update, Written
from .values import differences

log = logging.getLogger(__name__)

#: Persons in memory at a time: full calls of Marketo.
SLICE = 1500


@dataclass(slots=True, kw_only=True)
class Writer:
    """Brings rows up to date with their persons, and counts what it does in the run. `dry_run`: writes nothing."""

    plans: Plans
    rows: Rows
    due: DueRows
    dry_run: bool
    on_progress: Callable[[Run], None]
    history: History
    now: Callable[[], datetime]

    def columns(self, plan: Plan) -> dict[str, frozenset[str]]:
        """What is read of each table: the columns to compare, and those that decide whether a row is synced."""
        return {table: self.columns_of(plan, table) for table, targets in plan.tables.items() if targets}

    def columns_of(self, plan: Plan, table: str) -> frozenset[str]:
        """The same of one table."""
        return plan.columns(table) | self.plans.filter_of(plan, table).columns

    async def find_and_write(
        self, run: Run, plan: Plan, persons: Mapping[str, Values], deadline: float, *, forced: bool = False
    ) -> None:
        """Read the persons' rows, and write what differs. `forced`: also what was refused and has to wait."""
        if not (persons and plan.fields):
            return
        rows = await self.rows.find(persons, self.columns(plan), deadline)
        gone = persons.keys() - {id_ for _, id_ in rows}
        run.gone += len(gone)
        await self._forget((table, id_) for table in plan.tables for id_ in gone)
        await self.write(run, plan, persons, rows, deadline, forced=forced)

    async def again(self, run: Run, plan: Plan, persons: Persons, deadline: float) -> None:
        """The same for rows whose last write failed, and whose time has come."""
        for part in chunked(self.due.ready(), SLICE):
            known = await persons.by(persons.key, [due.id for due in part], plan, deadline)
            # Where the person is gone, so is what was to be written.
            await self._forget(due.key for due in part if due.id not in known)
            await self.find_and_write(run, plan, known, deadline)

    async def write(
        self,
        run: Run,
        plan: Plan,
        persons: Mapping[str, Values],
        rows: Mapping[Key, Row],
        deadline: float,
        *,
        forced: bool = False,
    ) -> None:
        """Write what differs between these persons and their rows. Raises DataverseError when none can be written."""
        updates: list[Update] = []
        for (table, id_), row in rows.items():
            if id_ not in persons:
                continue
            if self.plans.filter_of(plan, table).excludes(row):
                await self._forget([(table, id_)])
                continue
            run.read += 1
            values, unfit = differences(plan.tables[table], persons[id_], row)
            if unfit:
                run.unfit += len(unfit)
                log.warning("does_not_fit table=%s id=%s columns=%s", table, id_, ", ".join(unfit))
            update = Update(table, id_, values)
            if update.values:
                run.differing += 1
                updates.append(update)
            else:
                await self._forget([update.key])
        if not self.dry_run:
            wanted = [update for update in updates if forced or not self.due.holds(update)]
            await self._send(run, wanted, deadline)
        self.on_progress(run)

    async def _send(self, run: Run, updates: Sequence[Update], deadline: float) -> None:
        if not updates:
            return
        written = await self.rows.write(updates, deadline)
        run.written += len(written.done)
        run.gone += len(written.gone)
        for update, error in written.refused:
            run.refuse(update.table, update.id, error.code, error.message)
        await self.due.failed(written.refused)
        await self._forget(update.key for update in (*written.done, *written.gone))
        self.history.add(self._lines(written))
        if written.error:
            raise written.error

    def _lines(self, written: Written) -> Iterator[Line]:
        """What the history says of it: names of columns, no values."""
        now = self.now()
        for update in written.done:
            yield [Event(now, *update.key, What.WRITTEN_BACK, {"columns": sorted(update.values)})]
        for update, error in written.refused:
            facts = {"code": error.code, "columns": sorted(update.values)}
            event = Event(now, *update.key, What.NOT_WRITTEN_BACK, facts, request_id=error.request_id)
            dead = replace(event, what=What.DEAD_LETTERED, facts={"code": error.code, "system": error.system})
            yield [event, dead] if self.due.is_dead(update.key) else [event]

    async def _forget(self, keys: Iterable[Key]) -> None:
        """These rows are as they should be, gone, or not to be written: no more tries."""
        for key in keys if not self.dry_run else ():
            await self.due.done(key)
