"""Looks at all dead letters, page by page, without disturbing them. Memory holds some pages and no more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from ..context import Context
from ..peek import Place, QueueUnavailable, peek
from .letter import DeadLetter, places, read

#: Pages that are read ahead of each place: opening one takes the SDK a second, so all are opened at once.
_AHEAD = 2

_Page = list[DeadLetter] | QueueUnavailable | None


@dataclass(slots=True)
class Survey:
    """One look at every place. `unseen` says of places that could not be looked into, why."""

    context: Context
    unseen: dict[str, str] = field(default_factory=dict)
    counts: dict[Place, int] = field(default_factory=dict)

    async def pages(self, only: Sequence[Place] | None = None) -> AsyncGenerator[list[DeadLetter], None]:
        """All dead letters, place by place and in order there. Close the iterator when it is left early.

        Raises QueueUnavailable when Service Bus does not answer at all.
        """
        chosen = places(self.context.settings.queues) if only is None else only
        queues: dict[Place, asyncio.Queue[_Page]] = {place: asyncio.Queue(_AHEAD) for place in chosen}
        readers = [asyncio.create_task(self._read(place, queue)) for place, queue in queues.items()]
        try:
            for place, queue in queues.items():
                self.counts[place] = 0
                while (page := await queue.get()) is not None:
                    if isinstance(page, QueueUnavailable):
                        if page.concerns_all:
                            raise page
                        self.unseen[str(place)] = page.message
                        break
                    self.counts[place] += len(page)
                    yield page
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)

    async def _read(self, place: Place, pages: asyncio.Queue[_Page]) -> None:
        try:
            async with aclosing(peek(self.context.bus, place)) as found:
                async for page in found:
                    await pages.put([read(place, message, self.context.settings.queues) for message in page])
        except QueueUnavailable as error:
            await pages.put(error)
        else:
            await pages.put(None)
