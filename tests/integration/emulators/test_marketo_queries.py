"""Queries, descriptions, pages and activity feeds of the Marketo simulator, over HTTP (marketo.md 2, 4 and 6.1)."""

from typing import Any

import pytest

from emulators.marketo.harness import Marketo
from tests.support.marketo_simulator import code, seed

NOW = 1_780_000_000.0
BY_PERSON = {"lookupField": "externalPersonId"}
ROLES = "/rest/v1/opportunities/roles.json?_method=GET"


async def test_the_control_api_gives_records_by_their_values(marketo: Marketo) -> None:
    persons = [{"email": f"{name}@x.example", "externalPersonId": name} for name in "abc"]
    ids = await seed(marketo, "leads", *persons)
    by_key = await marketo.control.post("/records/leads", json={"externalPersonId": ["c", "a", "nobody"]})
    assert [record["externalPersonId"] for record in by_key.json()] == ["a", "c"]
    by_id = await marketo.control.post("/records/leads", json={"id": ids[1:2]})
    assert [record["email"] for record in by_id.json()] == ["b@x.example"]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({}, "one searchable field"),
        ({"id": [1], "email": ["a@x.example"]}, "one searchable field"),
        (["email"], "one searchable field"),
        ({"email": "a@x.example"}, "one searchable field"),
        ({"city": ["Ulm"]}, "city is not searchable"),
        ({"noSuchField": [1]}, "noSuchField is not searchable"),
    ],
)
async def test_the_control_api_says_what_it_cannot_look_up(marketo: Marketo, query: Any, reason: str) -> None:
    answer = await marketo.control.post("/records/leads", json=query)
    assert answer.status_code == 400
    assert reason in answer.json()["error"]


async def test_default_fields_of_each_object(marketo: Marketo) -> None:
    (lead_id,) = await seed(marketo, "leads", {"email": "a@x.example", "city": "Ulm"})
    (answer,) = (await marketo.get("leads", filterType="email", filterValues="a@x.example"))["result"]
    assert set(answer) == {"id", "email", "updatedAt", "createdAt", "firstName", "lastName"}
    assert answer["firstName"] is None
    assert (await marketo.get(f"lead/{lead_id}"))["result"] == [answer]
    assert code(await marketo.get("lead/9")) == "1004"
    await seed(marketo, "companies", {"externalCompanyId": "c", "company": "C"})
    (company,) = (await marketo.get("companies", filterType="dedupeFields", filterValues="c"))["result"]
    assert set(company) == {"seq", "id", "externalCompanyId", "updatedAt", "createdAt"}
    await seed(marketo, "salespersons", {"externalSalesPersonId": "s", "email": "s@x.example"})
    (person,) = (await marketo.get("salespersons", filterType="email", filterValues="s@x.example"))["result"]
    assert set(person) == {"seq", "id", "externalSalesPersonId", "email", "updatedAt", "createdAt"}


async def test_leads_show_requested_nulls_and_other_objects_do_not(marketo: Marketo) -> None:
    await seed(marketo, "leads", {"externalPersonId": "p"})
    await seed(marketo, "companies", {"externalCompanyId": "c"})
    query = {
        "filterType": "externalPersonId", "filterValues": "p", "fields": "ID,priority,unsubscribed,externalpersonid",
    }  # fmt: skip
    (lead,) = (await marketo.get("leads", **query))["result"]
    assert lead == {"id": lead["id"], "priority": None, "unsubscribed": False, "externalPersonId": "p"}
    query = {"filterType": "externalCompanyId", "filterValues": "c", "fields": "externalCompanyId,company"}
    assert (await marketo.get("companies", **query))["result"] == [{"seq": 0, "externalCompanyId": "c"}]


async def test_results_are_not_in_the_order_of_the_values_and_match_exactly(marketo: Marketo) -> None:
    await seed(marketo, "leads", *({"externalPersonId": key} for key in ("a", "b", "AB", "a")))
    answer = await marketo.get(
        "leads", filterType="externalPersonId", filterValues="b,a,ab,a", fields="externalPersonId"
    )
    assert [lead["externalPersonId"] for lead in answer["result"]] == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("leads", {"filterType": "noSuch", "filterValues": "1"}, "1006"),
        ("leads", {"filterType": "firstName", "filterValues": "1"}, "1011"),
        ("leads", {"filterType": "email"}, "701"),
        ("leads", {"filterValues": "1"}, "701"),
        ("leads", {"filterType": "email", "filterValues": "1", "fields": "noSuch"}, "1006"),
        ("leads", {"filterType": "email", "filterValues": "1", "batchSize": "301"}, "1001"),
        ("leads", {"filterType": "email", "filterValues": "1", "nextPageToken": "AAAA"}, "1003"),
        ("leads", {"filterType": "id", "filterValues": ",".join(map(str, range(301)))}, "1003"),
        ("companies", {"filterType": "industry", "filterValues": "1"}, "1011"),
        ("opportunities", {"filterType": "name", "filterValues": "1"}, "1011"),
        ("activities", {"activityTypeIds": "12"}, "701"),
        ("activities/leadchanges", {"nextPageToken": "x"}, "701"),
        ("activities/leadchanges", {"nextPageToken": "x", "fields": "city"}, "1003"),
        ("activities/leadchanges", {"nextPageToken": "x", "fields": "noSuchField"}, "1006"),
        ("activities/pagingtoken", {"sinceDatetime": "yesterday"}, "704"),
    ],
)
async def test_queries_that_are_refused(marketo: Marketo, path: str, query: dict[str, str], expected: str) -> None:
    assert code(await marketo.get(path, **query)) == expected


