"""What Microsoft's exporter really sends to Application Insights, taken in by a small server on this machine."""

import gzip
import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from local.endpoints import inherited_environment
from tests.support.values import ROOT

TRACE = "0af7651916cd43dd8448eb211c80319c"
PROGRAM = f"""
import logging
logging.getLogger().setLevel(logging.INFO)
from shared.telemetry import export, metrics, spans
export.start()
with spans.invocation("sync_person", [{{"traceparent": "00-{TRACE}-b7ad6b7169203331-01"}}], "person"):
    with spans.calling("marketo", "POST", "/rest/v1/leads.json?email=ann@contoso.example") as call:
        call.answered("r#1")
    logging.getLogger("shared.sync.settlement").warning("dead_letter code=1003 message=value 'ann@contoso.example'")
    logging.getLogger("azure_functions_runtime").info("Function name: sync_persons")
    try:
        raise ValueError("ann@contoso.example")
    except ValueError:
        logging.getLogger("shared.sync.engine").exception("cannot_map table=lead")
metrics.record(metrics.RECORDS, 3, "person", "synced")
metrics.record(metrics.LATENCY, 40.0, "person")
metrics.record(metrics.LATENCY, 20.0, "person")
metrics.record(metrics.PARKED_AGE, 3600.0, "person")
from opentelemetry import _logs, trace
from opentelemetry.metrics import get_meter_provider
for provider in (trace.get_tracer_provider(), _logs.get_logger_provider(), get_meter_provider()):
    provider.force_flush()
"""


@pytest.fixture(scope="module")
def sent() -> list[dict[str, Any]]:
    """Every item that one process has sent."""
    items: list[dict[str, Any]] = []

    class Ingestion(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            found = json.loads(body)
            items.extend(found)
            answer = json.dumps({"itemsReceived": len(found), "itemsAccepted": len(found), "errors": []}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Ingestion) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        subprocess.run(  # noqa: S603  (our own interpreter and code)
            [sys.executable, "-c", PROGRAM],
            cwd=ROOT,
            env={
                **inherited_environment(),
                "APPLICATIONINSIGHTS_CONNECTION_STRING": f"InstrumentationKey={ROLE_KEY};IngestionEndpoint={address}",
                "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL": "true",
                "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED": "true",
                "FUNCTIONS_WORKER_RUNTIME": "python",
                "WEBSITE_SITE_NAME": "func-msisync",
            },
            check=True,
            timeout=60,
        )
        server.shutdown()
    return items


ROLE_KEY = "00000000-0000-4000-8000-000000000001"


def of_type(sent: list[dict[str, Any]], base_type: str) -> list[dict[str, Any]]:
    return [item for item in sent if item["data"]["baseType"] == base_type]


def test_spans_are_dependencies_of_the_changes_trace(sent: list[dict[str, Any]]) -> None:
    call, sync = of_type(sent, "RemoteDependencyData")
    assert {item["tags"]["ai.operation.id"] for item in (call, sync)} == {TRACE}
    assert {item["tags"]["ai.cloud.role"] for item in sent} == {"func-msisync"}
    assert call["data"]["baseData"]["name"] == "marketo leads"
    assert call["data"]["baseData"]["target"] == "marketo"
    assert call["data"]["baseData"]["properties"]["msisync.request_id"] == "r#1"
    assert not of_type(sent, "RequestData"), "the host reports the request of an invocation"


def test_metrics_arrive_once_with_their_attributes(sent: list[dict[str, Any]]) -> None:
    found = {
        (point["name"], *item["data"]["baseData"]["properties"].values()): (point["value"], point.get("count"))
        for item in of_type(sent, "MetricData")
        for point in item["data"]["baseData"]["metrics"]
        if point["name"].startswith("msisync.")
    }
    assert found == {
        ("msisync.records", "person", "synced"): (3, 1), ("msisync.latency", "person"): (60.0, 2),
        ("msisync.parked.age", "person"): (3600.0, 1), ("msisync.calls", "marketo", "leads", "ok"): (1, 1),
    }  # fmt: skip


def test_own_lines_arrive_in_the_trace_and_without_personal_data(sent: list[dict[str, Any]]) -> None:
    (line,) = (item for item in of_type(sent, "MessageData") if "dead_letter" in item["data"]["baseData"]["message"])
    assert line["data"]["baseData"]["message"] == "dead_letter code=1003 message=value '…'"
    assert line["tags"]["ai.operation.id"] == TRACE
    (failure,) = of_type(sent, "ExceptionData")
    assert failure["data"]["baseData"]["exceptions"][0]["typeName"] == "ValueError"
    everything = json.dumps(sent, ensure_ascii=False)
    assert "Function name" not in everything
    assert "contoso" not in everything
