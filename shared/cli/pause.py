"""`msisync pause` and `msisync resume`: stop and start the consumption of queues at the broker.

A paused queue is ReceiveDisabled: it takes messages in and gives none out. Service Bus ends the receivers of such a
queue, and the Functions host asks again until it may receive. So both take effect on running instances at once, and
on instances that start meanwhile, without a deployment or an app setting.
"""

from __future__ import annotations

import asyncio
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial

from rich.console import Console
from rich.markup import escape

from ..azure import sdk
from ..model.entities import ENTITIES
from ..sync.history import What
from .command import Command, Exit, Result, option, options
from .context import Context
from .entity_words import as_entity
from .finding import Severity, counted
from .operator import did_at_large
from .peek import ANSWER_SECONDS, QueueUnavailable, counts, explained
from .queues import ACTIVE, PAUSED, resume_line, status_word

#: The setting of the queue of changes, beside the entities.
ROUTING = "changes"

_WHATS = {PAUSED: What.QUEUE_PAUSED, ACTIVE: What.QUEUE_RESUMED}

_MORE_PAUSE = """\
Changes keep queueing, and nothing is lost: no queue of the app lets messages expire. What an instance is working on is
done once more after the pause. While parents are paused, their children are parked.

Exit codes: 0 paused; 1 a queue was left as somebody else had set it; 2 a queue could not be paused.
Undo: msisync resume. See what waits: msisync status. See who did it, and when: msisync history"""
_MORE_RESUME = """\
Running instances go on within seconds, with what has waited first.

Exit codes: 0 resumed; 1 a queue was left as somebody else had set it; 2 a queue could not be resumed.
Next: msisync status --watch"""


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one queue. `setting` is the entity, or `changes`; `error` says why nothing could be done."""

    setting: str
    queue: str
    was: str = ""
    now: str = ""
    waiting: int = 0
    error: str = ""


async def run(context: Context, given: Namespace, _: Console, *, status: str) -> Result:
    """Give the queues that are meant this status. What fails for one of them does not keep the others."""
    settings = [*([given.entity] if given.entity else [] if given.routing else ENTITIES)]
    changes = await set_status(context, [*settings, *([ROUTING] if given.routing else [])], status)
    data = {"status": status, "queues": [asdict(change) for change in changes]}
    if any(change.error for change in changes):
        exit_ = Exit.FAILED
    else:
        exit_ = Exit.OK if all(change.now == status for change in changes) else Exit.ATTENTION
    return Result(exit_, data, lambda console: _show(console, changes, status))


async def set_status(context: Context, settings: Sequence[str], status: str) -> list[Change]:
    """Give queues, named by their settings, this status. The history keeps which of them were changed, and who did."""
    queues, administration = context.settings.queues, context.bus_administration
    changes = await asyncio.gather(*(_set(administration, name, queues.of(name), status) for name in settings))
    for change in changes:
        if change.was != change.now:
            did_at_large(context, _WHATS[status], queue=change.queue)
    await context.history.written()
    return changes


async def _set(
    administration: sdk.bus_management_aio.ServiceBusAdministrationClient, setting: str, name: str, status: str
) -> Change:
    """Set a queue's status. Disabled and SendDisabled are somebody else's decision, and stay."""
    try:
        with explained():
            async with asyncio.timeout(ANSWER_SECONDS):
                queue = await administration.get_queue(name)
                now = was = status_word(queue.status)
                if was in (ACTIVE, PAUSED) and was != status:
                    queue.status = sdk.bus_management.EntityStatus(status)
                    await administration.update_queue(queue)
                    now = status
                counted = await counts(administration, name)
    except QueueUnavailable as error:
        return Change(setting, name, error=f"{error.code}: {error.message}")
    return Change(setting, name, was, now, counted.active + counted.scheduled)


def _show(console: Console, changes: list[Change], status: str) -> None:
    for change in changes:
        severity, text = said(change, status)
        console.print(f"[{severity.colour}]{escape(change.queue)}[/]: {escape(text)}")
    if any(change.error for change in changes):
        console.print("  next: msisync doctor --only bus queues")
    if status == PAUSED and any(change.now == status for change in changes):
        console.print("Changes keep queueing.")
        lines = dict.fromkeys(resume_line(change.setting) for change in changes if change.now == status)
        every = "msisync resume" if len(changes) == len(ENTITIES) else " and ".join(lines)
        console.print(f"To undo: {every}")
    elif status == ACTIVE and any(change.was == PAUSED for change in changes):
        console.print("To see them drain: msisync status --watch")


def said(change: Change, status: str) -> tuple[Severity, str]:
    """What has become of a queue that was to have this status. A queue that is paused needs attention."""
    if change.error:
        return Severity.FAILED, change.error
    if change.now != status:
        text = f"left as it is, {change.now}, which msisync does not set; change it in the Azure portal"
        return Severity.ATTENTION, text
    done = "paused" if status == PAUSED else "active"
    if change.was == status:
        done += ", as it was before"
    waits = f"; {counted(change.waiting, 'message')} in it" if change.waiting else ""
    return (Severity.ATTENTION if status == PAUSED else Severity.OK), done + waits


_ARGUMENTS = options(
    option("entity", nargs="?", type=as_entity, choices=list(ENTITIES), help="one of the five; default: all of them"),
    option("--routing", action="store_true", help="the queue that Dynamics posts to; alone, or beside an entity"),
)
PAUSE = Command(
    "pause", "stop the sync of one entity or of all, while changes keep queueing", _MORE_PAUSE,
    partial(run, status=PAUSED), _ARGUMENTS,
)  # fmt: skip
RESUME = Command("resume", "go on after a pause", _MORE_RESUME, partial(run, status=ACTIVE), _ARGUMENTS)
