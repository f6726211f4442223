"""How many calls a piece of work has made: the clients count each one that leaves, whoever asked for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_TALLY: ContextVar[Counter[str] | None] = ContextVar("tally", default=None)


def count(system: str) -> None:
    """A call of this system leaves."""
    tally = _TALLY.get()
    if tally is not None:
        tally[system] += 1


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """The calls of everything within, tasks included, by system."""
    tally: Counter[str] = Counter()
    token = _TALLY.set(tally)
    try:
        yield tally
    finally:
        _TALLY.reset(token)


def made(system: str) -> int:
    """The calls of this system so far."""
    tally = _TALLY.get()
    return tally[system] if tally is not None else 0
