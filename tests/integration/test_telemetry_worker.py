"""What docs/operations.md says of the worker's settings, asked of Microsoft's own worker."""

import json
import subprocess
import sys
from typing import Any

import pytest

from local.endpoints import inherited_environment
from tests.support.values import ROOT

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 13),
    reason="NOT CHECKED: WHAT MICROSOFT'S azure-functions-runtime DOES WITH TELEMETRY, WHICH NEEDS PYTHON 3.13",
)

HOSTS = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PROGRAM = f"""
import asyncio, json
from types import SimpleNamespace as Of
from unittest.mock import MagicMock
from azure_functions_runtime import handle_event, otel
from opentelemetry import trace
from emulators.functions.conformance import _BindingInfo
from shared.telemetry import spans

protos = MagicMock(BindingInfo=_BindingInfo)
init = Of(capabilities={{}}, function_app_directory={str(ROOT)!r})
request = Of(request=Of(worker_init_request=init), properties={{"host": "127.0.0.1", "protos": protos}})
asyncio.run(handle_event.worker_init_request(request))
otel.configure_opentelemetry(Of(trace_context=Of(trace_parent="{HOSTS}", trace_state="")))
print(json.dumps({{
    "says": protos.WorkerInitResponse.call_args.kwargs["capabilities"].get("WorkerOpenTelemetryEnabled"),
    "exporter": not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider),
    "here": spans.here(),
}}))
"""


def worker(**settings: str) -> dict[str, Any]:
    """What a worker with these settings tells the host, and what it has set up."""
    done = subprocess.run(  # noqa: S603  (our own interpreter and code)
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={**inherited_environment(), **settings},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_setting_gives_the_hosts_trace_and_no_exporter() -> None:
    """The host then leaves the worker's lines to the app, and the app alone exports."""
    assert worker(PYTHON_ENABLE_OPENTELEMETRY="true") == {"says": "true", "exporter": False, "here": HOSTS}


def test_without_the_setting_the_host_exports_the_workers_lines() -> None:
    assert worker() == {"says": None, "exporter": False, "here": ""}


def test_the_other_setting_sets_up_an_exporter_before_the_app_is_there() -> None:
    connection = "InstrumentationKey=00000000-0000-4000-8000-000000000001;IngestionEndpoint=http://127.0.0.1:9/"
    found = worker(
        PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY="true",
        APPLICATIONINSIGHTS_CONNECTION_STRING=connection,
        APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL="true",
        APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED="true",
    )
    assert found == {"says": "true", "exporter": True, "here": HOSTS}
