"""What all instances share, as the minute timer sees it: the budget, open circuits, parked records, the write-back.

The timer runs in one instance at a time, so each of these is reported once a minute, whatever the number of instances.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime

from .azure.errors import best_effort
from .azure.parked_table import Store
from .azure.shared_state import State, parsed
from .marketo.quota import Budget
from .sync import circuit, circuit_breaker, measures
from .telemetry import metrics
from .telemetry.metrics import record
from .write_back import drift, results
from .write_back.plan import KIND

log = logging.getLogger(__name__)

#: Parked records that are counted, and the longest time for all of this: the timer has other work.
MOST_PARKED = 10_000
PATIENCE_SECONDS = 15.0


@dataclass
class Gauges:
    """Reads them and tells them."""

    budget: Budget
    state: State
    store: Store
    _: KW_ONLY
    daily_calls: int
    now: Callable[[], datetime]
    _began: datetime = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.now()

    async def tell(self) -> None:
        """Read and tell all of them. Raises nothing: what cannot be read is missing, and the log says why."""
        async with best_effort(PATIENCE_SECONDS, log, "gauges_not_read"):
            await self._tell_budget()
            await self._tell_circuits()
            await self._tell_parked()
            await self._tell_write_back()

    async def _tell_budget(self) -> None:
        usage = await self.budget.refresh()
        record(metrics.BUDGET_USED, usage.used_today)
        record(metrics.BUDGET_ALLOWED, usage.allowed_today)
        record(metrics.DAY_ALLOWED, self.daily_calls)
        if usage.everybody is not None:
            record(metrics.DAY_USED, usage.everybody)

    async def _tell_circuits(self) -> None:
        now = self.now()
        rows = {name: value async for name, value in self.state.all(circuit_breaker.KIND)}
        for name, outage in circuit.still_open(rows, now).items():
            record(metrics.CIRCUIT_OPEN, (now - outage.since).total_seconds(), name)

    async def _tell_parked(self) -> None:
        now = self.now()
        found, _ = await self.store.count(MOST_PARKED)
        for entity, parked in found.items():
            record(metrics.PARKED, parked.count, entity)
            record(metrics.LINKED_LATER, sum(parked.linked_later.values()), entity)
            if parked.oldest:
                record(metrics.PARKED_AGE, (now - parked.oldest).total_seconds(), entity)

    async def _tell_write_back(self) -> None:
        """Where no run has ever come to its end, as if one had when this process began."""
        done = results.changes_done(await self.state.read(KIND, results.ROW))
        measures.write_back_is_at(done or self._began, self.now())
        if found := parsed(drift.Drift, await self.state.read(KIND, drift.ROW)):
            for kind, number in found.counts.items():
                record(metrics.DRIFT, number, kind)
