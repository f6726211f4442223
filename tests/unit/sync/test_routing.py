"""From a notification to the entity queues: who may post, what is mapped, how few messages."""

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.dataverse.notifications import Notification, parse
from shared.model.record import MAX_RECORDS, Record
from shared.sync.routing import Refusal, Routed, opportunities_before, records_of, worth_packing
from tests.support.values import NOON, guid

ORGANIZATION = "aa55bb66-0000-4000-8000-000000000001"
OTHER = "aa55bb66-0000-4000-8000-000000000002"
ID = "4c8e7d15-2052-ef11-a316-000d3a5b7c8d"
TABLES = ["systemuser", "account", "lead", "contact", "opportunity", "connection"]


def notification(table: str = "lead", message: str = "Update", organization: str | None = ORGANIZATION) -> Notification:
    context = {
        "MessageName": message, "PrimaryEntityName": table, "PrimaryEntityId": ID, "OrganizationId": organization,
        "OrganizationName": "unqsandbox", "CorrelationId": OTHER,
    }  # fmt: skip
    return parse(json.dumps(context).encode())


def asked(given_notification: Notification, tables: Iterable[str] = TABLES) -> list[Record] | Refusal:
    return records_of(given_notification, enqueued=NOON, organization_id=ORGANIZATION, tables=dict.fromkeys(tables, ()))


def record(number: int, table: str = "lead") -> Record:
    return Record(table, guid(number), NOON)


def test_a_change_becomes_a_record_that_carries_its_time_and_correlation() -> None:
    assert asked(notification()) == [Record("lead", ID, NOON, "upsert", OTHER)]
    assert asked(notification(message="Delete")) == [Record("lead", ID, NOON, "delete", OTHER)]


def test_another_organisation_is_refused_and_told_by_id_and_name() -> None:
    refusal = asked(notification(organization=OTHER))
    assert isinstance(refusal, Refusal)
    assert refusal.code == "WrongOrganization"
    assert OTHER in refusal.message
    assert "unqsandbox" in refusal.message
    assert ORGANIZATION in refusal.message


def test_an_organisation_in_upper_case_is_the_same_one() -> None:
    assert asked(notification(organization=ORGANIZATION.upper())) == asked(notification())


def test_a_notification_that_names_no_organisation_is_taken() -> None:
    assert asked(notification(organization=None)) == asked(notification())


def test_a_table_without_a_section_in_sync_toml_is_refused_by_name() -> None:
    for table, mapped in (("incident", TABLES), ("lead", ["contact"])):
        refusal = asked(notification(table), mapped)
        assert isinstance(refusal, Refusal)
        assert refusal.code == "UnknownTable"
        assert table in refusal.message


def test_of_several_rows_those_of_mapped_tables_are_taken() -> None:
    context = {
        "MessageName": "QualifyLead",
        "PrimaryEntityName": "lead",
        "PrimaryEntityId": ID,
        "OutputParameters": [
            {
                "key": "CreatedEntities",
                "value": [{"LogicalName": "contact", "Id": OTHER}, {"LogicalName": "incident", "Id": OTHER}],
            }
        ],
    }
    found = asked(parse(json.dumps(context).encode()))
    assert isinstance(found, list)
    assert [r.key for r in found] == [("lead", ID), ("contact", OTHER)]


def test_parents_entities_are_sent_first_whatever_came_first() -> None:
    routed = Routed()
    routed.add(record(n, table) for n, table in enumerate(reversed(TABLES)))
    assert [entity for entity, _ in routed.groups()] == [
        "sales_person", "company", "person", "opportunity", "opportunity_role",
    ]  # fmt: skip


def test_leads_and_contacts_share_the_messages_of_persons() -> None:
    routed = Routed()
    routed.add([record(1, "lead"), record(1, "contact")])
    assert routed.groups() == [("person", [record(1, "lead"), record(1, "contact")])]


def test_edits_of_one_row_in_one_batch_are_one_record_with_the_oldest_time() -> None:
    routed = Routed()
    later = Record("lead", record(1).id, NOON + timedelta(minutes=1))
    routed.add([later])
    routed.add([record(1)])
    assert routed.groups() == [("person", [record(1)])]


@given(st.lists(st.integers(0, 400), max_size=500))
def test_messages_are_few_and_full_and_hold_every_row_once(numbers: list[int]) -> None:
    routed = Routed()
    routed.add(record(n) for n in numbers)
    groups = [group for _, group in routed.groups()]
    assert [r.id for group in groups for r in group] == list(dict.fromkeys(record(n).id for n in numbers))
    assert all(len(group) == MAX_RECORDS for group in groups[:-1])
    assert all(0 < len(group) <= MAX_RECORDS for group in groups)


# -- roles --------------------------------------------------------------------------------------------------------

ROLE_TABLES = [*TABLES, "customeropportunityrole"]


def of_role(table: str, message: str, *written: str, before: dict[str, tuple[str, str]] | None = None) -> Notification:
    """A notification of a row, with the columns that an update has written and the lookups of the pre-image."""
    target = {"Attributes": [{"key": name, "value": None} for name in written], "Id": ID, "LogicalName": table}
    image = [
        {"key": column, "value": {"Id": id_, "LogicalName": of, "Name": None}}
        for column, (of, id_) in (before or {}).items()
    ]
    context: dict[str, Any] = {
        "MessageName": message, "PrimaryEntityName": table, "PrimaryEntityId": ID, "OrganizationId": ORGANIZATION,
        "InputParameters": [{"key": "Target", "value": target}],
        "PreEntityImages": [{"key": "pre", "value": {"Attributes": image, "LogicalName": table}}],
    }  # fmt: skip
    return parse(json.dumps(context).encode())


