"""What a replay, discard or import is about: the numbers of the chosen dead letters, and what is left out. Pure."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field

from ...sync.routing import Refusal
from ..peek import Place
from .grouping import Groups
from .letter import DeadLetter
from .resend import OFTEN

#: Refused ones that are named; more are counted.
MAX_NAMED = 20


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

    def offer(self, letter: DeadLetter, refusal: Refusal | None) -> bool:
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
            self.chosen.setdefault(letter.place, array("q")).append(letter.message.sequence_number)
            self.groups.add(letter)
            self.count += 1
            return True
        return False
