"""What the parser makes of each kind of notification. Bodies: data/notifications, one file per kind."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from shared.dataverse.notifications import Change, Notification, parse
from tests.support.notifications import (
    ACCOUNT,
    CONTACT,
    DATA,
    LEAD,
    NOBODY,
    USER,
    Body,
    loaded,
    parameter,
    parsed,
    sample,
)

SAMPLES = sorted(path.stem for path in DATA.glob("*.json"))

OTHER_CONTACT = "31709b88-1c52-ef11-a316-000d3a5b7c8d"
OPPORTUNITY = "8d3f6a72-2452-ef11-a316-000d3a5b7c8d"


def without_parameter(body: Body, name: str, section: str = "InputParameters") -> Body:
    return body | {section: [pair for pair in body[section] if pair["key"] != name]}


def rows(notification: Notification) -> list[tuple[str, str]]:
    return [(change.table, change.id) for change in notification.changes]


def rewritten(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same JSON with every node changed, innermost first."""
    if isinstance(value, dict):
        value = {key: rewritten(inner, change) for key, inner in value.items()}
    elif isinstance(value, list):
        value = [rewritten(inner, change) for inner in value]
    return change(value)


# --- which rows changed ---


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("account_create_sync_webhook", [("account", ACCOUNT)]),
        ("contact_create_async", [("contact", CONTACT)]),
        ("contact_update_async", [("contact", CONTACT)]),
        ("contact_update_2017", [("contact", CONTACT)]),
        ("lead_update_minimal", [("lead", LEAD)]),
        ("systemuser_update", [("systemuser", USER)]),
        ("connection_create", [("connection", "a90c2b57-2752-ef11-a316-000d3a5b7c8d")]),
        ("customeropportunityrole_create", [("customeropportunityrole", "b3c70d18-2952-ef11-a316-000d3a5b7c8d")]),
        ("lead_assign", [("lead", LEAD)]),
        ("opportunity_setstate", [("opportunity", OPPORTUNITY)]),
        ("opportunity_win", [("opportunity", OPPORTUNITY)]),
        ("contact_merge", [("contact", CONTACT), ("contact", OTHER_CONTACT)]),
        ("lead_qualify", [("lead", LEAD), ("contact", CONTACT), ("opportunity", OPPORTUNITY)]),
        ("associate", [("contact", CONTACT), ("lead", LEAD)]),
        ("disassociate", [("contact", CONTACT), ("lead", LEAD)]),
        ("contact_createmultiple", [("contact", CONTACT), ("contact", OTHER_CONTACT)]),
        ("contact_updatemultiple", [("contact", CONTACT), ("contact", OTHER_CONTACT)]),
        ("truncated_size_exceeded", [("contact", CONTACT)]),
        ("truncated_keys_absent", [("contact", CONTACT)]),
    ],
)
def test_each_message_names_its_rows_once_and_in_order(name: str, expected: list[tuple[str, str]]) -> None:
    notification = parse(sample(name))
    assert rows(notification) == expected
    assert {change.operation for change in notification.changes} == {"upsert"}


def test_a_delete_is_told_from_an_upsert() -> None:
    assert parse(sample("account_delete")).changes == (Change("account", ACCOUNT, "delete"),)
    assert parse(sample("contact_deletemultiple")).changes == (
        Change("contact", CONTACT, "delete"),
        Change("contact", OTHER_CONTACT, "delete"),
    )


@pytest.mark.parametrize("message", ["SetStateDynamicEntity", "LoseOpportunity", "new_Approve", "GrantAccess"])
def test_any_message_about_a_row_is_an_upsert_of_that_row(message: str) -> None:
    body = loaded("opportunity_setstate") | {"MessageName": message}
    assert parsed(body).changes == (Change("opportunity", OPPORTUNITY, "upsert"),)
    assert parsed(body).message == message


