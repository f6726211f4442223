"""The first page: whether all is well, what flows, and what is in the way. It shows what `msisync status` does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ...model.errors import StorageUnavailableError
from ...sync.heartbeat import TIMER
from ..finding import age
from ..queues import QUEUES
from ..runs import rows_read, title
from ..status.facts import PARKED, STATE, Queue, Status
from ..status.text import details
from ..status.verdict import judge
from . import acts, journal, pause
from .journal import Entry
from .page import Page, View, Visit
from .templating import NONE, UNKNOWN, sentence

#: How the queues are called on the pages, by their settings: `Sales persons`.
NAMES = {design.setting: design.name.replace("-", " ").capitalize() for design in QUEUES}
#: Last actions of operators that are shown.
ACTIONS = 8


async def show(visit: Visit) -> View:
    """Everything. Raises ConfigurationError when settings cannot be used."""
    status = await visit.status.now()
    if status is None:
        return View("overview.html", {"status": None})
    values = {
        "status": status,
        "verdict": judge(status),
        "queues": [(status.changes, None), *((entity.queue, entity) for entity in status.entities.values())],
        "names": NAMES,
        "oldest": partial(_oldest, status),
        "knows_state": STATE not in status.unseen,
        "knows_parked": PARKED not in status.unseen,
        "daily_calls": visit.context.settings.marketo.daily_calls,
        "beat": (status.beats or {}).get(TIMER),
        "timer": TIMER,
        "runs": [(run, title(run, status.at), *rows_read(run)) for run in status.runs],
        "write_back_at": status.write_back.done(),
        "details": [(name, lines) for name, found in details(status) if (lines := list(found))],
        "done": await _done(visit),
        "resume": pause.RESUME.path,
        "pause": pause.PAUSE.path,
    }
    return View("overview.html", values)


async def _done(visit: Visit) -> Sequence[tuple[Entry, str, bool]]:
    """What operators did last, the newest first: each with the page about it, and whether a command did it.

    The journal has what was done in consoles. Nothing where storage does not answer, as the verdict says then.
    """
    try:
        entries = await journal.newest(visit.context.state, ACTIONS)
        past = await acts.latest(visit).now()
    except StorageUnavailableError:
        return ()
    by_commands = [
        (Entry(event.at, event.by, sentence(event.text)), f"/runs?run={event.run}" if event.run else "", True)
        for event in (past.events if past else ())
        if "place" not in event.facts
    ]
    found = [*((entry, f"/jobs/{name}", False) for name, entry in entries.items()), *by_commands]
    return sorted(found, key=lambda done: done[0].at, reverse=True)[:ACTIONS]


def _oldest(status: Status, queue: Queue) -> str:
    """The age of the oldest change in a queue."""
    if queue.oldest:
        return age(status.at - queue.oldest)
    return UNKNOWN if queue.why or queue.name in status.unseen else NONE


PAGE = Page("/", "Overview", show, pause.ACTIONS, lead=pause.lead)