async def test_pages(marketo: Marketo) -> None:
    await seed(marketo, "leads", *({"externalSalesPersonId": "s"} for _ in range(650)))
    query = {"filterType": "externalSalesPersonId", "filterValues": "s", "fields": "id"}
    seen, sizes, token = set(), [], ""
    while True:
        answer = await marketo.get("leads", **query, nextPageToken=token)
        seen |= {lead["id"] for lead in answer["result"]}
        sizes.append(len(answer["result"]))
        token = answer.get("nextPageToken", "")
        assert answer.get("moreResult", False) is bool(token)
        if not token:
            break
    assert (sizes, len(seen)) == ([300, 300, 50], 650)
    assert len((await marketo.get("leads", **query, batchSize=7))["result"]) == 7


async def test_a_last_page_may_carry_a_token(marketo: Marketo) -> None:
    await seed(marketo, "companies", {"externalCompanyId": "c"})
    query = {"filterType": "externalCompanyId", "filterValues": "c"}
    first = await marketo.get("companies", **query)
    assert "moreResult" not in first
    second = await marketo.get("companies", **query, nextPageToken=first["nextPageToken"])
    assert second["result"] == []
    assert "nextPageToken" not in second
    await marketo.switch(token_on_last_page=[])
    assert "nextPageToken" not in await marketo.get("companies", **query)


async def test_more_than_1000_leads_are_too_many(marketo: Marketo) -> None:
    people = [{"externalSalesPersonId": "s"} for _ in range(1000)]
    await seed(marketo, "leads", *people)
    query = {"filterType": "externalSalesPersonId", "filterValues": "s"}
    assert len((await marketo.get("leads", **query))["result"]) == 300
    await seed(marketo, "leads", people[0])
    answer = await marketo.get("leads", **query)
    assert answer["errors"] == [{"code": "1003", "message": "Too many results match the filter"}]


async def test_every_get_may_be_a_post(marketo: Marketo) -> None:
    (lead_id,) = await seed(marketo, "leads", {"email": "a@x.example"})
    query = {"filterType": "email", "filterValues": "a@x.example", "fields": "id"}
    response = await marketo.rest.post("/rest/v1/leads.json?_method=GET", data=query)
    assert response.json()["result"] == [{"id": lead_id}]
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    response = await marketo.rest.post("/rest/v1/leads/describe2.json?_method=GET", headers=form)
    assert response.json()["success"]
    response = await marketo.rest.post("/rest/v1/leads.json?_method=GET", headers={"Content-Type": "text/plain"})
    assert code(response.json()) == "612"


async def test_roles_by_compound_key(marketo: Marketo) -> None:
    keys = [{"externalOpportunityId": "o", "leadId": number, "role": "Captain"} for number in range(3)]
    await seed(marketo, "roles", *keys)
    content: dict[str, Any] = {"filterType": "dedupeFields", "fields": ["marketoGuid", "leadId"], "input": keys[:2]}
    answer = (await marketo.rest.post(ROLES, json=content | {"batchSize": 1})).json()
    assert [(role["seq"], role["leadId"], len(role["marketoGUID"])) for role in answer["result"]] == [(0, 0, 36)]
    token = answer["nextPageToken"]
    answer = (await marketo.rest.post(ROLES, json=content | {"batchSize": 1, "nextPageToken": token})).json()
    assert [role["leadId"] for role in answer["result"]] == [1]
    incomplete = content | {"input": [{"externalOpportunityId": "o", "leadId": 1}]}
    assert code((await marketo.rest.post(ROLES, json=incomplete)).json()) == "1002"
    for name, value in {"leadId": "1", "externalOpportunityId": "o"}.items():
        assert (await marketo.get("opportunities/roles", filterType=name, filterValues=value))["result"]


