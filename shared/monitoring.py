"""What all instances share, as the minute timer sees it: the budget, open circuits, parked records, the write-back.

The timer runs in one instance at a time, so each of these is reported once a minute, whatever the number of instances.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from .azure.errors import storage_within
from .azure.parked_table import Store
from .azure.shared_state import State
from .marketo.quota import Budget
from .model.errors import StorageUnavailableError, cause_of
from .sync import circuit, circuit_breaker, measures
from .telemetry.metrics import (
    BUDGET_ALLOWED,
    BUDGET_USED,
    CIRCUIT_OPEN,
    DAY_ALLOWED,
    DAY_USED,
    LINKED_LATER,
    PARKED,
    PARKED_AGE,
    record,
)
from .write_back import results
from .write_back.plan import KIND

log = logging.getLogger(__name__)

#: Parked records that are counted, and the longest time for all of this: the timer has other work.
MOST_PARKED = 10_000
PATIENCE_SECONDS = 15.0


class Gauges:
    """Reads them and tells them."""

    def __init__(
        self, budget: Budget, state: State, store: Store, *, daily_calls: int, now: Callable[[], datetime]
    ) -> None:
        self._budget = budget
        self._state = state
        self._store = store
        self._daily_calls = daily_calls
        self._now = now
        self._began = now()

    async def tell(self) -> None:
        """Read and tell all of them. Raises nothing: what cannot be read is missing, and the log says why."""
        try:
            async with storage_within(PATIENCE_SECONDS):
                await self._tell_budget()
                await self._tell_circuits()
                await self._tell_parked()
                await self._tell_write_back()
        except (StorageUnavailableError, ValueError) as error:
            log.warning("gauges_not_read error=%s", cause_of(error))

    async def _tell_budget(self) -> None:
        usage = await self._budget.refresh()
        record(BUDGET_USED, usage.used_today)
        record(BUDGET_ALLOWED, usage.allowed_today)
        record(DAY_ALLOWED, self._daily_calls)
        if usage.everybody is not None:
            record(DAY_USED, usage.everybody)

    async def _tell_circuits(self) -> None:
        now = self._now()
        rows = {name: value async for name, value in self._state.all(circuit_breaker.KIND)}
        for name, outage in circuit.still_open(rows, now).items():
            record(CIRCUIT_OPEN, (now - outage.since).total_seconds(), name)

    async def _tell_parked(self) -> None:
        now = self._now()
        found, _ = await self._store.count(MOST_PARKED)
        for entity, parked in found.items():
            record(PARKED, parked.count, entity)
            record(LINKED_LATER, sum(parked.linked_later.values()), entity)
            if parked.oldest:
                record(PARKED_AGE, (now - parked.oldest).total_seconds(), entity)

    async def _tell_write_back(self) -> None:
        """Where no run has ever come to its end, as if one had when this process began."""
        done = results.changes_done(await self._state.read(KIND, results.ROW))
        measures.write_back_is_at(done or self._began, self._now())
