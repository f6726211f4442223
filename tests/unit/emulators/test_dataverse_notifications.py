"""The notification builder against the shapes of captured and documented payloads (dataverse.md 1)."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from emulators.dataverse import notifications
from emulators.dataverse.notifications import CLAIMS, Notification, Origin, notification

CONTACT = "2e6d9f40-1c52-ef11-a316-000d3a5b7c8d"
ACCOUNT = "7a14b3c2-1a52-ef11-a316-000d3a5b7c8d"
USER = "9b7e41d2-904d-ee11-be6f-000d3a4f1b2c"
TABLE = "@Microsoft.Dynamics.CRM.lookuplogicalname"
CONTRACTS = "http://schemas.microsoft.com/xrm/2011/Contracts"
ORIGIN = Origin(at=1741082531.4, user_id=USER)
TOP_LEVEL = [
    "BusinessUnitId", "CorrelationId", "Depth", "InitiatingUserAgent", "InitiatingUserAzureActiveDirectoryObjectId",
    "InitiatingUserId", "InputParameters", "IsExecutingOffline", "IsInTransaction", "IsOfflinePlayback",
    "IsolationMode", "MessageName", "Mode", "OperationCreatedOn", "OperationId", "OrganizationId", "OrganizationName",
    "OutputParameters", "OwningExtension", "ParentContext", "PostEntityImages", "PreEntityImages", "PrimaryEntityId",
    "PrimaryEntityName", "RequestId", "SecondaryEntityName", "SharedVariables", "Stage",
    "UserAzureActiveDirectoryObjectId", "UserId",
]  # fmt: skip
ENTITY = [
    "Attributes", "EntityState", "FormattedValues", "Id", "KeyAttributes", "LogicalName", "RelatedEntities",
    "RowVersion",
]  # fmt: skip
ROW: dict[str, Any] = {
    "contactid": CONTACT, "firstname": "Åsa", "lastname": "O'Connor-Müller", "fullname": "Åsa O'Connor-Müller",
    "middlename": None, "websiteurl": "https://nordlys.example",
    "description": "Met at fair.\nCall \\n after Easter.", "_parentcustomerid_value": ACCOUNT,
    "_parentcustomerid_value" + TABLE: "account", "_ownerid_value": USER, "_ownerid_value" + TABLE: "systemuser",
    "donotphone": True, "gendercode": 2, "statecode": 0, "birthdate": "1984-06-16", "creditlimit": 25000.5,
    "numberofchildren": 2, "address1_latitude": 59.33258, "new_interests": "100000000,100000003",
    "address1_addressid": "5b0c7d21-1c52-ef11-a316-000d3a5b7c8d", "createdon": "2025-03-04T09:15:42Z",
    "modifiedon": "2025-03-04T10:02:11Z", "versionnumber": 5948260,
}  # fmt: skip


def parsed(built: Notification) -> Any:
    return json.loads(built.json())


def pairs(entries: list[dict[str, Any]]) -> dict[str, Any]:
    assert all(entry.keys() == {"key", "value"} for entry in entries)
    return {entry["key"]: entry["value"] for entry in entries}


def target(body: Any) -> Any:
    return pairs(body["InputParameters"])["Target"]


def test_a_create_has_the_keys_of_the_wire_in_their_order() -> None:
    body = parsed(notification("Create", "contact", ROW, ORIGIN))
    assert list(body) == TOP_LEVEL
    assert list(target(body)) == ["__type", *ENTITY]
    assert pairs(body["OutputParameters"]) == {"id": CONTACT}
    assert (body["Mode"], body["Stage"], body["Depth"], body["IsInTransaction"]) == (1, 40, 1, False)
    assert body["OperationCreatedOn"] == "/Date(1741082531000+0000)/"
    assert body["OwningExtension"].keys() == {"Id", "KeyAttributes", "LogicalName", "Name", "RowVersion"}
    assert body["OwningExtension"]["Name"] is None
    assert len({body["OperationId"], body["RequestId"], body["CorrelationId"]}) == 3


def option(value: int) -> dict[str, Any]:
    return {"__type": f"OptionSetValue:{CONTRACTS}", "Value": value}


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("contactid", CONTACT),
        ("firstname", "Åsa"),
        ("middlename", None),
        ("donotphone", True),
        ("gendercode", option(2)),
        ("statecode", option(0)),
        ("birthdate", "/Date(456192000000)/"),
        ("createdon", "/Date(1741079742000)/"),
        ("creditlimit", {"__type": f"Money:{CONTRACTS}", "Value": 25000.5}),
        ("numberofchildren", 2),
        ("address1_latitude", 59.33258),
        ("address1_addressid", "5b0c7d21-1c52-ef11-a316-000d3a5b7c8d"),
        ("new_interests", [option(100000000), option(100000003)]),
        (
            "parentcustomerid",
            {
                "__type": f"EntityReference:{CONTRACTS}", "Id": ACCOUNT, "KeyAttributes": [],
                "LogicalName": "account", "Name": None, "RowVersion": None,
            },
        ),
    ],
)  # fmt: skip
def test_a_create_encodes_every_kind_of_column(column: str, expected: object) -> None:
    attributes = pairs(target(parsed(notification("Create", "contact", ROW, ORIGIN)))["Attributes"])
    assert attributes[column] == expected


def test_a_create_shows_labels_money_and_dates_as_formatted_values() -> None:
    shown = pairs(target(parsed(notification("Create", "contact", ROW, ORIGIN)))["FormattedValues"])
    assert shown["gendercode"] == "Female"
    assert shown["donotphone"] == "Do Not Allow"
    assert shown["new_interests"] == "Robotics; Packaging"
    assert shown["createdon"] == "2025-03-04T09:15:42-00:00"
    assert "firstname" not in shown


def test_the_wire_form_escapes_slashes_and_control_characters_and_keeps_letters() -> None:
    text = notification("Create", "contact", ROW, ORIGIN).json()
    assert '"https:\\/\\/nordlys.example"' in text
    assert '"Met at fair.\\u000aCall \\\\n after Easter."' in text
    assert "Åsa" in text
    assert re.search(r"[^\\]/", text) is None
    assert ": " not in text.replace("Met at fair", "")


def test_an_update_sends_the_columns_of_the_request_and_what_the_platform_adds() -> None:
    body = parsed(notification("Update", "contact", ROW, ORIGIN, columns=["firstname", "donotphone"]))
    attributes = pairs(target(body)["Attributes"])
    expected = ["contactid", "firstname", "donotphone", "modifiedon", "modifiedby", "modifiedonbehalfby"]
    assert list(attributes) == expected
    assert attributes["modifiedby"]["Id"] == USER
    assert target(body)["RowVersion"] == "5948260"
    assert target(body)["FormattedValues"] == []
    assert body["OutputParameters"] == []


def test_an_asynchronous_step_gets_an_image_with_the_primary_name() -> None:
    images = pairs(parsed(notification("Update", "contact", ROW, ORIGIN, columns=["firstname"]))["PostEntityImages"])
    assert list(images) == ["AsynchronousStepPrimaryName"]
    image = images["AsynchronousStepPrimaryName"]
    assert list(image) == ENTITY
    assert pairs(image["Attributes"]) == {"fullname": "Åsa O'Connor-Müller", "contactid": CONTACT}


def test_a_synchronous_step_is_named_and_has_one_id_for_operation_and_request() -> None:
    origin = Origin(at=1741075270, asynchronous=False, step_name="Marketo sync: account Create")
    body = parsed(notification("Create", "account", {"accountid": ACCOUNT, "name": "Nordlys AB"}, origin))
    assert body["Mode"] == 0
    assert body["IsInTransaction"] is True
    assert body["OperationId"] == body["RequestId"]
    assert body["OperationCreatedOn"] == "/Date(1741075270000)/"
    assert body["OwningExtension"]["Name"] == "Marketo sync: account Create"
    assert body["PostEntityImages"] == []


def test_images_leave_out_empty_columns_and_show_names() -> None:
    image = notifications.image(
        "contact", ROW, ["contactid", "middlename", "ownerid", "statecode"], lambda _table, _id: "Britta Lind"
    )
    assert list(image) == ENTITY
    assert list(pairs(image["Attributes"])) == ["contactid", "ownerid", "statecode"]
    assert pairs(image["Attributes"])["ownerid"]["Name"] == "Britta Lind"
    assert pairs(image["FormattedValues"]) == {"ownerid": "Britta Lind", "statecode": "Active"}
    body = parsed(notification("Delete", "contact", ROW, ORIGIN, pre_images={"pre": image}))
    assert pairs(body["PreEntityImages"])["pre"] == image


@pytest.mark.parametrize(
    ("message", "parameters", "place"),
    [
        ("Create", None, "PostEntityImages"),
        ("Update", None, "PostEntityImages"),
        ("Delete", None, "PreEntityImages"),
        ("Assign", notifications.assign("contact", CONTACT, ("systemuser", CONTACT)), "PreEntityImages"),
    ],
)
def test_the_automatic_image_of_an_asynchronous_step(message: str, parameters: Any, place: str) -> None:
    """Bodies that others recorded: for Delete and Assign it is among the pre-images, and the post-images are empty."""
    body = parsed(notification(message, "contact", ROW, ORIGIN, parameters=parameters))
    other = {"PostEntityImages": "PreEntityImages", "PreEntityImages": "PostEntityImages"}[place]
    assert list(pairs(body[place])) == ["AsynchronousStepPrimaryName"]
    assert body[other] == []
    synchronous = replace(ORIGIN, asynchronous=False)
    body = parsed(notification(message, "contact", ROW, synchronous, parameters=parameters))
    assert body[place] == body[other] == []


def test_a_delete_names_the_row_and_nothing_else() -> None:
    body = parsed(notification("Delete", "contact", ROW, ORIGIN))
    assert target(body)["__type"].startswith("EntityReference:")
    assert (target(body)["Id"], target(body)["LogicalName"]) == (CONTACT, "contact")
    assert body["PrimaryEntityId"] == CONTACT
    assert body["PostEntityImages"] == []


LEAD = {"leadid": "4c8e7d15-2052-ef11-a316-000d3a5b7c8d", "fullname": "Jon Vik"}
LEAD_ID = LEAD["leadid"]
TEAM = "6b1e9c34-a74d-ee11-be6f-000d3a4f1b2c"


@pytest.mark.parametrize(
    ("message", "table", "row", "parameters", "names"),
    [
        ("Assign", "lead", LEAD, notifications.assign("lead", LEAD_ID, ("team", TEAM)), ["Target", "Assignee"]),
        (
            "SetState", "lead", LEAD, notifications.set_state("lead", LEAD_ID, 1, 3),
            ["EntityMoniker", "State", "Status"],
        ),
        (
            "Merge",
            "contact",
            ROW,
            notifications.merge("contact", CONTACT, ACCOUNT, {"jobtitle": "CPO"}),
            ["Target", "SubordinateId", "UpdateContent", "PerformParentingChecks"],
        ),
        (
            "QualifyLead",
            "lead",
            LEAD,
            notifications.qualify_lead(LEAD_ID, [("contact", CONTACT)], customer=("account", ACCOUNT))[0],
            [
                "LeadId", "CreateAccount", "CreateContact", "CreateOpportunity", "OpportunityCurrencyId",
                "OpportunityCustomerId", "SourceCampaignId", "Status",
            ],
        ),
    ],
)  # fmt: skip
def test_other_messages_carry_their_documented_parameters(
    message: str, table: str, row: dict[str, Any], parameters: dict[str, Any], names: list[str]
) -> None:
    body = parsed(notification(message, table, row, ORIGIN, parameters=parameters))
    assert list(body) == TOP_LEVEL
    assert body["MessageName"] == message
    assert list(pairs(body["InputParameters"])) == names


def test_merge_content_is_an_entity_without_a_row() -> None:
    content = notifications.merge("contact", CONTACT, ACCOUNT, {"jobtitle": "CPO"})["UpdateContent"]
    assert list(content) == ["__type", *ENTITY]
    assert content["Id"] == "00000000-0000-0000-0000-000000000000"
    assert pairs(content["Attributes"]) == {"jobtitle": "CPO"}


def test_bulk_messages_carry_a_collection_and_no_primary_id() -> None:
    parameters, output = notifications.multiple("contact", [ROW, {"contactid": ACCOUNT, "lastname": "Dahl"}])
    body = parsed(notification("CreateMultiple", "contact", {}, ORIGIN, parameters=parameters, output=output))
    targets = pairs(body["InputParameters"])["Targets"]
    assert list(targets) == [
        "__type", "Entities", "EntityName", "MinActiveRowVersion", "MoreRecords", "PagingCookie", "TotalRecordCount",
        "TotalRecordCountLimitExceeded",
    ]  # fmt: skip
    assert [list(entity) for entity in targets["Entities"]] == [ENTITY, ENTITY]
    assert pairs(body["OutputParameters"]) == {"Ids": [CONTACT, ACCOUNT]}
    assert body["PrimaryEntityId"] == "00000000-0000-0000-0000-000000000000"
    assert body["PrimaryEntityName"] == "contact"


def test_an_association_has_no_primary_table() -> None:
    parameters = notifications.association(("contact", CONTACT), "contactleads_association", [("lead", LEAD_ID)])
    body = parsed(notification("Associate", "none", {}, ORIGIN, parameters=parameters))
    relationship = pairs(body["InputParameters"])["Relationship"]
    assert relationship == {
        "__type": f"Relationship:{CONTRACTS}", "PrimaryEntityRole": 0, "SchemaName": "contactleads_association",
    }  # fmt: skip
    assert (body["PrimaryEntityName"], body["PrimaryEntityId"][:8]) == ("none", "00000000")


def test_a_parent_context_is_the_same_operation_with_what_the_caller_sent() -> None:
    body = parsed(notification("Update", "contact", ROW, ORIGIN, columns=["firstname", "fullname"], parent=True))
    parent = body["ParentContext"]
    assert list(parent) == TOP_LEVEL
    assert parent["Stage"] == 30
    assert (parent["OperationId"], parent["CorrelationId"]) == (body["OperationId"], body["CorrelationId"])
    assert list(pairs(target(parent)["Attributes"])) == ["contactid", "firstname"]
    assert parent["ParentContext"] is None


@pytest.mark.parametrize("form", ["empty", "absent", "null"])
def test_a_stripped_body_keeps_the_routing_triple(form: str) -> None:
    stripped = notification("Update", "contact", ROW, ORIGIN, columns=["firstname"], parent=True).stripped(form)
    body = parsed(stripped)
    assert (body["MessageName"], body["PrimaryEntityName"], body["PrimaryEntityId"]) == ("Update", "contact", CONTACT)
    assert not any(body.get(key) for key in ("ParentContext", "InputParameters", "PreEntityImages", "PostEntityImages"))
    assert ("InputParameters" in body) is (form != "absent")
    assert stripped.properties()["MessageMaxSizeExceeded"] == "true"
    assert stripped.headers()["x-ms-dynamics-msg-size-exceeded"] == "true"


def test_only_a_body_over_the_limit_is_stripped() -> None:
    small = notification("Create", "contact", ROW, ORIGIN)
    large = notification("Create", "contact", {**ROW, "description": "x" * 200_000}, ORIGIN)
    assert small.fitted() is small
    assert large.fitted().size_exceeded
    assert not large.fitted(notifications.WEBHOOK_LIMIT).size_exceeded


def test_the_shape_of_2017_lacks_the_newer_keys() -> None:
    body = parsed(notification("Update", "contact", ROW, ORIGIN, columns=["firstname"]).in_2017_shape())
    missing = set(TOP_LEVEL) - set(body)
    assert missing == {
        "InitiatingUserAgent", "InitiatingUserAzureActiveDirectoryObjectId", "UserAzureActiveDirectoryObjectId",
    }  # fmt: skip
    assert body["RequestId"] is None
    assert body["OperationCreatedOn"] == "/Date(1741082531000-0700)/"
    local = parsed(notification("Update", "contact", ROW, ORIGIN, columns=["firstname"]).in_2017_shape(local=True))
    assert local["OperationCreatedOn"] == "/Date(1741057331000-0700)/"


def test_application_properties_and_headers_name_organisation_user_table_and_message() -> None:
    built = notification("Update", "contact", ROW, ORIGIN, columns=["firstname"])
    assert built.properties() == {
        f"{CLAIMS}Organization": "contoso.crm4.dynamics.com", f"{CLAIMS}User": USER, f"{CLAIMS}InitiatingUser": USER,
        f"{CLAIMS}EntityLogicalName": "contact", f"{CLAIMS}RequestName": "Update", f"{CLAIMS}InitiatingUserAgent": "",
    }  # fmt: skip
    assert built.headers() == {
        "Content-Type": "application/json",
        "x-ms-dynamics-organization": "contoso.crm4.dynamics.com",
        "x-ms-dynamics-entity-name": "contact",
        "x-ms-dynamics-request-name": "Update",
        "x-ms-correlation-request-id": built.context["CorrelationId"],
    }
