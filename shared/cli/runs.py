"""Long runs, as several commands see them: which one is meant, and what of it needs attention."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta

from ..model.errors import MsiSyncError
from ..sync.runs.model import Run, RunKind, RunState
from ..sync.runs.store import Runs
from .command import option
from .finding import Finding, age, attention, failed
from .remedies import APP_SILENT

#: A running run that the app has not worked on for so long needs attention: its timer works every minute.
SILENT = timedelta(minutes=5)
#: The groups of commands about runs.
INITIAL_SYNC, RECONCILE = "initial-sync", "reconcile"
RUN = option("run", nargs="?", help="a run's id; default: the one that is going on, else the newest")


def group_of(run: Run) -> str:
    """Whose commands are about a run."""
    return RECONCILE if run.kind is RunKind.RECONCILE else INITIAL_SYNC


def _is_of(run: Run, group: str) -> bool:
    return group in (INITIAL_SYNC, group_of(run))


async def run_in(runs: Runs, given: Namespace, group: str = INITIAL_SYNC) -> Run | None:
    """The run that is meant; None: there has never been one. Raises MsiSyncError for an id that no run has."""
    newest_first = await runs.all()
    if given.run:
        found = next((run for run in newest_first if run.id == given.run), None)
        if found is None:
            known = ", ".join(run.id for run in newest_first[:5])
            raise MsiSyncError("NoSuchRun", f"no run has the id {given.run}; the newest: {known or 'there is none'}")
        return found
    newest_first = [run for run in newest_first if _is_of(run, group)]
    going_on = [run for run in newest_first if not run.is_over]
    return next(iter(going_on or newest_first), None)


async def needed(runs: Runs, given: Namespace, group: str = INITIAL_SYNC) -> Run:
    """The same. Raises MsiSyncError where there is none."""
    found = await run_in(runs, given, group)
    if found is None:
        raise MsiSyncError("NoRun", f"there is no run; msisync {group} start begins one")
    return found


async def to_change(runs: Runs, given: Namespace, states: Collection[RunState], group: str = INITIAL_SYNC) -> Run:
    """The run that is meant by a command for runs in these states. Raises MsiSyncError where it could be several."""
    able = [run for run in await runs.all() if not given.run and run.state in states and _is_of(run, group)]
    if len(able) > 1:
        names = ", ".join(f"{run.id} ({run.kind} of {', '.join(run.in_order)})" for run in able)
        raise MsiSyncError("WhichRun", f"say which run is meant: {names}")
    return able[0] if able else await needed(runs, given, group)


def findings_of(run: Run, at: datetime) -> Iterator[Finding]:
    """What of a run needs attention, but for records that have failed. Pure."""
    if run.state is RunState.FAILED:
        yield failed(f"{run.kind} {run.id} has failed: {run.reason}", "fix that, then start again")
    if run.state is RunState.PAUSED:
        yield attention(f"{run.kind} {run.id} is paused", f"msisync {group_of(run)} resume {run.id}")
    if is_silent(run, at):
        silent = at - (run.carried_at or run.started_at)
        yield attention(f"the app has not worked on {run.kind} {run.id} for {age(silent)}", APP_SILENT)


def is_silent(run: Run, at: datetime) -> bool:
    """Whether the app should have worked on a run by now, and has not."""
    return run.state is RunState.RUNNING and at - (run.carried_at or run.started_at) > SILENT


def rows_read(run: Run) -> tuple[int, int | None]:
    """How many rows a run has read, and of how many, where that is known."""
    read = sum(table.rows for table in run.tables.values())
    expected = sum(table.expected or 0 for table in run.tables.values())
    return read, expected if expected >= read else None


def title(run: Run, at: datetime) -> str:
    """A run in one line, for people."""
    took = age((run.ended_at or at) - run.started_at)
    when = f"ended {run.ended_at:%Y-%m-%d %H:%M} UTC after" if run.ended_at else "for"
    return f"{run.kind} {run.id}: {run.state}, started {run.started_at:%Y-%m-%d %H:%M} UTC, {when} {took}"
