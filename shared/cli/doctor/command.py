"""`msisync doctor`: is everything set up as it must be, and if not, what is to be done. Writes to neither vendor."""

from __future__ import annotations

import time
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.text import Text

from ..command import Command, Result, option
from ..context import Context
from ..finding import Finding, Severity, worst
from ..output import Indented
from . import bus, dynamics, fields, marketo, notes, registration, settings, tracking
from .runner import Check, Subject, examine, with_needs

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
    began = time.monotonic()
    subject = Subject(context)
    left = {check.title for check in chosen}
    with progress.status("Checking") as status:

        def done(check: Check, _: Finding) -> None:
            left.discard(check.title)
            status.update(f"Checking: {len(left)} left")

        try:
            found = await examine(chosen, subject, done=done)
        finally:
            await subject.close()
    return result(chosen, found, time.monotonic() - began)


def result(checks: Sequence[Check], found: Mapping[str, Finding], seconds: float) -> Result:
    """What the findings come to."""
    counts = Counter(finding.severity for finding in found.values())
    data = {
        "counts": {str(status): counts[status] for status in Severity},
        "seconds": round(seconds, 2),
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
            for check in checks
            for finding in [found[check.id]]
        ],
    }
    return Result(worst(found.values()).exit, data, lambda console: _show(console, checks, found, counts, seconds))


def _show(
    console: Console, checks: Sequence[Check], found: Mapping[str, Finding], counts: Counter[Severity], seconds: float
) -> None:
    width = max(len(check.id) for check in checks)
    made = [check for check in checks if found[check.id].severity is not Severity.SKIPPED]
    for group in dict.fromkeys(check.group for check in made):
        console.print(Text(group, style="bold"))
        for check in made:
            if check.group == group:
                _show_one(console, check, found[check.id], width)
    _show_skipped(console, found)
    console.print()
    for check in checks:
        if found[check.id].severity is Severity.FAILED:
            console.print(Text(f"Fix first: {check.group}, {check.title} ({check.id})", style="red"))
            break
    numbers = ", ".join(f"{counts[status]} {status}" for status in Severity)
    console.print(Text(f"{numbers}; {seconds:.1f} s"))


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


def _show_skipped(console: Console, found: Mapping[str, Finding]) -> None:
    """A line for each culprit: what it keeps from being checked."""
    by_culprit: dict[str, list[str]] = {}
    for name, finding in found.items():
        if finding.severity is Severity.SKIPPED:
            by_culprit.setdefault(finding.because, []).append(name)
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
