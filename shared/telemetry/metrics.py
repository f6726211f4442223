"""Every metric of the app, as one table. The alerts and the workbook of infra/ name nothing that is not here.

Only OpenTelemetry's API is used: without an SDK (shared/telemetry/export.py sets one up in Azure) nothing happens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Observation, get_meter

#: The name under which metrics and spans are reported.
SCOPE = "msisync"


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric, and the names of its attributes in the order in which `record` takes them.

    Of a histogram, Application Insights keeps sum, count, smallest and largest, no percentiles. A gauge is of what all
    instances share: read by timers alone, which run in one instance at a time.
    """

    name: str
    kind: Literal["counter", "histogram", "gauge"]
    unit: str
    description: str
    attributes: tuple[str, ...] = ()


RECORDS = Metric(
    "msisync.records", "counter", "{record}",
    "Records by what became of them: synced, removed, skipped, parked, retried, failed", ("entity", "outcome"),
)  # fmt: skip
LATENCY = Metric(
    "msisync.latency", "histogram", "s",
    "From the moment a change reached the queue to Marketo's answer; replays of dead letters left out", ("entity",),
)  # fmt: skip
WAITING = Metric(
    "msisync.waiting", "histogram", "s",
    "The age of the oldest change of a batch that has to be tried again; replays and parked records left out",
    ("entity",),
)  # fmt: skip
RETRIES = Metric("msisync.retries", "counter", "{record}", "Records to be tried again, by code", ("entity", "code"))
LEFT_OUT = Metric(
    "msisync.fields.left_out", "counter", "{field}",
    "Fields of synced records that were left out, by why: Marketo's code, or the mapping's", ("entity", "code"),
)  # fmt: skip
REMOVED = Metric(
    "msisync.removed", "counter", "{record}",
    "Records that were deleted, flagged or unlinked in Marketo, for their rows are gone", ("entity", "action"),
)  # fmt: skip
DEAD_LETTERS = Metric(
    "msisync.dead_letters", "counter", "{message}",
    "Messages to dead-letters; the entity is changes for a notification", ("entity", "code"),
)  # fmt: skip
CALLS = Metric(
    "msisync.calls", "counter", "{call}",
    "Calls of Marketo and Dataverse; the result is ok or the vendor's code", ("system", "endpoint", "result"),
)  # fmt: skip
PARKED = Metric(
    "msisync.parked", "gauge", "{record}", "Records that wait for a parent, of the first 10,000", ("entity",)
)
PARKED_AGE = Metric("msisync.parked.age", "gauge", "s", "How long the oldest of them has waited", ("entity",))
LINKED_LATER = Metric(
    "msisync.linked_later", "gauge", "{record}",
    "Records in Marketo without a link until the parent comes, of the first 10,000 parked ones", ("entity",),
)  # fmt: skip
BUDGET_USED = Metric("msisync.budget.used", "gauge", "{call}", "Calls of this app in Marketo's day")
BUDGET_ALLOWED = Metric(
    "msisync.budget.allowed", "gauge", "{call}", "This app's share of the day; also the sign that the timer runs"
)
DAY_USED = Metric("msisync.day.used", "gauge", "{call}", "Calls of everybody in Marketo's day, as last measured")
DAY_ALLOWED = Metric("msisync.day.allowed", "gauge", "{call}", "The subscription's calls in a day")
CIRCUIT_OPEN = Metric(
    "msisync.circuit.open", "gauge", "s",
    "How long an open circuit has been open: dataverse, or the entity that is not sent to Marketo", ("circuit",),
)  # fmt: skip
WRITE_BACK = Metric(
    "msisync.write_back", "counter", "{row}",
    "Leads and contacts of Dynamics by what a run of the write-back did with them", ("run", "outcome"),
)  # fmt: skip
WRITE_BACK_AGE = Metric(
    "msisync.write_back.age", "gauge", "s",
    "How long ago the moment is up to which Marketo's activities have been written back",
)  # fmt: skip
RUN = Metric(
    "msisync.run", "counter", "{event}",
    "Events of long runs: started, in progress, table complete, paused, resumed, complete, cancelled, failed",
    ("kind", "event", "numbers"),
)  # fmt: skip
MISSED = Metric(
    "msisync.missed", "counter", "{row}",
    "Rows that change tracking told of and the sync had not read: changed, written_back (by the app itself), deleted",
    ("table", "change"),
)  # fmt: skip
DRIFT = Metric(
    "msisync.drift", "gauge", "{row}",
    "Leads and contacts at the last whole sweep: compared, and of them differing in Marketo; and missing there",
    ("kind",),
)  # fmt: skip

HISTORY = Metric(
    "msisync.history", "counter", "{line}",
    "Lines of the history: written, failed (tried again later), or lost for storage did not take them", ("result",),
)  # fmt: skip

METRICS = (
    RECORDS, LATENCY, WAITING, RETRIES, LEFT_OUT, REMOVED, DEAD_LETTERS, CALLS, PARKED, LINKED_LATER, PARKED_AGE,
    BUDGET_USED, BUDGET_ALLOWED, DAY_USED, DAY_ALLOWED, CIRCUIT_OPEN, WRITE_BACK, WRITE_BACK_AGE, RUN,
    MISSED, DRIFT, HISTORY,
)  # fmt: skip


def record(metric: Metric, value: float, *attributes: str) -> None:
    """Count, measure, or set until the next export; one value for each of the metric's attributes."""
    named = dict(zip(metric.attributes, attributes, strict=True))
    instrument = _instrument(metric)
    if isinstance(instrument, _Gauge):
        instrument.readings[attributes] = Observation(value, named)
    elif metric.kind == "counter":
        instrument.add(value, named)  # type: ignore[union-attr]  # the kind says which of the two it is
    else:
        instrument.record(value, named)  # type: ignore[union-attr]


class _Gauge:
    """Gives each reading to one export.

    OpenTelemetry's own gauge repeats its last value for ever: an instance that ran the timer once would go on saying
    that a circuit is open, long after another instance has closed it.
    """

    def __init__(self, metric: Metric) -> None:
        self.readings: dict[tuple[str, ...], Observation] = {}
        get_meter(SCOPE).create_observable_gauge(metric.name, [self._take], metric.unit, metric.description)

    def _take(self, _: CallbackOptions) -> Iterator[Observation]:
        while self.readings:  # the exporter's thread takes what the app's sets
            yield self.readings.popitem()[1]


@cache
def _instrument(metric: Metric) -> Counter | Histogram | _Gauge:
    if metric.kind == "gauge":
        return _Gauge(metric)
    meter = get_meter(SCOPE)
    create = meter.create_counter if metric.kind == "counter" else meter.create_histogram
    return create(metric.name, metric.unit, metric.description)
