"""Looks at all dead letters, page by page, without disturbing them, and tells which of them a command is about.

Memory holds some pages and no more.
"""

from __future__ import annotations

import asyncio
import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

from ...model.entities import ENTITIES
from ..command import guid
from ..context import Context
from ..entity_words import as_entity
from ..peek import Place, QueueUnavailable, peek
from .letter import DeadLetter, Facts, places, read

#: Pages that are read ahead of each place: opening one takes the SDK a second, so all are opened at once.
_AHEAD = 2
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGE = re.compile(r"(\d{1,6})([smhdw])")
#: More than anything was ever replayed.
_MOST_REPLAYS = 2**31

_Page = list[DeadLetter] | QueueUnavailable | None


async def look(
    context: Context, given: Namespace, take: Callable[[DeadLetter], object], *, only: frozenset[str] | None = None
) -> dict[str, str]:
    """Hand over all dead letters that fit, place by place and in order there. `only`: those of these identities.

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
                    if fits(given, letter, now) and (only is None or letter.identity in only):
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


def add_filters(parser: ArgumentParser) -> None:
    """Add the options that all commands share: of those that are given, every one must fit."""
    group = parser.add_argument_group("filters")
    names = ", ".join(ENTITIES)
    group.add_argument("--entity", type=as_entity, choices=tuple(ENTITIES), metavar="NAME", help=f"one of {names}")
    group.add_argument("--id", type=guid, metavar="GUID", help="id of the row in Dynamics")
    group.add_argument("--code", default="", metavar="CODE", help="such as 1003 or ParentMissing")
    group.add_argument("--reason", default="", metavar="TEXT", help="what the message contains")
    group.add_argument("--source-queue", default="", metavar="QUEUE", help="the queue where it came from")
    group.add_argument("--older-than", type=age, metavar="AGE", help="a dead letter for longer than 30m, 2h, 3d …")
    group.add_argument("--newer-than", type=age, metavar="AGE", help="for less than that")
    group.add_argument("--replayed", type=replays, metavar="N", help="replayed exactly N times; N+ is N or more")


def filters(*words: str, **more: Any) -> Namespace:
    """The filters of these words, as if they were typed; `more` is beside them. For commands that replay themselves."""
    parser = ArgumentParser()
    add_filters(parser)
    return parser.parse_args(words, Namespace(**more))


def fits(given: Namespace, letter: Facts, now: datetime) -> bool:
    """Whether a dead letter is meant. Its age is the time since it came to the place where it lies."""
    since = letter.since
    return (
        given.entity in (None, letter.entity)
        and given.code in ("", letter.code)
        and given.source_queue in ("", letter.source_queue)
        and (not given.id or any(id_ == given.id for _, id_ in letter.ids))
        and (not given.reason or given.reason.casefold() in letter.reason.casefold())
        and (given.replayed is None or letter.replays in given.replayed)
        and (given.older_than is None or (since is not None and now - since > given.older_than))
        and (given.newer_than is None or (since is not None and now - since < given.newer_than))
    )


def age(text: str) -> timedelta:
    """A duration such as 30m, 2h or 3d. Raises ArgumentTypeError."""
    found = _AGE.fullmatch(text.strip().lower())
    if not found:
        raise ArgumentTypeError(f"{text!r} is no age; give a number with s, m, h, d or w, such as 2h or 3d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def replays(text: str) -> range:
    """Numbers of replays: "2", or "3+" for three or more. Raises ArgumentTypeError."""
    number = text.removesuffix("+")
    if not (number.isascii() and number.isdecimal()):
        raise ArgumentTypeError(f"{text!r} is no number of replays; give 0, 1 … or 3+ for three or more")
    return range(int(number), _MOST_REPLAYS if text.endswith("+") else int(number) + 1)
