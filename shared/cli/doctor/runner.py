"""How `msisync doctor` examines a set-up: a table of checks, what each needs first, and what each has found.

A check whose prerequisite is not met is skipped and names the culprit, so that one broken thing turns one check red.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from ...model.errors import MsiSyncError, StorageUnavailableError, VendorError
from ..context import Context
from ..finding import Finding, Severity, attention, failed, worst
from ..remedies import after

#: Seconds for one check. Waiting out Marketo's window of 20 seconds fits in.
LIMIT_SECONDS = 45.0

T = TypeVar("T")


def skipped(because: str, text: str = "") -> Finding:
    """It cannot be told, because of another check."""
    return Finding(Severity.SKIPPED, text, blocks=True, because=because)


class Subject:
    """What is examined: a context, the clocks that were seen, and answers that several checks look at."""

    def __init__(self, context: Context, *, clock: Callable[[], float] = time.time) -> None:
        self.context = context
        self.clock = clock
        #: Seconds that each vendor's clock is ahead of ours.
        self.clocks: dict[str, float] = {}
        self._asked: dict[str, asyncio.Task[Any]] = {}

    async def once(self, name: str, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer to a question, asked by whoever comes first. Raises for everybody what it raises."""
        if name not in self._asked:
            self._asked[name] = asyncio.ensure_future(ask())
        return cast(T, await asyncio.shield(self._asked[name]))  # a check out of time must not end it for all

    async def close(self) -> None:
        """End what nobody waits for any more."""
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at. `needs` must not block, `after` must only be done, for `run` to make sense."""

    id: str
    group: str
    title: str
    run: Callable[[Subject], Awaitable[Finding]]
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


def with_needs(checks: Sequence[Check], wanted: Iterable[str]) -> list[Check]:
    """The wanted checks and all that they need, in the order of the table."""
    by_id = {check.id: check for check in checks}
    ahead, found = list(wanted), set[str]()
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += (*by_id[name].needs, *by_id[name].after)
    return [check for check in checks if check.id in found]


async def examine(
    checks: Sequence[Check], subject: Subject, *, limit: float = LIMIT_SECONDS, done: Callable[[Check, Finding], None]
) -> dict[str, Finding]:
    """Make the checks, independent ones at the same time, and give what each has found, by id, in their order.

    `done` gets each check with its finding as soon as it is made.
    """
    tasks: dict[str, asyncio.Task[Finding]] = {}

    async def one(check: Check) -> Finding:
        found = {name: await tasks[name] for name in (*check.needs, *check.after)}
        culprit = next((name for name in check.needs if found[name].blocks), "")
        finding = skipped(found[culprit].because or culprit) if culprit else await _made(check, subject, limit)
        done(check, finding)
        return finding

    async with asyncio.TaskGroup() as group:
        for check in checks:
            tasks[check.id] = group.create_task(one(check))
    return {name: task.result() for name, task in tasks.items()}


@dataclass
class Examination:
    """One round of checks. `found`: by id, what has been found so far; `at`: when it began, `seconds`: how long it was.

    `done` gets each check with its finding as soon as it is made.
    """

    context: Context
    checks: Sequence[Check]
    done: Callable[[Check, Finding], None] = lambda *_: None
    found: dict[str, Finding] = field(default_factory=dict)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    seconds: float = 0.0

    async def __call__(self) -> Examination:
        """Make all checks."""
        began = time.monotonic()
        self.at, self.found = datetime.now(UTC), {}
        subject = Subject(self.context)
        try:
            self.found = await examine(self.checks, subject, done=self._done)
        finally:
            await subject.close()
        self.seconds = time.monotonic() - began
        return self

    def _done(self, check: Check, finding: Finding) -> None:
        self.found[check.id] = finding
        self.done(check, finding)

    @property
    def groups(self) -> dict[str, list[Check]]:
        """The checks by group, in their order."""
        found: dict[str, list[Check]] = {}
        for check in self.checks:
            found.setdefault(check.group, []).append(check)
        return found

    def having(self, severity: Severity) -> list[Check]:
        """The checks that have found this, in their order."""
        return [check for check in self.checks if check.id in self.found and self.found[check.id].severity == severity]

    @property
    def first(self) -> Check | None:
        """The check that is to be put right first."""
        return next(iter(self.having(Severity.FAILED)), None)

    @property
    def severity(self) -> Severity:
        """The gravest that was found so far."""
        return worst(self.found.values())


async def _made(check: Check, subject: Subject, limit: float) -> Finding:
    try:
        async with asyncio.timeout(limit):
            return await check.run(subject)
    except StorageUnavailableError as error:
        return attention(f"the app's notes cannot be read ({error.cause})", "see the check storage")
    except MsiSyncError as error:
        return broken(error)
    except TimeoutError:
        remedy = "see whether the network or the service is slow; try again"
        return failed(f"no answer within {limit:g} seconds", remedy)
    except Exception as error:  # noqa: BLE001  (one check that stumbles must not hide what the others have found)
        # Its text is left out: nobody knows whether it holds a secret.
        return failed(f"the check itself broke: {type(error).__name__}", "please report this as a defect of msisync")


def broken(error: MsiSyncError) -> Finding:
    """The finding for an error that a check does not expect in particular."""
    if not isinstance(error, VendorError):
        return failed(f"{error.code}: {error.message}", "fix it and run msisync doctor again")
    remedy = after(error) or f"look the code up in {error.system}'s documentation"
    return failed(f"{error.system} answered {error.code}: {error.message}", remedy)


def listed(names: Iterable[str], most: int = 6) -> str:
    """A list inside a sentence."""
    given = list(names)
    return ", ".join(given[:most]) + (f" and {len(given) - most} more" if len(given) > most else "")
