"""Queues, settings and schedules are the same in Bicep, the code, the example file, the host and both emulators."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from emulators.functions.settings import seconds_of
from infra import operate
from shared.cli import azd
from shared.cli.doctor.settings import FOR_TRIGGERS
from shared.cli.queues import LOCK, QUEUES
from shared.config.settings import SIGN_IN_NEEDS, DataverseSettings, QueueSettings, Settings, SyncSettings
from shared.model.entities import ENTITIES
from tests.support.values import ROOT
from tools import bicep, interpreters
from tools.bicep import INFRA

APP, MAIN = INFRA / "app.bicep", INFRA / "main.bicep"
PARAMETERS = json.loads((INFRA / "main.parameters.json").read_text())["parameters"]
EXAMPLE = json.loads((ROOT / "local.settings.example.json").read_text())["Values"]
HOST = json.loads((ROOT / "host.json").read_text())
AZURE_YAML = yaml.safe_load((ROOT / "azure.yaml").read_text())

#: Settings of the product that the app in Azure does without, and why.
NOT_IN_AZURE = {
    "ServiceBusConnection": "the identity connects",
    "AzureWebJobsStorage": "the identity connects",
    "DATAVERSE_CLIENT_CERTIFICATE_PASSWORD": "the Key Vault keeps the certificate without one",
    "CHANGES_SEND_CONNECTION": "msisync register alone needs it; msisync --env hands it over",
    "WEBHOOK_URL": "msisync register --webhook alone needs it",
    "WEBHOOK_KEY": "msisync register --webhook alone needs it",
}
#: Settings of the platform, which the code does not read.
PLATFORM = {
    "AzureWebJobsStorage__credential", "AzureWebJobsStorage__blobServiceUri", "ServiceBusConnection__credential",
    "APPLICATIONINSIGHTS_CONNECTION_STRING", "APPLICATIONINSIGHTS_AUTHENTICATION_STRING", "AZURE_CLIENT_ID",
    "PYTHON_ENABLE_OPENTELEMETRY", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG",
}  # fmt: skip


def product() -> dict[str, Any]:
    """Every setting that the code reads, with its default (None where there is none); and the timers'."""
    groups = [field.annotation for field in Settings.model_fields.values()]
    fields = [field for group in groups for field in group.model_fields.values()]  # type: ignore[union-attr]  # classes
    known = {str(field.alias): None if field.is_required() else field.default for field in fields}
    return {**known, **dict.fromkeys(schedules())}


def schedules() -> set[str]:
    """The settings that timers take their schedule from."""
    text = (ROOT / "function_app.py").read_text()
    return set(re.findall(r'timer_trigger\("\w+", "%(\w+)%"', text))


def in_azure() -> dict[str, str]:
    """The settings with a default that main.parameters.json hands to the app, by name."""
    found = {}
    for name, text in PARAMETERS["settings"]["value"].items():
        match = re.fullmatch(r"\$\{(\w+)=(.*)\}", text)
        assert match, f"{name} is not written as ${{NAME=default}}"
        assert match[1] == name
        found[name] = match[2]
    return found


def secrets() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = bicep.keys(APP, "dataverseSecrets")
    return found


def test_azure_has_every_setting_of_the_product_and_none_that_nobody_reads() -> None:
    queues = {queue["setting"] for queue in json.loads((INFRA / "queues.json").read_text())}
    wired = {*bicep.keys(APP, "connections"), *bicep.keys(APP, "vendors"), *bicep.keys(APP, "console")}
    secret = {"MARKETO_CLIENT_SECRET", "NOTIFY_URL", *(name for names in secrets().values() for name in names)}
    assert wired & in_azure().keys() == {"DATAVERSE_CLIENT_ID"}  # the identity's own where that signs in, else as set
    assert {*in_azure(), *queues, *wired, *secret} - PLATFORM == product().keys() - NOT_IN_AZURE.keys()


def test_the_example_file_explains_the_same_settings() -> None:
    shown = {name.removeprefix("// ") for name in EXAMPLE} - {"FUNCTIONS_WORKER_RUNTIME"}
    assert shown == product().keys()


@pytest.mark.parametrize("name", in_azure())
def test_a_default_is_the_same_in_azure_the_example_and_the_code(name: str) -> None:
    azure, default = in_azure()[name], product()[name]
    if not EXAMPLE[name].startswith("<"):
        assert azure == EXAMPLE[name]
    if default is not None:
        assert azure == (f"{default:g}" if isinstance(default, float) else str(default))


