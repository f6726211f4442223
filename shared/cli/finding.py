"""What a command has found: how much it matters, in words, and what to do about it. One form for all commands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from .command import Exit

#: What a list of details shows at most: the rest is counted.
SHOWN = 12


class Severity(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    ATTENTION = "attention"  # it works, but not as it should
    FAILED = "failed"
    SKIPPED = "skipped"  # nobody can tell, because of something else

    @property
    def colour(self) -> str:
        """How a terminal shows it."""
        return {Severity.OK: "green", Severity.ATTENTION: "yellow", Severity.FAILED: "red"}.get(self, "dim")

    @property
    def exit(self) -> Exit:
        """The exit code of a command that has found this and nothing worse."""
        return {Severity.ATTENTION: Exit.ATTENTION, Severity.FAILED: Exit.FAILED}.get(self, Exit.OK)


@dataclass(frozen=True, slots=True)
class Finding:
    """`text` is a sentence, `details` are one line each, `remedy` says what to do; `code` names this kind of finding.

    `table` and `key` say where in sync.toml it is. Of the doctor's checks, `blocks`: those that need this one cannot be
    made; `because`: the check that kept this one from being made.
    """

    severity: Severity
    text: str = ""
    details: tuple[str, ...] = ()
    remedy: str = ""
    code: str = ""
    table: str = ""
    key: str = ""
    blocks: bool = False
    because: str = ""

    @property
    def exit(self) -> Exit:
        """The exit code for it."""
        return self.severity.exit

    @property
    def where(self) -> str:
        """Where in sync.toml it is, as one word."""
        return ".".join(filter(None, (self.table, self.key)))


def ok(text: str = "", remedy: str = "", *, code: str = "") -> Finding:
    """All is well, or is only to be known."""
    return Finding(Severity.OK, text, remedy=remedy, code=code)


def attention(text: str, remedy: str, details: Iterable[str] = (), *, code: str = "", blocks: bool = False) -> Finding:
    """It works, but somebody should look at it."""
    return Finding(Severity.ATTENTION, text, shortened(details), remedy, code, blocks=blocks)


def failed(text: str, remedy: str, details: Iterable[str] = (), *, code: str = "") -> Finding:
    """It does not work."""
    return Finding(Severity.FAILED, text, shortened(details), remedy, code, blocks=True)


def as_grave_as(findings: Sequence[Finding], text: str, remedy: str, details: Iterable[str]) -> Finding:
    """One finding for all of them, which need attention at least."""
    grade = failed if worst(findings) is Severity.FAILED else attention
    return grade(text, remedy, details)


def worst(findings: Iterable[Finding]) -> Severity:
    """The gravest of these findings; OK where there are none."""
    found = {finding.severity for finding in findings}
    return next((severity for severity in (Severity.FAILED, Severity.ATTENTION) if severity in found), Severity.OK)


def counted(number: int, noun: str) -> str:
    """`1 problem`, `2,000 problems`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def age(duration: timedelta) -> str:
    """A duration for people: 40 s, 12 min, 5 h, 3 d."""
    seconds = max(0, int(duration.total_seconds()))
    for unit, length, least in (("d", 86_400, 172_800), ("h", 3_600, 7_200), ("min", 60, 120)):
        if seconds >= least:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def shortened(lines: Iterable[str]) -> tuple[str, ...]:
    """A list that people still read."""
    given = list(lines)
    more = len(given) - SHOWN
    return tuple(given) if more <= 1 else (*given[:SHOWN], f"and {more} more")
