"""`msisync write-back run`: Sales Insight's fields into leads and contacts now, as the app does it by its schedule."""

from __future__ import annotations

import math
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ..azure.service_bus import Outgoing
from ..model.errors import MsiSyncError
from ..model.ids_and_times import as_guid
from ..sync.schema import Schema
from ..write_back.drift import DriftCount
from ..write_back.plan import Plans
from ..write_back.results import Run
from ..write_back.run import WriteBack
from .command import Command, Exit, Result, option, options
from .context import Context
from .finding import counted
from .progress import steps

#: Of failures, shown to people.
_SHOWN = 10

_MORE = """\
Without an option: what has changed since the last run, as the app does by WRITE_BACK_SCHEDULE. --sweep compares every
lead and contact, --person only these. Only what differs is written; no row is ever created.

--dry-run compares and counts, and writes nothing, here or there.

Exit codes: 0 done; 1 rows were refused, values do not fit, or nobody was found; 2 it could not be done, or another
run is still working.
Next: msisync status; msisync dead-letters summary; msisync doctor for columns that are missing"""


async def run(context: Context, given: Namespace, progress: Console) -> Result:
    """Do one run. Raises MsiSyncError when another run is in progress, or storage does not answer."""
    if given.sweep and given.person:
        given.refuse("--sweep and --person exclude each other")
    if any("," in text for text in given.person):  # Marketo would take it for two
        given.refuse("--person takes ids or e-mail addresses with blanks between them, without commas")
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[counts]}"), TimeElapsedColumn())
    done = steps(progress, "compared" if given.dry_run else "written")
    with Progress(*columns, console=progress, transient=True) as bar:
        task = bar.add_task("Comparing" if given.dry_run else "Writing back", total=None, counts="")

        def on_progress(run: Run) -> None:
            done.count = run.read if given.dry_run else run.written
            bar.update(task, counts=_counts(run))

        work = _write_back(context, given, on_progress)
        async with work.alone() as mine:
            if not mine:
                raise MsiSyncError("WriteBackRuns", "another run is in progress; wait a minute and see msisync status")
            runs = await _runs(work, given)
    data = {"runs": [{**run.as_json(), "failures": run.failures} for run in runs], "dry_run": given.dry_run}
    lacking = any(run.failed or run.unfit or (run.kind == "persons" and not run.read) for run in runs)
    exit_ = Exit.ATTENTION if lacking else Exit.OK
    if any(run.error for run in runs):
        exit_ = Exit.FAILED
    return Result(exit_, data, lambda console: _show(console, runs, dry_run=given.dry_run))


def _write_back(context: Context, given: Namespace, on_progress: Callable[[Run], None]) -> WriteBack:
    def now() -> datetime:
        return datetime.now(UTC)

    config, dataverse, metadata = context.config, context.dataverse, context.metadata
    plans = Plans(config, metadata, context.marketo, context.state, now=now, reads_only=given.dry_run)
    schema = Schema(config, metadata, plans, clock=time.monotonic)

    async def send(messages: Sequence[Outgoing]) -> None:
        if messages:  # Service Bus is opened for a dead letter only
            await context.outgoing.send(messages)

    return WriteBack(
        settings=context.settings,
        state=context.state,
        plans=plans,
        dataverse=dataverse,
        marketo=context.marketo,
        send=send,
        turn=nullcontext,
        now=now,
        time_budget=math.inf,
        drift=DriftCount(dataverse, schema, tables=config.tables),
        dry_run=given.dry_run,
        history=context.history,
        on_progress=on_progress,
    )


async def _runs(work: WriteBack, given: Namespace) -> list[Run]:
    if given.sweep:
        run = await work.sweep(whole=True)
    elif given.person:
        ids = list(filter(None, map(as_guid, given.person)))
        run = await work.people(ids, [text for text in given.person if not as_guid(text)])
    else:
        run = await work.changes()
    return [run] if run else []


def _counts(run: Run) -> str:
    return f"{run.read:,} compared, {run.differing:,} differ, {run.written:,} written"


def _show(console: Console, runs: Sequence[Run], *, dry_run: bool) -> None:
    for run in runs:
        calls = f"{counted(run.marketo_calls, 'Marketo call')}, {counted(run.dataverse_requests, 'Dataverse request')}"
        console.print(f"{run.kind}: {_counts(run)}, {run.failed:,} refused, {run.gone:,} gone; {calls}")
        if run.kind == "persons" and not run.read and not run.error:
            console.print("[yellow]None of them was found with a row in Dynamics[/]; see msisync show person")
        if run.unfit:
            console.print(f"[yellow]{run.unfit:,} values do not fit their column[/]; see msisync doctor")
        for failure in run.failures[:_SHOWN]:
            text = f"{failure['table']} {failure['id']}: {failure['code']} {failure['message']}"
            console.print(f"  [yellow]{escape(text)}[/]")
        if len(run.failures) > _SHOWN:
            console.print(f"  and {len(run.failures) - _SHOWN:,} more; see --json")
        if run.error:
            console.print(f"[red]{escape(run.error)}[/]")
            console.print("  next: run it again, it resumes where it was; if it lasts, msisync doctor")
    if dry_run:
        console.print("Nothing was written. To write it: without --dry-run")
    elif any(run.failed for run in runs):
        console.print("What was refused is tried again, and is a dead letter at last: msisync dead-letters summary")


_ARGUMENTS = options(
    option("--sweep", action="store_true", help="compare every lead and contact that is synced"),
    option("--dry-run", action="store_true", help="compare only"),
    option(
        "--person", nargs="+", default=[], metavar="PERSON", help="these only: ids of leads or contacts, or e-mails"
    ),
)
COMMAND = Command("write-back run", "bring Sales Insight's fields into Dynamics now", _MORE, run, _ARGUMENTS)
