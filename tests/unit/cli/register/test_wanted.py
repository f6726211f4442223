"""What must be registered: from sync.toml and the settings to the endpoint's and the steps' columns."""

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import SecretStr

from shared.cli.register.wanted import Target, Wanted, place, places_of, queue_target, wanted, webhook_target
from shared.config import settings, sync_toml
from shared.config.sync_toml import SyncConfig, logical
from shared.dataverse.metadata import Column
from shared.model.errors import ConfigurationError
from tests.support.settings import ENVIRONMENT
from tests.support.values import ROOT

QUEUE = "dynamics-changes"
SEND = "Endpoint=sb://contoso-sync.servicebus.windows.net/;SharedAccessKeyName=dataverse-send;SharedAccessKey=a2V5PT0="
HOOK = "https://contoso-sync.azurewebsites.net/api/receive_webhook"


def columns(*names: str, lookups: tuple[str, ...] = (), labels: Mapping[str, str] = {}) -> list[Column]:
    found = [Column(name, "String", readable=True, label=labels.get(name, "")) for name in (*names, *labels)]
    return found + [Column(name, "Lookup", readable=True) for name in lookups]


def target() -> Target:
    return queue_target(SecretStr(SEND), QUEUE)


def of(rules: SyncConfig, **tables: list[Column]) -> Wanted:
    return wanted(rules, tables, target())


def mapping(**tables: Any) -> SyncConfig:
    return SyncConfig.model_validate(tables)


def watched(found: Wanted, table: str) -> list[str]:
    return str(found.steps[table, "Update"].values["filteringattributes"]).split(",")


# -- the endpoint -------------------------------------------------------------------------------------------------


def test_a_queue_is_registered_as_json_with_the_key_kept_apart() -> None:
    found = target()
    assert found.values == {
        "contract": 6, "authtype": 2, "messageformat": 2, "messagecharset": 1, "connectionmode": 1,
        "namespaceformat": 2, "namespaceaddress": "sb://contoso-sync.servicebus.windows.net/",
        "solutionnamespace": "contoso-sync", "path": QUEUE, "userclaim": 2, "saskeyname": "dataverse-send",
    }  # fmt: skip
    assert found.secret.get_secret_value() == "a2V5PT0="
    assert "a2V5PT0=" not in repr(found)


def test_a_webhook_is_registered_with_its_key() -> None:
    found = webhook_target(HOOK, SecretStr("function-key"))
    assert found.values == {"contract": 8, "authtype": 4, "url": HOOK}
    assert found.secret.get_secret_value() == "function-key"


