"""Sends telemetry to Application Insights, where the app runs with its connection string; else nothing is loaded.

The worker of Azure Functions can do that as well, but then with every instrumentation of Microsoft's package, and the
one of httpx records whole URLs: with ids, names and e-mail addresses in their queries. So the app does it itself, and
PYTHON_ENABLE_OPENTELEMETRY tells the worker that it does: it then gives each invocation the host's trace context, and
the host leaves the worker's log lines to us (azure_functions_runtime/otel.py and handle_event.py).

Entra: the exporter itself reads APPLICATIONINSIGHTS_AUTHENTICATION_STRING (`Authorization=AAD;ClientId=…`). Sampling:
OTEL_TRACES_SAMPLER; docs/operations.md says what is sent and what it costs.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from opentelemetry import trace

from ..model.safe_text import plain, redacted
from .redaction import OWN, Lines, described

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import LogRecordProcessor

log = logging.getLogger(__name__)

CONNECTION = "APPLICATIONINSIGHTS_CONNECTION_STRING"
#: Everything that the package would instrument. Vendors' calls have our own spans, without queries.
INSTRUMENTATIONS = (
    *("azure_sdk", "django", "fastapi", "flask", "httpx", "httpx2", "psycopg2", "requests", "urllib", "urllib3"),
)
#: What the exporter logs of itself must not be exported.
_EXPORTERS = ("azure.monitor", "opentelemetry")


def start() -> None:
    """Set the exporter up, once per process and on first use. Raises nothing: the sync goes on without telemetry."""
    if not os.environ.get(CONNECTION):
        return
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        log.error(
            "telemetry_set_up_by_others remove PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY, which records whole URLs, "
            "and set PYTHON_ENABLE_OPENTELEMETRY=true"
        )
        return
    try:
        _set_up()
    except Exception as error:  # noqa: BLE001  (a package that is missing, a connection string that is none, …)
        log.error("no_telemetry error=%s", described(error))


def _set_up() -> None:
    # The one detector that asks nobody; the package's own choice asks for the metadata of a virtual machine first.
    os.environ.setdefault("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "azure_functions")
    # Decided by a hash of the trace's id, alike in the host and in all instances: a trace is kept or left out as a
    # whole. The package's own choice, five spans a second of each process, leaves out parts of it.
    os.environ.setdefault("OTEL_TRACES_SAMPLER", "microsoft.fixed_percentage")
    os.environ.setdefault("APPLICATIONINSIGHTS_OPENTELEMETRY_RESOURCE_METRIC_DISABLED", "true")  # nobody looks at it
    os.environ.setdefault("OTEL_METRICS_EXEMPLAR_FILTER", "always_off")  # the exporter has no use for them
    from azure.monitor.opentelemetry import configure_azure_monitor  # noqa: PLC0415  (half a second of cold start)

    configure_azure_monitor(
        logger_name="",
        log_record_processors=[redactor()],
        instrumentation_options={name: {"enabled": False} for name in INSTRUMENTATIONS},
        enable_live_metrics=False,  # the host has them
        enable_performance_counters=False,
        disable_offline_storage=True,  # no telemetry on disk; what cannot be sent in time is lost
    )
    for handler in logging.getLogger().handlers:
        if type(handler).__module__.startswith("opentelemetry."):
            handler.addFilter(is_ours)
            handler.setFormatter(Lines())
    log.info("telemetry to Application Insights")


def is_ours(line: logging.LogRecord) -> bool:
    """The app's own lines, and warnings of all others but the exporter."""
    return line.name.startswith(OWN) or (line.levelno >= logging.WARNING and not line.name.startswith(_EXPORTERS))


def redactor() -> LogRecordProcessor:
    """Takes out of each log record what is nobody's business, before it is exported."""
    from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord  # noqa: PLC0415  (see above)

    class Redactor(LogRecordProcessor):
        def on_emit(self, log_record: ReadWriteLogRecord) -> None:
            written = log_record.log_record
            written.body = plain(redacted(str(written.body)))
            # Whatever else a line brings along, an error's text above all, may quote values.
            written.attributes = {
                name: value for name, value in (written.attributes or {}).items() if name == "exception.type"
            }

        def shutdown(self) -> None:
            """Keeps nothing."""

        def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002  (the protocol's parameter)
            return True

    return Redactor()
