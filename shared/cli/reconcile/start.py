"""`msisync reconcile start`: has the app compare the values of both sides, and with --apply send what differs."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial

from rich.console import Console

from ...model.entities import TABLES
from ...sync.reconciliation import KEYS
from ...sync.runs.model import Run, RunKind, RunState, Scope
from ..command import Command, Exit, Result, option, options
from ..context import Context, not_told
from ..entity_words import as_table
from ..filtered_rows import pages
from ..finding import counted
from ..initial_sync.facts import RunFacts
from ..initial_sync.start import counted_rows, create
from ..initial_sync.status import frame, look
from ..output import say
from ..runs import is_silent
from ..watch import WATCH_SECONDS, watch
from .report import CSV, result_of

_MORE = """\
Compares, row by row and field by field, what the sync would send with what Marketo has. Without a table, all tables of
sync.toml are compared; opportunity includes which roles are superfluous. Names of fields and ids are reported, never
values. What Marketo stores in another form (numbers, times, trimmed text) counts as equal.

The app does it as a run, so it goes on when this machine is off. The command waits for its end and reports; Ctrl-C ends
only the waiting, --no-wait leaves it out. msisync reconcile with tables and options, without the word start, is the
same.

Costs a Marketo call for 298 rows, and few more for rows that differ; at RUN_DAILY_SHARE of Marketo's day it waits for
midnight. Nothing is written to Marketo without --apply. With it, rows that differ are sent as msisync resync does, in
full calls, while the rest is still compared. Duplicates are only reported: merge them in Marketo. Rows on their way to
Marketo at this moment count as different.

--extra also looks for persons in Marketo whose lead or contact is gone. Marketo cannot list its persons, so they are
asked for by Marketo's ids, 300 a call, from the first to the last person that has been compared. They are only
reported: [lifecycle] of sync.toml acts on deletions when they happen.

--csv writes every difference as a line; --json has the first 1,000 of each kind.

Exit codes: 0 both sides are equal, or what differed was sent, or --no-wait has started it; 1 there are differences, or
duplicates, or the run is not over; 2 it has failed, or could not be started.
Example: msisync reconcile start contact --query "modifiedon gt 2025-03-01T00:00:00Z" --csv differences.csv
Next: msisync reconcile start --apply, or msisync show person <id>
Undo: msisync reconcile cancel"""


async def run(context: Context, given: Namespace, progress: Console) -> Result:
    """Start, wait, and report. Raises MsiSyncError, RunRefusedError among them, when it cannot be started."""
    tables = _tables(context, given)
    if given.csv and (given.no_wait or given.csv.exists()):  # not at the end of an hour
        given.refuse("--csv needs the end, so no --no-wait" if given.no_wait else f"{given.csv} exists already")
    scope = Scope(tuple(tables), given.query or "", sends=given.apply, extra=given.extra)
    expected = await _expected(context, tables, given.query)
    new, why_not = await create(context, RunKind.RECONCILE, scope, expected)
    calls = -(-sum(expected.values()) // KEYS)
    said = [f"{new.kind} {new.id} is started: the app takes it up within a minute, and needs nobody."]
    said += [f"About {counted(calls, 'Marketo call')}"] if calls else []
    said += [not_told(why_not)] if why_not else []
    if given.no_wait:
        data = {"started": new.id, "announced": not why_not, "marketo_calls": calls or None}
        to_see = "To see it: msisync reconcile status --watch"
        return Result(Exit.OK, data, lambda console: say(console, "\n".join((*said, to_see))))
    for line in said:
        say(progress, line)
    await watch(WATCH_SECONDS, partial(look, context, new.id), frame, until=_has_ended(given), quiet=given.json)
    return await result_of(context, await _stored(context, new), given.csv)


def _has_ended(given: Namespace) -> Callable[[RunFacts], bool]:
    """When the waiting ends. A program that reads JSON would wait for ever where nobody resumes the run."""

    def has_ended(seen: RunFacts) -> bool:
        stands = seen.run.state is not RunState.RUNNING or is_silent(seen.run, seen.at)
        return seen.run.is_over or (given.json and stands)

    return has_ended


async def _expected(context: Context, tables: Sequence[str], query: str | None) -> dict[str, int]:
    """How many rows there are, where that can be said. Raises MsiSyncError where Dynamics does not understand `query`.

    It is asked for a page: its refusal would otherwise be seen when the app has taken the run up, a minute later.
    """
    if not query:
        return await counted_rows(context, tables)
    await anext(pages(context, tables[0], (), query), None)
    return {}


async def _stored(context: Context, run: Run) -> Run:
    return await context.runs.read(run.id) or run


def _tables(context: Context, given: Namespace) -> Sequence[str]:
    """The tables that are meant, parents first."""
    mapped = [name for name in TABLES if name in context.config.tables]
    unknown = sorted(set(given.tables) - set(mapped))
    if unknown:
        given.refuse(f"{', '.join(unknown)}: not a table of sync.toml; one of: {', '.join(mapped)}")
    if given.query is not None and (len(given.tables) != 1 or given.extra):
        given.refuse("--query needs one table, and no --extra")
    return [name for name in mapped if name in given.tables or not given.tables]


COMMAND = Command(
    "reconcile start",
    "compare the values of both sides, and send what differs",
    _MORE,
    run,
    options(
        option(
            "tables",
            nargs="*",
            type=as_table,
            metavar="table",
            help="tables of sync.toml, such as contact; default: all",
        ),
        option("--query", metavar="FILTER", help='rows that an OData filter lets through: "statecode eq 0"'),
        CSV,
        option("--extra", action="store_true", help="also look for persons in Marketo whose row is gone"),
        option("--no-wait", action="store_true", help="do not wait for the end"),
        option("--apply", action="store_true", help="send what differs or is missing"),
    ),
)
