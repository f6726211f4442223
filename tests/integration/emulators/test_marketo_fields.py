"""The fields of a Marketo instance: the customer's own, those that are gone, and how they are described (over HTTP)."""

from typing import Any

import pytest

from emulators.marketo.harness import Marketo
from tests.support.marketo_simulator import outcomes

NOW = 1_780_000_000.0
BY_PERSON = {"lookupField": "externalPersonId"}
LEAD_FIELDS = [
    {"name": "dynamicsGuid", "dataType": "string", "length": 36},
    {"name": "dynamicsNumber", "dataType": "integer"},
    {"name": "workEmail", "dataType": "email"},
    {"name": "hiddenKey", "dataType": "string", "searchable": False},
    {"name": "notes", "dataType": "text"},
]


async def described(marketo: Marketo, path: str = "leads/describe2") -> tuple[dict[str, Any], list[list[str]]]:
    """Return the fields of an object by name, and what is searchable."""
    (result,) = (await marketo.get(path))["result"]
    return {field["name"]: field for field in result["fields"]}, result["searchableFields"]


async def test_custom_lead_fields_are_described(marketo: Marketo) -> None:
    await marketo.switch(custom_fields={"leads": LEAD_FIELDS})
    fields, searchable = await described(marketo)
    assert fields["dynamicsGuid"]["dataType"] == "string"
    assert (fields["dynamicsGuid"]["length"], fields["workEmail"]["length"]) == (36, 255)
    assert fields["dynamicsGuid"]["updateable"]
    assert "length" not in fields["dynamicsNumber"]
    names = [name for (name,) in searchable]
    assert {"externalPersonId", "dynamicsGuid", "dynamicsNumber", "workEmail"} <= set(names)
    assert not {"hiddenKey", "notes"} & set(names)
    detailed = {field["name"]: field for field in (await marketo.get("leads/schema/fields"))["result"]}
    assert (detailed["notes"]["isCustom"], detailed["city"]["isCustom"]) == (True, False)
    older = {entry["rest"]["name"] for entry in (await marketo.get("leads/describe"))["result"]}
    assert older == set(fields) == set(detailed)


@pytest.mark.parametrize(("name", "key"), [("dynamicsGuid", "g"), ("dynamicsNumber", 7), ("workEmail", "A@b.example")])
async def test_a_custom_lead_field_can_be_the_key(marketo: Marketo, name: str, key: str | int) -> None:
    await marketo.switch(custom_fields={"leads": LEAD_FIELDS})
    record = {name.upper(): key, "notes": "n"}
    assert outcomes(await marketo.sync("leads", [record], lookupField=name)) == ["created"]
    assert outcomes(await marketo.sync("leads", [record], lookupField=name)) == ["updated"]
    query = {"filterType": name, "filterValues": str(key), "fields": f"{name},notes"}
    assert (await marketo.get("leads", **query))["result"] == [{name: key, "notes": "n"}]


async def test_a_field_that_is_not_searchable_is_neither_key_nor_filter(marketo: Marketo) -> None:
    await marketo.switch(custom_fields={"leads": LEAD_FIELDS})
    for name in ("hiddenKey", "notes"):
        assert outcomes(await marketo.sync("leads", [{name: "x"}], lookupField=name)) == ["1011"]
        assert outcomes(await marketo.get("leads", filterType=name, filterValues="x")) == ["1011"]


async def test_values_of_custom_fields_are_checked(marketo: Marketo) -> None:
    await marketo.switch(custom_fields={"leads": LEAD_FIELDS})
    wrong = [{"dynamicsGuid": "x" * 37}, {"dynamicsNumber": "seven"}, {"workEmail": "no"}]
    records = [{"email": f"p{number}@x.example", **values} for number, values in enumerate(wrong)]
    assert outcomes(await marketo.sync("leads", records)) == ["1003"] * 3


async def test_a_custom_opportunity_field_is_searchable_and_a_companys_is_not_unless_said(marketo: Marketo) -> None:
    field = {"name": "dynamicsGuid", "dataType": "string"}
    await marketo.switch(custom_fields={"opportunities": [field], "companies": [field]})
    deal = {"externalOpportunityId": "o", "name": "Deal", "dynamicsGuid": "g"}
    assert outcomes(await marketo.sync("opportunities", [deal])) == ["created"]
    query = {"filterType": "dynamicsGuid", "filterValues": "g", "fields": "dynamicsGuid"}
    assert (await marketo.get("opportunities", **query))["result"] == [{"seq": 0, "dynamicsGuid": "g"}]
    assert ["dynamicsGuid"] in (await described(marketo, "opportunities/describe"))[1]
    assert outcomes(await marketo.get("companies", **query)) == ["1011"]
    # Records from before the field became searchable are found as well.
    assert outcomes(await marketo.sync("companies", [{"externalCompanyId": "c", "dynamicsGuid": "g"}])) == ["created"]
    await marketo.switch(custom_fields={"companies": [{**field, "searchable": True}]})
    assert (await marketo.get("companies", **query))["result"] == [{"seq": 0, "dynamicsGuid": "g"}]


async def test_a_custom_company_field_is_read_through_the_lead_and_not_written(marketo: Marketo) -> None:
    await marketo.switch(custom_fields={"companies": [{"name": "accountTier", "dataType": "string", "length": 10}]})
    await marketo.sync("companies", [{"externalCompanyId": "c", "accountTier": "gold"}])
    person = {"externalPersonId": "p", "externalCompanyId": "c"}
    assert outcomes(await marketo.sync("leads", [person], **BY_PERSON)) == ["created"]
    assert outcomes(await marketo.sync("leads", [{**person, "accountTier": "tin"}], **BY_PERSON)) == ["1021"]
    query = {"filterType": "externalPersonId", "filterValues": "p", "fields": "accountTier"}
    assert (await marketo.get("leads", **query))["result"] == [{"accountTier": "gold"}]
    unlinked = [{"externalPersonId": "q", "accountTier": "tin"}]
    assert outcomes(await marketo.sync("leads", unlinked, **BY_PERSON)) == ["created"]
    assert "accountTier" in (await described(marketo, "companies/describe"))[0]
    fields, searchable = await described(marketo)
    assert fields["accountTier"]["length"] == 10
    assert ["accountTier"] not in searchable