def before(given_notification: Notification) -> list[str]:
    found = opportunities_before(given_notification, enqueued=NOON, last_seen=NOON)
    assert all((record.table, record.last_seen, record.additive) == ("opportunity", NOON, False) for record in found)
    return [record.id for record in found]


ENDS = {"record1id": ("contact", OTHER), "record2id": ("opportunity", OTHER), "record2roleid": ("connectionrole", ID)}
LEGACY = {"opportunityid": ("opportunity", OTHER), "customerid": ("contact", ID)}


@pytest.mark.parametrize(("table", "image"), [("connection", ENDS), ("customeropportunityrole", LEGACY)])
def test_a_deleted_role_concerns_the_opportunity_of_its_pre_image(
    table: str, image: dict[str, tuple[str, str]]
) -> None:
    assert before(of_role(table, "Delete", before=image)) == [OTHER]
    assert before(of_role(table, "Delete")) == [], "no image is registered"


@pytest.mark.parametrize(
    ("table", "image", "column", "other"),
    [
        ("connection", ENDS, "record2id", "record2roleid"),
        ("customeropportunityrole", LEGACY, "opportunityid", "opportunityroleid"),
    ],
)
def test_an_update_concerns_the_old_opportunity_only_if_it_may_have_moved_the_row(
    table: str, image: dict[str, tuple[str, str]], column: str, other: str
) -> None:
    assert before(of_role(table, "Update", column, before=image)) == [OTHER]
    assert before(of_role(table, "Update", other, before=image)) == []
    assert before(of_role(table, "Create", before=image)) == []


def test_a_pre_image_of_another_table_concerns_no_opportunity() -> None:
    assert before(of_role("contact", "Delete", before={"parentcustomerid": ("account", OTHER)})) == []
    assert before(of_role("connection", "Delete", before={"record1id": ("account", OTHER)})) == []


@pytest.mark.parametrize(
    ("table", "message", "written", "additive"),
    [
        ("connection", "Create", (), True),
        ("customeropportunityrole", "Create", (), True),
        ("opportunity", "Create", (), True),
        ("connection", "Update", ("description",), True),
        ("connection", "Update", ("description", "record1roleid"), False),
        ("connection", "Update", ("statecode",), False),
        ("connection", "Update", (), False),
        ("customeropportunityrole", "Update", ("customerid",), False),
        ("opportunity", "Update", ("name",), False),
        ("connection", "Delete", (), False),
        ("contact", "Create", (), False),
    ],
)
def test_a_change_is_additive_when_no_old_role_can_be_left_behind(
    table: str, message: str, written: tuple[str, ...], additive: bool
) -> None:
    (found,) = asked(of_role(table, message, *written), ROLE_TABLES)  # type: ignore[misc]  # it is not refused
    assert found.additive == additive


@pytest.mark.parametrize(
    ("message", "written", "decides"),
    [
        ("Create", (), True),
        ("Update", ("name",), False),
        ("Update", ("parentcontactid",), True),
        ("Update", ("customerid",), True),
        ("WinOpportunity", (), False),
        ("Delete", (), False),
    ],
)
def test_an_opportunity_decides_about_a_role_when_its_contact_may_be_another_one(
    message: str, written: tuple[str, ...], decides: bool
) -> None:
    (found,) = asked(of_role("opportunity", message, *written))  # type: ignore[misc]  # it is not refused
    assert found.deciding == decides


def test_opportunities_whose_roles_are_compared_go_to_the_queue_of_roles() -> None:
    routed = Routed()
    routed.add([record(1, "opportunity"), record(2, "connection")])
    routed.add_roles([record(1, "opportunity")])
    assert routed.groups() == [
        ("opportunity", [record(1, "opportunity")]),
        ("opportunity_role", [record(2, "connection"), record(1, "opportunity")]),
    ]


def test_comparisons_of_roles_are_put_off_and_what_is_there_is_sent_now() -> None:
    renamed, new, replayed = record(1, "connection"), record(2, "connection"), record(3, "connection")
    gone, before = replace(record(4, "connection"), operation="delete"), record(5, "opportunity")
    new, replayed = replace(new, additive=True), replace(replayed, replays=1)
    routed = Routed()
    routed.add([renamed, new, replayed, gone, record(6, "account")])
    routed.add_roles([before])
    compared = replace(renamed, compared_only=True)
    assert routed.put_off_comparisons().groups() == [("opportunity_role", [compared, gone, before])]
    assert routed.groups() == [
        ("company", [record(6, "account")]),
        ("opportunity_role", [replace(renamed, additive=True), new, replayed]),
    ]


MANY = [record(number) for number in range(4_000)]


@given(st.integers(1, 40), st.integers(0, len(MANY)))
def test_packing_at_least_halves_the_messages_so_it_ends(messages: int, records: int) -> None:
    packed = worth_packing(MANY[:records], messages)
    if packed:
        assert len(packed) == records
        assert -(-records // MAX_RECORDS) <= messages / 2
    else:
        assert records == 0 or -(-records // MAX_RECORDS) > messages / 2
