"""Actions while they run: a page asks how far one is, again and again, and may be closed and opened meanwhile.

An action lives in this process and ends with it. Its beginning and its end are in the journal, whatever happens here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from ...azure.shared_state import State
from ...model.errors import MsiSyncError, StorageUnavailableError, cause_of
from ...telemetry.redaction import described
from ..finding import Finding, Severity, failed
from ..operator import acting_as
from . import journal
from .journal import Entry

log = logging.getLogger(__name__)

#: Actions that are remembered after their end, and lines that each of them keeps.
KEPT = 50
LINES = 1_000
#: Files of actions that are kept: each may have the size of all dead letters.
FILES = 3
_STOPPED = failed("stopped before its end", "see what was done, then do the rest")


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one part of an action. `link`: a page of the console about it."""

    text: str
    severity: Severity = Severity.OK
    link: str = ""


@dataclass
class Job:
    """An action. `done` of `total` parts (None: nobody knows how many there are); `outcome` when it has ended.

    `file`: what it has written for whoever began it, to be taken away from its page. `task`: what does it.
    """

    id: str
    entry: Entry
    back: str
    done: int = 0
    total: int | None = None
    lines: list[Line] = field(default_factory=list)
    more_lines: int = 0
    outcome: Finding | None = None
    file: Path | None = None
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    def advance(self, done: int, total: int | None = None) -> None:
        """So many parts are done, of so many."""
        self.done, self.total = done, self.total if total is None else total

    def say(self, text: str, severity: Severity = Severity.OK, link: str = "") -> None:
        """Tell what became of a part. Beyond LINES, lines are only counted: memory stays flat."""
        if len(self.lines) < LINES:
            self.lines.append(Line(text, severity, link))
        else:
            self.more_lines += 1


#: What an action does: it reports to its job, and gives what has come of it.
Work = Callable[[Job], Awaitable[Finding]]


@dataclass
class Jobs:
    """The actions of this process. `state`: where the journal is, asked for when it is needed.

    `ended` is called at the end of each: what was found before may be of the past.
    `patience`: seconds that the beginning of an action waits for its end, where another process may be asked next.
    """

    state: Callable[[], State]
    _: KW_ONLY
    patience: float = 0.0
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ended: Callable[[], None] = lambda: None
    _known: dict[str, Job] = field(default_factory=dict, init=False)
    _folder: TemporaryDirectory[str] | None = field(default=None, init=False)

    async def start(self, what: str, by: str, back: str, work: Work) -> Job:
        """Begin an action that is called `what`; `back` is the page that it was asked for on.

        Raises StorageUnavailableError: what cannot be noted is not done.
        """
        at = self.now()
        job = Job(journal.name_of(at), Entry(at, by, what), back)
        await journal.write(self.state(), job.id, job.entry)
        over = [id_ for id_, known in self._known.items() if known.outcome]
        for id_ in over[: max(0, len(over) - KEPT + 1)]:
            if (forgotten := self._known.pop(id_)).file:
                forgotten.file.unlink(missing_ok=True)
        self._known[job.id] = job
        job.task = asyncio.create_task(self._run(job, work), name=f"msisync-action-{job.id}")
        if self.patience:
            await asyncio.wait({job.task}, timeout=self.patience)
        return job

    def get(self, id_: str) -> Job | None:
        """An action of this process, by its id in the journal."""
        return self._known.get(id_)

    def new_file(self, job: Job, name: str) -> Path:
        """Where an action may write its file. The last FILES of all actions are kept, until the console ends."""
        self._folder = self._folder or TemporaryDirectory(prefix="msisync-console-")
        with_files = [each for each in self._known.values() if each.file]
        for old in with_files[: max(0, len(with_files) - FILES + 1)]:
            if old.file:
                old.file.unlink(missing_ok=True)
            old.file = None
        folder = Path(self._folder.name) / job.id
        folder.mkdir(exist_ok=True)
        return folder / name

    async def close(self) -> None:
        """Stop what runs, and take away what was written."""
        tasks = [job.task for job in self._known.values() if job.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._folder:
            self._folder.cleanup()

    async def _run(self, job: Job, work: Work) -> None:
        try:
            with acting_as(job.entry.by):
                outcome = await work(job)
        except asyncio.CancelledError:
            outcome = _STOPPED
        except MsiSyncError as error:
            outcome = failed(f"{error.code}: {error.message}", "")
        except Exception as error:  # noqa: BLE001  (a defect: it ends this action, not the console)
            outcome = failed(f"a defect of msisync; report it with this line: {described(error)}", "")
        try:
            await journal.write(self.state(), job.id, journal.ended(job.entry, self.now(), outcome))
            await journal.prune(self.state(), self.now())
        except StorageUnavailableError as error:
            log.warning("action_end_not_written error=%s", cause_of(error))
        finally:
            job.outcome = outcome
            self.ended()
