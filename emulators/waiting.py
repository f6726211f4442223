"""Waiting for what other processes do: bounded, and with words for what was seen instead."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

POLL = 0.05
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
    while True:
        seen = await look()
        if is_right(seen):
            return seen
        if loop.time() > deadline:
            msg = f"{what} did not come within {seconds * BUSY:g} s; last seen: {seen!r:.{_SHOWN}}"
            raise AssertionError(msg)
        await asyncio.sleep(POLL)
