"""What `msisync status` asks: the broker for its counts, the first messages for their age, storage for the rest.

Neither Marketo nor Dynamics is asked. What does not answer is noted, and the rest is looked at all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

from ...azure.errors import storage_within
from ...azure.receiver import Message
from ...azure.shared_state import State, Value, parsed
from ...model import dead_letter
from ...model.dead_letter import Explanation
from ...model.entities import ENTITIES
from ...model.errors import MessageError, StorageUnavailableError
from ...model.record import decode
from ...sync import circuit, circuit_breaker, delete_brake, heartbeat, missed_changes_place, statistics
from ...sync.heartbeat import beat_of
from ...write_back import drift, results
from ...write_back.due import DUE
from ...write_back.plan import KIND
from .. import peek
from ..context import Context
from ..peek import ANSWER_SECONDS, Place, QueueUnavailable, explained
from ..queues import status_word
from .facts import MAX_LETTERS, MAX_PARKED, PARKED, STATE, Entity, Queue, Status

#: Messages among which the oldest change is looked for.
FIRST = 50
#: How long storage may take: 100,000 parked rows take seconds.
STORAGE_SECONDS = 60.0
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SLOT = timedelta(minutes=statistics.SLOT_MINUTES)


async def look(context: Context) -> Status:
    """Everything. Raises ConfigurationError when settings cannot be used."""
    names = context.settings.queues
    status = Status(
        datetime.now(UTC),
        Queue("changes", names.changes),
        Queue("dead_letters", names.dead_letters),
        {name: Entity(Queue(name, names.of(name))) for name in ENTITIES},
    )
    await asyncio.gather(
        *(_queue(context, status, queue) for queue in status.queues),
        _asked(status, PARKED, _parked(context, status)),
        _asked(status, STATE, _state(context, status)),
    )
    return status


async def _asked(status: Status, what: str, work: Awaitable[None]) -> None:
    """Do it, or note why storage does not answer."""
    try:
        async with storage_within(STORAGE_SECONDS):
            await work
    except StorageUnavailableError as error:
        said = f"answers HTTP {error.status}" if error.status else f"does not answer ({error.cause})"
        status.unseen[what] = f"storage {said}"


async def _queue(context: Context, status: Status, queue: Queue) -> None:
    """The broker's counts, and what can be learned from its first messages."""
    try:
        await _count(context, queue)
        if not (queue.waiting or queue.scheduled):
            return
    except QueueUnavailable as error:
        status.unseen[queue.name] = error.message
        if error.code != "NoPermission":  # who may not manage may still listen
            return
    try:
        if queue.setting == "dead_letters":
            await _letters(context, status)
        else:
            queue.oldest = await _oldest(context, queue)
    except QueueUnavailable as error:
        queue.why = "paused" if queue.is_paused else error.message
        if error.code not in ("InUse", "Disabled"):  # which tell all that there is to know
            status.unseen.setdefault(queue.name, error.message)


async def _count(context: Context, queue: Queue) -> None:
    queue.status, counted = await asyncio.gather(
        _status_of(context, queue.name), peek.counts(context.bus_administration, queue.name)
    )
    queue.waiting, queue.scheduled, queue.dead = counted.active, counted.scheduled, counted.dead


async def _status_of(context: Context, name: str) -> str:
    with explained():
        async with asyncio.timeout(ANSWER_SECONDS):
            return status_word((await context.bus_administration.get_queue(name)).status)


async def _oldest(context: Context, queue: Queue) -> datetime | None:
    """The oldest change among the first messages. Raises QueueUnavailable."""
    entity = "" if queue.setting == "changes" else queue.setting
    place = Place(queue.name, session=entity or None)
    async with aclosing(peek.peek(context.bus, place, page=FIRST)) as pages:
        page: list[Message] = await anext(pages, [])
    return min((seen for message in page if (seen := first_seen(message, entity))), default=None)


def first_seen(message: Message, entity: str) -> datetime | None:
    """When the oldest change of a message came; without `entity`, of a notification."""
    if entity:
        try:
            return min((record.first_seen for record in decode(message.body, entity)), default=message.enqueued)
        except MessageError:
            return message.enqueued
    return dead_letter.first_seen(message.properties) or message.enqueued


async def _letters(context: Context, status: Status) -> None:
    """Dead letters of the application, by entity."""
    seen = 0
    async with aclosing(peek.peek(context.bus, Place(status.dead_letters.name))) as pages:
        async for page in pages:
            for message in page:
                entity = status.entities.get(Explanation.read(message.properties).entity)
                if entity:
                    entity.letters += 1
                else:
                    status.letters_elsewhere += 1
            seen += len(page)
            if seen >= MAX_LETTERS:
                status.letters_more = seen < (status.dead_letters.waiting or 0)
                return


async def _parked(context: Context, status: Status) -> None:
    found, status.parked_more = await context.parked.count(MAX_PARKED)
    for name, waiting in found.items():
        status.entities[name].parked = waiting


async def _state(context: Context, status: Status) -> None:
    state = context.state
    first = statistics.row_name(status.at - DAY, "")
    kinds = (missed_changes_place.KIND, heartbeat.KIND, circuit_breaker.KIND, delete_brake.KIND, KIND, DUE)
    rows, runs, usage, of_kinds = await asyncio.gather(
        rows_of(state, statistics.KIND, first=first),
        context.runs.all(),
        context.budget.refresh(),
        asyncio.gather(*(rows_of(state, kind) for kind in kinds)),
    )
    searched, beats, circuits, brakes, of_write_back, due = of_kinds
    for name, entity in status.entities.items():
        entity.last_hour = statistics.totals(rows, name, status.at - HOUR)
        entity.last_day = statistics.totals(rows, name, status.at - DAY)
        entity.by_slot = statistics.series(rows, name, until=status.at, step=SLOT, number=HOUR // SLOT)
        entity.by_hour = statistics.series(rows, name, until=status.at, step=HOUR, number=DAY // HOUR)
        entity.last_error = statistics.last_error(rows, name)
        entity.hottest = statistics.hottest(rows, name, status.at - HOUR)
    status.runs = [run for run in runs if not run.is_over]
    places = {table: parsed(missed_changes_place.Place, row) for table, row in searched.items()}
    status.missed_changes = {table: place for table, place in places.items() if place and not place.off}
    notes = {name: beat_of(row) for name, row in beats.items()}
    status.beats = {name: beat for name, beat in notes.items() if beat}
    status.schedule = context.environment.get("RELEASE_SCHEDULE", "")
    status.circuits = circuit.still_open(circuits, status.at)
    status.brakes = {name: row for name, row in brakes.items() if row.get("on")}
    status.write_back.runs = results.runs_of(of_write_back.get(results.ROW, {}))
    status.write_back.drift = parsed(drift.Drift, of_write_back.get(drift.ROW))
    for value in due.values():
        status.write_back.refused += 1
        status.write_back.dead += bool(value.get("dead"))
        status.write_back.last_refusal = f"{value.get('code')} {value.get('message')}"
    status.budget = usage if usage.as_of else None


async def rows_of(state: State, kind: str, *, first: str = "") -> dict[str, Value]:
    """The rows of a kind, from this name on, in the table that all share. Raises StorageUnavailableError."""
    return {name: value async for name, value in state.all(kind, first=first)}
