"""What is told of runs: a line of the log and a metric for each event; the events are those of Debezium's snapshots."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import SecretStr

from ...model.record import timestamp
from ...telemetry.metrics import RUN, record
from ...transport.notify import notify
from .model import Run, RunState
from .page import DIFFERS, FAILED, SKIPPED, UNFINISHED

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


#: After these, a run does nothing more, or not until somebody acts. An alert names them, with the numbers.
OF_AN_END = frozenset({Event.PAUSED, Event.COMPLETE, Event.CANCELLED, Event.FAILED})
_GROUPS = {SKIPPED: "left out", DIFFERS: "different", FAILED: "failed"}

Tell = Callable[[Event, Run, Mapping[str, Counter[str]]], Awaitable[None]]


def of_state(run: Run) -> Event:
    """The event by which a run has come into its state."""
    if run.state is RunState.RUNNING:
        return Event.RESUMED if run.told else Event.STARTED
    return Event(run.state)


def in_short(totals: Mapping[str, Counter[str]]) -> str:
    """The numbers of a run, for an e-mail and a channel: `1,200 in Marketo, 30 left out, 2 failed, 5 not done`."""
    sums: Counter[str] = Counter()
    for state, number in (item for counts in totals.values() for item in counts.items()):
        kind = state.partition(":")[0]
        sums[_GROUPS.get(kind, "not done" if kind in UNFINISHED else "in Marketo")] += number
    names = ("in Marketo", *_GROUPS.values(), "not done")
    return ", ".join(f"{sums[name]:,} {name}" for name in names if sums[name]) or "no rows"


async def tell(event: Event, run: Run, totals: Mapping[str, Counter[str]]) -> None:
    """Log and count an event; `totals`: records by table and state of page.py."""
    record(RUN, 1, str(run.kind), str(event), in_short(totals) if event in OF_AN_END else "")
    numbers = "; ".join(
        f"{table}: {', '.join(f'{state} {number}' for state, number in sorted(counts.items())) or 'none'}"
        for table, counts in totals.items()
    )
    log.info("run event=%s kind=%s run=%s reason=%s %s", event, run.kind, run.id, run.reason or "none", numbers)


@dataclass(frozen=True)
class Notifier:
    """Tells of events, and of those that end or stop a run also `url`, if there is one (the setting NOTIFY_URL)."""

    url: SecretStr

    async def tell(self, event: Event, run: Run, totals: Mapping[str, Counter[str]]) -> None:
        """Log and count an event, then POST it. What the address says to it changes nothing."""
        await tell(event, run, totals)
        if event in OF_AN_END and (url := self.url.get_secret_value()):
            await notify(url, message(event, run, totals))


def message(event: Event, run: Run, totals: Mapping[str, Counter[str]]) -> dict[str, Any]:
    """What is posted: `text` is a line for people, as Teams and Slack show it; no ids or values of rows are in it."""
    because = f": {run.reason}" if run.reason else ""
    return {
        "text": f"msisync {run.kind} {run.id} is {event}{because}. {in_short(totals)}.",
        "event": str(event),
        "kind": str(run.kind),
        "run": run.id,
        "reason": run.reason,
        "started": timestamp(run.started_at),
        "ended": timestamp(run.ended_at) if run.ended_at else None,
        "tables": {table: dict(sorted(found.items())) for table, found in totals.items()},
    }
