"""The first page: whether all is well, what flows, and what is in the way. It shows what `msisync status` does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from ...config.settings import MarketoSettings
from ...marketo.usage import Usage
from ...model.errors import StorageUnavailableError
from ...sync.heartbeat import TIMER
from ...sync.history_log import Past
from ...sync.runs.model import Run
from ..finding import age
from ..queues import QUEUES
from ..runs import title
from ..status.facts import PARKED, STATE, Entity, Queue, Status
from ..status.text import details
from ..status.verdict import judge
from . import acts, charts, journal, pause
from .charts import Chart
from .page import Page, View, Visit
from .templating import sentence

#: How the queues are called on the pages, by their settings: `Sales persons`.
NAMES = {design.setting: design.name.replace("-", " ").capitalize() for design in QUEUES}
#: Last actions of operators that are shown.
ACTIONS = 8


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: a queue and, but for the first one, its entity. None where a number is not known."""

    setting: str
    name: str
    is_paused: bool
    waiting: int | None
    scheduled: int | None
    oldest: str
    dead: int | None
    entity: bool = False
    hour: int | None = None
    day: int | None = None
    parked: int | None = None
    hour_chart: Chart | None = None
    day_chart: Chart | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What an operator did: in a console, with its end (`state` is a Severity, empty while there is none), or by a
    command. `link`: the page about it.
    """

    at: datetime
    by: str
    what: str
    link: str = ""
    by_command: bool = False
    state: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Gauge:
    """How much of Marketo's day is used: what the text says, and the same in percent of the width."""

    usage: Usage
    daily: int
    app: float
    everybody: float
    forecast_is_much: bool


async def show(visit: Visit) -> View:
    """Everything. Raises ConfigurationError when settings cannot be used."""
    status = await visit.status.now()
    if status is None:
        return View("overview.html", {"status": None})
    marketo = visit.context.settings.marketo
    values = {
        "status": status,
        "verdict": judge(status),
        "rows": list(rows_of(status)),
        "gauge_": gauge_of(status.budget, marketo) if status.budget else None,
        "beat": (status.beats or {}).get(TIMER),
        "timer": TIMER,
        "runs": [(run, title(run, status.at), *read_of(run)) for run in status.runs],
        "write_back_at": status.write_back.done(),
        "details": [(name, lines) for name, found in details(status) if (lines := list(found))],
        "done": await _done(visit),
        "resume": pause.RESUME.path,
        "pause": pause.PAUSE.path,
    }
    return View("overview.html", values)


async def _done(visit: Visit) -> Sequence[Done]:
    """What operators did last, the newest first; nothing where storage does not answer, as the verdict says then."""
    try:
        entries = await journal.newest(visit.context.state, ACTIONS)
        past = await acts.latest(visit).now()
    except StorageUnavailableError:
        return ()
    in_consoles = [
        Done(entry.at, entry.by, entry.what, f"/jobs/{name}", state=entry.state, text=entry.text)
        for name, entry in entries.items()
    ]
    found = [*in_consoles, *(of_commands(past) if past else ())]
    return sorted(found, key=lambda done: done.at, reverse=True)[:ACTIONS]


def of_commands(past: Past) -> Iterator[Done]:
    """What was done by commands: the journal has what was done in consoles."""
    for event in past.events:
        if "place" not in event.facts:
            link = f"/runs?run={event.run}" if event.run else ""
            yield Done(event.at, event.by, sentence(event.text), link, by_command=True)


def rows_of(status: Status) -> Iterator[Row]:
    """The lines of the table, in the order in which a change passes the queues."""
    yield _row(status, status.changes)
    for entity in status.entities.values():
        yield _entity_row(status, entity)


def _row(status: Status, queue: Queue) -> Row:
    oldest = age(status.at - queue.oldest) if queue.oldest else ""
    if not oldest and (queue.why or queue.name in status.unseen):
        oldest = "?"
    name = NAMES[queue.setting]
    return Row(queue.setting, name, queue.is_paused, queue.waiting, queue.scheduled, oldest, queue.dead)


def _entity_row(status: Status, entity: Entity) -> Row:
    row = _row(status, entity.queue)
    known = STATE not in status.unseen
    hour, day = entity.last_hour.get("synced", 0), entity.last_day.get("synced", 0)
    return Row(
        row.setting,
        row.name,
        row.is_paused,
        row.waiting,
        row.scheduled,
        row.oldest,
        entity.dead if entity.queue.dead is not None else None,
        entity=True,
        hour=hour if known else None,
        day=day if known else None,
        parked=None if PARKED in status.unseen else entity.parked.count,
        hour_chart=_chart(entity.by_slot, "five minutes", "hour", hour) if known else None,
        day_chart=_chart(entity.by_hour, "hour", "24 hours", day) if known else None,
    )


def _chart(values: Sequence[int], step: str, span: str, total: int) -> Chart | None:
    most = max(values, default=0)
    return (
        charts.columns(values, f"{total:,} synced in the last {span}, at most {most:,} in one {step}") if most else None
    )


def gauge_of(usage: Usage, marketo: MarketoSettings) -> Gauge:
    """The gauge: the whole width is what the app may use; of what everybody uses, all that Marketo allows."""
    return Gauge(
        usage,
        marketo.daily_calls,
        charts.share(usage.used_today, usage.allowed_today),
        charts.share(usage.everybody or 0, marketo.daily_calls),
        (usage.forecast or 0) > usage.allowed_today,
    )


def read_of(run: Run) -> tuple[int, int | None, float]:
    """Rows that a run has read, how many there are, if that is known, and the first in percent of the second."""
    read = sum(table.rows for table in run.tables.values())
    expected = sum(table.expected or 0 for table in run.tables.values())
    return read, expected if expected >= read else None, charts.share(read, expected)


PAGE = Page("/", "Overview", show, pause.ACTIONS, lead=pause.lead)
