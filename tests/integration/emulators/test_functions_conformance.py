"""An app is indexed and run by Microsoft's own worker library, with the payloads that the local host sends.

What this proves for the host: the platform's worker takes the same payloads, and makes the same values of them.
"""

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from emulators.functions import conformance
from emulators.functions.conformance import ConformanceError, IndexedFunction
from emulators.functions.metadata import QueueMessage, batch_invocation, message_invocation
from emulators.functions.timers import timer_invocation
from emulators.functions.web import http_value

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 13),
    reason="NOT CHECKED: conformance with Microsoft's worker needs azure-functions-runtime, which needs Python 3.13",
)

APP = """
import json
import typing

import azure.functions as func

app = func.FunctionApp()
calls = []


@app.route(route="hook/{name}", methods=["POST"], auth_level=func.AuthLevel.FUNCTION)
async def hook(req: func.HttpRequest) -> func.HttpResponse:
    seen = [req.method, req.route_params["name"], req.params["a"], req.headers["X-Custom"], req.get_body().decode()]
    return func.HttpResponse(json.dumps(seen), status_code=202, headers={"X-Answer": "42"})


@app.service_bus_queue_trigger(
    arg_name="messages", queue_name="%Queue%", connection="Bus", cardinality="many", is_sessions_enabled=True
)
async def batch(messages: typing.List[func.ServiceBusMessage]) -> None:
    calls.append([
        [m.get_body().decode(), m.message_id, m.session_id, m.delivery_count, m.sequence_number, m.correlation_id,
         m.content_type, m.application_properties, m.enqueued_time_utc.isoformat()]
        for m in messages
    ])


@app.service_bus_queue_trigger(arg_name="message", queue_name="single", connection="Bus")
def single(message: func.ServiceBusMessage) -> None:
    calls.append([message.get_body().decode(), message.delivery_count, message.application_properties])


@app.timer_trigger(arg_name="timer", schedule="%Schedule%")
async def tick(timer: func.TimerRequest, context: func.Context) -> None:
    calls.append([timer.past_due, timer.schedule_status["Next"], context.function_name])


@app.timer_trigger(arg_name="timer", schedule="%Schedule%")
async def broken(timer: func.TimerRequest) -> None:
    raise RuntimeError("told to fail")
"""
BUILTIN_LIST = """
import azure.functions as func
app = func.FunctionApp()

@app.service_bus_queue_trigger(arg_name="messages", queue_name="q", connection="Bus", cardinality="many")
def drain(messages: list[func.ServiceBusMessage]) -> None: ...
"""


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, IndexedFunction]]:
    app_dir = tmp_path_factory.mktemp("conformance")
    (app_dir / "function_app.py").write_text(APP)
    yield {function.name: function for function in conformance.index(app_dir)}
    conformance.close()


def calls() -> list[object]:
    """What the app wrote down, and forgets now."""
    noted: list[object] = sys.modules["function_app"].calls
    seen = list(noted)
    noted.clear()
    return seen


def test_every_function_is_indexed_with_its_bindings(functions: dict[str, IndexedFunction]) -> None:
    assert set(functions) == {"hook", "batch", "single", "tick", "broken"}
    [binding] = map(json.loads, functions["batch"].raw_bindings)
    assert (binding["type"], binding["queueName"], binding["cardinality"]) == ("serviceBusTrigger", "%Queue%", "MANY")


async def test_a_request(functions: dict[str, IndexedFunction]) -> None:
    request = http_value(
        "POST", "https://x/api/hook/n", {"X-Custom": "c"}, b"body", query={"a": "1"}, parameters={"name": "n"}
    )
    answer = await conformance.invoke(functions["hook"], {"req": request})
    assert answer.value["status_code"].value == "202"
    assert json.loads(answer.value["body"].value) == ["POST", "n", "1", "c", "body"]
    assert answer.value["headers"]["X-Answer"].value == "42"


async def test_a_batch(functions: dict[str, IndexedFunction]) -> None:
    enqueued = datetime(2026, 11, 21, 20, 30, 1, tzinfo=UTC)
    messages = [
        QueueMessage(
            body=b"%d" % number, message_id=f"m{number}", session_id="s", correlation_id=f"c{number}",
            content_type="application/json", application_properties={"attempt": number}, sequence_number=number,
            delivery_count=number, enqueued_time=enqueued,
        )
        for number in (1, 2)
    ]  # fmt: skip
    invocation = batch_invocation("batch", messages)
    assert await conformance.invoke(functions["batch"], {"messages": invocation.data}, invocation.metadata) is None
    rest = ["application/json"]
    assert calls() == [
        [
            ["1", "m1", "s", 1, 1, "c1", *rest, {"attempt": 1}, "2026-11-21T20:30:01"],
            ["2", "m2", "s", 2, 2, "c2", *rest, {"attempt": 2}, "2026-11-21T20:30:01"],
        ]
    ]


async def test_a_single_message_in_a_thread(functions: dict[str, IndexedFunction]) -> None:
    invocation = message_invocation("single", QueueMessage(body=b"x", application_properties={"a": 1}))
    await conformance.invoke(functions["single"], {"message": invocation.data}, invocation.metadata)
    assert calls() == [["x", 1, {"a": 1}]]


async def test_a_timer(functions: dict[str, IndexedFunction]) -> None:
    following = datetime(2026, 11, 21, tzinfo=UTC)
    invocation = timer_invocation("tick", past_due=True, last=None, following=following)
    await conformance.invoke(functions["tick"], {"timer": invocation.data})
    assert calls() == [[True, "2026-11-21T00:00:00+00:00", "tick"]]


async def test_an_exception_is_reported(functions: dict[str, IndexedFunction]) -> None:
    invocation = timer_invocation("broken", past_due=False, last=None, following=None)
    with pytest.raises(ConformanceError, match="told to fail"):
        await conformance.invoke(functions["broken"], {"timer": invocation.data})


def test_the_builtin_list_is_refused_as_the_local_worker_refuses_it(tmp_path: Path) -> None:
    (tmp_path / "function_app.py").write_text(BUILTIN_LIST)
    kept = sys.modules.pop("function_app", None)
    try:
        with pytest.raises(RuntimeError, match=r"invalid non-type annotation list\["):
            conformance.index(tmp_path)
    finally:
        if kept is not None:
            sys.modules["function_app"] = kept
