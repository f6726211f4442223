"""What pages with long lists have in common: parts of a list, addresses that keep a filter, and looking again. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar
from urllib.parse import urlencode

from .latest import Latest
from .page import Visit

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """A part of a list: the `number`-th one, of so many items in `total`."""

    part: Sequence[T]
    number: int
    total: int
    size: int

    @property
    def first(self) -> int:
        """The place of its first item in the list, from 1 on."""
        return (self.number - 1) * self.size + 1

    @property
    def last(self) -> int:
        """The place of its last item."""
        return self.first + len(self.part) - 1

    @property
    def before(self) -> int:
        """The number of the part before; 0: none."""
        return self.number - 1

    @property
    def after(self) -> int:
        """The number of the part after; 0: none."""
        return self.number + 1 if self.last < self.total else 0


def part_of(items: Sequence[T], word: str, size: int) -> Part[T]:
    """The part that an address asks for: the first one where it says no number, the last one if it is too great."""
    last = max(1, -(-len(items) // size))
    number = int(word) if word.isascii() and word.isdecimal() and len(word) < 9 else 1
    number = min(last, max(1, number))
    return Part(items[(number - 1) * size : number * size], number, len(items), size)


def address(path: str, words: Mapping[str, str], **more: str) -> str:
    """The address of a page with these fields; `more` fields replace them, and empty ones are left out."""
    fields = {name: word for name, word in {**words, **more}.items() if word}
    return f"{path}?{urlencode(fields)}" if fields else path


class Dated(Protocol):
    """What was found, and when."""

    @property
    def at(self) -> datetime:
        """When it was looked for."""


def name_of(found: Dated) -> str:
    """What a link says to have something newer than this: it does nothing more when it is reloaded."""
    return found.at.strftime("%Y%m%dT%H%M%S.%f")


def look_again(visit: Visit, look: Latest[Any]) -> None:
    """Have it looked for again, if the address asks for something newer than what is known (a Dated)."""
    if look.known and visit.word("after") == name_of(look.known):
        look.outdate()


def is_awaited(visit: Visit, look: Latest[Any]) -> bool:
    """Whether something newer that the address asks for is still being looked for; what is known is shown meanwhile."""
    return look.is_looking and bool(visit.word("after"))
