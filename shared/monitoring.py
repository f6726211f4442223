"""What all instances share, as the minute timer sees it: the budget, open circuits, parked records, the write-back.

The timer runs in one instance at a time, so each of these is reported once a minute, whatever the number of instances.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
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


async def tell(
    budget: Budget, state: State, store: Store, *, daily_calls: int, began: datetime, now: Callable[[], datetime]
) -> None:
    """Read and tell all of them. Raises nothing: what cannot be read is missing, and the log says why.

    `began`: when this process did; where no run of the write-back has ever come to its end, as if one had then.
    """
    at = now()
    async with best_effort(PATIENCE_SECONDS, log, "gauges_not_read"):
        await _tell_budget(budget, daily_calls)
        await _tell_circuits(state, at)
        await _tell_parked(store, at)
        await _tell_write_back(state, began, at)


async def _tell_budget(budget: Budget, daily_calls: int) -> None:
    usage = await budget.refresh()
    record(metrics.BUDGET_USED, usage.used_today)
    record(metrics.BUDGET_ALLOWED, usage.allowed_today)
    record(metrics.DAY_ALLOWED, daily_calls)
    if usage.everybody is not None:
        record(metrics.DAY_USED, usage.everybody)


async def _tell_circuits(state: State, at: datetime) -> None:
    rows = {name: value async for name, value in state.all(circuit_breaker.KIND)}
    for name, outage in circuit.still_open(rows, at).items():
        record(metrics.CIRCUIT_OPEN, (at - outage.since).total_seconds(), name)


async def _tell_parked(store: Store, at: datetime) -> None:
    found, _ = await store.count(MOST_PARKED)
    for entity, parked in found.items():
        record(metrics.PARKED, parked.count, entity)
        record(metrics.LINKED_LATER, sum(parked.linked_later.values()), entity)
        if parked.oldest:
            record(metrics.PARKED_AGE, (at - parked.oldest).total_seconds(), entity)


async def _tell_write_back(state: State, began: datetime, at: datetime) -> None:
    done = results.changes_done(await state.read(KIND, results.ROW))
    measures.write_back_is_at(done or began, at)
    if found := parsed(drift.Drift, await state.read(KIND, drift.ROW)):
        for kind, number in found.counts.items():
            record(metrics.DRIFT, number, kind)
