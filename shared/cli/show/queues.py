"""What `msisync show person` finds in the queues: messages on their way, and dead letters. Takes nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import aclosing, suppress

from ...azure.receiver import Message
from ...config.settings import QueueSettings
from ...dataverse.notifications import parse
from ...model.dead_letter import Explanation, first_seen
from ...model.entities import PERSON
from ...model.errors import MessageError, NotificationError
from ...model.ids_and_times import GUID
from ...model.record import decode
from ..context import Context
from ..dead_letters.letter import read
from ..peek import PAGE, Place, QueueUnavailable, counts, peek
from ..queues import resume_line
from .facts import Letter, Search, Subject, Unseen, Waiting

_ID = re.compile(GUID.encode())


class Looking:
    """One look at the queues: those that everybody needs are opened at once, and read when it is known for whom.

    They are read in the order in which a change travels (`stages`), so one on the move is met somewhere. What cannot be
    looked at is noted in `search.unseen`, or in `search.troubles` when Service Bus does not answer.
    """

    def __init__(self, context: Context, search: Search, max_messages: int) -> None:
        self._context, self._search, self._most = context, search, max_messages
        self._order: list[str] = []
        self._stages: list[tuple[asyncio.Event, list[asyncio.Task[None]]]] = [
            (asyncio.Event(), []) for _ in range(STAGES)
        ]

    async def __aenter__(self) -> Looking:
        self._open(stages(self._context.settings.queues, {PERSON.name}))
        return self

    async def __aexit__(self, *_: object) -> None:
        """What was not looked at is closed as well."""
        tasks = [task for _, opened in self._stages for task in opened]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        search = self._search  # who answered first does not matter
        search.looked_at = {name: search.looked_at[name] for name in self._order if name in search.looked_at}
        search.unseen.sort(key=lambda unseen: self._order.index(unseen.queue))

    async def look(self, entities: Collection[str]) -> None:
        """Fill in the messages about all subjects of the search, in the queues of these entities and the common ones.

        A second look is one in the queues of these entities alone. Raises ConfigurationError when the namespace is not
        set.
        """
        self._open(stages_of(self._context.settings.queues, set(entities) - {PERSON.name}))
        for ready, tasks in self._stages:
            ready.set()
            await asyncio.gather(*tasks)

    def _open(self, found: Sequence[Sequence[Place]]) -> None:
        for (ready, tasks), places in zip(self._stages, found, strict=True):
            tasks += [asyncio.create_task(self._look(place, ready)) for place in places]
            self._order += map(str, places)

    async def _look(self, place: Place, ready: asyncio.Event) -> None:
        context, search = self._context, self._search
        try:
            async with aclosing(peek(context.bus, place, page=min(PAGE, self._most), ready=ready)) as pages:
                await self._go_through(place, pages)
        except QueueUnavailable as error:
            if error.concerns_all:
                search.troubles["Service Bus"] = error.message
            else:
                paused = error.code == "Disabled"
                search.unseen.append(await _unseen(context, place, error.message, paused=paused))

    async def _go_through(self, place: Place, pages: AsyncIterator[list[Message]]) -> None:
        search, queues, seen = self._search, self._context.settings.queues, 0
        async for page in pages:
            if seen >= self._most:
                why = f"only its first {seen} messages were looked at (see --max-messages)"
                search.unseen.append(await _unseen(self._context, place, why))
                return
            subjects = search.subjects
            for message in page:
                named = {id_.decode() for id_ in _ID.findall(message.body.lower())}
                for id_ in subjects.keys() & {*named, Explanation.read(message.properties).record_id}:
                    note(subjects[id_], place, message, queues)
            seen += len(page)
            search.looked_at[str(place)] = seen
        search.looked_at[str(place)] = seen  # 0, of an empty one


#: Where a change may be, one after the other: not routed yet or given up by the broker, in its queue, a dead letter.
STAGES = 3


def stages(queues: QueueSettings, entities: Collection[str]) -> list[list[Place]]:
    """Where to look for what concerns these entities, in the order in which a change travels."""
    first, second, _ = stages_of(queues, entities)
    return [[Place(queues.changes), Place(queues.changes, dead=True), *first], second, [Place(queues.dead_letters)]]


def stages_of(queues: QueueSettings, entities: Collection[str]) -> list[list[Place]]:
    """The same in the queues of these entities alone."""
    names = sorted(entities)
    dead = [Place(queues.of(entity), dead=True) for entity in names]
    return [dead, [Place(queues.of(entity), session=entity) for entity in names], []]


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
