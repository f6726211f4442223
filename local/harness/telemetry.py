"""Telemetry in memory, as an exporter would get it: spans, metrics, and log records on their way through redaction."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared.telemetry import export
from shared.telemetry.redaction import Lines


@dataclass(frozen=True)
class Point:
    """What one export says of a metric: a value, or of a histogram the sum and the number."""

    name: str
    attributes: Mapping[str, Any]
    value: float
    number: int = 1


class Telemetry:
    """What the process has told. OpenTelemetry takes a provider once, so there is one for all tests of a process."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        tracing = TracerProvider()
        tracing.add_span_processor(SimpleSpanProcessor(self._spans))
        trace.set_tracer_provider(tracing)
        # As Application Insights is told: what was added since the last time.
        delta: dict[type, AggregationTemporality] = {
            Counter: AggregationTemporality.DELTA,
            Histogram: AggregationTemporality.DELTA,
        }
        self._reader = InMemoryMetricReader(preferred_temporality=delta)
        metrics.set_meter_provider(MeterProvider([self._reader]))
        self._lines = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # theirs
        logs = LoggerProvider()
        logs.add_log_record_processor(export.redactor())
        logs.add_log_record_processor(SimpleLogRecordProcessor(self._lines))
        self._handler = LoggingHandler(logger_provider=logs)
        self._handler.addFilter(export.is_ours)
        self._handler.setFormatter(Lines())

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """Those that have ended, in that order."""
        return self._spans.get_finished_spans()

    def points(self) -> list[Point]:
        """One export of the metrics: another one gives what was added since."""
        data = self._reader.get_metrics_data()
        found = []
        for resource in data.resource_metrics if data else ():
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                for point in metric.data.data_points:
                    value = getattr(point, "sum", None)
                    found.append(
                        Point(
                            metric.name,
                            dict(point.attributes or {}),
                            getattr(point, "value", 0.0) if value is None else value,
                            getattr(point, "count", 1),
                        )
                    )
        return found

    @property
    def lines(self) -> list[str]:
        """Log records with all their attributes."""
        return [
            f"{line.log_record.body!s} {dict(line.log_record.attributes or {})}"
            for line in self._lines.get_finished_logs()
        ]

    @contextmanager
    def listening(self) -> Iterator["Telemetry"]:
        """What is told within, and nothing from before."""
        self._spans.clear()
        self._lines.clear()
        self.points()
        root = logging.getLogger()
        level = root.level
        root.setLevel(logging.INFO)
        root.addHandler(self._handler)
        try:
            yield self
        finally:
            root.removeHandler(self._handler)
            root.setLevel(level)
            self._spans.clear()


@cache
def in_memory() -> Telemetry:
    """The one of this process."""
    return Telemetry()
