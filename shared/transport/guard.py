"""What a client asks before each call: whether its vendor is known to be away. The circuit breaker answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

#: More tries than any call makes by itself.
UNLIMITED = 1_000


class Guard(Protocol):
    """Watches over the calls of a client."""

    def call(self, system: str, *, of_records: bool = False) -> AbstractAsyncContextManager[int]:
        """Around a call of `system` with all its tries: gives how many it may have. Raises VendorError for none.

        `of_records`: it may fail for what is in it; then its caller finds out whether others would fail as well.
        """


class Unguarded:
    """For clients that call whenever they are told to: those of an operator's commands."""

    @asynccontextmanager
    async def call(self, system: str, *, of_records: bool = False) -> AsyncIterator[int]:  # noqa: ARG002  (the protocol's parameters)
        """Any number of tries."""
        yield UNLIMITED
