"""What a command is about: dead letters counted by what they have in common, and those chosen to be moved. Pure."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from ...sync.routing import Refusal
from ..invocation import quoted
from ..peek import Place
from ..remedies import OFTEN, remedy
from .letter import Facts

#: Groups that are distinguished; more than that, and codes are not codes.
MAX_GROUPS = 1000
_OTHERS = ("", "", "others")
#: Refused ones that are named; more are counted.
MAX_NAMED = 20


@dataclass(slots=True)
class Group:
    """Dead letters of one entity, from one queue, with one code. `reason` is the newest one's."""

    entity: str
    source_queue: str
    code: str
    reason: str
    system: str
    count: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    replayed_before: int = 0

    def add(self, letter: Facts) -> None:
        """Count one more."""
        self.count += 1
        self.replayed_before += letter.replays > 0
        since = letter.since
        if self.newest is None or (since and since >= self.newest):
            self.newest, self.reason = since or self.newest, letter.reason
        if since and (self.oldest is None or since < self.oldest):
            self.oldest = since

    @property
    def remedy(self) -> str:
        """What to do next about all of them."""
        words = ["--code", self.code, *(["--entity", self.entity] if self.entity else [])]
        return remedy(self.code, self.system, quoted(words), entity=self.entity)


class Groups(dict[tuple[str, str, str], Group]):
    """All groups of one look."""

    def add(self, letter: Facts) -> None:
        """Count a dead letter."""
        key = (letter.entity, letter.source_queue, letter.code)
        group = self.get(key)
        if group is None:
            key = _OTHERS if len(self) >= MAX_GROUPS else key
            group = self.setdefault(key, Group(*key, letter.reason, letter.system))
        group.add(letter)

    def largest_first(self) -> list[Group]:
        """Every group, by count."""
        return sorted(self.values(), key=lambda group: (-group.count, group.entity, group.code))


@dataclass(slots=True)
class Selection:
    """The snapshot that a run works on. What is not in it is left alone, such as what comes back meanwhile.

    `most`: how many may go, 0 for all; `again`: also what was replayed often. `chosen` are sequence numbers by place;
    `beyond` fit as well, but are more than may go. `often` were left out because they were replayed so often already,
    `refused` because nobody would understand them.
    """

    most: int = 0
    again: bool = False
    chosen: dict[Place, array[int]] = field(default_factory=dict)
    groups: Groups = field(default_factory=Groups)
    count: int = 0
    beyond: int = 0
    often: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    named: list[tuple[str, str]] = field(default_factory=list)

    def offer(self, letter: Facts, refusal: Refusal | None) -> bool:
        """Take a dead letter in, unless something speaks against it. `refusal`: why it cannot be sent."""
        if letter.replays >= OFTEN and not self.again:
            self.often += 1
        elif refusal:
            self.refused[refusal.code] += 1
            if len(self.named) < MAX_NAMED:
                self.named.append((letter.address, f"{refusal.code}: {refusal.message}"))
        elif self.most and self.count >= self.most:
            self.beyond += 1
        else:
            numbers = self.chosen.get(letter.place)
            if numbers is None:
                numbers = self.chosen[letter.place] = array("q")
            numbers.append(letter.number)
            self.groups.add(letter)
            self.count += 1
            return True
        return False
