"""`msisync status`: one look, or one after the other until Ctrl-C. Neither Marketo nor Dataverse is asked."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from rich.console import Console

from ...azure.shared_state import dumped
from ..command import Command, Exit, Result
from ..context import Context
from ..output import json_types
from ..watch import watch, watching
from .facts import Entity, Queue, Status
from .look import look
from .text import frame
from .verdict import judge

_MORE = """\
The first line says whether all is well, or what needs attention most, and the next one what helps.

waiting, later    messages of up to 100 records, now and scheduled for later; ‖ means paused
oldest            age of the oldest change among the queue's first messages; ? while the app is working on them
1 h, 24 h         records synced in this time
parked, again     records that wait for a parent; records that were sent again within an hour
dead              dead letters
Hot rows          rows that are changed again and again within the hour, often by a workflow that loops

Asks neither Marketo nor Dynamics. A queue with sessions is read only while the app does not work on it.

Exit codes: 0 all is well; 1 dead letters, a pause, an open circuit, a brake on deletions, the day's share used up, or a
change that waits for more than 15 minutes; 2 something could not be looked at.
Next: msisync dead-letters summary, msisync show person <e-mail>, msisync doctor"""


async def run(context: Context, given: Namespace, _: Console) -> Result:
    """Look once, or watch. Raises ConfigurationError when settings cannot be used."""
    if given.watch is None:
        status = await look(context)
        return Result(
            status.exit, as_json(status), lambda console: console.print(frame(status, context.settings.marketo))
        )
    if given.json:
        given.refuse("--watch is for people; call it again for a new --json")
    last = await watch(given.watch, lambda: look(context), lambda seen: frame(seen, context.settings.marketo))
    return Result(last.exit if last else Exit.OK, as_json(last) if last else {}, lambda _: None)


def as_json(status: Status) -> dict[str, Any]:
    """Everything that was found, as JSON types."""
    budget, back = status.budget, status.write_back
    closed = budget.closed if budget else None
    verdict = judge(status)
    found: dict[str, Any] = json_types(
        {
            "at": status.at,
            "verdict": {
                "code": verdict.code,
                "level": verdict.severity,
                "sentence": verdict.text,
                "remedy": verdict.remedy,
            },
            "changes": _queue(status.changes),
            "entities": {name: _entity(entity) for name, entity in status.entities.items()},
            "dead_letters": {
                **_queue(status.dead_letters),
                "total": status.dead,
                "without_entity": status.letters_elsewhere,
                "more_than_counted": status.letters_more,
            },
            "parked_more_than_counted": status.parked_more,
            "budget": budget
            and {
                "used_today": budget.used_today,
                "share": budget.allowed_today,
                "by_everybody": budget.everybody,
                "measured_at": budget.measured_at,
                "closed_until": closed.opens if closed else None,
                "closed_code": closed.code if closed else "",
                "closed_reason": closed.reason if closed else "",
            },
            "circuits": {name: dumped(outage) for name, outage in status.circuits.items()},
            "delete_brakes": {
                name: {key: brake.get(key) for key in ("on", "limit", "stopped")}
                for name, brake in status.brakes.items()
            },
            "runs": [{"run": run.id, "kind": run.kind, "state": run.state} for run in status.runs],
            "write_back": {"runs": back.runs, "refused": back.refused, "dead": back.dead, "drift": back.drift},
            "missed_changes": {
                table: dumped(place, exclude_defaults=True) for table, place in status.missed_changes.items()
            },
            "app": status.beats or {},
            "attention": [{"what": each.text, "remedy": each.remedy} for each in status.attentions],
            "not_looked_at": status.unseen,
        }
    )
    return found


def _queue(queue: Queue) -> dict[str, Any]:
    return {
        "queue": queue.name,
        "status": queue.status,
        "waiting": queue.waiting,
        "scheduled": queue.scheduled,
        "oldest": queue.oldest,
        "oldest_unknown": queue.why,
        "dead_lettered_by_broker": queue.dead,
    }


def _entity(entity: Entity) -> dict[str, Any]:
    return {
        **_queue(entity.queue),
        "last_hour": entity.last_hour,
        "last_day": entity.last_day,
        "last_error": entity.last_error or None,
        "hottest": [{"table": table, "id": id_, "changes": number} for (table, id_), number in entity.hottest.items()],
        "parked": {"count": entity.parked.count, **json_types(entity.parked)},
        "dead_letters": entity.letters,
    }


COMMAND = Command("status", "what waits, what went through, and what is in the way", _MORE, run, watching())
