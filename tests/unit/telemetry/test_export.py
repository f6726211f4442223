"""The exporter: loaded only where it is wanted, set up once, and never in the way; what redaction takes out."""

import logging
import subprocess
import sys
import time
from typing import Any

import pytest

from local.endpoints import inherited_environment
from local.harness.telemetry import in_memory
from shared.model.safe_text import LONGEST, redacted
from shared.telemetry import export
from tests.support.values import ROOT

CONNECTION = "InstrumentationKey=00000000-0000-4000-8000-000000000001;IngestionEndpoint=http://127.0.0.1:9/"


def python(code: str, **environment: str) -> str:
    """What a new process prints to stdout and stderr."""
    done = subprocess.run(  # noqa: S603  (our own interpreter and code)
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**inherited_environment(), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout + done.stderr


WITHOUT_SDK = """
import sys, asyncio, logging
logging.basicConfig()
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(("opentelemetry.sdk", "azure.monitor")):
            raise ImportError(f"{name} is not installed")
sys.meta_path.insert(0, Missing())
import function_app
from shared.telemetry import export, metrics, spans
export.start()
for metric in metrics.METRICS:
    metrics.record(metric, 1, *metric.attributes)
with spans.invocation("route_changes", [{"traceparent": "nonsense"}]), spans.calling("marketo", "GET", "/x") as call:
    call.answered("r#1")
    spans.correlate(["a"])
    print("carried", spans.carried())
"""


@pytest.mark.parametrize(("connection", "says"), [("", ""), (CONNECTION, "no_telemetry error=ImportError")])
def test_everything_works_without_an_sdk(connection: str, says: str) -> None:
    printed = python(WITHOUT_SDK, APPLICATIONINSIGHTS_CONNECTION_STRING=connection)
    assert "carried {}" in printed
    assert says in printed
    assert "Traceback" not in printed


def test_nothing_is_loaded_without_a_connection_string() -> None:
    code = "import sys; from shared.telemetry import export; export.start(); print('opentelemetry.sdk' in sys.modules)"
    assert python(code).strip() == "False"


def test_a_connection_string_that_is_none_does_not_stop_the_app() -> None:
    code = (
        "import logging; logging.basicConfig(); from shared.telemetry import export; export.start(); print('goes on')"
    )
    printed = python(code, APPLICATIONINSIGHTS_CONNECTION_STRING="nonsense")
    assert "no_telemetry error=ValueError" in printed
    assert "goes on" in printed


def test_nothing_is_set_up_twice(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY: the worker was first, and all would be sent twice."""
    in_memory()
    calls: list[Any] = []
    monkeypatch.setattr(export, "_set_up", lambda: calls.append(1))
    monkeypatch.setenv("APPLICATIONINSIGHTS_CONNECTION_STRING", CONNECTION)
    export.start()
    assert calls == []
    assert "remove PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY" in caplog.text


def test_no_instrumentation_of_the_package_is_switched_on() -> None:
    """Each of them would record what is ours to leave out, such as whole URLs."""
    from azure.monitor.opentelemetry import _constants  # noqa: PLC0415  (half a second, for this test alone)

    assert set(export.INSTRUMENTATIONS) == set(_constants._ALL_SUPPORTED_INSTRUMENTED_LIBRARIES)


@pytest.mark.parametrize(
    ("name", "level", "is_exported"),
    [
        ("shared.sync.handlers", logging.INFO, True),
        ("azure.servicebus", logging.WARNING, True),
        ("azure_functions_runtime", logging.INFO, False),
        ("azure.monitor.opentelemetry.exporter", logging.ERROR, False),
        ("opentelemetry.sdk", logging.WARNING, False),
    ],
)
def test_own_lines_are_exported_and_warnings_of_others(name: str, level: int, is_exported: bool) -> None:
    line = logging.makeLogRecord({"name": name, "levelno": level})
    assert export.is_ours(line) is is_exported


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("value 'ann@contoso.example' is no e-mail", "value '…' is no e-mail"),
        ("for ann.o+x@contoso.example, see", "for <e-mail>, see"),
        ("mail=ann%40contoso.example&x=1", "mail=<e-mail>&x=1"),
        ("Invalid value for field 'phone' and value '+49 30 1'", "Invalid value for field 'phone' and value '…'"),
        ("field 'x' and value 'O'Brien'", "field 'x' and value '…'"),
        ("Cannot convert the literal 'Ann Smith' to the type", "Cannot convert the literal '…' to the type"),
        ('value "Ann Smith" is invalid', "value '…' is invalid"),
        ("string 'Contoso Ltd' is too long", "string '…' is too long"),
        ("Authorization: Bearer abc.def-1", "Authorization: Bearer …"),
        ("token eyJhbGciOi.eyJzdWIi.x-y_z here", "token <token> here"),
        ("Endpoint=sb://x/;SharedAccessKey=abc/+=;Entity=q", "Endpoint=sb://x/;SharedAccessKey=…;Entity=q"),
        ("GET https://x.example/a?sig=abc&y=1 failed", "GET https://x.example/a?… failed"),
        ("dead_letter code=1003 id=0b1c2d3e-2052-ef11-a316-000d3a5b7c01", None),
        ("circuit_open name=person until=2026-03-04T12:00:00.000Z failures=2 502: no answer", None),
    ],
)
def test_personal_data_and_secrets_are_taken_out(text: str, left: str | None) -> None:
    assert redacted(text) == (left or text)


@pytest.mark.parametrize("piece", ["a", "http://", "value '", "eyJ", "a%", "@", "Bearer ", "sig="])
def test_no_text_takes_long(piece: str) -> None:
    """A pattern that goes back over what it has read takes minutes for one of these."""
    began = time.process_time()
    assert len(redacted(piece * 20_000)) <= LONGEST
    assert time.process_time() - began < 1
