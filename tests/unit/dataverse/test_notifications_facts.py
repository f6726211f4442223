"""The facts that a notification tells beside its rows, and what the operator reads when one is refused."""

import json
from typing import Any

import pytest

from shared.dataverse.notifications import Change, Notification, parse
from shared.model.errors import NotificationError
from tests.support.notifications import (
    ACCOUNT,
    CONTACT,
    LEAD,
    NOBODY,
    USER,
    Body,
    loaded,
    parameter,
    parsed,
    sample,
)


def refusal(body: bytes, **arguments: Any) -> NotificationError:
    with pytest.raises(NotificationError) as caught:
        parse(body, **arguments)
    return caught.value


def refused(body: Body) -> NotificationError:
    return refusal(json.dumps(body).encode())


# --- facts for checks ---


def test_an_update_tells_its_facts() -> None:
    assert parse(sample("contact_update_async")) == Notification(
        message="Update",
        changes=(Change("contact", CONTACT, "upsert"),),
        organization_id="3f2c6a1e-7b4d-ee11-a81c-000d3a4f1b2c",
        organization_name="unq3f2c6a1e7b4dee11a81c000d3a4f1",
        correlation_id="c0000005-4f52-4e11-9a3b-7c1d5e8f2a60",
        columns=frozenset(
            {"contactid", "emailaddress1", "donotemail", "modifiedon", "modifiedby", "modifiedonbehalfby"}
        ),
        user_id=USER,
        initiating_user_id=USER,
        tag=None,
        before={"ownerid": ("systemuser", USER), "parentcustomerid": ("account", ACCOUNT)},
    )


def test_only_the_triple_is_required() -> None:
    body = {"MessageName": "Delete", "PrimaryEntityName": "account", "PrimaryEntityId": ACCOUNT}
    assert parsed(body) == Notification(
        message="Delete", changes=(Change("account", ACCOUNT, "delete"),), organization_id=None,
        organization_name=None, correlation_id="", columns=None, user_id=None, initiating_user_id=None,
        tag=None,
    )  # fmt: skip


def test_facts_that_cannot_be_read_are_absent() -> None:
    facts = ("OrganizationName", "CorrelationId", "UserId", "InitiatingUserId")
    odd = {fact: [17] for fact in facts}

    notification = parsed(loaded("lead_update_minimal") | odd | {"SharedVariables": 3, "ParentContext": "x"})

    assert notification.changes == (Change("lead", LEAD, "upsert"),)
    assert (notification.organization_name, notification.correlation_id) == (None, "")
    assert (notification.user_id, notification.initiating_user_id, notification.tag) == (None, None, None)


def test_a_user_of_zeros_is_nobody() -> None:
    assert parsed(loaded("lead_update_minimal") | {"UserId": NOBODY}).user_id is None


@pytest.mark.parametrize("attributes", [None, [], [{"key": 5}], ["leadid"], "leadid", {}])
def test_columns_are_unknown_rather_than_wrong(attributes: object) -> None:
    body = loaded("lead_update_minimal")
    parameter(body, "Target")["Attributes"] = attributes
    assert parsed(body).columns is None


def test_columns_are_lower_case() -> None:
    body = loaded("lead_update_minimal")
    parameter(body, "Target")["Attributes"] = [{"key": "EMailAddress1", "value": None}]
    assert parsed(body).columns == frozenset({"emailaddress1"})


@pytest.mark.parametrize("holder", ["itself", "parent"])
def test_the_tag_of_a_write_is_found_in_the_context_or_an_earlier_stage_of_it(holder: str) -> None:
    variables = [{"key": "IsAutoTransact", "value": True}, {"key": "tag", "value": "msi-writeback"}]
    body = loaded("contact_update_async")
    (body if holder == "itself" else body["ParentContext"])["SharedVariables"] = variables
    assert parsed(body).tag == "msi-writeback"


def test_what_a_plugin_writes_in_answer_to_a_tagged_write_has_no_tag() -> None:
    answer = loaded("contact_update_async")
    answer["ParentContext"]["SharedVariables"] = [{"key": "tag", "value": "msi-writeback"}]
    assert parsed(answer).tag == "msi-writeback"
    assert parsed(answer | {"Depth": 2}).tag is None


def test_the_echo_of_an_own_write_has_its_tag() -> None:
    assert parse(sample("contact_update_echo_of_own_writeback")).tag == "msi-writeback"


@pytest.mark.parametrize("text", ["", "\ud83d", "a\nb", 5, ["x"]])
def test_texts_that_no_log_or_queue_can_hold_are_absent(text: object) -> None:
    variables = [{"key": "tag", "value": text}]
    notification = parsed(loaded("lead_update_minimal") | {"OrganizationName": text, "SharedVariables": variables})
    assert (notification.organization_name, notification.tag) == (None, None)


# --- what is refused, and what the operator reads ---


@pytest.mark.parametrize("content_type", ["application/msbin1", "application/xml", "Text/XML; charset=utf-8"])
def test_another_message_format_is_refused_by_its_content_type(content_type: str) -> None:
    error = refusal(sample("lead_update_minimal"), content_type=content_type)
    assert error.code == "WrongFormat"
    assert "set the service endpoint's message format to JSON" in str(error)