@pytest.mark.parametrize("name", ["lead_update_minimal", "account_delete", "lead_assign", "opportunity_setstate"])
def test_the_parameters_name_the_row_when_the_triple_does_not(name: str) -> None:
    expected = parse(sample(name)).changes
    assert parsed(loaded(name) | {"PrimaryEntityId": NOBODY}).changes == expected
    assert parsed(loaded(name) | {"PrimaryEntityId": None, "PrimaryEntityName": "none"}).changes == expected


BOTH = [("contact", CONTACT), ("contact", OTHER_CONTACT)]
#: What is missing or odd in a sample, and the rows that are found all the same.
ODD: dict[str, tuple[str, Body, list[tuple[str, str]]]] = {
    "a parameter that cannot be read": (
        "lead_update_minimal", {"InputParameters": [{"key": "Target", "value": 17}]}, [("lead", LEAD)],
    ),
    "a table in capitals": ("lead_update_minimal", {"PrimaryEntityName": "Lead"}, [("lead", LEAD)]),
    "a won opportunity, and the triple of the closing activity": (
        "opportunity_win", {"PrimaryEntityName": "opportunityclose", "PrimaryEntityId": OTHER_CONTACT},
        [("opportunity", OPPORTUNITY)],
    ),
    "a won opportunity without the closing activity": (
        "opportunity_win",
        {"PrimaryEntityName": "opportunity", "PrimaryEntityId": OPPORTUNITY, "InputParameters": []},
        [("opportunity", OPPORTUNITY)],
    ),
    "a merge without a primary table": (
        "contact_merge", {"PrimaryEntityName": "none", "PrimaryEntityId": NOBODY}, BOTH,
    ),
    "a merge without the loser": (
        "contact_merge", without_parameter(loaded("contact_merge"), "SubordinateId"), BOTH[:1],
    ),
    "a merge without its target": ("contact_merge", without_parameter(loaded("contact_merge"), "Target"), BOTH),
    "a CreateMultiple that was stripped": ("contact_createmultiple", {"InputParameters": None}, BOTH),
}  # fmt: skip


@pytest.mark.parametrize(("name", "odd", "expected"), ODD.values(), ids=ODD)
def test_rows_are_found_in_spite_of(name: str, odd: Body, expected: list[tuple[str, str]]) -> None:
    assert rows(parsed(loaded(name) | odd)) == expected


def test_created_rows_are_found_by_their_ids_or_in_the_targets() -> None:
    body = loaded("contact_createmultiple")
    expected = [("contact", CONTACT), ("contact", OTHER_CONTACT)]
    assert rows(parsed(body | {"OutputParameters": []})) == expected
    assert rows(parsed(body | {"PrimaryEntityName": "none"})) == expected

    for entity in parameter(body, "Targets")["Entities"]:
        entity["Id"] = NOBODY

    assert rows(parsed(body)) == expected


def test_rows_of_a_collection_may_leave_their_table_to_it() -> None:
    body = loaded("contact_updatemultiple") | {"PrimaryEntityName": None}
    for entity in parameter(body, "Targets")["Entities"]:
        del entity["LogicalName"]
    assert rows(parsed(body)) == [("contact", CONTACT), ("contact", OTHER_CONTACT)]


# --- however it is written ---


@pytest.mark.parametrize("name", SAMPLES)
def test_dictionaries_may_be_plain_objects(name: str) -> None:
    def as_object(node: Any) -> Any:
        pairs = isinstance(node, list) and node and all(isinstance(n, dict) and "key" in n for n in node)
        return {pair["key"]: pair["value"] for pair in node} if pairs else node

    assert parsed(rewritten(loaded(name), as_object)) == parse(sample(name))


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("style", ["{}", "{{{}}}", " {} "])
def test_guids_may_be_upper_case_and_in_braces(name: str, style: str) -> None:
    def shouted(node: Any) -> Any:
        return style.format(node.upper()) if isinstance(node, str) and len(node) == 36 and node[8] == "-" else node

    assert parsed(rewritten(loaded(name), shouted)) == parse(sample(name))


