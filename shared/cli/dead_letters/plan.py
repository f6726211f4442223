"""What a replay or discard would do, found by looking: the numbers of the chosen dead letters, and what is left out."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime

from ...sync.routing import Refusal
from ..peek import Place
from .filters import Filters
from .grouping import Groups
from .letter import DeadLetter
from .resend import OFTEN
from .survey import Survey

#: Refused ones that are named; more are counted.
MAX_NAMED = 20


@dataclass(slots=True)
class Plan:
    """The snapshot that a run works on. What is not in it is left alone, such as what comes back meanwhile.

    `chosen` are sequence numbers by place; `beyond` fit as well, but are more than may go at a time. `often` were left
    out because they were replayed so often already; `refused` because nobody would understand them.
    """

    chosen: dict[Place, array[int]] = field(default_factory=dict)
    groups: Groups = field(default_factory=Groups)
    count: int = 0
    beyond: int = 0
    often: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    named: list[tuple[str, str]] = field(default_factory=list)

    def refuse(self, letter: DeadLetter, refusal: Refusal) -> None:
        """Leave one out that cannot be sent."""
        self.refused[refusal.code] += 1
        if len(self.named) < MAX_NAMED:
            self.named.append((letter.address, f"{refusal.code}: {refusal.message}"))

    def choose(self, letter: DeadLetter) -> None:
        """Take one in."""
        self.chosen.setdefault(letter.place, array("q")).append(letter.message.sequence_number)
        self.groups.add(letter)
        self.count += 1


async def make(
    survey: Survey,
    filters: Filters,
    now: datetime,
    *,
    most: int,
    again: bool,
    check: Callable[[DeadLetter], Refusal | None],
) -> Plan:
    """Look at everything once. `most`: how many may go, 0 for all; `again`: also what was replayed often.

    `check` says why a dead letter must stay. Raises QueueUnavailable when Service Bus does not answer.
    """
    plan = Plan()
    async with aclosing(survey.pages()) as pages:
        async for page in pages:
            for letter in page:
                if not filters.fit(letter, now):
                    continue
                if letter.replays >= OFTEN and not again:
                    plan.often += 1
                elif refusal := check(letter):
                    plan.refuse(letter, refusal)
                elif most and plan.count >= most:
                    plan.beyond += 1
                else:
                    plan.choose(letter)
    return plan
