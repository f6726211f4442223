"""Dead letters counted by what they have in common. Pure, and as small as the number of groups."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime

from ..remedies import remedy
from .letter import DeadLetter

#: Groups that are distinguished; more than that, and codes are not codes.
MAX_GROUPS = 1000
_OTHERS = ("", "", "others")


@dataclass(slots=True)
class Group:
    """Dead letters of one entity, from one queue, with one code. `reason` is the newest one's."""

    entity: str
    source_queue: str
    code: str
    system: str
    reason: str = ""
    count: int = 0
    replayed: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None

    def add(self, letter: DeadLetter) -> None:
        """Count one more."""
        self.count += 1
        self.replayed += letter.replays > 0
        since = letter.message.enqueued
        if self.newest is None or (since and since >= self.newest):
            self.newest, self.reason = since or self.newest, letter.reason
        if since and (self.oldest is None or since < self.oldest):
            self.oldest = since

    @property
    def remedy(self) -> str:
        """What to do next about all of them."""
        selection = f"--code {shlex.quote(self.code)}" + (f" --entity {self.entity}" if self.entity else "")
        return remedy(self.code, self.system, selection)


class Groups:
    """All groups of one look."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str, str], Group] = {}

    def add(self, letter: DeadLetter) -> None:
        """Count a dead letter."""
        key = (letter.entity, letter.source_queue, letter.code)
        if key not in self._groups and len(self._groups) >= MAX_GROUPS:
            key = _OTHERS
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(*key, letter.system)
        group.add(letter)

    def largest_first(self) -> list[Group]:
        """Every group, by count."""
        return sorted(self._groups.values(), key=lambda group: (-group.count, group.entity, group.code))
