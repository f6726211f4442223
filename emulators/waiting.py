"""Waiting for what other processes do: bounded, and with words for what was seen instead."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

#: Seconds between two looks: few at first, more when it takes longer, since looking costs those who work.
FIRST_POLL, LONGEST_POLL, LONGER = 0.02, 0.2, 1.2
#: A bound ends what hangs. On a machine that is busy with other work, what is only slow takes several times as long.
BUSY = 5
_SHOWN = 2000


async def eventually(
    look: Callable[[], Awaitable[T]],
    is_right: Callable[[T], Any] = bool,
    *,
    seconds: float = 60.0,
    what: str = "what was waited for",
) -> T:
    """Look again and again until the sight is right, and return it. Raises AssertionError that tells the last one."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds * BUSY
    poll = FIRST_POLL
    while True:
        seen = await look()
        if is_right(seen):
            return seen
        if loop.time() > deadline:
            msg = f"{what} did not come within {seconds * BUSY:g} s; last seen: {seen!r:.{_SHOWN}}"
            raise AssertionError(msg)
        await asyncio.sleep(poll)
        poll = min(poll * LONGER, LONGEST_POLL)
