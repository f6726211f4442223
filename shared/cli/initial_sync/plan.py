"""`msisync initial-sync plan`: what the first load would do, cost and take. Reads only."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

from ...config.settings import MarketoSettings
from ...model.errors import MsiSyncError
from ...sync.preview import Fate
from ...sync.runs.model import Scope
from ..command import Command, Exit, Result, option, options, positive_number
from ..context import Context
from ..doctor.command import CHECKS
from ..doctor.runner import Check, Examination
from ..finding import SHOWN, Finding, Severity, counted, worst
from ..invocation import again
from ..output import say
from .estimate import LEFT_ALONE, Pace, end_of, run_calls
from .look import SAMPLE, TablePlan, look
from .scope import SCOPE, scope_of, tables_in

_MORE = """\
Reads all rows of the mapped tables and says how many of them the sync filter keeps, what would become of persons
(created, adopted by their e-mail address, updated because Marketo has their id, ambiguous, flagged or merged because
their rows were merged), how many Marketo calls that needs, and when it would be done. Runs the checks of msisync doctor
and repeats what they find. Nothing is written, in neither system.

Marketo is asked about a sample of 3,000 persons of each table, some 30 calls; --sample takes another number, --whole
all of them. Numbers that follow from a sample begin with ~. --json lists the ambiguous rows that were seen.

The end is an estimate: 100 records a second, within MARKETO_CALLS_PER_20_SECONDS and RUN_DAILY_SHARE of the day's
calls.

Exit codes: 0 the plan is green; 1 persons are ambiguous, or doctor says that something needs attention; 2 something
does not work, or it could not be found out.
Next: msisync link for rows that are ambiguous (--whole finds all); then msisync initial-sync start"""

GREEN = "Green. To start: "
NOT_GREEN = "Not green: put that right first, or start all the same: "
START = ("initial-sync", "start")

#: How numbers that follow from a sample are marked, and how none is shown.
_ABOUT, _NOBODY = "~", "-"
#: The columns of the table for persons, and the fates that each counts.
COLUMNS: dict[str, frozenset[Fate]] = {
    "created": frozenset({Fate.CREATED, Fate.CREATED_WITHOUT_EMAIL}),
    "adopted": frozenset({Fate.ADOPTED, Fate.CONTINUED}),
    "updated": frozenset({Fate.UPDATED}),
    "ambiguous": frozenset({Fate.AMBIGUOUS}),
    "merged": frozenset({Fate.MERGED_PERSON}),
    "left out": LEFT_ALONE,
}


@dataclass(frozen=True)
class Plan:
    """What was found: the tables, parents first, and what the doctor's checks say. `used_today`: by the whole app.

    `unread`: why the tables could not be read.
    """

    at: datetime
    tables: Sequence[TablePlan]
    checks: Mapping[Check, Finding]
    marketo: MarketoSettings
    used_today: int
    match_email: bool = True
    unread: str = ""

    @property
    def records(self) -> int:
        """Rows that would be sent."""
        return sum(table.kept - sum(table.fates.get(fate, 0) for fate in LEFT_ALONE) for table in self.tables)

    @property
    def calls(self) -> tuple[int, int]:
        """The least and the most Marketo calls."""
        fates = {table.table: table.fates for table in self.tables if table.fates}
        return run_calls({table.table: table.kept for table in self.tables}, fates)

    @property
    def ends(self) -> datetime:
        """When it would be done, with the settings as they are."""
        return self._end(run_share=self.marketo.run_share, app_share=self.marketo.daily_share)

    @property
    def earliest(self) -> datetime:
        """The same, if nothing else used Marketo's day."""
        return self._end(run_share=1, app_share=1)

    def _end(self, *, run_share: float, app_share: float) -> datetime:
        pace = Pace.of(self.marketo, self.used_today, run_share=run_share, app_share=app_share)
        return end_of(self.at, self.records, self.calls[1], pace)

    @property
    def exit(self) -> Exit:
        """OK: the plan is green."""
        found = Exit.FAILED if self.unread else worst(self.checks.values()).exit
        if found is Exit.OK and any(table.fates.get(Fate.AMBIGUOUS) for table in self.tables):
            return Exit.ATTENTION
        return found

    def as_json(self) -> dict[str, Any]:
        """Everything, in JSON's types."""
        least, most = self.calls
        return {
            "tables": {table.table: _table_json(table) for table in self.tables},
            "records": self.records,
            "marketo_calls": {"least": least, "most": most},
            "share_of_day": round(most / self.marketo.daily_calls, 4),
            "ends": self.ends,
            "hours": _hours(self.ends - self.at),
            "hours_at_full_share": _hours(self.earliest - self.at),
            "doctor": [
                {"id": check.id, "status": str(finding.severity), "text": finding.text, "remedy": finding.remedy}
                for check, finding in self.checks.items()
                if finding.severity is not Severity.OK
            ],
            "unread": self.unread or None,
            "green": self.exit is Exit.OK,
        }

    def show(self, console: Console) -> None:
        """For people."""
        if self.tables:
            console.print(_table(self.tables))
            for line in self.lines():
                say(console, line)
        if self.unread:
            say(console, f"The rows could not be read: {self.unread}", "red")
        for check, finding in self.checks.items():
            if finding.severity in (Severity.ATTENTION, Severity.FAILED):
                say(console, f"doctor, {check.title}: {finding.text}", finding.severity.colour)
                say(console, f"  To do: {finding.remedy}")
        for table in self.tables:
            _show_ambiguous(console, table)

    def lines(self) -> list[str]:
        """Calls and time, for people."""
        least, most = self.calls
        share = f"{max(most / self.marketo.daily_calls, 0.001):.1%} of a day's {self.marketo.daily_calls:,}"
        took = f"{_duration(self.ends - self.at)} at RUN_DAILY_SHARE={self.marketo.run_share:g}"
        lines = [
            f"About {f'{least:,} to ' if least < most else ''}{counted(most, 'Marketo call')}, at most {share}",
            f"Expected to take {took}, until {self.ends:%Y-%m-%d %H:%M} UTC; {_duration(self.earliest - self.at)} if "
            "nothing else used Marketo's calls",
        ]
        sampled = [table for table in self.tables if table.is_sampled]
        if sampled:
            asked = " and ".join(f"{table.asked.total():,} of {table.kept:,} {table.table}s" for table in sampled)
            lines.append(f"{_ABOUT} follows from a sample: Marketo was asked about {asked}. About all: --whole")
        if not self.match_email:
            lines.append("match_email of sync.toml is false: nobody is looked for by e-mail address")
        return lines


