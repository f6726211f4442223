"""Which dead letters a command is about: the filters that all of them share. Pure."""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from ...model.entities import ENTITIES
from ...model.ids_and_times import guid
from .letter import DeadLetter

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGE = re.compile(r"(\d{1,6})([smhdw])")


@dataclass(frozen=True, slots=True)
class Replays:
    """How often something was replayed: exactly so often, or at least."""

    times: int
    or_more: bool = False

    def fits(self, replays: int) -> bool:
        """Whether that many replays are meant."""
        return replays >= self.times if self.or_more else replays == self.times


@dataclass(frozen=True, slots=True)
class Filters:
    """Every filter that is given must fit. An empty one lets everything through. `only` are identities."""

    entity: str = ""
    id: str = ""
    code: str = ""
    reason: str = ""
    source_queue: str = ""
    older_than: timedelta | None = None
    newer_than: timedelta | None = None
    replayed: Replays | None = None
    only: frozenset[str] | None = None

    def fit(self, letter: DeadLetter, now: datetime) -> bool:
        """Whether a dead letter is meant. Its age is the time since it came to the place where it lies."""
        return (
            self.entity in ("", letter.entity)
            and self.code in ("", letter.code)
            and self.source_queue in ("", letter.source_queue)
            and (not self.id or any(id_ == self.id for _, id_ in letter.ids))
            and self.reason.casefold() in letter.reason.casefold()
            and (self.replayed is None or self.replayed.fits(letter.replays))
            and (self.only is None or letter.identity in self.only)
            and self._age_fits(letter.message.enqueued, now)
        )

    def _age_fits(self, since: datetime | None, now: datetime) -> bool:
        if self.older_than is None and self.newer_than is None:
            return True
        if since is None:
            return False
        age = now - since
        return (self.older_than is None or age > self.older_than) and (self.newer_than is None or age < self.newer_than)


def arguments(parser: ArgumentParser) -> None:
    """Add the options of every filter."""
    group = parser.add_argument_group("filters")
    names = ", ".join(ENTITIES)
    group.add_argument("--entity", default="", choices=tuple(ENTITIES), metavar="NAME", help=f"one of {names}")
    group.add_argument("--id", default="", type=_id, metavar="GUID", help="id of the row in Dynamics")
    group.add_argument("--code", default="", metavar="CODE", help="such as 1003 or ParentMissing")
    group.add_argument("--reason", default="", metavar="TEXT", help="what the message contains")
    group.add_argument("--source-queue", default="", metavar="QUEUE", help="the queue where it came from")
    group.add_argument("--older-than", type=age, metavar="AGE", help="a dead letter for longer than 30m, 2h, 3d …")
    group.add_argument("--newer-than", type=age, metavar="AGE", help="for less than that")
    group.add_argument("--replayed", type=replays, metavar="N", help="replayed exactly N times; N+ is N or more")


def given_filters(given: Namespace, only: frozenset[str] | None = None) -> Filters:
    """The filters of a command line. `only`: nothing but dead letters of these identities."""
    names = (field.name for field in fields(Filters) if field.name != "only")
    return Filters(**{name: getattr(given, name) for name in names}, only=only)


def age(text: str) -> timedelta:
    """A duration such as 30m, 2h or 3d. Raises ArgumentTypeError."""
    found = _AGE.fullmatch(text.strip().lower())
    if not found:
        raise ArgumentTypeError(f"{text!r} is no age; give a number with s, m, h, d or w, such as 2h or 3d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def replays(text: str) -> Replays:
    """A number of replays, such as 0 or 3+. Raises ArgumentTypeError."""
    number = text.removesuffix("+")
    if not (number.isascii() and number.isdecimal()):
        raise ArgumentTypeError(f"{text!r} is no number of replays; give 0, 1 … or 3+ for three or more")
    return Replays(int(number), or_more=text.endswith("+"))


def _id(text: str) -> str:
    try:
        return guid(text) or ""
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a valid GUID") from None
