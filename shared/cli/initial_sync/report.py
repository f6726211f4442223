"""`msisync initial-sync report`: every row of a run that is not in Marketo, with its reason."""

from __future__ import annotations

import csv
import io
import json
from argparse import Namespace
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

from ...sync.runs import page
from ...sync.runs.model import Run, RunState
from ...sync.runs.store import NotThere, Runs
from ..command import Command, Exit, Result, option, options
from ..context import Context
from ..dead_letters.archive import writing
from ..output import say
from ..runs import RUN, needed, title

_MORE = """\
Left out are rows that the sync filter or a rule excludes; failed ones are dead letters. Rows that are not done yet have
the state unsent, open, retrying or parked. --json and --csv have all rows; people are shown one of each reason. All
reasons are explained in docs/commands/initial-sync-report.md, and the codes of failures in docs/troubleshooting.md.

A run and its report are kept for 30 days after its end.

Exit codes: 0 every row is in Marketo or left out; 1 some have failed or are not done yet, or the run ended before it
had read all; 2 there is no such run, or storage does not answer.
Example: msisync initial-sync report --csv report.csv
Next: msisync dead-letters replay, after the cause is gone; msisync initial-sync status"""

T = TypeVar("T")

COLUMNS = ("table", "id", "state", "reason", "message")


@dataclass(slots=True)
class Reasons:
    """Why rows of a run are not in Marketo: how many, and one of them, by (table, state, reason)."""

    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str, str], NotThere] = field(default_factory=dict)

    def add(self, each: NotThere) -> None:
        """Count a row."""
        state, _, reason = each.state.partition(":")
        kind = (each.table, state, reason)
        self.counts[kind] += 1
        self.examples.setdefault(kind, each)

    async def counting(self, parts: AsyncIterator[list[NotThere]]) -> AsyncIterator[list[NotThere]]:
        """The same rows, counted on their way."""
        async for part in parts:
            for each in part:
                self.add(each)
            yield part

    def as_json(self) -> dict[str, Any]:
        """How many rows there are, in all and by reason."""
        reasons = [{"table": t, "state": s, "reason": r, "rows": n} for (t, s, r), n in self.counts.most_common()]
        return {"not_in_marketo": self.counts.total(), "reasons": reasons}

    @property
    def is_lacking(self) -> bool:
        """Whether rows have failed, or are not done yet."""
        return any(state != page.SKIPPED for _, state, _ in self.counts)


async def reasons_of(runs: Runs, run_id: str) -> Reasons:
    """The reasons of a run. Reads all of its pages: a request for each thousand of them or fewer."""
    found = Reasons()
    await taken(found.counting(runs.not_in_marketo(run_id)), None, COLUMNS, row_of)
    return found


async def csv_of(
    parts: AsyncIterator[list[T]], columns: Sequence[str], row: Callable[[T], dict[str, str]]
) -> AsyncIterator[str]:
    """A report as the text of a CSV file, part by part. `row`: a line of it."""
    text = io.StringIO(newline="")
    lines = csv.DictWriter(text, columns, lineterminator="\n")
    lines.writeheader()
    async for part in parts:
        lines.writerows(map(row, part))
        yield text.getvalue()
        text.seek(0)
        text.truncate()
    yield text.getvalue()


async def taken(
    parts: AsyncIterator[list[T]], file: Path | None, columns: Sequence[str], row: Callable[[T], dict[str, str]]
) -> None:
    """Read all parts of a report, and write them into a new CSV file, where one is named. Raises ArchiveError."""
    if file is None:
        async for _ in parts:
            pass
        return
    with writing(file) as lines:
        async for text in csv_of(parts, columns, row):
            lines.write(text)


async def json_of(found: Run, parts: AsyncIterator[list[NotThere]]) -> AsyncIterator[str]:
    """The report as the text of a JSON file, part by part: what `--json` gives, with the counts behind the rows."""
    reasons, before = Reasons(), f'{{"run": {json.dumps(found.id)}, "state": {json.dumps(found.state)}, "rows": [\n'
    async for part in reasons.counting(parts):
        yield before + ",\n".join(json.dumps(row_of(each)) for each in part)
        before = ",\n"
    yield f"{before if not reasons.counts else ''}],\n{json.dumps(reasons.as_json())[1:]}\n"


async def run(context: Context, given: Namespace, progress: Console) -> Result:
    """Report. Raises MsiSyncError when there is no run, storage does not answer, or the file cannot be written."""
    runs = context.runs
    found = await needed(runs, given)
    reasons = Reasons()
    rows: list[dict[str, str]] = []
    parts = reasons.counting(runs.not_in_marketo(found.id))
    with progress.status("Reading the run"):
        if given.json and not given.csv:
            rows = [row_of(each) async for part in parts for each in part]
        else:
            await taken(parts, given.csv, COLUMNS, row_of)
    own = {"file": str(given.csv)} if given.csv else {"rows": rows}
    data = {"run": found.id, "state": found.state, **reasons.as_json(), **own}
    exit_ = Exit.ATTENTION if reasons.is_lacking or _is_cut_short(found) else Exit.OK
    return Result(exit_, data, lambda console: _show(console, found, reasons, given.csv))


def _is_cut_short(found: Run) -> bool:
    """Whether the run was cancelled or has failed, so that there may be rows that it knows nothing of."""
    return found.is_over and found.state is not RunState.COMPLETE and not all(t.all_read for t in found.tables.values())


def row_of(each: NotThere) -> dict[str, str]:
    """A row as a line of a file."""
    state, _, reason = each.state.partition(":")
    return {"table": each.table, "id": each.id, "state": state, "reason": reason, "message": each.message}


def _show(console: Console, found: Run, reasons: Reasons, file: Path | None) -> None:
    say(console, title(found, datetime.now(UTC)), "bold")
    if _is_cut_short(found):
        say(console, "It ended before it had read all rows: those that it has not read are not listed.", "yellow")
    if not reasons.counts:
        whole = found.is_over and not _is_cut_short(found)
        say(console, "Every row of the run is in Marketo." if whole else "Every row so far is in Marketo.")
        return
    shown = Table(box=None, pad_edge=False)
    for name in ("table", "state", "reason"):
        shown.add_column(name, no_wrap=True)
    shown.add_column("rows", justify="right", no_wrap=True)
    shown.add_column("for example", no_wrap=True)
    for kind, number in reasons.counts.most_common():
        shown.add_row(*kind, f"{number:,}", reasons.examples[kind].id)
    console.print(shown)
    for (table, _, reason), each in reasons.examples.items():
        if each.message:
            say(console, f"{table}, {reason}: {each.message}")
    if file:
        say(console, f"All {reasons.counts.total():,} rows are in {file}.", "green")
    else:
        say(console, "For all rows: --csv FILE, or --json. For one of them: msisync show person <id>")


_CSV = option("--csv", type=Path, metavar="FILE", help="write all rows to this new file")
COMMAND = Command(
    "initial-sync report", "every row of a run that is not in Marketo, and why", _MORE, run, options(RUN, _CSV)
)