def test_secrets_are_references_to_the_vault_and_nowhere_else() -> None:
    text = "".join(path.read_text() for path in INFRA.glob("*.*") if path.suffix in {".bicep", ".json"})
    names = {name for name in product() if re.search("SECRET|PASSWORD|CERTIFICATE|KEY$", name)}
    assert names & in_azure().keys() == set()
    assert text.count("@Microsoft.KeyVault(") == 1
    assert "secrets/${secret.value}" in text


def test_each_way_to_sign_in_keeps_the_secrets_that_it_needs_in_the_vault() -> None:
    secret = {name for name, field in DataverseSettings.model_fields.items() if field.annotation is SecretStr}
    assert secrets() == {
        way: {f"DATAVERSE_{name.upper()}": f"dataverse-{name.replace('_', '-')}" for name in needs & secret}
        for way, needs in SIGN_IN_NEEDS.items()
    }
    decorators = bicep.parsed(MAIN)["parameters"]["dataverseAuth"]["decorators"]
    assert {way for item in decorators if item["type"] == "allowed" for way in item["argument"]} == set(SIGN_IN_NEEDS)


def test_the_script_keeps_the_secrets_that_the_app_refers_to() -> None:
    assert secrets() == azd.DATAVERSE_SECRETS
    always = "union({ MARKETO_CLIENT_SECRET: 'marketo-client-secret' }, dataverseSecrets[dataverseAuth], notifySecrets)"
    assert always in APP.read_text()
    assert "notify ? { NOTIFY_URL: 'notify-url' } : {}" in APP.read_text()
    assert operate.NOTIFY_SECRETS == {"NOTIFY_URL": "notify-url"}
    assert azd.MARKETO_SECRETS == {"MARKETO_CLIENT_SECRET": "marketo-client-secret"}
    assert f"name: '{azd.SEND_RULE}'" in (INFRA / "bus.bicep").read_text()


def test_every_schedule_is_known_to_the_doctor_and_has_six_fields() -> None:
    assert schedules() == set(FOR_TRIGGERS)
    for name in FOR_TRIGGERS:
        assert len(in_azure()[name].split()) == 6


def test_queues_are_the_same_everywhere() -> None:
    aliases = {design.setting: QueueSettings.model_fields[design.setting].alias for design in QUEUES}
    assert aliases.keys() == QueueSettings.model_fields.keys()
    assert {design.setting for design in QUEUES if design.sessions} == set(ENTITIES)
    for design in QUEUES:
        assert EXAMPLE[aliases[design.setting]] == design.name


def test_bicep_gives_a_queue_every_property_that_is_designed() -> None:
    (call,) = (call for call in bicep.calls() if call.name == "namespace")
    properties = set(json.loads((INFRA / "queues.json").read_text())[0])
    others = {
        "authorizationRules",
        "roleAssignments",
        "status",
    }  # rights, and a pause
    assert set(call.params["queues"]["config"]) - others == properties - {"setting"}


def test_the_host_s_file_has_what_the_host_knows() -> None:
    """Its schema is to be had online only: these are names of the host.json reference, and of extension 5.x."""
    assert HOST.keys() <= {"version", "telemetryMode", "functionTimeout", "extensionBundle", "extensions", "logging"}
    assert HOST["version"] == "2.0"
    assert HOST["extensions"].keys() <= {"http", "serviceBus"}
    assert HOST["extensions"]["serviceBus"].keys() <= {
        "autoCompleteMessages", "maxMessageBatchSize", "maxConcurrentSessions", "sessionIdleTimeout", "prefetchCount",
    }  # fmt: skip
    assert HOST["logging"].keys() <= {"logLevel"}