@pytest.mark.parametrize(
    "body",
    [
        b"@\x16RemoteExecutionContext\x08\x3ahttp://schemas.datacontract.org/2004/07/Microsoft.Xrm.Sdk",
        b'@\x06string\x083http://schemas.microsoft.com/2003/10/Serialization/\x9a\x05{"MessageName":"Update"}',
        b"<RemoteExecutionContext/>",
        b"\xef\xbb\xbf\r\n<RemoteExecutionContext/>",
        "<RemoteExecutionContext/>".encode("utf-16"),
        b"\xfe\xff" + "<RemoteExecutionContext/>".encode("utf-16-be"),
    ],
)
def test_another_message_format_is_recognised_by_its_first_bytes(body: bytes) -> None:
    error = refusal(body)
    assert error.code == "WrongFormat"
    assert "set the service endpoint's message format to JSON" in str(error)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "NotJson"), (b"   ", "NotJson"), (b"hello", "NotJson"), (b'{"MessageName": "Update"', "NotJson"),
        (b'{"MessageName": "\xff"}', "NotJson"), (b"[" * 200_000, "NotJson"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "NotJson"), (b'{"a":' + b"9" * 5_000 + b"}", "NotJson"),
        (b"null", "NotAnObject"), (b"17", "NotAnObject"), (b'[{"MessageName": "Update"}]', "NotAnObject"),
        (b"{}", "NoRoutingTriple"),
    ],
)  # fmt: skip
def test_a_body_that_is_no_notification_is_refused(body: bytes, code: str) -> None:
    assert refusal(body).code == code


def test_a_cut_body_is_refused_with_the_place_and_without_its_content() -> None:
    error = refusal(b'{"emailaddress1": "asa.oconnor@example.com"')

    assert "of 43 bytes" in str(error)
    assert "character 43" in str(error)
    assert "email" not in str(error)
    assert "asa" not in str(error)


@pytest.mark.parametrize(
    ("change", "code", "named"),
    [
        ({"MessageName": None}, "NoRoutingTriple", "MessageName"),
        ({"MessageName": ""}, "NoRoutingTriple", "MessageName"),
        ({"MessageName": ["Update"]}, "NoRoutingTriple", "MessageName"),
        ({"PrimaryEntityName": 1}, "NoRoutingTriple", "PrimaryEntityName"),
        ({"PrimaryEntityName": "no table"}, "NoRoutingTriple", "PrimaryEntityName"),
        ({"PrimaryEntityName": None, "InputParameters": []}, "NoRoutingTriple", "PrimaryEntityName"),
        ({"PrimaryEntityId": "", "InputParameters": []}, "NoRoutingTriple", "PrimaryEntityId"),
        ({"PrimaryEntityId": NOBODY, "InputParameters": []}, "NoRow", "PrimaryEntityId"),
        ({"PrimaryEntityName": "none", "InputParameters": []}, "NoRow", "PrimaryEntityName"),
        ({"PrimaryEntityId": "4c8e7d15"}, "BadGuid", "PrimaryEntityId"),
        ({"PrimaryEntityId": 4}, "BadGuid", "PrimaryEntityId"),
        ({"OrganizationId": "contoso"}, "BadGuid", "OrganizationId"),
    ],
)
def test_what_is_missing_or_malformed_is_named(change: Body, code: str, named: str) -> None:
    error = refused(loaded("lead_update_minimal") | change)
    assert error.code == code
    assert named in str(error)


@pytest.mark.parametrize(
    ("name", "names", "reference", "code"),
    [
        ("associate", "RelatedEntities", {"LogicalName": "lead", "Id": "4c8e"}, "BadGuid"),
        ("associate", "RelatedEntities", {"LogicalName": "lead", "Id": NOBODY}, "NoRow"),
        ("associate", "RelatedEntities", {"Id": LEAD}, "NoRow"),
        ("associate", "RelatedEntities", [[LEAD]], "BadGuid"),
        ("contact_updatemultiple", "Targets", {"LogicalName": "contact"}, "NoRow"),
        ("contact_updatemultiple", "Targets", {"LogicalName": "?", "Id": CONTACT}, "NoRoutingTriple"),
    ],
)
def test_a_row_is_never_dropped_silently(name: str, names: str, reference: Any, code: str) -> None:
    body = loaded(name)
    value = parameter(body, names)
    (value["Entities"] if isinstance(value, dict) else value).append(reference)

    error = refused(body)

    assert error.code == code
    assert names in str(error)


@pytest.mark.parametrize("name", ["associate", "contact_updatemultiple", "contact_deletemultiple", "opportunity_win"])
def test_a_stripped_message_whose_rows_were_only_in_its_parameters_is_refused(name: str) -> None:
    error = refused(loaded(name) | {"InputParameters": []})
    assert error.code == "NoRow"
    assert "register the step for Create, Update and Delete" in str(error)


def test_the_lookups_of_pre_images_are_told_and_what_is_odd_in_them_is_not() -> None:
    body = loaded("contact_update_async")
    odd = [
        {"key": "record1id", "value": {"Id": ACCOUNT.upper(), "LogicalName": "Opportunity", "Name": None}},
        {"key": "record2id", "value": {"Id": NOBODY, "LogicalName": "contact"}},
        {"key": "ownerid", "value": {"Id": "no id", "LogicalName": "team"}},
        {"key": "statecode", "value": {"__type": "OptionSetValue:", "Value": 0}},
        {"key": "name", "value": "Deal"}, {"value": 1}, 7,
    ]  # fmt: skip
    body["PreEntityImages"] = [{"key": "pre", "value": {"Attributes": odd}}, {"key": "other", "value": None}, None]
    assert parsed(body).before == {"record1id": ("opportunity", ACCOUNT)}
    body["PreEntityImages"] = "odd"
    assert parsed(body).before == {}