async def test_descriptions(marketo: Marketo) -> None:
    (lead,) = (await marketo.get("leads/describe2"))["result"]
    fields = {field["name"]: field for field in lead["fields"]}
    assert ["externalPersonId"] in lead["searchableFields"]
    assert ["firstName"] not in lead["searchableFields"]
    assert (fields["leadRole"]["length"], fields["email"]["dataType"]) == (50, "email")
    assert fields["relativeScore"]["updateable"] is True
    assert "relativeScoring" not in fields
    old = {field["rest"]["name"]: field for field in (await marketo.get("leads/describe"))["result"]}
    assert set(old) == set(fields)
    assert old["createdAt"]["rest"]["readOnly"] is True
    (role,) = (await marketo.get("opportunities/roles/describe"))["result"]
    assert role["dedupeFields"] == role["searchableFields"][0] == ["externalOpportunityId", "leadId", "role"]
    (company,) = (await marketo.get("companies/describe"))["result"]
    key = next(field for field in company["fields"] if field["name"] == "externalCompanyId")
    assert (key["length"], key["updateable"], company["idField"]) == (100, False, "id")
    first = await marketo.get("leads/schema/fields", batchSize=50)
    rest = await marketo.get("leads/schema/fields", batchSize=50, nextPageToken=first["nextPageToken"])
    assert (first["moreResult"], rest["moreResult"]) == (True, False)
    assert {field["name"] for field in first["result"] + rest["result"]} == set(fields)


async def test_the_msi_feature_and_the_guides_name_of_the_score(marketo: Marketo) -> None:
    await marketo.switch(relative_score_field="relativeScoring")
    names = {field["name"] for field in (await marketo.get("leads/describe2"))["result"][0]["fields"]}
    assert "relativeScoring" in names
    assert "relativeScore" not in names
    await marketo.switch(msi_non_native=False)
    names = {field["name"] for field in (await marketo.get("leads/describe2"))["result"][0]["fields"]}
    assert not {"externalPersonId", "msiLastInterestingMomentType"} & names
    assert code(await marketo.get("leads", filterType="externalPersonId", filterValues="p")) == "1006"


async def test_the_log_of_new_leads_changes_and_deletions(marketo: Marketo) -> None:
    token = (await marketo.get("activities/pagingtoken", sinceDatetime="2026-01-01T00:00:00Z"))["nextPageToken"]
    created = await marketo.sync("leads", [{"externalPersonId": "p", "city": "Ulm"}], **BY_PERSON)
    lead_id = created["result"][0]["id"]
    await marketo.sync("leads", [{"externalPersonId": "p", "city": "Bonn", "firstName": "A"}], **BY_PERSON)
    await marketo.sync("leads", [{"externalPersonId": "p", "city": "Bonn"}], **BY_PERSON)
    changes = await marketo.get("activities/leadchanges", nextPageToken=token, fields="city")
    assert [(entry["leadId"], entry["activityTypeId"]) for entry in changes["result"]] == [(lead_id, 12), (lead_id, 13)]
    (change,) = changes["result"][1]["fields"]
    assert (change["name"], change["oldValue"], change["newValue"]) == ("city", "Ulm", "Bonn")
    assert changes["moreResult"] is False
    later = await marketo.get("activities/leadchanges", nextPageToken=changes["nextPageToken"], fields="city")
    assert later["result"] == []
    await marketo.sync("leads/delete", [{"id": lead_id}])
    gone = await marketo.get("activities/deletedleads", nextPageToken=token)
    assert [(entry["leadId"], entry["primaryAttributeValue"]) for entry in gone["result"]] == [(lead_id, "A")]
    marketo.instance.clock.advance(10)
    after = await marketo.get("activities/pagingtoken", sinceDatetime="2026-05-28T20:26:45Z")
    assert (await marketo.get("activities/deletedleads", nextPageToken=after["nextPageToken"]))["result"] == []


async def test_an_injected_interesting_moment(marketo: Marketo) -> None:
    token = (await marketo.get("activities/pagingtoken", sinceDatetime="2026-01-01T00:00:00Z"))["nextPageToken"]
    await seed(marketo, "leads", *({"externalPersonId": key} for key in ("p", "q")))
    moment = {"primaryAttributeValue": "Web", "attributes": {"Description": "Looked at prices", "Source": "Visit"}}
    await marketo.control.post("/activities", json={"externalPersonId": "p", "activityTypeId": 46, **moment})
    kinds = {kind["name"]: kind["id"] for kind in (await marketo.get("activities/types"))["result"]}
    answer = await marketo.get("activities", activityTypeIds=kinds["Interesting Moment"], nextPageToken=token)
    (entry,) = answer["result"]
    assert entry["primaryAttributeValue"] == "Web"
    assert {"name": "Description", "value": "Looked at prices"} in entry["attributes"]
    names = ",".join(f"msiLastInterestingMoment{part}" for part in ("Type", "Desc", "Source", "Date"))
    query = {"filterType": "externalPersonId", "filterValues": "p,q", "fields": names}
    first, second = (await marketo.get("leads", **query))["result"]
    assert list(first.values()) == ["Web", "Looked at prices", "Visit", entry["activityDate"]]
    assert set(second.values()) == {None}
