import json
from pathlib import Path
from typing import Any

import pytest

from emulators.functions.settings import AppSettings, HostError, HostOptions
from emulators.functions.triggers import HttpTrigger, QueueTrigger, TimerTrigger, read_triggers

QUEUE = {"type": "serviceBusTrigger", "name": "messages", "queueName": "%Queue%", "connection": "Bus"}


def options(tmp_path: Path, document: dict[str, Any], **settings: str) -> HostOptions:
    (tmp_path / "host.json").write_text(json.dumps({"version": "2.0", **document}))
    return HostOptions.load(tmp_path, AppSettings(settings))


def test_defaults_are_the_real_host_s(tmp_path: Path) -> None:
    found = options(tmp_path, {})
    assert found.service_bus.max_message_batch_size == 1000
    assert found.service_bus.session_idle_timeout == 60
    assert found.service_bus.auto_complete_messages
    assert found.route_prefix == "api"
    assert found.function_timeout == 1800


def test_host_json_is_read_and_a_setting_goes_over_it(tmp_path: Path) -> None:
    bus = {"maxMessageBatchSize": 300, "sessionIdleTimeout": "00:00:01.5", "autoCompleteMessages": False}
    document = {"extensions": {"serviceBus": bus, "http": {"routePrefix": ""}}, "functionTimeout": "1.00:00:00"}
    override = {"AzureFunctionsJobHost__extensions__serviceBus__maxMessageBatchSize": "50"}
    found = options(tmp_path, document, **override)
    assert found.service_bus.max_message_batch_size == 50
    assert found.service_bus.session_idle_timeout == 1.5
    assert not found.service_bus.auto_complete_messages
    assert found.route_prefix == ""
    assert found.function_timeout == 86_400


@pytest.mark.parametrize(
    "document",
    [
        {"extensions": {"serviceBus": {"maxMessageBatchSize": 0}}},
        {"extensions": {"serviceBus": {"sessionIdleTimeout": "1s"}}},
        {"extensions": {"serviceBus": {"autoCompleteMessages": "maybe"}}},
    ],
)
def test_a_wrong_value_in_host_json_is_refused(tmp_path: Path, document: dict[str, Any]) -> None:
    with pytest.raises(HostError, match=r"host\.json"):
        options(tmp_path, document)


def test_a_folder_without_host_json_is_no_app(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"no host\.json"):
        HostOptions.load(tmp_path, AppSettings({}))


def test_the_environment_goes_over_local_settings(tmp_path: Path) -> None:
    (tmp_path / "local.settings.json").write_text(json.dumps({"Values": {"A": "file", "B": "file"}}))
    found = AppSettings.load(tmp_path, {"A": "environment"})
    assert found.values == {"A": "environment", "B": "file"}


def test_a_queue_trigger_gets_its_settings() -> None:
    binding = {**QUEUE, "isSessionsEnabled": True, "cardinality": "MANY", "dataType": "BINARY"}
    settings = AppSettings({"Queue": "persons", "Bus": "Endpoint=sb://x"})
    [trigger] = read_triggers([("sync", [binding])], settings)
    assert trigger == QueueTrigger(
        function="sync", queue="persons", connection_string="Endpoint=sb://x", sessions=True, many=True, binary=True,
        auto_complete=None,
    )  # fmt: skip


def test_http_and_timer_triggers_are_read() -> None:
    http = {"type": "httpTrigger", "name": "req", "methods": ["post"], "authLevel": "FUNCTION", "route": "changes/"}
    timer = {"type": "timerTrigger", "name": "timer", "schedule": "%When%", "runOnStartup": True, "useMonitor": False}
    answer = {"type": "http", "name": "$return"}
    first, second = read_triggers([("a", [http, answer]), ("b", [timer])], AppSettings({"When": "0 * * * * *"}))
    assert first == HttpTrigger(function="a", route="changes", methods=frozenset({"POST"}), level="function")
    assert isinstance(second, TimerTrigger)
    assert (second.schedule.expression, second.run_on_startup, second.monitor) == ("0 * * * * *", True, False)


@pytest.mark.parametrize(
    ("binding", "settings", "complaint"),
    [
        (QUEUE, {"Bus": "x"}, "'Queue' .* not set"),
        (QUEUE, {"Queue": "q"}, "'Bus' is not set"),
        (QUEUE, {"Queue": "q", "Bus__fullyQualifiedNamespace": "n"}, "identity-based"),
        ({"type": "serviceBusTrigger", "name": "m", "topicName": "t"}, {}, "queues only"),
        ({"type": "blobTrigger", "name": "b"}, {}, "no binding 'blobTrigger'"),
        ({"type": "timerTrigger", "name": "t", "schedule": "often"}, {}, "NCRONTAB"),
        ({"type": "http", "name": "$return"}, {}, "0 triggers"),
    ],
)
def test_what_cannot_be_served_is_refused(binding: dict[str, Any], settings: dict[str, str], complaint: str) -> None:
    with pytest.raises(HostError, match=f"'sync'.*{complaint}|'sync' has {complaint}"):
        read_triggers([("sync", [binding])], AppSettings(settings))
