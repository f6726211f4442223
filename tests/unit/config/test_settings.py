"""App settings: what people paste is understood, what is wrong is told by name, all at once, and secrets never show."""

import json
import traceback

import pytest

from shared.config import settings
from shared.config.settings import Settings
from shared.model.errors import ConfigurationError
from tests.support.settings import ENVIRONMENT, SECRETS
from tests.support.values import ROOT


def loaded(**changes: str) -> Settings:
    return settings.load(ENVIRONMENT | changes)


def refused(environment: dict[str, str]) -> str:
    with pytest.raises(ConfigurationError) as refusal:
        settings.load(environment)
    assert refusal.value.code == "BadSettings"
    return refusal.value.message


def without(*names: str) -> dict[str, str]:
    return {name: value for name, value in ENVIRONMENT.items() if name not in names}


def test_the_least_that_must_be_set_is_enough() -> None:
    given = loaded()
    assert given.dataverse.auth == "password"
    assert given.sync.parent_wait == 86_400
    assert given.queues.of("opportunity_role") == "opportunity-roles"


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_a_setting_that_is_missing_or_empty_is_told_by_name(name: str) -> None:
    problem, _, where_to_read_on = refused(without(name)).rpartition("\n")
    assert name in problem
    assert "file" not in problem
    assert "local.settings.example.json" in where_to_read_on
    assert name in refused(ENVIRONMENT | {name: ""})


def test_an_empty_environment_is_told_everything_that_must_be_set_at_once() -> None:
    told = refused({})
    assert [name for name in ENVIRONMENT if name not in told] == []


def test_only_the_documented_names_are_settings() -> None:
    given = loaded(auth="client_secret", namespace="evil.example.com", concurrency="9", burst_batch="7")
    assert given == loaded()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"PERSON_QUEUE": "Companies"}, "PERSON_QUEUE and COMPANY_QUEUE name the same queue"),
        ({"DEAD_LETTER_QUEUE": "dynamics-changes"}, "DEAD_LETTER_QUEUE and CHANGES_QUEUE name the same queue"),
        ({"PARKED_TABLE": "state"}, "STATE_TABLE and PARKED_TABLE name the same table"),
        ({"PARKED_TABLE": "par-ked"}, "PARKED_TABLE: must be 3 to 63 letters and digits"),
        ({"AzureWebJobsStorage": "garbage"}, "AzureWebJobsStorage: must be a connection string"),
        ({"AzureWebJobsStorage": "AccountName=a"}, "AzureWebJobsStorage: must be a connection string"),
        ({"AzureWebJobsStorage__tableServiceUri": "http://a"}, "tableServiceUri: must be an https:// address"),
        ({"ServiceBusConnection__fullyQualifiedNamespace": "sb://a.b/"}, "must be the namespace's host name alone"),
        ({"DATAVERSE_ORGANIZATION_ID": "contoso"}, "DATAVERSE_ORGANIZATION_ID: must be a GUID"),
        ({"WEBHOOK_URL": "ftp://x"}, "WEBHOOK_URL: must be https://"),
        ({"DATAVERSE_URL": "https://crm.contoso.com"}, "app settings: DATAVERSE_URL: crm.contoso.com is no Dynamics"),
    ],
)
def test_what_would_only_fail_later_is_told_with_the_form_that_is_right(wrong: dict[str, str], told: str) -> None:
    assert told in refused(ENVIRONMENT | wrong)


def test_pasted_forms_of_identifiers_and_addresses_are_brought_to_one() -> None:
    given = loaded(
        DATAVERSE_ORGANIZATION_ID="{61DD2C90-37F5-EE11-A1FD-000D3A2F6C01}",
        AzureWebJobsStorage__tableServiceUri="https://a.table.core.windows.net/",
    )
    assert given.dataverse.organization_id == "61dd2c90-37f5-ee11-a1fd-000d3a2f6c01"
    assert given.storage.table_uri == "https://a.table.core.windows.net"


def test_all_problems_of_all_groups_are_listed_at_once() -> None:
    wrong = {
        "DATAVERSE_AUTH": "certificate", "DATAVERSE_CLIENT_ID": "", "MARKETO_CONCURRENCY": "11", "COMPANY_QUEUE": "",
        "PARKED_TABLE": "no-dashes", "BURST_BATCH": "many", "TIME_BUDGET_SECONDS": "300",
    }  # fmt: skip
    lines = refused(ENVIRONMENT | wrong).splitlines()
    for name in wrong:
        assert any(name in line for line in lines), name
    assert len(lines) == len(wrong) + 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MARKETO_CALLS_PER_20_SECONDS", "0"), ("MARKETO_CALLS_PER_20_SECONDS", "101"), ("MARKETO_CONCURRENCY", "0"),
        ("MARKETO_CONCURRENCY", "11"), ("TIME_BUDGET_SECONDS", "9"), ("TIME_BUDGET_SECONDS", "271"),
        ("MAX_ATTEMPTS", "0"), ("PARENT_WAIT_SECONDS", "0"), ("BURST_WINDOW_SECONDS", "61"),
        ("BURST_WINDOW_SECONDS", "0.9"), ("BURST_BATCH", "0"),
    ],
)  # fmt: skip
def test_values_beyond_what_the_systems_allow_are_refused(name: str, value: str) -> None:
    assert name in refused(ENVIRONMENT | {name: value})


@pytest.mark.parametrize(
    "pasted",
    [
        "https://123-abc-456.mktorest.com", "https://123-abc-456.mktorest.com/rest",
        "https://123-abc-456.mktorest.com/rest/", "https://123-abc-456.mktorest.com/identity",
        "123-ABC-456.mktorest.com",
    ],
)  # fmt: skip
def test_the_marketo_endpoint_is_understood_as_the_admin_page_shows_it(pasted: str) -> None:
    assert loaded(MARKETO_URL=pasted).marketo.url == "https://123-abc-456.mktorest.com"


