"""What is told of runs: a line of the log and a metric for each event; the events are those of Debezium's snapshots."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum

from ...telemetry.metrics import RUN, record
from .model import Run, RunState

log = logging.getLogger(__name__)


class Event(StrEnum):
    """What happens to a run."""

    STARTED = "started"
    IN_PROGRESS = "in progress"
    TABLE_COMPLETE = "table complete"
    PAUSED = "paused"
    RESUMED = "resumed"
    COMPLETE = "complete"
    CANCELLED = "cancelled"
    FAILED = "failed"


Tell = Callable[[Event, Run, Mapping[str, Counter[str]]], Awaitable[None]]


def of_state(run: Run) -> Event:
    """The event by which a run has come into its state."""
    if run.state is RunState.RUNNING:
        return Event.RESUMED if run.told else Event.STARTED
    return Event(run.state)


async def tell(event: Event, run: Run, totals: Mapping[str, Counter[str]]) -> None:
    """Log and count an event; `totals`: records by table and state of page.py."""
    record(RUN, 1, str(run.kind), str(event))
    numbers = "; ".join(
        f"{table}: {', '.join(f'{state} {number}' for state, number in sorted(counts.items())) or 'none'}"
        for table, counts in totals.items()
    )
    log.info("run event=%s kind=%s run=%s reason=%s %s", event, run.kind, run.id, run.reason or "none", numbers)
