"""Commands that look again and again: `--watch`."""

from __future__ import annotations

import asyncio
import sys
from argparse import ArgumentTypeError
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import TypeVar

from rich.console import RenderableType
from rich.live import Live

from .command import Adding, option
from .output import Console

WATCH_SECONDS = 5.0
SHORTEST_SECONDS = 1.0

T = TypeVar("T")


async def watch(
    seconds: float,
    look: Callable[[], Awaitable[T]],
    frame: Callable[[T], RenderableType],
    *,
    until: Callable[[T], bool] = lambda _: False,
    quiet: bool = False,
) -> T | None:
    """Show what `look` finds, again and again until `until`, or the keyboard, ends it. Gives what was seen last.

    `quiet`: nothing is shown.
    """
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty(), quiet=quiet)
    last: T | None = None
    with Live(console=console, auto_refresh=False) if console.is_terminal else nullcontext() as live:
        try:
            while True:
                last = await look()
                if live:
                    live.update(frame(last), refresh=True)
                else:
                    console.print(frame(last))
                if until(last):
                    return last
                await asyncio.sleep(seconds)
        except asyncio.CancelledError:  # Ctrl-C
            task = asyncio.current_task()
            if task:
                task.uncancel()
    return last


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not SHORTEST_SECONDS <= seconds <= 86_400:
        raise ArgumentTypeError("a number of seconds, at least 1, is needed")
    return seconds


def watching(end: str = "until Ctrl-C") -> Adding:
    """The option, with what ends it."""
    return option(
        "--watch",
        nargs="?",
        type=_seconds,
        const=WATCH_SECONDS,
        metavar="SECONDS",
        help=f"look again every so many seconds (default {WATCH_SECONDS:g}) {end}",
    )