@pytest.mark.parametrize("name", ["DATAVERSE_URL", "MARKETO_URL"])
@pytest.mark.parametrize(
    "value",
    [
        "http://contoso.crm4.dynamics.com", "https://", "ftp://contoso.crm4.dynamics.com", "https://[::1",
        "https://<org>.crm4.dynamics.com", "https://contoso.crm4.dynamics.com:port",
        "https://con\ttoso.crm4.dynamics.com", "https://con toso.crm4.dynamics.com", "https://-.crm4.dynamics.com",
    ],
)  # fmt: skip
def test_an_address_without_tls_or_host_is_refused(name: str, value: str) -> None:
    assert f"{name}: must be an https:// address" in refused(ENVIRONMENT | {name: value})


@pytest.mark.parametrize(
    "host", ["contoso.crm9.dynamics.com", "contoso.crm.dynamics.cn", "contoso.crm.microsoftdynamics.us"]
)
def test_environments_of_other_regions_and_clouds_are_dynamics_hosts(host: str) -> None:
    assert loaded(DATAVERSE_URL=f"https://{host}").dataverse.url == f"https://{host}"


@pytest.mark.parametrize(
    "host", ["contoso.example.com", "crm4.dynamics.com.example.com", "evildynamics.com", "localhost", "10.0.0.1"]
)
def test_a_foreign_host_gets_no_credentials_unless_the_operator_names_the_authority(host: str) -> None:
    url = f"https://{host}"
    told = refused(ENVIRONMENT | {"DATAVERSE_URL": url})
    assert "DATAVERSE_URL" in told
    assert "DATAVERSE_AUTHORITY" in told
    assert host in told
    assert loaded(DATAVERSE_URL=url, DATAVERSE_AUTHORITY="https://login.example.com/t").dataverse.url == url


def test_a_managed_identity_takes_the_place_of_connection_strings() -> None:
    given = settings.load(
        without("ServiceBusConnection", "AzureWebJobsStorage")
        | {
            "ServiceBusConnection__fullyQualifiedNamespace": "contoso.servicebus.windows.net",
            "AzureWebJobsStorage__tableServiceUri": "https://contoso.table.core.windows.net",
        }
    )
    assert given.bus.namespace == "contoso.servicebus.windows.net"
    assert given.storage.table_uri == "https://contoso.table.core.windows.net"


def test_no_secret_shows_in_any_text_of_the_settings() -> None:
    given = loaded()
    texts = [repr(given), str(given), f"{given.dataverse}", str(given.model_dump()), given.model_dump_json()]
    for value in SECRETS.values():
        assert all(value not in text for text in texts)
    assert given.dataverse.client_secret.get_secret_value() == SECRETS["DATAVERSE_CLIENT_SECRET"]


@pytest.mark.parametrize("broken", sorted({*ENVIRONMENT, "DATAVERSE_AUTH", "PARKED_TABLE", "MAX_ATTEMPTS"}))
def test_no_secret_shows_in_any_text_of_a_refusal(broken: str) -> None:
    """Also when the secret itself was pasted into the wrong setting."""
    misplaced = "-mispl@ced S3cret/0006"
    environment = ENVIRONMENT | {broken: "", "DATAVERSE_ORGANIZATION_ID": misplaced, "MARKETO_CONCURRENCY": misplaced}
    with pytest.raises(ConfigurationError) as refusal:
        settings.load(environment)
    error = refusal.value
    texts = [str(error), repr(error), "".join(traceback.format_exception(error))]
    for secret in (*SECRETS.values(), misplaced):
        assert all(secret not in text for text in texts)


def test_the_address_that_is_told_of_runs_is_a_secret_and_encrypted() -> None:
    url = "https://prod-1.westeurope.logic.azure.com/workflows/1?sig=s3cret"
    given = loaded(NOTIFY_URL=url)
    assert given.notify.url.get_secret_value() == url
    assert "s3cret" not in repr(given)
    said = refused(ENVIRONMENT | {"NOTIFY_URL": "http://hook.example/s3cret"})
    assert "NOTIFY_URL: must be an https:// address" in said
    assert "s3cret" not in said


def test_without_the_secret_of_that_address_the_app_starts_and_tells_nobody() -> None:
    """NOTIFY is true, and nobody has put notify-url into the Key Vault yet."""
    reference = "@Microsoft.KeyVault(SecretUri=https://kv.vault.azure.net/secrets/notify-url)"
    assert loaded(NOTIFY_URL=reference).notify.url.get_secret_value() == ""
    assert "MARKETO_CLIENT_SECRET: is a Key Vault reference" in refused(
        ENVIRONMENT | {"NOTIFY_URL": reference, "MARKETO_CLIENT_SECRET": reference}
    )


EXAMPLE: dict[str, str] = json.loads((ROOT / "local.settings.example.json").read_text(encoding="utf-8"))["Values"]


def test_the_example_file_explains_every_setting_or_its_group() -> None:
    explained = False
    for name, value in EXAMPLE.items():
        if name.startswith("//"):
            explained = True
            assert len(value) > 10, name
        assert explained or name == "FUNCTIONS_WORKER_RUNTIME", name


def test_the_example_file_has_the_defaults_of_the_code_around_its_placeholders() -> None:
    given = {name: value for name, value in EXAMPLE.items() if not name.startswith("//")}
    to_fill_in = {name for name, value in given.items() if "<" in value} | {"AzureWebJobsStorage"}
    assert settings.load(given | {name: ENVIRONMENT[name] for name in to_fill_in}) == loaded()
