"""`msisync reconcile`: compares the values of both sides, and with --apply sends what differs."""

from __future__ import annotations

import csv
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import Progress

from ..app.reconciling import reconciliation_of
from ..marketo.client import MAX_FILTER_VALUES
from ..model.entities import TABLES
from ..model.errors import DataverseError, MsiSyncError
from ..model.record import Record
from ..sync.comparison import Difference, Kind, Tally
from ..sync.extra_persons import ExtraPersons
from ..sync.reconciliation import KEYS, Reconciliation
from ..transport import call_count
from .command import Command, Exit, Result, option, options
from .context import Context, not_told, renew
from .entity_words import as_table
from .finding import SHOWN, counted
from .invocation import again
from .output import say
from .progress import Steps, progress_bar, steps
from .resync import forced, send_to

#: What --apply sends: of several persons with one key nobody knows which one is meant.
_SENT = frozenset(Kind) - {Kind.DUPLICATE}
#: Records that are sent together.
_BATCH = 1500
_COLUMNS = ("entity", "table", "id", "kind", "fields", "marketo_ids")

_MORE = """\
Compares, row by row and field by field, what the sync would send with what Marketo has. Without a table, all tables of
sync.toml are compared; opportunity includes which roles are superfluous. Names of fields and ids are reported, never
values. What Marketo stores in another form (numbers, times, trimmed text) counts as equal.

Costs a Marketo call for 298 rows, and few more for rows that differ; it is refused if Marketo's day has not so many
calls left. Nothing is written without --apply. With it, rows that differ are sent as msisync resync does, while the
rest is still compared. Duplicates are only reported: merge them in Marketo. Rows on their way to Marketo at this moment
count as different.

--extra also looks for persons in Marketo whose lead or contact is gone. Marketo cannot list its persons, so they are
asked for by Marketo's ids, 300 a call, from the first to the last person that has been compared. They are only
reported: [lifecycle] of sync.toml acts on deletions when they happen.

--csv writes every difference as a line; --json has the first 1,000 of each kind.

Exit codes: 0 both sides are equal, or what differs was sent; 1 there are differences, or duplicates; 2 it could not be
found out.
Example: msisync reconcile contact --query "modifiedon gt 2025-03-01T00:00:00Z" --csv differences.csv
Next: msisync reconcile --apply, or msisync show person <id>"""

_WORDS = {
    Kind.MISSING: "missing in Marketo",
    Kind.DIFFERING: "with other values in Marketo",
    Kind.LINKED_WRONGLY: "linked to another record than in Dynamics, or to none",
    Kind.PARENT_MISSING: "whose owner, company, opportunity or person is not in Marketo",
    Kind.DUPLICATE: "with several persons in Marketo",
    Kind.EXTRA: "in Marketo alone: persons whose row is gone, or roles that nothing in Dynamics gives",
}


class _Sink(Protocol):
    """Takes each difference as it is found."""

    def __call__(self, found: Difference, /) -> None: ...


