"""`msisync reconcile report`: which rows differ, in what, and what has become of them."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from ...sync.comparison import CHANGING, Difference, Kind
from ...sync.runs.model import Run, RunState
from ...sync.runs.page import DIFFERS, FAILED, IN_MARKETO, SKIPPED, UNSENT
from ...sync.runs.store import Found
from ..command import Command, Exit, Result, option, options
from ..context import Context
from ..finding import SHOWN, counted
from ..initial_sync.report import taken
from ..invocation import command_line
from ..output import say
from ..runs import RECONCILE, RUN, needed, title

_MORE = """\
What a run of msisync reconcile has found so far: rows that are missing in Marketo, have other values there, are linked
wrongly or are there twice. Names of fields and ids are reported, never values. With --apply of the run, the state says
what has become of a row since: in Marketo, failed, or on its way.

--csv writes every difference as a line; --json has the first 1,000 of each kind. A run and its report are kept for 30
days after its end.

Exit codes: 0 both sides are equal, or what differed was sent; 1 there are differences, or duplicates, or the run is not
over; 2 there is no such run, it has failed, or storage does not answer.
Example: msisync reconcile report --csv differences.csv
Next: msisync reconcile start --apply, or msisync show person <id>"""

#: Differences of each kind that are kept to be shown; the others are counted.
KEPT = 1000
COLUMNS = ("entity", "table", "id", "kind", "fields", "marketo_ids", "state", "message")
_WORDS = {
    Kind.MISSING: "missing in Marketo",
    Kind.DIFFERING: "with other values in Marketo",
    Kind.LINKED_WRONGLY: "linked to another record than in Dynamics, or to none",
    Kind.PARENT_MISSING: "whose owner, company, opportunity or person is not in Marketo",
    Kind.DUPLICATE: "with several persons in Marketo",
    Kind.EXTRA: "in Marketo alone: persons whose row is gone, or roles that nothing in Dynamics gives",
}


@dataclass(slots=True)
class Tally:
    """How many differences of each kind there are, which fields they are about, and the first of each kind.

    `sent`: rows that were sent. `left`: differences that are left. `skipped`: rows that were sent, and that the sync
    has left out then.
    """

    counts: Counter[Kind] = field(default_factory=Counter)
    fields: Counter[tuple[str, str]] = field(default_factory=Counter)
    first: dict[Kind, list[Difference]] = field(default_factory=dict)
    sent: int = 0
    left: int = 0
    skipped: int = 0
    extra_persons: int = 0

    def add(self, found: Sequence[Found]) -> None:
        """Count those of a page."""
        for each in found:
            difference = each.difference
            self.counts[difference.kind] += 1
            self.fields.update((difference.table, name) for name in difference.fields)
            self.extra_persons += not difference.table
            self.left += not each.state.startswith((SKIPPED, *IN_MARKETO))
            kept = self.first.setdefault(difference.kind, [])
            if len(kept) < KEPT:
                kept.append(difference)
        states = {each.difference.id: each.state for each in found}
        self.sent += sum(not state.startswith((DIFFERS, UNSENT)) for state in states.values())
        self.skipped += sum(state.startswith(SKIPPED) for state in states.values())

    async def counting(self, parts: AsyncIterator[list[Found]]) -> AsyncIterator[list[Found]]:
        """The same differences, counted on their way."""
        async for part in parts:
            self.add(part)
            yield part


def row_of(found: Found) -> dict[str, str]:
    """A difference as a line of a file."""
    difference = found.difference
    return {
        "entity": difference.entity,
        "table": difference.table,
        "id": difference.id,
        "kind": difference.kind,
        "fields": " ".join(difference.fields),
        "marketo_ids": " ".join(map(str, difference.marketo_ids)),
        "state": found.state,
        "message": found.message,
    }


async def run(context: Context, given: Namespace, progress: Console) -> Result:
    """Report. Raises MsiSyncError when there is no run, storage does not answer, or the file cannot be written."""
    with progress.status("Reading the run"):
        return await result_of(context, await needed(context.runs, given, RECONCILE), given.csv)


async def result_of(context: Context, run: Run, file: Path | None) -> Result:
    """What a run has found. Raises as `run` does."""
    runs = context.runs
    tally = Tally()
    await taken(tally.counting(runs.differences(run.id)), file, COLUMNS, row_of)
    totals = sum((await runs.totals(run.id)).values(), Counter[str]())
    data = _data(run, tally, totals, file)
    return Result(_exit(run, tally, totals), data, lambda console: _show(console, run, tally, data))


def _exit(run: Run, tally: Tally, totals: Mapping[str, int]) -> Exit:
    if run.state is RunState.FAILED:
        return Exit.FAILED
    failed = any(state.startswith(FAILED) for state in totals)
    return Exit.ATTENTION if tally.left or failed or run.state is not RunState.COMPLETE else Exit.OK


def _data(run: Run, tally: Tally, totals: Counter[str], file: Path | None) -> dict[str, Any]:
    changing = totals[f"{SKIPPED}:{CHANGING}"]
    left_alone = sum(n for state, n in totals.items() if state.startswith(SKIPPED)) - changing - tally.skipped
    return {
        "run": run.id,
        "state": run.state,
        "reason": run.reason or None,
        "tables": run.in_order,
        "compared": totals.total() - left_alone - tally.extra_persons,
        "left_alone": left_alone,
        "changing": changing,
        "counts": {kind.value: tally.counts[kind] for kind in Kind},
        "fields": [
            {"table": table, "field": name, "count": count} for (table, name), count in tally.fields.most_common()
        ],
        "differences": {kind.value: [asdict(found) for found in tally.first.get(kind, ())] for kind in Kind},
        "applied": run.scope.sends,
        "sent": tally.sent,
        "marketo_calls": run.calls,
        **({"file": str(file)} if file else {}),
    }


def _show(console: Console, run: Run, tally: Tally, data: Mapping[str, Any]) -> None:
    say(console, title(run, datetime.now(UTC)), "bold")
    calls = counted(data["marketo_calls"], "Marketo call")
    say(console, f"{counted(data['compared'], 'row')} of {', '.join(data['tables'])} compared; {calls}")
    if data["left_alone"]:
        say(console, f"{data['left_alone']:>9,} left alone: the sync does not send them either")
    if data["changing"]:
        say(console, f"{data['changing']:>9,} were changed meanwhile: not judged")
    for kind, words in _WORDS.items():
        _show_kind(console, words, tally.counts[kind], tally.first.get(kind, ()))
    if tally.fields:
        most = ", ".join(f"{table}.{name} {count:,}" for (table, name), count in tally.fields.most_common(SHOWN))
        say(console, f"By field: {most}")
    _show_next(console, run, tally, data)


def _show_kind(console: Console, words: str, count: int, first: Sequence[Difference]) -> None:
    if count:
        say(console, f"{count:>9,} {words}", "yellow")
    for found in first[:SHOWN]:
        about = ", ".join([*found.fields, *(f"Marketo id {number}" for number in found.marketo_ids)])
        say(console, f"            {found.table or found.entity} {found.id}{': ' if about else ''}{about}")
    if count > SHOWN:
        say(console, f"            and {count - SHOWN:,} more; see --csv")


def _show_next(console: Console, run: Run, tally: Tally, data: Mapping[str, Any]) -> None:
    if run.reason:
        say(console, f"{run.state}: {run.reason}", "yellow")
    if not run.is_over:
        say(console, "It goes on in the app. To see it: " + command_line(RECONCILE, "status", run.id, "--watch"))
    elif data["applied"] and tally.sent:
        say(console, f"{counted(tally.sent, 'record')} sent. What is left: {counted(tally.left, 'difference')}")
    elif tally.counts.total():
        say(console, "Nothing was sent. To send what differs: " + _again(run))
    elif run.state is RunState.COMPLETE:
        say(console, "Both sides are equal.", "green")
    if tally.counts[Kind.DUPLICATE]:
        say(console, "Duplicates: merge them in Marketo, then reconcile again", "yellow")
    if "file" in data:
        say(console, f"All {counted(tally.counts.total(), 'difference')} in {data['file']}.", "green")


def _again(run: Run) -> str:
    """The command that compares the same rows once more, and sends what differs."""
    query = ("--query", run.scope.filter) if run.scope.filter else ()
    return command_line(RECONCILE, "start", *run.in_order, *query, "--apply")


CSV = option("--csv", type=Path, metavar="FILE", help="write every difference to this new file, a line each")
COMMAND = Command(
    f"{RECONCILE} report", "which rows differ, in what, and what has become of them", _MORE, run, options(RUN, CSV)
)
