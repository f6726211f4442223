"""Splitting records into calls: by Marketo's 300 records and by its 1 MB of body. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

#: Records in one call (marketo.md 2).
MAX_PER_CALL = 300
#: Marketo refuses bodies over 1 MB with HTTP 413. Decimal megabyte, less room for the envelope around the records.
MAX_BYTES = 1_000_000 - 1_000


class Sized(Protocol):
    """Anything with an encoded body."""

    @property
    def body(self) -> bytes:
        """The record as JSON."""


T = TypeVar("T", bound=Sized)


def chunks(items: Sequence[T], at_most: int = MAX_PER_CALL) -> Iterator[list[T]]:
    """Cut `items` into calls of `at_most` records, in order, each within both limits.

    An item that is too large gets a chunk of its own, so Marketo refuses only that record.
    """
    chunk: list[T] = []
    size = 0
    for item in items:
        length = len(item.body) + 1  # the comma
        if chunk and (len(chunk) == at_most or size + length > MAX_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += length
    if chunk:
        yield chunk
