"""What `msisync show person` finds in the queues: messages on their way, and dead letters. Takes nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection
from contextlib import aclosing, suppress

from ...azure.receiver import Message
from ...config.settings import QueueSettings
from ...dataverse.notifications import parse
from ...model.dead_letter import Explanation, first_seen
from ...model.errors import MessageError, NotificationError
from ...model.ids_and_times import GUID
from ...model.record import decode
from ..context import Context
from ..dead_letters.letter import read
from ..peek import PAGE, Place, QueueUnavailable, counts, peek
from ..queues import resume_line
from .facts import Letter, Search, Subject, Unseen, Waiting

_ID = re.compile(GUID.encode())


async def look(context: Context, search: Search, entities: Collection[str], max_messages: int) -> None:
    """Fill in the messages about all subjects of a search, in the queues of these entities and the common ones.

    What cannot be looked at is noted in `search.unseen`, or in `search.troubles` when Service Bus does not answer.
    """
    for stage in stages(context.settings.queues, entities):
        await asyncio.gather(*(_look(context, search, place, max_messages) for place in stage))
        if "Service Bus" in search.troubles:
            return


async def look_further(context: Context, search: Search, entities: Collection[str], max_messages: int) -> None:
    """The same in the queues of these entities alone."""
    names = {name: context.settings.queues.of(name) for name in sorted(entities)}
    places = [Place(queue, session=name) for name, queue in names.items()]
    places += [Place(queue, dead=True) for queue in names.values()]
    await asyncio.gather(*(_look(context, search, place, max_messages) for place in places))


def stages(queues: QueueSettings, entities: Collection[str]) -> list[list[Place]]:
    """Where to look, in the order in which a change travels: so one on the move is met somewhere.

    Opening a queue takes the SDK a second: what nothing leaves is read beside the first.
    """
    dead = [Place(queues.of(entity), dead=True) for entity in entities]
    return [
        [Place(queues.changes), Place(queues.changes, dead=True), *dead],
        [Place(queues.of(entity), session=entity) for entity in entities],
        [Place(queues.dead_letters)],
    ]


async def _look(context: Context, search: Search, place: Place, max_messages: int) -> None:
    subjects, queues, seen = search.subjects, context.settings.queues, 0
    try:
        async with aclosing(peek(context.bus, place, page=min(PAGE, max_messages))) as pages:
            async for page in pages:
                if seen >= max_messages:
                    why = f"only its first {seen} messages were looked at (see --max-messages)"
                    search.unseen.append(await _unseen(context, place, why))
                    return
                for message in page:
                    named = {id_.decode() for id_ in _ID.findall(message.body.lower())}
                    for id_ in subjects.keys() & {*named, Explanation.read(message.properties).record_id}:
                        note(subjects[id_], place, message, queues)
                seen += len(page)
                search.looked_at[str(place)] = seen
        search.looked_at[str(place)] = seen
    except QueueUnavailable as error:
        if error.concerns_all:
            search.troubles["Service Bus"] = error.message
        else:
            search.unseen.append(await _unseen(context, place, error.message, paused=error.code == "Disabled"))


async def _unseen(context: Context, place: Place, why: str, *, paused: bool = False) -> Unseen:
    """A queue that was not seen to its end, with the broker's own counts where the credentials give them."""
    queues = context.settings.queues
    moves = not place.dead and place.queue != queues.dead_letters
    entity = queues.entity_of(place.queue)
    resume = resume_line(entity or "changes") if paused and moves else ""
    try:
        found = await counts(context.bus_administration, place.queue)
    except QueueUnavailable:
        return Unseen(str(place), why, moves=moves, entity=entity, resume=resume)
    active, scheduled = (found.dead, 0) if place.dead else (found.active, found.scheduled)
    return Unseen(str(place), why, active, scheduled, moves, entity, resume)


def note(subject: Subject, place: Place, message: Message, queues: QueueSettings) -> None:
    """Add what a message says about a record whose id is somewhere in it; it may be about another row."""
    if place.dead or place.queue == queues.dead_letters:
        letter = read(place, message, queues)
        if any(id_ == subject.id for _, id_ in letter.ids):
            why = (letter.source_queue, letter.code, letter.reason, letter.system, letter.first_seen, letter.attempts)
            subject.letters.append(Letter(str(place), *why, address=letter.address, replays=letter.replays))
        return
    with suppress(MessageError, NotificationError):  # of nobody, then
        if place.session is not None:
            for record in decode(message.body, queues.entity_of(place.queue)):
                if record.id == subject.id:
                    subject.waiting.append(Waiting(str(place), True, record.first_seen, message.due, record.attempt))
            return
        found = parse(message.body)
        if any(change.id == subject.id for change in found.changes):
            seen = first_seen(message.properties) or message.enqueued
            subject.waiting.append(Waiting(str(place), False, seen, message.due, notification=found.message))
