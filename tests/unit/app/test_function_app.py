"""The triggers as the Functions host sees them: names, queues, batches, sessions, settings; and a light import."""

import importlib.util
import json
import re
import subprocess
import sys
from typing import Any

import azure.functions as func
import pytest

from infra import deployment
from shared.config.settings import SyncSettings
from tests.support.values import ROOT

HEAVY = (
    "opentelemetry.sdk", "azure.monitor", "msal", "azure.servicebus", "azure.data.tables", "azure.identity",
    "aiohttp", "requests", "starlette", "jinja2", "shared.cli",
)  # fmt: skip

SYNC = {
    "sync_sales_persons": "%SALES_PERSON_QUEUE%", "sync_companies": "%COMPANY_QUEUE%",
    "sync_persons": "%PERSON_QUEUE%", "sync_opportunities": "%OPPORTUNITY_QUEUE%",
    "sync_opportunity_roles": "%OPPORTUNITY_ROLE_QUEUE%",
}  # fmt: skip
TIMERS = {
    "release_deferred": "RELEASE_SCHEDULE",
    "carry_on_runs": "RUN_SCHEDULE",
    "reconcile_changes": "RECONCILE_SCHEDULE",
    "write_back_msi": "WRITE_BACK_SCHEDULE",
}


def indexed() -> dict[str, dict[str, Any]]:
    """The trigger binding of each function, by the function's name, as plain JSON values.

    Of a module of its own: an app can be indexed once, and pytest may ask for this again in the same process.
    """
    spec = importlib.util.spec_from_file_location("function_app_as_indexed", ROOT / "function_app.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, dict[str, Any]] = {}
    for function in module.app.get_functions():
        described = json.loads(json.dumps(function.get_dict_repr(), default=lambda enum: enum.value))
        (found[str(function.get_function_name())],) = [
            b for b in described["bindings"] if b["type"].endswith("Trigger")
        ]
    return found


@pytest.fixture(scope="module")
def triggers() -> dict[str, dict[str, Any]]:
    return indexed()


def test_these_are_all_functions_of_the_app(triggers: dict[str, dict[str, Any]]) -> None:
    assert set(triggers) == {"receive_webhook", "route_changes", *SYNC, *TIMERS}
    assert set(triggers) == deployment.functions()  # what a deployment is checked for


def test_the_webhook_is_a_post_that_needs_a_function_key(triggers: dict[str, dict[str, Any]]) -> None:
    trigger = triggers["receive_webhook"]
    assert (trigger["type"], trigger["methods"], trigger["authLevel"]) == ("httpTrigger", ["POST"], "function")
    host = json.loads((ROOT / "host.json").read_text(encoding="utf-8"))
    assert (host["extensions"]["http"]["routePrefix"], trigger["route"]) == ("", "api/receive_webhook")


@pytest.mark.parametrize("value", ["off", "", "Entra", "yes"])
def test_the_app_serves_no_console_unless_that_is_set(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CONSOLE", value)
    assert "serve_console" not in indexed()


def test_the_console_takes_what_no_other_function_does_and_leaves_the_sign_in_to_the_platform(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of several functions that match, the host takes the first by name."""
    monkeypatch.setenv("CONSOLE", "entra")
    found = indexed()
    trigger = found["serve_console"]
    assert (trigger["route"], trigger["authLevel"], trigger["methods"]) == (
        "{*path}", "anonymous", ["GET", "HEAD", "POST"],
    )  # fmt: skip
    assert max(name for name, each in found.items() if each["type"] == "httpTrigger") == "serve_console"


def test_changes_come_in_batches_from_a_queue_without_sessions(triggers: dict[str, dict[str, Any]]) -> None:
    trigger = triggers["route_changes"]
    assert (trigger["type"], trigger["queueName"]) == ("serviceBusTrigger", "%CHANGES_QUEUE%")
    assert (trigger["cardinality"], trigger.get("isSessionsEnabled", False)) == ("many", False)


@pytest.mark.parametrize(("name", "queue"), SYNC.items())
def test_each_entity_has_one_batch_writer(triggers: dict[str, dict[str, Any]], name: str, queue: str) -> None:
    trigger = triggers[name]
    assert (trigger["type"], trigger["queueName"]) == ("serviceBusTrigger", queue)
    assert (trigger["cardinality"], trigger["isSessionsEnabled"]) == ("many", True)


def test_messages_come_as_they_are_from_queues_of_one_connection(triggers: dict[str, dict[str, Any]]) -> None:
    found = [trigger for trigger in triggers.values() if trigger["type"] == "serviceBusTrigger"]
    binary = func.DataType.BINARY.value
    assert {(each["connection"], each["dataType"]) for each in found} == {("ServiceBusConnection", binary)}


def test_the_host_gives_an_entity_to_one_writer_at_a_time() -> None:
    host = json.loads((ROOT / "host.json").read_text(encoding="utf-8"))
    assert host["extensions"]["serviceBus"]["maxConcurrentSessions"] == 1
    assert host["extensions"]["serviceBus"]["autoCompleteMessages"] is True


def test_a_full_batch_of_the_host_is_a_burst_to_the_app() -> None:
    """A smaller batch than BURST_BATCH would never be a burst: every trickle of calls would be small."""
    host = json.loads((ROOT / "host.json").read_text(encoding="utf-8"))
    batch = host["extensions"]["serviceBus"]["maxMessageBatchSize"]
    assert SyncSettings.model_validate({}).burst_batch <= batch


@pytest.mark.parametrize(("name", "setting"), TIMERS.items())
def test_the_schedule_of_a_timer_is_a_setting(triggers: dict[str, dict[str, Any]], name: str, setting: str) -> None:
    trigger = triggers[name]
    assert (trigger["type"], trigger["schedule"]) == ("timerTrigger", f"%{setting}%")
    assert not trigger.get("runOnStartup")


@pytest.mark.parametrize("environment", [{}, {"CONSOLE": "entra"}])
def test_indexing_the_app_reads_no_setting_and_loads_no_heavy_package(environment: dict[str, str]) -> None:
    """The indexer imports the app without settings; what costs a cold start is loaded on first use."""
    code = f"import sys, function_app; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(  # noqa: S603  (our own interpreter and code)
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.strip() == "[]"


def test_the_command_line_of_httpx_is_not_deployed() -> None:
    """With click beside rich, httpx would load it at each cold start."""
    assert not re.search(r"^click==", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