@pytest.mark.parametrize("name", [name for name in SAMPLES if name != "opportunity_win"])
def test_only_references_count_not_the_values_of_columns(name: str) -> None:
    def scrambled(node: Any) -> Any:
        if isinstance(node, dict) and "Attributes" in node:
            return node | {"Attributes": [pair | {"value": [[17]]} for pair in node["Attributes"]]}
        return node

    assert parsed(rewritten(loaded(name), scrambled)) == replace(parse(sample(name)), before={})


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_every_unicode_encoding_is_read_with_or_without_bom(encoding: str) -> None:
    text = sample("contact_update_async").decode()
    assert parse(text.encode(encoding)) == parse(text.encode())


def test_unknown_keys_types_and_escapes_do_not_matter() -> None:
    expected = parse(sample("contact_update_async"))
    body = {"NewKey": [{"deep": [None, 1e400, float("nan")]}]} | loaded("contact_update_async")
    target = parameter(body, "Target")
    target["__type"] = "Entity:http://schemas.example.com/2031"
    target["Surprise"] = "\ud800"

    assert parsed(body) == expected
    assert parse(json.dumps(body, ensure_ascii=True).replace("/", "\\/").encode()) == expected


def test_a_boxed_guid_is_read() -> None:
    body = loaded("contact_merge")
    next(p for p in body["InputParameters"] if p["key"] == "SubordinateId")["value"] = {
        "__type": "Guid:#System",
        "__value": OTHER_CONTACT,
    }
    assert rows(parsed(body)) == [("contact", CONTACT), ("contact", OTHER_CONTACT)]


# --- stripped bodies ---


@pytest.mark.parametrize("empty", [None, [], {}, 0])
def test_without_parameters_the_triple_counts_and_no_column_is_known(empty: object) -> None:
    keys = ("InputParameters", "ParentContext", "PreEntityImages", "PostEntityImages")
    notification = parsed(loaded("contact_update_async") | dict.fromkeys(keys, empty))
    assert rows(notification) == [("contact", CONTACT)]
    assert notification.columns is None


@pytest.mark.parametrize(
    ("properties", "stripped"),
    [
        ({"MessageMaxSizeExceeded": True}, True),
        ({"MessageMaxSizeExceeded": "true"}, True),
        ({"messagemaxsizeexceeded": "True"}, True),
        ({"X-MS-Dynamics-Msg-Size-Exceeded": "true"}, True),
        ({"MessageMaxSizeExceeded": "false"}, False),
        ({"MessageMaxSizeExceeded": False}, False),
        ({"http://schemas.microsoft.com/xrm/2011/Claims/RequestName": "Update"}, False),
        ({}, False),
    ],
)
def test_the_transport_tells_that_a_body_was_stripped(properties: dict[str, object], stripped: bool) -> None:
    notification = parse(sample("contact_update_async"), properties=properties)
    assert (notification.columns is None) is stripped
    assert rows(notification) == [("contact", CONTACT)]


def test_a_webhook_body_and_a_queue_message_give_the_same_notification() -> None:
    body = sample("contact_update_async")
    webhook = {"Content-Type": "application/json", "x-ms-dynamics-entity-name": "contact"}
    queue = {"http://schemas.microsoft.com/xrm/2011/Claims/EntityLogicalName": "contact"}
    assert parse(body, content_type="application/json; charset=utf-8", properties=webhook) == parse(
        body, content_type="application/json", properties=queue
    )


@pytest.mark.parametrize("nothing", [None, [], {"Entities": None}, {"Entities": []}])
def test_a_lead_may_be_qualified_without_creating_anything(nothing: object) -> None:
    body = loaded("lead_qualify") | {"OutputParameters": [{"key": "CreatedEntities", "value": nothing}]}
    assert rows(parsed(body)) == [("lead", LEAD)]