@pytest.mark.parametrize(
    "wanted",
    [
        {"custom_fields": {"roles": [{"name": "x", "dataType": "string"}]}},
        {"custom_fields": {"salespersons": [{"name": "x", "dataType": "string"}]}},
        {"custom_fields": {"people": []}},
        {"custom_fields": {"leads": [{"name": "x"}]}},
        {"custom_fields": {"leads": [{"name": "x", "dataType": "string", "size": 1}]}},
        {"custom_fields": {"leads": [{"name": "x", "dataType": "blob"}]}},
        {"custom_fields": {"leads": [{"name": "x", "dataType": "boolean", "searchable": True}]}},
        {"custom_fields": {"leads": [{"name": "x", "dataType": "string", "length": "9"}]}},
        {"custom_fields": {"leads": [{"name": "EMAIL", "dataType": "string"}]}},
        {"custom_fields": {"companies": [{"name": "title", "dataType": "string"}]}},
        {"custom_fields": {"leads": ["x"]}},
        {"removed_fields": {"leads": ["id"]}},
        {"removed_fields": {"roles": ["leadid"]}},
        {"removed_fields": {"leads": [1]}},
        {"removed_fields": {"people": []}},
        {"denied_objects": ["activites"]},
        {"read_only_objects": ["activities"]},
    ],
)
async def test_what_marketo_would_refuse_changes_nothing(marketo: Marketo, wanted: dict[str, Any]) -> None:
    before = (await marketo.control.get("/switches")).json()
    response = await marketo.control.post("/switches", json={"native_crm_sync": True, **wanted})
    assert response.status_code == 400
    assert (await marketo.control.get("/switches")).json() == before


async def test_removed_fields_are_unknown_everywhere(marketo: Marketo) -> None:
    await marketo.sync("companies", [{"externalCompanyId": "c", "industry": "Toys"}])
    await marketo.switch(removed_fields={"leads": ["firstName", "CITY"], "companies": ["industry"]})
    fields, _ = await described(marketo)
    # The company's field was the lead's as well.
    assert not {"firstName", "city", "industry"} & set(fields)
    assert "industry" not in (await described(marketo, "companies/describe"))[0]
    answer = await marketo.sync("leads", [{"email": "a@x.example", "city": "Ulm"}, {"email": "b@x.example"}])
    assert outcomes(answer) == ["1006", "created"]
    assert answer["result"][0]["reasons"] == [{"code": "1006", "message": "Field 'city' not found"}]
    query = {"filterType": "email", "filterValues": "b@x.example"}
    assert outcomes(await marketo.get("leads", **query, fields="city")) == ["1006"]
    (lead,) = (await marketo.get("leads", **query))["result"]
    assert "firstName" not in lead
    company = {"filterType": "externalCompanyId", "filterValues": "c"}
    assert outcomes(await marketo.sync("companies", [{"externalCompanyId": "d", "industry": "x"}])) == ["1006"]
    await marketo.switch(removed_fields={})
    assert (await marketo.get("companies", **company, fields="industry"))["result"] == [{"seq": 0, "industry": "Toys"}]


async def test_external_person_id_can_be_removed(marketo: Marketo) -> None:
    await marketo.switch(removed_fields={"leads": ["externalPersonId", "msiLastInterestingMomentDesc"]})
    fields, searchable = await described(marketo)
    assert "externalPersonId" not in fields
    assert ["externalPersonId"] not in searchable
    answer = await marketo.sync("leads", [{"externalPersonId": "p"}], **BY_PERSON)
    assert answer["errors"] == [{"code": "1006", "message": "Lookup field 'externalPersonId' not found"}]
    assert outcomes(await marketo.get("leads", filterType="externalPersonId", filterValues="p")) == ["1006"]
    created = await marketo.sync("leads", [{"email": "a@x.example"}])
    moment = {
        "leadId": created["result"][0]["id"], "activityTypeId": 46, "primaryAttributeValue": "Web",
        "attributes": {"Description": "visited"},
    }  # fmt: skip
    assert (await marketo.control.post("/activities", json=moment)).status_code == 200
    query = {"filterType": "email", "filterValues": "a@x.example", "fields": "msiLastInterestingMomentType"}
    assert (await marketo.get("leads", **query))["result"] == [{"msiLastInterestingMomentType": "Web"}]


async def test_msi_fields_are_described_as_updateable_although_they_are_not(marketo: Marketo) -> None:
    fields, searchable = await described(marketo)
    older = {
        entry["rest"]["name"]: entry["rest"]["readOnly"] for entry in (await marketo.get("leads/describe"))["result"]
    }
    moments = [f"msiLastInterestingMoment{part}" for part in ("Type", "Date", "Desc", "Source")]
    for name in ("priority", "relativeUrgency", "relativeScore", "urgency", *moments, "externalPersonId"):
        assert (fields[name]["updateable"], older[name]) == (True, False)
    for name in ("createdAt", "updatedAt", "mktoName", "leadPartitionId"):
        assert (fields[name]["updateable"], older[name]) == (False, True)
    assert [name for name in ("priority", *moments) if [name] in searchable] == []
    assert outcomes(await marketo.sync("leads", [{"email": "a@x.example", "priority": 3}])) == ["1003"]
