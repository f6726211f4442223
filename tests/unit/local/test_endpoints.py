"""What the stack tells its clients and the app."""

import stat
from pathlib import Path
from typing import Any

import pytest
from azure.servicebus import parse_connection_string

from local.endpoints import Addresses, Ports, write_private_json


@pytest.fixture
def addresses() -> Addresses:
    ports = Ports(**{name: 20_000 + index for index, name in enumerate(Ports.__dataclass_fields__)})
    return Addresses(ports=ports, ca_bundle=Path("/stack/ca.pem"))


def leaves(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values by their keys, such as a.b for {"a": {"b": …}}."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def test_endpoints_hold_exactly_the_promised_keys_and_a_text_for_each(addresses: Addresses) -> None:
    told = leaves(addresses.endpoints())
    assert all(isinstance(value, str) and value for value in told.values())
    queues = ["changes", "sales_person", "company", "person", "opportunity", "opportunity_role", "dead_letters"]
    dataverse = ["url", "authority", "tenant_id", "client_id", "client_secret", "username", "password"]
    dataverse += ["client_certificate", "identity_endpoint", "identity_header", "managed_identity_client_id"]
    assert told.keys() == {
        "service_bus.connection_string", *(f"service_bus.queues.{name}" for name in queues),
        *(f"dataverse.{name}" for name in dataverse),
        *(f"marketo.{name}" for name in ("url", "client_id", "client_secret")), "storage.connection_string",
        *(f"functions.{name}" for name in ("url", "webhook_key", "admin_key")), "https_proxy", "ca_bundle",
    }  # fmt: skip


def test_the_service_bus_sdk_reads_the_connection_string(addresses: Addresses) -> None:
    parsed = parse_connection_string(addresses.service_bus)
    assert parsed.endpoint == f"sb://127.0.0.1:{addresses.ports.service_bus}/"
    assert parsed.shared_access_key_name == "RootManageSharedAccessKey"


def test_the_app_and_its_clients_are_told_the_same(addresses: Addresses) -> None:
    environment, endpoints = addresses.functions_environment(), addresses.endpoints()
    assert environment["ServiceBusConnection"] == endpoints["service_bus"]["connection_string"]
    assert environment["AzureWebJobsStorage"] == endpoints["storage"]["connection_string"]
    assert environment["OPPORTUNITY_ROLE_QUEUE"] == endpoints["service_bus"]["queues"]["opportunity_role"]
    assert environment["DATAVERSE_PASSWORD"] == endpoints["dataverse"]["password"]
    assert environment["MARKETO_CLIENT_SECRET"] == endpoints["marketo"]["client_secret"]
    assert environment["FUNCTIONS_WEBHOOK_KEY"] == endpoints["functions"]["webhook_key"]


def test_local_settings_are_those_of_the_app_and_what_registering_needs(addresses: Addresses) -> None:
    settings = addresses.local_settings({"MARKETO_CONCURRENCY": "7"})
    values, environment = settings["Values"], addresses.functions_environment()
    assert settings.keys() == {"IsEncrypted", "Values"}
    assert settings["IsEncrypted"] is False
    assert not values.keys() & {"HOME", "PATH", "TMPDIR", "PYTHONUNBUFFERED"}
    registering = {"CHANGES_SEND_CONNECTION", "WEBHOOK_URL", "WEBHOOK_KEY"}
    assert values.keys() - environment.keys() == {*registering, "MARKETO_CONCURRENCY"}
    assert {name: environment[name] for name in values.keys() & environment.keys()} == {
        name: values[name] for name in values.keys() & environment.keys()
    }
    proxied = ("HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    assert all(values[name] for name in proxied)
    assert parse_connection_string(values["CHANGES_SEND_CONNECTION"]).shared_access_key_name == "DataverseSend"
    assert values["WEBHOOK_URL"] == f"{addresses.endpoints()['functions']['url']}/api/receive_webhook"
    assert values["WEBHOOK_KEY"] == addresses.webhook_key


def test_keys_are_new_for_every_stack_and_not_in_its_repr(addresses: Addresses) -> None:
    other = Addresses(ports=addresses.ports, ca_bundle=addresses.ca_bundle)
    assert other.webhook_key != addresses.webhook_key
    assert other.admin_key != addresses.admin_key
    assert other.webhook_key not in repr(other)
    assert other.admin_key not in repr(other)


def test_what_the_machine_has_set_stays_out_of_the_app(addresses: Addresses, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_DIR", "DATAVERSE_TENANT_ID", "HTTP_PROXY"):
        monkeypatch.setenv(name, "mine")
    monkeypatch.setenv("SSL_CERT_FILE", "mine")
    environment = addresses.functions_environment()
    assert "mine" not in environment.values()
    assert environment["SSL_CERT_FILE"] == "/stack/ca.pem"


def test_a_private_file_is_replaced_whole_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "state" / "endpoints.json"
    write_private_json(path, {"a": 1})
    write_private_json(path, {"a": 2})
    assert path.read_text() == '{\n  "a": 2\n}\n'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
