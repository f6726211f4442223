"""What became of work, as metrics. One function for each kind of work; shared/telemetry/metrics.py has the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from ..azure.service_bus import Outgoing
from ..model.outcome import Failed, Later, Outcome, Retry, Synced
from ..model.record import Record
from ..telemetry.metrics import (
    DEAD_LETTERS,
    LATENCY,
    LEFT_OUT,
    MISSED,
    RECORDS,
    RETRIES,
    WAITING,
    WRITE_BACK,
    WRITE_BACK_AGE,
    record,
)
from .statistics import WHATS, is_counted

#: The entity of a notification that is refused.
CHANGES = "changes"


def settled(entity: str, outcomes: Sequence[tuple[Record, Outcome]], now: datetime) -> None:
    """Records of an entity whose outcomes have been carried out."""
    counted = [outcome for _, outcome in outcomes if is_counted(outcome)]
    for what, number in Counter(WHATS[type(outcome)] for outcome in counted).items():
        record(RECORDS, number, entity, what)
    for code, number in Counter(outcome.code for outcome in counted if isinstance(outcome, Retry)).items():
        record(RETRIES, number, entity, code)
    for code, number in Counter(outcome.code for outcome in counted if isinstance(outcome, Failed)).items():
        record(DEAD_LETTERS, number, entity, code)
    left_out = (each.code for outcome in counted if isinstance(outcome, Synced) for each in outcome.left_out)
    for code, number in Counter(left_out).items():
        record(LEFT_OUT, number, entity, code)
    aged = [(each.first_seen, outcome) for each, outcome in outcomes if not each.replays]  # those are as old as can be
    for seen, outcome in aged:
        if isinstance(outcome, Synced):
            record(LATENCY, (now - seen).total_seconds(), entity)
    waiting = [seen for seen, outcome in aged if isinstance(outcome, Retry | Later)]  # the parked have a gauge
    if waiting:
        record(WAITING, (now - min(waiting)).total_seconds(), entity)


def refused(letters: Iterable[Outgoing], entity: str = CHANGES) -> None:
    """Messages that nobody understands, after they were kept in dead-letters."""
    for code, number in Counter(str(letter.properties["code"]) for letter in letters).items():
        record(DEAD_LETTERS, number, entity, code)


def missed(table: str, *, changed: int, written_back: int, deleted: int) -> None:
    """Rows of a table that change tracking has told of and the sync had not read; `written_back`: by the app itself."""
    for change, number in (("changed", changed), ("written_back", written_back), ("deleted", deleted)):
        if number:
            record(MISSED, number, table, change)


def written_back(run: str, outcomes: Mapping[str, int]) -> None:
    """Leads and contacts that a run of the write-back (changes, sweep, persons) has dealt with, by outcome."""
    for outcome, number in outcomes.items():
        if number:
            record(WRITE_BACK, number, run, outcome)


def write_back_is_at(moment: datetime, now: datetime) -> None:
    """Up to which moment Marketo's activities have been written back.

    For the minute timer to tell, not for the runs themselves: a write-back that does not run at all is late as well.
    """
    record(WRITE_BACK_AGE, (now - moment).total_seconds())