def test_the_host_speaks_as_the_app_expects() -> None:
    assert HOST["telemetryMode"] == "OpenTelemetry"
    assert HOST["extensionBundle"] == {"id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "[4.*, 5.0.0)"}


def test_work_ends_before_its_invocation_and_that_before_its_lock() -> None:
    most = timedelta(seconds=seconds_of(HOST["functionTimeout"]))
    longest = next(item.le for item in SyncSettings.model_fields["time_budget"].metadata if hasattr(item, "le"))
    assert timedelta(seconds=longest) < most < LOCK


def test_the_app_connects_by_its_identity_and_speaks_telemetry() -> None:
    connections = {name: str(value) for name, value in bicep.keys(APP, "connections").items()}
    for name in ("AzureWebJobsStorage", "ServiceBusConnection"):
        assert connections[f"{name}__credential"] == "managedidentity"
        assert "identityClientId" in connections[f"{name}__clientId"]
    text = APP.read_text()
    assert "'ClientId=${identityClientId};Authorization=AAD'" in text
    assert "PYTHON_ENABLE_OPENTELEMETRY: 'true'" in text
    assert "OTEL_TRACES_SAMPLER: 'microsoft.fixed_percentage'" in text
    assert "keyVaultAccessIdentityResourceId: identityId" in text


def test_the_tables_and_the_queue_of_dead_letters_are_the_app_s() -> None:
    text = MAIN.read_text()
    assert "tables: [settings.PARKED_TABLE, settings.STATE_TABLE]" in text
    assert "deadLetterQueue: bus.outputs.queueSettings.DEAD_LETTER_QUEUE" in text
    assert "values: alert.queues == 'all' ? ['*'] : [deadLetterQueue]" in (INFRA / "monitoring.bicep").read_text()


def test_alerts_on_the_broker_name_its_metrics() -> None:
    alerts = json.loads((INFRA / "alerts.json").read_text())["broker"]
    assert {alert["metric"] for alert in alerts} == {"DeadletteredMessages", "ActiveMessages"}


@pytest.mark.parametrize("name", [name for name in PARAMETERS if name != "settings"])
def test_a_parameter_s_default_is_bicep_s(name: str) -> None:
    default = bicep.parsed(MAIN)["parameters"][name].get("default")
    given = re.fullmatch(r"\$\{\w+(?:=(.*))?\}", PARAMETERS[name]["value"])
    assert given
    if given[1] is not None:
        shown = str(default).lower() if isinstance(default, bool) else str("" if default is None else default)
        assert shown == given[1]


def test_every_parameter_can_be_set_through_azd() -> None:
    assert PARAMETERS.keys() == bicep.parameters(MAIN).keys()
    names = [
        re.fullmatch(r"\$\{(\w+)(=.*)?\}", value["value"]) for name, value in PARAMETERS.items() if name != "settings"
    ]
    assert all(names)
    needed = {name for name, required in bicep.parameters(MAIN).items() if required} - {"settings"}
    for name in needed:
        assert "=" not in PARAMETERS[name]["value"], f"azd would not ask for {name}"


def test_azd_deploys_what_bicep_makes() -> None:
    (service,) = AZURE_YAML["services"]
    assert f"'azd-service-name': '{service}'" in APP.read_text()
    assert AZURE_YAML["services"][service] == {"project": ".", "language": "py", "host": "function"}
    commands = {"preprovision": "pauses", "postprovision": "settings", "postdeploy": "deployed"}
    assert AZURE_YAML["hooks"].keys() == commands.keys()
    for moment, systems in AZURE_YAML["hooks"].items():
        for hook in systems.values():
            _, script, command = hook["run"].split()
            assert (ROOT / script).exists()
            assert command == commands[moment]
            assert f"infra/operate.py {command}" in (operate.__doc__ or "")
    assert AZURE_YAML["requiredVersions"]["azd"].startswith(">= 1.")


def test_azure_offers_the_pythons_that_are_tested() -> None:
    decorators = bicep.parsed(MAIN)["parameters"]["pythonVersion"]
    (allowed,) = (item["argument"] for item in decorators["decorators"] if item["type"] == "allowed")
    assert sorted(allowed) == sorted("{}.{}".format(*version) for version in interpreters.VERSIONS)
    assert decorators["default"] == "{}.{}".format(*interpreters.DEPLOYED)


def test_only_the_app_is_deployed() -> None:
    """.funcignore has gitignore's syntax; of it, this project uses names, folders and * alone."""
    patterns = [line.rstrip("/") for line in (ROOT / ".funcignore").read_text().split()]
    kept = {path.name for path in ROOT.iterdir() if not any(path.match(pattern) for pattern in patterns)}
    assert kept - {".funcignore"} == {"function_app.py", "host.json", "requirements.txt", "shared", "sync.toml"}
