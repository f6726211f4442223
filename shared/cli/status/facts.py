"""What `msisync status` finds out, and what of it needs attention. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ...azure.parked_rows import ParkedCount
from ...marketo.usage import Usage
from ...model.clock import AHEAD
from ...model.ids_and_times import moment
from ...sync.circuit import Outage
from ...sync.heartbeat import FUNCTIONS, RECONCILE, TIMER, Beat, interval, silence
from ...sync.missed_changes_place import LATE as LATE_SEARCH
from ...sync.missed_changes_place import Place
from ...sync.runs.model import Run
from ...write_back.drift import MUCH, Drift
from ...write_back.results import LATE, changes_done
from ..command import Exit
from ..finding import Finding, age, attention, counted
from ..queues import ACTIVE, PAUSED, resume_line
from ..remedies import APP_SILENT, RELEASE
from ..runs import findings_of

#: What is done about a function of the app that does not run.
FUNCTION_SILENT = "docs/troubleshooting.md#function-silent"
#: What is in storage.
PARKED, STATE = "parked records", "counts, budget and circuits"
#: Parked records that are counted. A thousand of them take storage some 30 ms.
MAX_PARKED = 100_000
#: Dead letters of the application that are distinguished by entity; the broker counts all of them.
MAX_LETTERS = 5000
#: A change that waits longer than this needs attention.
LONG = timedelta(minutes=15)


@dataclass(slots=True)
class Queue:
    """A queue: its broker's counts, None when they could not be had, and the oldest change among its first messages.

    `setting` is the field of QueueSettings that names it, `why` says why the oldest is not known.
    """

    setting: str
    name: str
    status: str = ""
    waiting: int | None = None
    scheduled: int | None = None
    dead: int | None = None
    oldest: datetime | None = None
    why: str = ""

    @property
    def is_paused(self) -> bool:
        """Whether `msisync pause` has been here."""
        return self.status == PAUSED


@dataclass(slots=True)
class Entity:
    """One entity: totals of sync/statistics.py of the last hour and day, and the application's dead letters of it.

    `by_slot`: records synced in each five minutes of the last hour, `by_hour`: in each hour of the last day.
    `hottest`: rows (table, id) that changed again a moment after they were sent, and about how often.
    """

    queue: Queue
    last_hour: Mapping[str, int] = field(default_factory=dict)
    last_day: Mapping[str, int] = field(default_factory=dict)
    by_slot: Sequence[int] = ()
    by_hour: Sequence[int] = ()
    last_error: Mapping[str, Any] | None = None
    hottest: Mapping[tuple[str, str], int] = field(default_factory=dict)
    parked: ParkedCount = field(default_factory=ParkedCount)
    letters: int = 0

    @property
    def dead(self) -> int:
        """The application's dead letters and the broker's."""
        return self.letters + (self.queue.dead or 0)


@dataclass(slots=True)
class WriteBack:
    """The last runs of the write-back, the newest first, and the rows whose last write was refused.

    `dead` of them are in dead-letters, the others are tried again. `drift`: what the last whole sweep has found.
    """

    runs: list[dict[str, Any]] = field(default_factory=list)
    refused: int = 0
    dead: int = 0
    last_refusal: str = ""
    drift: Drift | None = None

    def done(self) -> datetime | None:
        """Up to when all changes have been written back; where no run that is kept came to their end, the oldest's
        beginning. None: nothing was ever written back.
        """
        begun = [moment(run.get("started")) for run in self.runs if run.get("kind") == "changes"]
        return changes_done({"runs": self.runs}) or min((at for at in begun if at), default=None)

    @property
    def error(self) -> str:
        """Why the last run has ended early."""
        return str(self.runs[0].get("error") or "") if self.runs else ""


@dataclass(slots=True)
class Status:
    """Everything. `parked_more`, `letters_more`: there are more than were counted. `letters_elsewhere`: dead
    letters of no entity. `brakes`: entities whose deletions have stopped, see sync/delete_brake.py. `runs`: those that
    are not over. `missed_changes`: up to where each table was searched for them. `beats`: the last notes of the app's
    functions, None where they were not looked at; `schedule`: that of the minute timer. `unseen`: what could not be
    looked at, with the reason: a queue, PARKED or STATE.
    """

    at: datetime
    changes: Queue
    dead_letters: Queue
    entities: dict[str, Entity]
    letters_elsewhere: int = 0
    letters_more: bool = False
    parked_more: bool = False
    budget: Usage | None = None
    circuits: dict[str, Outage] = field(default_factory=dict)
    brakes: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    write_back: WriteBack = field(default_factory=WriteBack)
    runs: list[Run] = field(default_factory=list)
    missed_changes: dict[str, Place] = field(default_factory=dict)
    beats: Mapping[str, Beat] | None = None
    schedule: str = ""
    unseen: dict[str, str] = field(default_factory=dict)

    @property
    def queues(self) -> list[Queue]:
        """All queues, in the order in which a change passes them."""
        return [self.changes, *(entity.queue for entity in self.entities.values()), self.dead_letters]

    @property
    def dead(self) -> int:
        """All dead letters, as the broker counts them: the application's and those of every queue."""
        letters = self.dead_letters.waiting
        if letters is None:
            letters = self.letters_elsewhere + sum(entity.letters for entity in self.entities.values())
        return letters + sum(queue.dead or 0 for queue in self.queues)

    @property
    def exit(self) -> Exit:
        """Worse than something that needs attention is something that could not be looked at."""
        if self.unseen:
            return Exit.FAILED
        return Exit.ATTENTION if self.attentions else Exit.OK

    @property
    def attentions(self) -> list[Finding]:
        """What needs an operator, the causes first."""
        return [
            *self._silent(),
            *self._stopped(),
            *(attention(braked(name, brake), f"{RELEASE} {name}") for name, brake in self.brakes.items()),
            *self._closed(),
            *(finding for run in self.runs for finding in findings_of(run, self.at)),
            *self._waits(),
            *self._written_back(),
            *self._missed(),
            *self._drifted(),
            *([attention(counted(self.dead, "dead letter"), "msisync dead-letters summary")] if self.dead else []),
        ]

    @property
    def holding(self) -> list[Finding]:
        """What keeps records of whole entities from moving, whatever they are."""
        return [*self._silent(), *self._stopped(), *self._closed()]

    def _silent(self) -> Iterator[Finding]:
        """The app itself, before all that it does."""
        if self.beats is None:
            return
        beat = self.beats.get(TIMER)
        silent = silence(beat, self.schedule, self.at)
        if silent:
            yield attention(f"the app has told nothing for {age(silent)} ({TIMER})", APP_SILENT)
        elif beat is None and interval(self.schedule) and any(queue.waiting for queue in self._taken()):
            yield attention("the app has never run here, and changes wait", APP_SILENT)
        elif beat and beat.at > self.at + AHEAD:
            text = f"the app's clock, or this machine's, is wrong: {TIMER} has run at {_time(beat.at)}"
            yield attention(text, "set the clock right; see docs/troubleshooting.md#clocks")
        if not silent:
            yield from self._not_taken()

    def _not_taken(self) -> Iterator[Finding]:
        """The app is alive, but not the function of a queue in which messages have waited."""
        for queue in self._taken():
            function = FUNCTIONS[queue.setting]
            beat = (self.beats or {}).get(function)
            late = queue.oldest and self.at - queue.oldest > LONG and not queue.is_paused
            if self.beats and queue.waiting and late and (beat is None or self.at - beat.at > LONG):
                when = f"for {age(self.at - beat.at)}" if beat else "ever"
                yield attention(f"{function} has not run {when}, and {queue.name} has messages for it", FUNCTION_SILENT)

    def _taken(self) -> list[Queue]:
        return [queue for queue in self.queues if queue is not self.dead_letters]

    def _stopped(self) -> Iterator[Finding]:
        for queue in self.queues:
            if queue.is_paused and queue is not self.dead_letters:
                yield attention(f"{queue.name} is paused", resume_line(queue.setting))
            elif queue.status not in ("", ACTIVE):
                yield attention(f"{queue.name} is {queue.status}", "set its status to Active in the Azure portal")

    def _closed(self) -> Iterator[Finding]:
        for name, outage in self.circuits.items():
            text = f"no calls for {name} since {_time(outage.since)} ({outage.reason})"
            yield attention(text, f"tried again automatically at {_time(outage.until)}; if it lasts, msisync doctor")
        if self.budget and (closed := self.budget.closed):
            again = f"continues automatically at {_time(closed.opens)}"
            yield attention(f"Marketo is not called ({closed.reason})", f"{again}; see MARKETO_DAILY_SHARE")

    def _waits(self) -> Iterator[Finding]:
        for queue in self.queues:
            if queue.oldest and self.at - queue.oldest > LONG:
                text = f"the oldest change in {queue.name} waits for {age(self.at - queue.oldest)}"
                yield attention(text, "msisync doctor; see the last errors below and the app's log")

    def _written_back(self) -> Iterator[Finding]:
        if self.write_back.error:
            remedy = "resumes automatically where it was; if it lasts, msisync doctor"
            yield attention(f"the last write-back has stopped ({self.write_back.error})", remedy)
        done = self.write_back.done()
        if done and self.at - done > LATE:
            text = f"nothing was written back for {age(self.at - done)}"
            yield attention(text, "see WRITE_BACK_SCHEDULE and the app's log; msisync write-back run")
        waiting = self.write_back.refused - self.write_back.dead
        if waiting:
            text = f"{counted(waiting, 'row')} could not be written back ({self.write_back.last_refusal})"
            remedy = "tried again automatically; see the code, and whether the sync user may write the row"
            yield attention(text, remedy)

    def _missed(self) -> Iterator[Finding]:
        """Tables that Dynamics refuses, or whose passes begin and do not end."""
        beat = (self.beats or {}).get(RECONCILE)
        for table, place in self.missed_changes.items():
            if place.error:
                text = f"Dynamics does not tell what has changed in {table} ({place.error})"
                yield attention(text, "tried again with each run; msisync doctor --only change-tracking")
            elif beat and place.at and not place.began and beat.at - place.at > LATE_SEARCH:
                yield attention(
                    f"{table} was not searched for missed changes for {age(self.at - place.at)}", "see the app's log"
                )

    def _drifted(self) -> Iterator[Finding]:
        found = self.write_back.drift
        if found and found.part > MUCH:
            text = f"{100 * found.part:.0f} % of leads and contacts are not in Marketo as they are in Dynamics"
            yield attention(text, "msisync reconcile contact lead")


def braked(entity: str, brake: Mapping[str, Any]) -> str:
    """What the brake on the deletions of an entity says."""
    since = moment(brake.get("on"))
    return (
        f"deletions of {entity} have stopped{f' at {_time(since)}' if since else ''}: more than {brake.get('limit')} "
        f"within an hour, {brake.get('stopped')} in dead-letters"
    )


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
