"""`status` of the initial sync and of `reconcile`: how far a run is, how fast it goes, and when it should end."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from ...sync.runs import page
from ...sync.runs.model import RunKind, RunState
from ..command import Command, Exit, Result, options
from ..context import Context
from ..finding import age
from ..output import say
from ..runs import INITIAL_SYNC, RUN, group_of, run_in, title
from ..watch import watch, watching
from .facts import RunFacts, TableFacts, facts_of

_MORE = """\
done        rows that the run has nothing left to do with
in Marketo  of these, created, adopted, updated, or there as they were
left out    of these, excluded by the sync filter or by a rule; msisync initial-sync report says why
failed      of these, dead letters
parked      rows that wait for a parent; they do not hold up the other tables

The expected end follows from the rate of the last ten minutes, the remaining rows and the day's calls. Reads storage
only: neither Marketo nor Dynamics is asked. --watch ends with the run.

Exit codes: 0 it goes on, is complete, or there has never been one; 1 it is paused, records have failed or wait in their
queues for minutes, or the app does not work on it; 2 it has failed, there is no such run, or storage does not answer.
Next: msisync initial-sync report"""

_OF_COMPARISONS = """\
done        rows that have been compared, and, with --apply, synced where they differed
equal       of these, equal on both sides, or sent because they were not
left out    of these, excluded by the sync filter or by a rule, or changed in this moment
different   of these, not as the sync would send them; msisync reconcile report names them
failed      of these, dead letters

Reads storage only: neither Marketo nor Dynamics is asked. --watch ends with the run.

Exit codes: 0 it goes on, or both sides are equal; 1 rows differ or have failed, it is paused, or the app does not work
on it; 2 it has failed, or storage does not answer.
Next: msisync reconcile report"""

#: Columns of a bar: it shrinks, so that a table fits into 80 columns.
_LEAST, _MOST = 6, 24
#: A rate below this, in records a second, is shown with a decimal.
SLOW = 10


async def run(context: Context, given: Namespace, _: Console, *, group: str = INITIAL_SYNC) -> Result:
    """Look once, or watch. Raises MsiSyncError when there is no such run, or storage does not answer."""
    if given.watch is not None and given.json:
        given.refuse("--watch is for people; call it again for a new --json")
    found = await run_in(context.runs, given, group)
    if found is None:
        return Result(Exit.OK, {"run": None}, lambda console: say(console, "There has never been a run."))
    if given.watch is None:
        facts = await look(context, found.id)
        return Result(facts.exit, facts.as_json(), lambda console: console.print(frame(facts)))
    last = await watch(given.watch, lambda: look(context, found.id), frame, until=lambda seen: seen.run.is_over)
    return Result(last.exit if last else Exit.OK, last.as_json() if last else {}, lambda _: None)


async def look(context: Context, run_id: str) -> RunFacts:
    """A run, and all that is known of it. Raises StorageUnavailableError."""
    runs, at = context.runs, datetime.now(UTC)
    known = {run.id: run for run in await runs.all()}
    pages = await runs.summaries(run_id)
    found = known.pop(run_id)  # runs are kept for weeks
    facts = facts_of(found, pages, at, context.settings.marketo, await context.budget.refresh())
    return replace(facts, others=[run for run in known.values() if not run.is_over])


def frame(facts: RunFacts) -> RenderableType:
    """Everything, for a console of any width."""
    lines = [escape(line) for line in lines_of(facts)]
    remedies = [f"[{each.severity.colour}]{escape(each.text)}[/]: {escape(each.remedy)}" for each in facts.findings]
    return Group(f"[bold]{escape(title(facts.run, facts.at))}[/]", _table(facts), *lines, *remedies)


def lines_of(facts: RunFacts) -> Iterator[str]:
    """How it goes, for people: what it waits for, its rate and expected end, why rows were left out or failed."""
    yield from _going(facts)
    for table in facts.tables:
        for state, word in ((page.SKIPPED, "left out"), (page.DIFFERS, "different"), (page.FAILED, "failed")):
            if reasons := table.by_reason(state):
                yield f"{table.table}, {word}: {_listed(reasons)}"
        if again := table.states[page.RETRYING]:
            yield f"{table.table}: {again:,} to be tried again"
    for other in facts.others:
        yield f"besides, {other.kind} {other.id} is {other.state}: msisync {group_of(other)} status {other.id}"


def _going(facts: RunFacts) -> Iterator[str]:
    found = facts.run
    if found.state is RunState.CANCELLED:
        yield f"cancelled {found.reason}"
    if found.state is RunState.RUNNING and not found.carried_at:
        yield "the app takes it up within a minute"
    if found.waits_for:
        until = f", until {found.waits_until:%Y-%m-%d %H:%M} UTC" if found.waits_until else ""
        yield f"waits for {found.waits_for}{until}"
    if facts.rate is not None:
        yield f"{facts.rate:,.{0 if facts.rate >= SLOW else 1}f} records a second of late"
    if facts.expected_end:
        yield f"expected to end at {facts.expected_end:%Y-%m-%d %H:%M} UTC, in {age(facts.expected_end - facts.at)}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in sorted(counts.items(), key=lambda each: -each[1]))


def _table(facts: RunFacts) -> Table:
    shown = Table(box=None, pad_edge=False)
    shown.add_column("", no_wrap=True)
    shown.add_column("", min_width=_LEAST, max_width=_MOST)
    compares = facts.run.kind is RunKind.RECONCILE
    names = {"in_marketo": "equal" if compares else "in Marketo", "left_out": "left out"}
    names |= {"different": "different"} if compares else {}
    names |= {"failed": "failed", "parked": "parked"}
    for name in ("done", "of", *names.values()):
        shown.add_column(name, justify="right", no_wrap=True)
    for table in facts.tables:
        shown.add_row(*_cells(table, names))
    return shown


def _cells(table: TableFacts, names: Iterable[str]) -> list[RenderableType]:
    counts = [table.numbers[name] for name in names]
    bar = ProgressBar(total=max(table.total or 0, 1), completed=_filled(table))
    total = "?" if table.total is None else f"{table.total:,}"
    return [table.table, bar, f"{table.done:,}", total, *(f"{count:,}" if count else "-" for count in counts)]


def _filled(table: TableFacts) -> int:
    """A table without rows is done."""
    return 1 if table.complete and not table.total else table.done


def command(group: str) -> Command:
    """The command of a group."""
    arguments = options(RUN, watching("until the run is over"))
    more = _MORE if group == INITIAL_SYNC else _OF_COMPARISONS
    return Command(f"{group} status", "how far a run is", more, partial(run, group=group), arguments)


COMMAND = command(INITIAL_SYNC)
