"""A set of keys that each fall due at a time, cheap to change and to ask for the earliest."""

import heapq
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

_SLACK = 64


class Deadlines(Generic[Key]):
    """Keys with one due time each. Setting, cancelling and taking the due ones cost O(log n)."""

    def __init__(self) -> None:
        self._times: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._counter = 0

    def __len__(self) -> int:
        return len(self._times)

    def set(self, key: Key, when: float) -> None:
        """Let `key` fall due at `when`, whatever was set before. Keys with the same time keep the order of setting."""
        self._times[key] = when
        self._counter += 1
        heapq.heappush(self._heap, (when, self._counter, key))
        # Changed and cancelled keys leave stale entries behind; without this they would stay until they fall due.
        if len(self._heap) > 2 * len(self._times) + _SLACK:
            self._heap = [entry for entry in self._heap if self._times.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)

    def cancel(self, key: Key) -> bool:
        """Forget `key`, and tell whether it was there."""
        return self._times.pop(key, None) is not None

    def next(self) -> float | None:
        """Return the earliest due time."""
        while self._heap and self._times.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: float) -> Iterator[Key]:
        """Remove and return the keys that are due, the earliest first."""
        while (when := self.next()) is not None and when <= now:
            key = heapq.heappop(self._heap)[2]
            del self._times[key]
            yield key
