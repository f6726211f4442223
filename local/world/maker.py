"""What every row of a world is made with: one seeded source of chance, ids, times, owners and addresses."""

import random
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import TypeVar

from local.world import words
from local.world.model import KEYS, Reference, Row, Size, World, lookup

T = TypeVar("T")

_BEGIN = datetime(2024, 1, 8, 7, 30, tzinfo=UTC)
_SPAN_SECONDS = 700 * 86_400


class Maker:
    """Makes rows of one world. Special cases come in turn, never by chance: the smallest world has all of them."""

    def __init__(self, seed: int, size: Size) -> None:
        self.world = World(seed, size)
        self.random = random.Random(seed)  # noqa: S311  (invented rows, the same for the same seed)
        self.usual_owners: list[Reference] = []
        self._special_owners: Iterator[Reference] = iter(())
        self._owned = 0

    def set_owners(self, usual: Iterable[Reference], special: Iterable[Reference]) -> None:
        """Say who owns rows from now on: mostly the usual ones, every sixth row one of the special ones in turn."""
        self.usual_owners = list(usual)
        self._special_owners = cycle(special)

    def id(self) -> str:
        """A GUID in lower case."""
        text = f"{self.random.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"

    def pick(self, values: Sequence[T]) -> T:
        """One of the values."""
        return values[int(self.random.random() * len(values))]

    def chance(self, share: float) -> bool:
        """True in this share of cases."""
        return self.random.random() < share

    def add(self, table: str, **values: object) -> Row:
        """Put a row into the world, with an id and what the platform keeps on every row."""
        row_id = self.id()
        created = _BEGIN + timedelta(seconds=int(self.random.random() * _SPAN_SECONDS))
        row: Row = {
            KEYS[table]: row_id,
            "createdon": moment(created),
            "modifiedon": moment(created + timedelta(minutes=self.random.randrange(100_000))),
            **values,
        }
        self.world.rows[table][row_id] = row
        return row

    def owner(self) -> Row:
        """The owner columns of the next row."""
        self._owned += 1
        table, owner = next(self._special_owners) if self._owned % 6 == 0 else self.pick(self.usual_owners)
        user = owner if table == "systemuser" else None
        team = owner if table == "team" else None
        return {
            **lookup("ownerid", table, owner),
            **lookup("owninguser", "systemuser", user),
            **lookup("owningteam", "team", team),
        }

    def address(self, *, lines: bool = False) -> Row:
        """The columns of address 1; with `lines` also its second and third line."""
        city, state, code, country = self.pick(words.PLACES)
        row: Row = {
            "address1_line1": self.pick(words.STREETS),
            "address1_city": city,
            "address1_stateorprovince": state,
            "address1_postalcode": code,
            "address1_country": country,
        }
        if lines:
            row["address1_line2"] = self.pick(words.BUILDINGS)
            row["address1_line3"] = self.pick(words.BUILDINGS)
        return row

    def phone(self) -> str | None:
        """A telephone number, or none."""
        return None if self.chance(0.25) else f"+49 40 {self.random.randrange(10_000, 9_999_999)}"

    def day(self) -> str:
        """A date without time."""
        return (_BEGIN + timedelta(days=self.random.randrange(900))).date().isoformat()

    def choice(self, values: Sequence[int]) -> int | None:
        """The value of a choice column, or none."""
        return None if self.chance(0.2) else self.pick(values)


def full_name(first: str | None, last: str | None) -> str | None:
    """The name that the platform derives from its parts, of 160 characters at most."""
    return " ".join(filter(None, (first, last)))[:160] or None


def moment(at: datetime) -> str:
    """A point in time as the Web API writes it."""
    return at.isoformat()[:19] + "Z"
