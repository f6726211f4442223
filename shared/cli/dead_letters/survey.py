"""Looks at all dead letters, page by page, without disturbing them. Memory holds some pages and no more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime

from ..context import Context
from ..peek import Place, QueueUnavailable, peek
from .filters import Filters
from .letter import DeadLetter, places, read

#: Pages that are read ahead of each place: opening one takes the SDK a second, so all are opened at once.
_AHEAD = 2

_Page = list[DeadLetter] | QueueUnavailable | None


async def look(context: Context, filters: Filters, take: Callable[[DeadLetter], object]) -> dict[str, str]:
    """Hand over all dead letters that fit, place by place and in order there.

    Gives the places that could not be read, and why. Raises QueueUnavailable when Service Bus does not answer.
    """
    now, unseen = datetime.now(UTC), dict[str, str]()
    pages: dict[Place, asyncio.Queue[_Page]] = {
        place: asyncio.Queue(_AHEAD) for place in places(context.settings.queues)
    }
    readers = [asyncio.create_task(_read(context, place, queue)) for place, queue in pages.items()]
    try:
        for place, queue in pages.items():
            while page := await queue.get():
                if isinstance(page, QueueUnavailable):
                    if page.concerns_all:
                        raise page
                    unseen[str(place)] = page.message
                    break
                for letter in page:
                    if filters.fit(letter, now):
                        take(letter)
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    return unseen


async def _read(context: Context, place: Place, pages: asyncio.Queue[_Page]) -> None:
    """Each page of a place, then why there are no more, or nothing."""
    try:
        async with aclosing(peek(context.bus, place)) as found:
            async for page in found:
                await pages.put([read(place, message, context.settings.queues) for message in page])
    except QueueUnavailable as error:
        await pages.put(error)
    else:
        await pages.put(None)