@pytest.mark.parametrize(
    ("connection", "code", "says"),
    [
        ("", "NoSendConnection", "tick Send alone"),
        (SEND.replace("dataverse-send", "RootManageSharedAccessKey"), "TooMuchPower", "tick Send alone"),
        (SEND.replace("dataverse-send", "rootmanagesharedaccesskey"), "TooMuchPower", "more than it needs"),
        (f"{SEND};EntityPath=persons", "WrongQueue", "CHANGES_QUEUE"),
    ],
)
def test_a_connection_string_that_will_not_do_is_refused_with_the_remedy(connection: str, code: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as refused:
        queue_target(SecretStr(connection), QUEUE)
    assert refused.value.code == code
    assert "a2V5PT0=" not in str(refused.value)


def test_the_connection_string_of_a_queue_s_own_policy_is_taken() -> None:
    assert queue_target(SecretStr(f"{SEND};EntityPath=Dynamics-Changes"), QUEUE) == target()


@pytest.mark.parametrize(
    ("url", "key", "code"),
    [
        ("", "k", "NoWebhook"), (HOOK, "", "NoWebhook"), (f"{HOOK}?code=very-secret", "k", "KeyInUrl"),
        (HOOK.replace("https", "http"), "k", "NotEncrypted"),
    ],
)  # fmt: skip
def test_a_webhook_that_would_show_its_key_is_refused(url: str, key: str, code: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        webhook_target(url, SecretStr(key))
    assert refused.value.code == code
    assert "very-secret" not in str(refused.value)


# -- where endpoints post -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "where"),
    [
        (
            {"contract": 6, "namespaceaddress": "sb://N.Servicebus.windows.net/", "path": "Q"},
            "sb://n.servicebus.windows.net/q",
        ),
        (
            {"contract": 6, "namespaceaddress": "sb://n.servicebus.windows.net", "path": "q"},
            "sb://n.servicebus.windows.net/q",
        ),
        ({"contract": 1, "solutionnamespace": "n", "path": "q"}, "sb://n.servicebus.windows.net/q"),
        ({"contract": 8, "url": f"{HOOK}/"}, HOOK),
        ({"contract": 8, "url": None}, ""),
        ({"contract": 6, "namespaceaddress": None, "path": "q"}, ""),
    ],
)
def test_endpoints_are_compared_by_where_they_post(values: dict[str, Any], where: str) -> None:
    assert place(values) == where


def test_the_settings_tell_every_address_that_reaches_the_app() -> None:
    namespace = {"ServiceBusConnection__fullyQualifiedNamespace": "contoso-sync.servicebus.windows.net"}
    given = settings.load(ENVIRONMENT | namespace | {"ServiceBusConnection": "", "WEBHOOK_URL": HOOK})
    assert places_of(given) == {"sb://contoso-sync.servicebus.windows.net/dynamics-changes", HOOK}


# -- the steps ----------------------------------------------------------------------------------------------------


def test_mapped_tables_alone_get_their_three_steps() -> None:
    found = of(mapping(account={"fields": {"company": "name"}}), account=columns("name"), lead=columns("subject"))
    assert list(found.steps) == [("account", "Create"), ("account", "Update"), ("account", "Delete")]
    for step in found.steps.values():
        assert {k: v for k, v in step.values.items() if k != "filteringattributes"} == {
            "stage": 40, "mode": 1, "supporteddeployment": 0, "asyncautodelete": True,
        }  # fmt: skip


def test_an_update_fires_for_what_mapping_conditions_filter_and_rules_look_at() -> None:
    rules = mapping(
        lead={
            "fields": {
                "company": {"column": "companyname", "when": {"_parentaccountid_value": "empty", "industrycode": [1]}},
                "address": {"columns": ["address1_line1", "address1_line2"], "convert": "lines"},
            },
            "filter": {"leadqualitycode": [1]},
        }
    )
    texts = ["companyname", "industrycode", "address1_line1", "address1_line2", "leadqualitycode", "new_synctomkto"]
    expected = [*texts, "statecode", "statuscode", "ownerid", "parentaccountid"]
    there = columns(*texts, "statecode", "statuscode", "subject", lookups=("ownerid", "parentaccountid", "campaignid"))
    assert watched(of(rules, lead=there), "lead") == sorted(expected)


def test_an_update_of_a_user_fires_for_what_makes_a_sales_person() -> None:
    rules = mapping(systemuser={"fields": {"lastName": "lastname"}})
    there = columns("lastname", "isdisabled", "accessmode", "applicationid", "internalemailaddress")
    assert watched(of(rules, systemuser=there), "systemuser") == [
        *("accessmode", "applicationid", "internalemailaddress", "isdisabled", "lastname")
    ]


def test_what_sales_insight_writes_never_fires() -> None:
    rules = mapping(contact={"fields": {"lastName": "lastname", "urgency": "abc_urgency_value", "rating": "abc_hot"}})
    there = columns("lastname", "abc_urgency_value", labels={"abc_hot": "Engagement"})
    assert watched(of(rules, contact=there), "contact") == ["lastname"]


def test_columns_that_dynamics_does_not_have_are_left_out_and_said() -> None:
    rules = mapping(account={"fields": {"company": "name", "region": "abc_region"}, "filter": {"abc_active": [True]}})
    hidden = Column("abc_active", "Boolean", readable=False)
    found = of(rules, account=[*columns("name", "statecode"), hidden])
    assert watched(found, "account") == ["name", "statecode"]
    assert found.left_out == (("account", "abc_active"), ("account", "abc_region"))


def test_a_missing_filter_column_of_the_native_connector_is_nothing_to_speak_of() -> None:
    assert of(mapping(account={"fields": {"company": "name"}}), account=columns("name")).left_out == ()


def test_a_table_that_is_not_there_gets_no_steps_and_is_said() -> None:
    rules = mapping(account={"fields": {"company": "name"}}, opportunity={"fields": {"name": "name"}})
    found = of(rules, account=columns("name"))
    assert {table for table, _ in found.steps} == {"account"}
    assert found.absent == ("opportunity",)


@pytest.mark.parametrize(
    ("table", "attributes"),
    [
        ("connection", "record1id,record2id,record1roleid,record2roleid"),
        ("customeropportunityrole", "customerid,opportunityid,opportunityroleid"),
    ],
)
def test_deletes_of_roles_bring_along_what_they_joined(table: str, attributes: str) -> None:
    rules = mapping(**{table: {"fields": {"externalCreatedDate": "createdon"}}})
    found = of(rules, **{table: columns("createdon", lookups=tuple(attributes.split(",")))})
    image = found.steps[table, "Delete"].image
    assert image == {"imagetype": 0, "messagepropertyname": "Target", "entityalias": "pre", "attributes": attributes}
    assert found.steps[table, "Update"].image == image, "an update may move it to another opportunity"
    assert not found.steps[table, "Create"].image


def test_the_default_sync_toml_watches_no_column_under_its_web_api_name() -> None:
    rules = sync_toml.load(ROOT / "sync.toml")
    everything = {
        c for t in rules.tables for rs in rules.fields_of(t).values() for r in rs for c in (*r.columns, *r.when)
    }
    there = columns(*sorted({logical(column) for column in everything}))
    found = of(rules, **dict.fromkeys(rules.tables, there))
    assert found.left_out == ()
    for table in rules.tables:
        assert not [name for name in watched(found, table) if name.startswith("_")]
