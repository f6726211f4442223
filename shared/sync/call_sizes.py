"""How many records go into one call to Marketo: fewer after one that took too long, or that a record in it spoiled."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from ..marketo.batching import MAX_PER_CALL, chunks
from .batch import Candidate
from .isolation import FEW

#: Records whose call failed while other calls went well come in so many calls, for so long.
PARTS, SUSPECT_SECONDS = 8, 7200.0


class CallSizes:
    """Sizes of one process, by entity."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._limits: dict[str, int] = {}
        self._suspects: dict[str, float] = {}

    def chunks(self, entity: str, candidates: list[Candidate]) -> list[list[Candidate]]:
        """Calls of them: those that may have spoiled their last one are kept apart, in smaller ones."""
        now, limit = self._clock(), self._limits.get(entity, MAX_PER_CALL)
        suspects = [candidate for candidate in candidates if self._suspects.get(candidate.key, 0.0) > now]
        suspected = {candidate.key for candidate in suspects}
        others = [candidate for candidate in candidates if candidate.key not in suspected]
        part = min(limit, math.ceil(len(suspects) / PARTS))
        return [*chunks(others, limit), *chunks(suspects, part)]

    def suspect(self, candidates: Iterable[Candidate]) -> None:
        """One of these may have spoiled a call."""
        until = self._clock() + SUSPECT_SECONDS
        self._suspects.update((candidate.key, until) for candidate in candidates)

    def timed_out(self, entity: str, size: int) -> None:
        """A call of this size took Marketo too long: half of it may not."""
        if size > FEW:
            self._limits[entity] = size // 2

    def answered(self, entity: str, candidates: list[Candidate]) -> None:
        """A call with these went well: the next may be a little larger, and none of them is suspected."""
        limit = self._limits.get(entity)
        if limit and len(candidates) >= limit:
            self._limits[entity] = min(MAX_PER_CALL, limit + limit // 10 + 1)
        for candidate in candidates:
            self._suspects.pop(candidate.key, None)
