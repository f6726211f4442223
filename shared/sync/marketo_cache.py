"""What this process knows of Marketo without asking: which records are there, and with which id.

A cache, never the truth: entries expire, the number is bounded, and a wrong one costs a call or a short wait, no data.
What was sent is not kept: others write to Marketo as well, and an answer may be lost.

Where there is no more room, the record goes that nobody has asked for, or seen, for the longest time: what live changes
need stays, while a run leads all other records past.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

#: Of each entity.
MAX_ENTRIES = 100_000
#: How long a record counts as being in Marketo.
PRESENT_SECONDS = 4 * 3600.0
#: From then on it may be asked for again, where a call has room; and so long after it does not count any more.
HALF = PRESENT_SECONDS / 2
#: How often all of them are looked through for that.
LOOK_SECONDS = 60.0
#: How long a record counts as not being there; its own sync ends this at once.
ABSENT_SECONDS = 30.0


@dataclass(slots=True)
class _Entry:
    id: int
    expires: float

    def is_due(self, now: float) -> bool:
        """Whether it may be asked for again."""
        return -HALF < self.expires - now <= HALF


class Known:
    """Records of Marketo by (entity, external key). Each entity has room of its own: many persons, few companies."""

    def __init__(self, *, clock: Callable[[], float], max_entries: int = MAX_ENTRIES) -> None:
        self._clock = clock
        self._max = max_entries
        self._present: defaultdict[str, OrderedDict[str, _Entry]] = defaultdict(OrderedDict)  # the longest unused first
        self._due: dict[str, deque[str]] = {}  # what expires, in this order, as it was seen at the last look
        self._look: dict[str, float] = {}  # when to look again
        self._absent: dict[tuple[str, str], float] = {}

    def add(self, entity: str, key: str, id_: int) -> None:
        """Marketo has this record (id 0 where the object has no number)."""
        present = self._present[entity]
        entry = present.get(key)
        if entry is None:
            self._absent.pop((entity, key), None)
            if len(present) >= self._max:
                present.popitem(last=False)
            entry = present[key] = _Entry(id_, 0.0)
        else:
            present.move_to_end(key)
        entry.id = id_ or entry.id
        entry.expires = self._clock() + PRESENT_SECONDS

    def id_of(self, entity: str, key: str, *, still: float = 0.0) -> int | None:
        """The record's Marketo id (0 where it has none), or None when it will not be known in `still` seconds."""
        present = self._present[entity]
        entry = present.get(key)
        if entry is None or entry.expires <= self._clock() + still:
            return None
        present.move_to_end(key)
        return entry.id

    def expiring(self, entity: str, count: int) -> list[str]:
        """Keys of the entity to be asked for where a call has room.

        Those that will not be known much longer, the oldest first, then those that have just expired.

        What one call has renewed expires in one moment: without the latter, each would cost a call of its own.
        """
        now, present = self._clock(), self._present[entity]
        if now >= self._look.get(entity, now):
            self._look[entity] = now + LOOK_SECONDS
            found = ((entry.expires <= now, entry.expires, key) for key, entry in present.items() if entry.is_due(now))
            self._due[entity] = deque(key for _, _, key in sorted(found))
        due = self._due[entity]
        while due and not self._is_due(entity, due[0], now):
            due.popleft()  # it was renewed, or forgotten
        return list(islice((key for key in due if self._is_due(entity, key, now)), count))

    def _is_due(self, entity: str, key: str, now: float) -> bool:
        entry = self._present[entity].get(key)
        return entry is not None and entry.is_due(now)

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
