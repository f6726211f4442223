"""What this process knows of Marketo without asking: which records are there, and with which id.

A cache, never the truth: entries expire, the number is bounded, and a wrong one costs a call or a short wait, no data.
What was sent is not kept: others write to Marketo as well, and an answer may be lost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass

#: Of each entity.
MAX_ENTRIES = 100_000
#: How long a record counts as being in Marketo.
PRESENT_SECONDS = 4 * 3600.0
#: How long a record counts as not being there; its own sync ends this at once.
ABSENT_SECONDS = 30.0


@dataclass(slots=True)
class _Entry:
    id: int
    expires: float


class Known:
    """Records of Marketo by (entity, external key). Each entity has room of its own: many persons, few companies."""

    def __init__(self, *, clock: Callable[[], float], max_entries: int = MAX_ENTRIES) -> None:
        self._clock = clock
        self._max = max_entries
        self._present: defaultdict[str, dict[str, _Entry]] = defaultdict(dict)  # in the order in which they expire
        self._absent: dict[tuple[str, str], float] = {}

    def add(self, entity: str, key: str, id_: int) -> None:
        """Marketo has this record (id 0 where the object has no number)."""
        present = self._present[entity]
        entry = present.pop(key, None)
        if entry is None:
            self._absent.pop((entity, key), None)
            if len(present) >= self._max:
                del present[next(iter(present))]
            entry = _Entry(id_, 0.0)
        entry.id = id_ or entry.id
        entry.expires = self._clock() + PRESENT_SECONDS
        present[key] = entry

    def id_of(self, entity: str, key: str, *, still: float = 0.0) -> int | None:
        """The record's Marketo id (0 where it has none), or None when it will not be known in `still` seconds."""
        entry = self._present[entity].get(key)
        return entry.id if entry and entry.expires > self._clock() + still else None

    def expiring(self, entity: str, count: int) -> list[str]:
        """Keys of the entity to be asked for where a call has room.

        Those that will not be known much longer, the oldest first, then those that have just expired.

        What one call has renewed expires in one moment: without the latter, each would cost a call of its own.
        """
        now = self._clock()
        known: list[str] = []
        expired: list[str] = []
        for key, entry in self._present[entity].items():
            left = entry.expires - now
            if len(known) == count or left > PRESENT_SECONDS / 2:
                break
            if left > -PRESENT_SECONDS / 2:
                (known if left > 0 else expired).append(key)
        return [*known, *expired][:count]

    def add_absent(self, entity: str, key: str) -> None:
        """Marketo does not have this record now."""
        if len(self._absent) >= self._max:
            del self._absent[next(iter(self._absent))]
        self._absent[entity, key] = self._clock() + ABSENT_SECONDS

    def is_absent(self, entity: str, key: str) -> bool:
        """Whether Marketo said a moment ago that it does not have this record."""
        return self._absent.get((entity, key), 0.0) > self._clock()

    def forget(self, entity: str, key: str) -> None:
        """Marketo's answers contradict what is known of this record."""
        self._present[entity].pop(key, None)
        self._absent.pop((entity, key), None)

    def forget_ids(self, entity: str, ids: Collection[int]) -> None:
        """These records of Marketo, by its own ids, are gone."""
        for key in [key for key, entry in self._present[entity].items() if entry.id in ids]:
            self.forget(entity, key)

    def forget_all(self, entity: str) -> None:
        """Nothing is known of the records of an entity any more."""
        for key in list(self._present.pop(entity, ())):
            self.forget(entity, key)