async def run(context: Context, given: Namespace, progress: Console) -> Result:
    """Compare, report, and send what is to be sent. Raises MsiSyncError when one of the systems does not answer."""
    tables = _tables(context, given)
    totals = await _totals(context, tables) if not given.query else {}
    rows = sum(totals.values())
    await _check_calls(context, -(-rows // KEYS), f"{rows:,} rows")
    why_not = await renew(context, "rows", "schema") if given.apply else ""
    sender = _Sender(context, steps(progress, "sent")) if given.apply else None
    with (
        call_count.counted() as calls,
        _written(given.csv) as write,
        progress_bar(progress) as bar,
    ):
        work = reconciliation_of(
            context.config, context.dataverse, context.metadata, context.marketo,
            clock=time.monotonic, now=lambda: datetime.now(UTC),
        )  # fmt: skip
        for table in tables:
            task = bar.add_task(table, total=totals.get(table), done=f"rows of {table} compared")
            advance = partial(bar.advance, task)
            async for found in work.of(table, given.query or "", advance):
                write(found)
                if sender:
                    await sender.take(found)
        if sender:
            await sender.flush()
        not_extra = await _look_for_extra(context, work, bar, write) if given.extra else ""
    tally = work.tally
    data = _data(tally, tables, sent=sender.sent.count if sender else 0, applied=given.apply, calls=calls["marketo"])
    data["extra_not_looked_for"] = not_extra
    exit_ = Exit.ATTENTION if not_extra else _exit(tally, applied=given.apply)
    return Result(exit_, data, lambda console: _show(console, tally, data, why_not))


def _tables(context: Context, given: Namespace) -> list[str]:
    """The tables that are meant, parents first."""
    mapped = [name for name in TABLES if name in context.config.tables]
    unknown = sorted(set(given.tables) - set(mapped))
    if unknown:
        given.refuse(f"{', '.join(unknown)}: not a table of sync.toml; one of: {', '.join(mapped)}")
    if given.query is not None and (len(given.tables) != 1 or given.extra):
        given.refuse("--query needs one table, and no --extra")
    return [name for name in mapped if name in given.tables or not given.tables]


async def _look_for_extra(context: Context, work: Reconciliation, bar: Progress, write: _Sink) -> str:
    """Report persons whose row is gone. Gives why they were not looked for: the rest is reported all the same."""
    if not work.persons:
        return "no person was found"
    first, last = work.persons
    number = last - first + 1
    try:
        await _check_calls(context, -(-number // MAX_FILTER_VALUES), f"{number:,} ids")
    except MsiSyncError as error:
        return error.message
    advance = partial(bar.advance, bar.add_task("persons in Marketo", total=number, done="ids looked for in Marketo"))
    async for found in ExtraPersons(context.dataverse, context.marketo).between(first, last, advance):
        work.tally.add(found)
        write(found)
    return ""


async def _totals(context: Context, tables: Sequence[str]) -> dict[str, int]:
    """About how many rows there are; nothing where Dataverse does not say."""
    try:
        return {table: await context.dataverse.count_rows([table]) for table in tables}
    except DataverseError:
        return {}


async def _check_calls(context: Context, needed: int, what: str) -> None:
    """Raises MsiSyncError where Marketo's day has fewer calls left than are needed for this."""
    usage = await context.budget.refresh()
    left = context.settings.marketo.daily_calls - max(usage.used_today, usage.everybody or 0)
    if needed > left:
        raise MsiSyncError(
            "TooFewCalls",
            f"{what} need {needed:,} Marketo calls, and {max(left, 0):,} of the day are left; wait until midnight US "
            "Central, or compare less",
        )


@contextmanager
def _written(path: str | None) -> Iterator[_Sink]:
    """Writes differences to a CSV file as they come; to none where there is no path."""
    if not path:
        yield lambda _: None
        return
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()

        def write(found: Difference) -> None:
            row = asdict(found)
            lists = {name: " ".join(map(str, row[name])) for name in ("fields", "marketo_ids")}
            writer.writerow({**row, **lists})

        yield write


class _Sender:
    """Sends the rows of differences to their entities' queues, each once for all of its differences."""

    def __init__(self, context: Context, sent: Steps) -> None:
        self._context = context
        self._waiting: dict[tuple[str, str, str], Record] = {}
        self.sent = sent

    async def take(self, found: Difference) -> None:
        """Send it, sooner or later."""
        if found.kind in _SENT:
            self._waiting[found.entity, found.table, found.id] = forced(found.table, found.id)
        if len(self._waiting) >= _BATCH:
            await self.flush()

    async def flush(self) -> None:
        """Send what waits; the broker has all of it then."""
        await send_to(self._context, [(entity, record) for (entity, *_), record in self._waiting.items()])
        self.sent.count += len(self._waiting)
        self._waiting.clear()


def _exit(tally: Tally, *, applied: bool) -> Exit:
    """What --apply does not send is left: duplicates, and persons without a row."""
    left = {kind for kind, count in tally.counts.items() if count and not (applied and kind in _SENT)}
    without_row = any(not found.table for found in tally.first.get(Kind.EXTRA, ()))
    return Exit.ATTENTION if left or without_row else Exit.OK


def _data(tally: Tally, tables: Sequence[str], *, sent: int, applied: bool, calls: int) -> dict[str, Any]:
    return {
        "tables": tables,
        "compared": tally.compared,
        "left_alone": tally.left_alone,
        "changing": tally.changing,
        "counts": {kind.value: tally.counts[kind] for kind in Kind},
        "fields": [
            {"table": table, "field": name, "count": count} for (table, name), count in tally.fields.most_common()
        ],
        "differences": {kind.value: [asdict(found) for found in tally.first.get(kind, ())] for kind in Kind},
        "applied": applied,
        "sent": sent,
        "marketo_calls": calls,
    }


def _show(console: Console, tally: Tally, data: Mapping[str, Any], why_not: str) -> None:
    calls = counted(data["marketo_calls"], "Marketo call")
    say(console, f"{counted(tally.compared, 'row')} of {', '.join(data['tables'])} compared; {calls}")
    if tally.left_alone:
        say(console, f"{tally.left_alone:>9,} left alone: the sync does not send them either")
    if tally.changing:
        say(console, f"{tally.changing:>9,} were changed meanwhile: not judged")
    for kind, words in _WORDS.items():
        _show_kind(console, words, tally.counts[kind], tally.first.get(kind, ()))
    if tally.fields:
        most = ", ".join(f"{table}.{name} {count:,}" for (table, name), count in tally.fields.most_common(SHOWN))
        say(console, f"By field: {most}")
    if data["extra_not_looked_for"]:
        say(console, f"Not looked for persons whose row is gone: {data['extra_not_looked_for']}", "yellow")
    _show_next(console, tally, data)
    if why_not:
        say(console, not_told(why_not), "yellow")


def _show_kind(console: Console, words: str, count: int, first: Sequence[Difference]) -> None:
    if count:
        say(console, f"{count:>9,} {words}", "yellow")
    for found in first[:SHOWN]:
        about = ", ".join([*found.fields, *(f"Marketo id {number}" for number in found.marketo_ids)])
        say(console, f"            {found.table or found.entity} {found.id}{': ' if about else ''}{about}")
    if count > SHOWN:
        say(console, f"            and {count - SHOWN:,} more; see --csv")


def _show_next(console: Console, tally: Tally, data: Mapping[str, Any]) -> None:
    if not tally.counts.total():
        say(console, "Both sides are equal.", "green")
    elif data["applied"]:
        say(console, f"{counted(data['sent'], 'record')} sent. To see them go: msisync status --watch")
    else:
        say(console, f"Nothing was sent. To send what differs: {again('--apply')}")
    if tally.counts[Kind.DUPLICATE]:
        say(console, "Duplicates: merge them in Marketo, then reconcile again", "yellow")


COMMAND = Command(
    "reconcile",
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
        option("--csv", metavar="FILE", help="write every difference to this file, a line each"),
        option("--extra", action="store_true", help="also look for persons in Marketo whose row is gone"),
        option("--apply", action="store_true", help="send what differs or is missing"),
    ),
)
