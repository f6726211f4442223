"""How many calls a piece of work has made: the clients count each call that they send."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_CALLS: ContextVar[Counter[str] | None] = ContextVar("calls", default=None)


def count(system: str) -> None:
    """A call to this system is being sent."""
    calls = _CALLS.get()
    if calls is not None:
        calls[system] += 1


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """The calls made inside the block, also by its tasks, by system."""
    calls: Counter[str] = Counter()
    token = _CALLS.set(calls)
    try:
        yield calls
    finally:
        _CALLS.reset(token)


def made(system: str) -> int:
    """The calls to this system in the block so far."""
    calls = _CALLS.get()
    return calls[system] if calls is not None else 0