async def run(context: Context, given: Namespace, progress: Console) -> Result:
    """Make the plan. Raises ConfigurationError when settings cannot be used; what does not answer is in the plan."""
    plan = await make(context, given, progress)

    def show(console: Console) -> None:
        say(console, "Nothing has been written.", "bold")
        plan.show(console)
        say(console, following(plan))

    return Result(plan.exit, plan.as_json(), show)


def following(plan: Plan) -> str:
    """What starts it, for the same rows."""
    if plan.exit is Exit.OK:
        return GREEN + again("--apply", instead=START)
    return NOT_GREEN + again("--apply", "--anyway", instead=START)


async def make(context: Context, given: Namespace, progress: Console) -> Plan:
    """The plan of what the command line means. Raises as `run` does."""
    scope = scope_of(tables_in(context, given), given)
    return await plan_of(context, scope, progress, sample=None if given.whole else given.sample)


async def plan_of(context: Context, scope: Scope, progress: Console, *, sample: int | None) -> Plan:
    """The plan of a run over these rows. `sample`: of so many persons of a table Marketo is asked; None: of all."""
    with progress.status("Checking"):
        examined = await Examination(context, CHECKS)()
    try:
        query = " and ".join(scope.conditions) or None
        found = await look(context, scope.tables, query, progress, sample=sample)
        unread = ""
    except MsiSyncError as error:  # what the checks have found most likely says why
        found, unread = [], f"{error.code}: {error.message}"
    usage = await context.budget.refresh()
    checks = {check: examined.found[check.id] for check in CHECKS}
    settings, match_email = context.settings.marketo, context.config.person.match_email
    return Plan(datetime.now(UTC), found, checks, settings, usage.used_today, match_email, unread)


def _table_json(table: TablePlan) -> dict[str, Any]:
    expected = {fate.value: count for fate, count in table.fates.items()}
    ambiguous = [{"id": each.id, "marketo_ids": each.persons} for each in table.ambiguous]
    persons = {"asked": table.asked.total(), "sampled": table.is_sampled, "expected": expected, "ambiguous": ambiguous}
    return {"rows": table.rows, "kept": table.kept, **(persons if table.asked else {})}


def _table(tables: Sequence[TablePlan]) -> Table:
    """All tables, in 80 columns where that can be: of the fates only those that somebody has."""
    of_tables = [dict(zip(COLUMNS, cells(table), strict=False)) for table in tables]
    fates = [name for name in COLUMNS if any(found.get(name, _NOBODY) != _NOBODY for found in of_tables)]
    shown = Table(box=None, pad_edge=False)
    shown.add_column("", no_wrap=True)
    for name in ("rows", "kept", *fates):
        shown.add_column(name, justify="right", no_wrap=True)
    for table, found in zip(tables, of_tables, strict=True):
        shown.add_row(table.table, f"{table.rows:,}", f"{table.kept:,}", *(found.get(name, "") for name in fates))
    return shown


def cells(table: TablePlan) -> list[str]:
    """What would become of the persons of a table, by COLUMNS; empty of other tables."""
    about = _ABOUT if table.is_sampled else ""
    counts = [sum(table.fates.get(fate, 0) for fate in fates) for fates in COLUMNS.values()]
    return [f"{about}{count:,}" if count else _NOBODY for count in counts] if table.asked else []


def _show_ambiguous(console: Console, table: TablePlan) -> None:
    for each in table.ambiguous[:SHOWN]:
        persons = ", ".join(map(str, each.persons)) or "more than 1,000"
        say(console, f"ambiguous: {table.table} {each.id}: persons {persons}", "yellow")
    if len(table.ambiguous) > SHOWN:
        say(console, f"and {len(table.ambiguous) - SHOWN:,} more; see --json", "yellow")
    if table.ambiguous:
        say(
            console,
            f"  To do: merge them in Marketo, or say who a row is: msisync link {table.table} ID MARKETO_ID",
        )


def _hours(duration: timedelta) -> float:
    return round(duration.total_seconds() / 3600, 2)


def _duration(duration: timedelta) -> str:
    """For people, rounded up to minutes: `5 min`, `3 h 20 min`, `2 d 4 h`."""
    minutes = -int(-duration.total_seconds() // 60)
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{max(1, minutes)} min"


ASKED = options(
    option(
        "--sample", type=positive_number, default=SAMPLE, metavar="NUMBER",
        help=f"persons of each table of which Marketo is asked (default {SAMPLE:,})",
    ),
    option("--whole", action="store_true", help="ask Marketo about all persons"),
)  # fmt: skip
COMMAND = Command(
    "initial-sync plan", "say what the first load would do, cost and take", _MORE, run, options(SCOPE, ASKED)
)
