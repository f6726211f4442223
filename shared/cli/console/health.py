"""What `msisync doctor` finds, check by check, while it looks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

from ...model.record import timestamp
from ..context import Context
from ..doctor.command import CHECKS
from ..doctor.runner import Check, Subject, examine
from ..finding import Finding, Severity, worst
from .page import Lead, Page, View, Visit, leads

PATH = "/health"
#: Seconds in which the checks are not made again, unless somebody asks for it.
FRESH_SECONDS = 300.0


@dataclass
class Examination:
    """One round of all checks. `found`: by id, what has been found so far."""

    context: Context
    checks: Sequence[Check] = CHECKS
    began: datetime | None = None
    found: dict[str, Finding] = field(default_factory=dict)

    async def __call__(self) -> Examination:
        """Make all checks."""
        self.began, self.found = datetime.now(UTC), {}
        subject = Subject(self.context)
        try:
            await examine(self.checks, subject, done=self._done)
        finally:
            await subject.close()
        return self

    def _done(self, check: Check, finding: Finding) -> None:
        self.found[check.id] = finding

    @property
    def groups(self) -> dict[str, list[Check]]:
        """The checks by group, in their order."""
        found: dict[str, list[Check]] = {}
        for check in self.checks:
            found.setdefault(check.group, []).append(check)
        return found

    @property
    def first(self) -> Check | None:
        """The check that is to be put right first."""
        return next((check for check in self.checks if self._severity(check) is Severity.FAILED), None)

    @property
    def counts(self) -> list[tuple[Severity, int]]:
        """How many checks have found what, the gravest first."""
        counted = Counter(finding.severity for finding in self.found.values())
        order = (Severity.FAILED, Severity.ATTENTION, Severity.OK, Severity.SKIPPED)
        return [(severity, counted[severity]) for severity in order if counted[severity]]

    @property
    def severity(self) -> Severity:
        """The gravest that was found so far."""
        return worst(self.found.values())

    def _severity(self, check: Check) -> Severity | None:
        return self.found[check.id].severity if check.id in self.found else None


async def show(visit: Visit) -> View:
    """The last round, or the one that is under way. The address of "Check again" names the round that it follows."""
    latest = visit.looks.of("health", Examination(visit.context), fresh=FRESH_SECONDS)
    kept = cast(Examination, latest.look)
    if kept.began and visit.word("after") == timestamp(kept.began) and not latest.is_looking:
        latest.outdate()
    await latest.now()
    began = timestamp(kept.began) if kept.began else ""
    return View("health.html", {"it": kept, "is_looking": latest.is_looking, "began": began})


PAGE = Page(PATH, "Health", show, lead=leads(Lead(PATH, "Check what is wrong"), "msisync doctor"))
