"""`msisync doctor`: is everything set up as it must be, and if not, what is to be done. Writes to neither vendor."""

from __future__ import annotations

from argparse import Namespace

from rich.console import Console
from rich.text import Text

from ..command import Command, Result, option
from ..context import Context
from ..finding import Finding, Severity
from ..output import Indented
from . import bus, dynamics, fields, marketo, notes, registration, settings, tracking
from .runner import Check, Examination, with_needs

CHECKS: tuple[Check, ...] = (
    *settings.CHECKS,
    *dynamics.CHECKS,
    *tracking.CHECKS,
    *registration.CHECKS,
    *marketo.CHECKS,
    *fields.CHECKS,
    *bus.CHECKS,
    *notes.CHECKS,
)

#: Mark of each status, and the one where the terminal knows ASCII only.
_MARKS = {
    Severity.OK: ("✔", "+"),
    Severity.ATTENTION: ("!", "!"),
    Severity.FAILED: ("✖", "x"),
    Severity.SKIPPED: ("·", "-"),
}
#: Where details begin, below the checks.
_BELOW = 6


async def doctor(context: Context, given: Namespace, progress: Console) -> Result:
    """Make the checks. What is wrong is in the result: nothing is raised."""
    chosen = with_needs(CHECKS, given.only) if given.only else list(CHECKS)
    left = {check.title for check in chosen}
    with progress.status("Checking") as status:

        def done(check: Check, _: Finding) -> None:
            left.discard(check.title)
            status.update(f"Checking: {len(left)} left")

        return result(await Examination(context, chosen, done)())


def result(it: Examination) -> Result:
    """What the findings come to."""
    data = {
        "counts": {str(status): len(it.having(status)) for status in Severity},
        "seconds": round(it.seconds, 2),
        "checks": [
            {
                "id": check.id,
                "group": check.group,
                "title": check.title,
                "status": str(finding.severity),
                "text": finding.text,
                "details": list(finding.details),
                "remedy": finding.remedy,
                "because": finding.because,
            }
            for check in it.checks
            for finding in [it.found[check.id]]
        ],
    }
    return Result(it.severity.exit, data, lambda console: _show(console, it))


def _show(console: Console, it: Examination) -> None:
    width = max(len(check.id) for check in it.checks)
    for group, checks in it.groups.items():
        made = [check for check in checks if it.found[check.id].severity is not Severity.SKIPPED]
        if made:
            console.print(Text(group, style="bold"))
        for check in made:
            _show_one(console, check, it.found[check.id], width)
    _show_skipped(console, it)
    console.print()
    if it.first:
        console.print(Text(f"Fix first: {it.first.group}, {it.first.title} ({it.first.id})", style="red"))
    numbers = ", ".join(f"{len(it.having(status))} {status}" for status in Severity)
    console.print(Text(f"{numbers}; {it.seconds:.1f} s"))


def _show_one(console: Console, check: Check, finding: Finding, width: int) -> None:
    line = Text.assemble((_mark(console, finding.severity), finding.severity.colour), f" {check.id:<{width}}  ")
    said = f"{check.title}: {finding.text}" if finding.text else check.title
    line.append(said, style="dim" if finding.severity is Severity.OK else "")
    console.print(Indented(line, hanging=_BELOW - 2))
    if finding.severity in (Severity.ATTENTION, Severity.FAILED):
        for detail in finding.details:
            console.print(Indented(Text(f"- {detail}"), _BELOW))
        if finding.remedy:
            console.print(Indented(Text.assemble(("To do: ", "bold"), finding.remedy), _BELOW))


def _show_skipped(console: Console, it: Examination) -> None:
    """A line for each culprit: what it keeps from being checked."""
    by_culprit: dict[str, list[str]] = {}
    for check in it.having(Severity.SKIPPED):
        by_culprit.setdefault(it.found[check.id].because, []).append(check.id)
    if by_culprit:
        console.print(Text("Skipped", style="bold"))
    for culprit, names in by_culprit.items():
        text = f"{_mark(console, Severity.SKIPPED)} {len(names)} because of {culprit}: {', '.join(names)}"
        console.print(Indented(Text(text, style="dim"), hanging=2))


def _mark(console: Console, severity: Severity) -> str:
    mark, plain = _MARKS[severity]
    return mark if console.encoding.lower().startswith("utf") else plain


COMMAND = Command(
    "doctor",
    "check everything that the sync needs, and say what to do about what is wrong",
    "Writes nothing to Dynamics or Marketo; safe in production. Exit code 0: all is well; 1: look at something; 2:\n"
    "something does not work. A check is skipped when one that it needs has failed: fix that one first.\n\n"
    "Checks: " + ", ".join(check.id for check in CHECKS),
    doctor,
    option(
        "--only",
        nargs="+",
        metavar="ID",
        choices=[check.id for check in CHECKS],
        help="these checks only, and what they need first",
    ),
)
