"""Sends on what was parked under a parent: page by page, so memory does not grow with the number of children."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import datetime

from ..azure.parked_rows import Parked
from ..azure.parked_table import Store
from ..azure.service_bus import Bus, Outgoing, Properties
from ..config.settings import QueueSettings
from ..model.outcome import Parent
from ..model.record import Record
from ..telemetry import spans
from .routing import messages_of
from .scheduling import Windows

#: Parents whose children are sent on at a time.
RELEASES = 8


@dataclass(slots=True)
class Left:
    """What a release has sent on, and what it has left: the age of the oldest, and whether any is there."""

    count: int = 0
    oldest: datetime | None = None
    any: bool = False


@dataclass
class Releases:
    """Releases of one process."""

    store: Store
    bus: Bus
    queues: QueueSettings
    _: KW_ONLY
    now: Callable[[], datetime]
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(RELEASES), init=False)

    async def of(self, parent: Parent, windows: Windows, leaves: Callable[[Parked], bool] = lambda _: True) -> Left:
        """Send on and remove the children that leave, page by page."""
        left = Left()
        async with self._slots:
            async for page in self.store.children(parent):
                leaving = []
                for child in page:
                    if leaves(child):
                        leaving.append(child)
                        continue
                    left.any = True
                    since = waits_since(child)
                    left.oldest = min(left.oldest or since, since) if since else left.oldest
                by_entity: dict[str, list[Record]] = {}
                for child in leaving:
                    by_entity.setdefault(child.entity, []).append(self._released(child))
                await self.send(by_entity, windows, spans.carried(*(child.trace for child in leaving)))
                await self.store.remove(leaving)
                left.count += len(leaving)
        return left

    def _released(self, child: Parked) -> Record:
        """The record as it goes on: of one that is in Marketo already, that its parent has come is a change of now."""
        if child.linked_later:
            return replace(child.record, released=True, parked_since=None, first_seen=self.now())
        return replace(child.record, released=True)

    async def send(self, records: dict[str, list[Record]], windows: Windows, context: Properties | None = None) -> None:
        """Send these records to their entities' queues.

        `context`: of the trace that these records go on with; else it is the one of whoever sends them.
        """
        messages: list[Outgoing] = []
        for entity, all_of_it in records.items():
            at = windows.next_turn(entity)
            messages += messages_of(self.queues, entity, all_of_it, burst=windows.burst, at=at, properties=context)
        await self.bus.send(messages)


def waits_since(child: Parked) -> datetime | None:
    """Since when a record is kept out of Marketo by its wait; None when it is in Marketo without the link."""
    return None if child.linked_later else child.record.parked_since
