"""What the Marketo simulator accepts, refuses and stores, over HTTP (marketo.md 3.3, 4 and 5)."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from emulators.marketo.harness import Marketo
from tests.support.marketo_simulator import outcomes

NOW = 1_780_000_000.0
BY_PERSON = {"lookupField": "externalPersonId"}


async def lead(marketo: Marketo, key: str, *fields: str) -> dict[str, Any]:
    """Return the one lead with that externalPersonId."""
    answer = await marketo.get("leads", filterType="externalPersonId", filterValues=key, fields=",".join(fields))
    (found,) = answer["result"]
    return dict(found)


async def test_results_come_in_request_order_with_the_id_of_each_object(marketo: Marketo) -> None:
    people = await marketo.sync("leads", [{"email": "b@x.example"}, {"email": "bad"}, {"email": "a@x.example"}])
    assert outcomes(people) == ["created", "1003", "created"]
    assert [set(entry) for entry in people["result"]] == [{"id", "status"}, {"status", "reasons"}, {"id", "status"}]
    owners = await marketo.sync("salespersons", [{"externalSalesPersonId": "s"}, {"email": "x@x.example"}])
    assert [entry["seq"] for entry in owners["result"]] == [0, 1]
    assert outcomes(owners) == ["created", "1002"]
    assert isinstance(owners["result"][0]["id"], int)
    deals = await marketo.sync("opportunities", [{"externalOpportunityId": "o", "name": "Deal"}])
    assert len(deals["result"][0]["marketoGUID"]) == 36


async def test_an_upsert_updates_what_it_finds_and_leaves_other_fields_alone(marketo: Marketo) -> None:
    created = await marketo.sync("leads", [{"externalPersonId": "p", "firstName": "A", "city": "Ulm"}], **BY_PERSON)
    updated = await marketo.sync("leads", [{"EXTERNALPERSONID": "p", "firstname": "B"}], **BY_PERSON)
    assert updated["result"] == [{"id": created["result"][0]["id"], "status": "updated"}]
    assert await lead(marketo, "p", "firstName", "city") == {"firstName": "B", "city": "Ulm"}


@pytest.mark.parametrize(
    ("path", "key", "missing", "existing"),
    [
        ("leads", {"email": "a@x.example"}, "1004", "1005"),
        ("companies", {"externalCompanyId": "c"}, "1013", "1017"),
        ("salespersons", {"externalSalesPersonId": "s"}, "1013", "1017"),
        ("opportunities", {"externalOpportunityId": "o", "name": "Deal"}, "1013", "1017"),
    ],
)
async def test_update_and_create(marketo: Marketo, path: str, key: dict[str, str], missing: str, existing: str) -> None:
    assert outcomes(await marketo.sync(path, [key], action="updateOnly")) == [missing]
    assert outcomes(await marketo.sync(path, [key], action="createOnly")) == ["created"]
    assert outcomes(await marketo.sync(path, [key], action="createOnly")) == [existing]
    assert outcomes(await marketo.sync(path, [key], action="updateOnly")) == ["updated"]
    assert outcomes(await marketo.sync(path, [key], action="upsert")) == ["1001"]


async def test_which_lookup_fields_a_lead_has(marketo: Marketo) -> None:
    async def with_lookup(field: str, **options: Any) -> list[str]:
        return outcomes(await marketo.sync("leads", [{"email": "a@x.example", "id": 1}], lookupField=field, **options))

    assert await with_lookup("noSuchField") == ["1006"]
    assert await with_lookup("lastName") == ["1011"]
    assert await with_lookup("id") == ["1003"]
    assert await with_lookup("id", action="updateOnly") == ["1004"]
    assert await with_lookup("externalPersonId") == ["1002"]
    created = await marketo.sync("leads", [{"email": "a@x.example"}])
    by_id = [{"id": created["result"][0]["id"], "externalPersonId": "p"}]
    assert outcomes(await marketo.sync("leads", by_id, lookupField="id", action="updateOnly")) == ["updated"]
    assert (await lead(marketo, "p"))["email"] == "a@x.example"


async def test_without_the_msi_feature_there_is_no_external_person_id(marketo: Marketo) -> None:
    await marketo.switch(msi_non_native=False)
    answer = await marketo.sync("leads", [{"externalPersonId": "p"}], **BY_PERSON)
    assert answer["errors"] == [{"code": "1006", "message": "Lookup field 'externalPersonId' not found"}]
    assert outcomes(await marketo.sync("leads", [{"email": "a@x.example", "externalPersonId": "p"}])) == ["1006"]


async def test_partitions(marketo: Marketo) -> None:
    person = [{"email": "a@x.example"}]
    assert outcomes(await marketo.sync("leads", person, partitionName="Default")) == ["created"]
    assert outcomes(await marketo.sync("leads", person, partitionName="Elsewhere")) == ["1008"]
    assert outcomes(await marketo.sync("leads", person, partitionName="Default", action="updateOnly")) == ["1003"]


async def test_dedupe_by_id_is_for_updates_only(marketo: Marketo) -> None:
    created = await marketo.sync("opportunities", [{"externalOpportunityId": "o", "name": "Deal"}])
    by_id = [{"marketoGUID": created["result"][0]["marketoGUID"], "name": "Deal 2"}]
    assert outcomes(await marketo.sync("opportunities", by_id, dedupeBy="idField")) == ["1003"]
    assert outcomes(await marketo.sync("opportunities", by_id, dedupeBy="idField", action="updateOnly")) == ["updated"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("unsubscribed", "other"), ("unsubscribed", 2), ("email", "bademail"), ("email", "jörg@x.example"),
        ("leadScore", 14.1), ("leadScore", True), ("leadScore", "14c"), ("dateOfBirth", "yesterday"),
        ("dateOfBirth", "2026-02-30"), ("dateOfBirth", "2026-02-03T00:00:00Z"), ("firstName", 7),
        ("firstName", ["A"]), ("firstName", "x" * 256), ("sicCode", "x" * 41), ("leadRole", "x" * 51),
        ("address", "ü" * 15_001), ("annualRevenue", "14c"), ("annualRevenue", "1e999"),
        ("externalCompanyId", "x" * 51),
    ],
)  # fmt: skip
async def test_a_wrong_value_skips_its_record_and_no_other(marketo: Marketo, field: str, value: Any) -> None:
    records = [{"externalPersonId": "p1", field: value}, {"externalPersonId": "p2", "firstName": "B"}]
    answer = await marketo.sync("leads", records, **BY_PERSON)
    assert outcomes(answer) == ["1003", "created"]
    assert answer["result"][0]["reasons"] == [
        {"code": "1003", "message": f"Invalid value for field '{field}' and value '{value}'"}
    ]


async def test_wrong_opportunity_values(marketo: Marketo) -> None:
    wrong = {"probability": "100%", "quantity": "14c", "lastActivityDate": "yesterday", "closeDate": 20260101}
    for field, value in wrong.items():
        record = {"externalOpportunityId": "o", "name": "Deal", field: value}
        assert outcomes(await marketo.sync("opportunities", [record])) == ["1003"]


async def test_values_are_stored_in_marketos_form(marketo: Marketo) -> None:
    record = {
        "externalOpportunityId": "O-1", "name": "Deal", "amount": "1604.47", "probability": "30", "isWon": "TRUE",
        "closeDate": "2026-01-05", "externalCreatedDate": "2026-01-05T10:00:00.123+02:00",
    }  # fmt: skip
    assert outcomes(await marketo.sync("opportunities", [record])) == ["created"]
    names = ",".join([*record, "isClosed", "stage"])
    answer = await marketo.get("opportunities", filterType="externalOpportunityId", filterValues="O-1", fields=names)
    stored = {"amount": 1604.47, "probability": 30, "isWon": True, "externalCreatedDate": "2026-01-05T08:00:00Z"}
    assert answer["result"] == [{"seq": 0, **record, **stored}]


async def test_null_and_the_empty_string_clear_a_field(marketo: Marketo) -> None:
    full = {"externalPersonId": "p", "firstName": "A", "city": "Ulm", "unsubscribed": True, "dateOfBirth": "2000-01-01"}
    cleared = {"externalPersonId": "p", "firstName": None, "city": "", "unsubscribed": None, "dateOfBirth": ""}
    await marketo.sync("leads", [full], **BY_PERSON)
    await marketo.sync("leads", [cleared], **BY_PERSON)
    assert await lead(marketo, "p", *full) == {**dict.fromkeys(full), "externalPersonId": "p", "unsubscribed": False}


async def test_over_long_strings_may_be_cut_instead(marketo: Marketo) -> None:
    await marketo.switch(over_long_strings="truncate")
    record = {"externalPersonId": "p", "firstName": "x" * 300, "address": "ü" * 20_000}
    assert outcomes(await marketo.sync("leads", [record], **BY_PERSON)) == ["created"]
    stored = await lead(marketo, "p", "firstName", "address")
    assert stored == {"firstName": "x" * 255, "address": "ü" * 15_000}


@pytest.mark.parametrize("field", ["createdAt", "priority", "relativeScore", "msiLastInterestingMomentDate"])
async def test_fields_that_marketo_keeps_itself(marketo: Marketo, field: str) -> None:
    value = "2026-01-01T00:00:00Z" if field.endswith(("At", "Date")) else 1
    record = {"externalPersonId": "p", field: value}
    assert outcomes(await marketo.sync("leads", [record], **BY_PERSON)) == ["1003"]
    await marketo.switch(read_only_fields="ignore")
    assert outcomes(await marketo.sync("leads", [record], **BY_PERSON)) == ["created"]
    assert (await lead(marketo, "p", field))[field] != value


async def test_a_sales_persons_email_may_be_fixed(marketo: Marketo) -> None:
    async def change(email: str) -> list[str]:
        return outcomes(await marketo.sync("salespersons", [{"externalSalesPersonId": "s", "email": email}]))

    assert await change("one@x.example") == ["created"]
    assert await change("two@x.example") == ["updated"]
    await marketo.switch(sales_person_email_change="skip")
    assert await change("two@x.example") == ["updated"]
    assert await change("three@x.example") == ["1003"]
    await marketo.switch(sales_person_email_change="ignore")
    assert await change("four@x.example") == ["updated"]
    (stored,) = (await marketo.control.get("/records/salespersons")).json()
    assert stored["email"] == "two@x.example"


async def test_unknown_fields_missing_keys_and_names(marketo: Marketo) -> None:
    companies = [{"externalCompanyId": "c", "name": "X"}, {"company": "X"}, {"externalCompanyId": ""}]
    assert outcomes(await marketo.sync("companies", companies)) == ["1006", "1002", "1002"]
    deals = [{"externalOpportunityId": "o"}, {"externalOpportunityId": "o2", "name": ""}]
    assert outcomes(await marketo.sync("opportunities", deals)) == ["1002", "1002"]
    await marketo.sync("opportunities", [{"externalOpportunityId": "o", "name": "Deal"}])
    update = [{"externalOpportunityId": "o", "stage": "Won"}, {"externalOpportunityId": "o2", "stage": "Won"}]
    assert outcomes(await marketo.sync("opportunities", update)) == ["updated", "1002"]


async def test_the_same_key_twice_in_one_call(marketo: Marketo) -> None:
    twice = [{"externalCompanyId": "c", "company": "One"}, {"externalCompanyId": "c", "company": "Two"}]
    assert outcomes(await marketo.sync("companies", twice)) == ["created", "1036"]
    people = [{"externalPersonId": "p", "firstName": name} for name in ("One", "Two")]
    await marketo.switch(same_lead_key_in_call="update")
    assert outcomes(await marketo.sync("leads", people, **BY_PERSON)) == ["created", "updated"]
    await marketo.control.post("/clear")
    await marketo.switch(same_lead_key_in_call="duplicate")
    assert outcomes(await marketo.sync("leads", people, **BY_PERSON)) == ["created", "created"]
    assert outcomes(await marketo.sync("leads", people[:1], **BY_PERSON)) == ["1007"]


async def side_by_side(marketo: Marketo, calls: list[Coroutine[Any, Any, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Make calls of which none ends before all of them have begun."""
    await marketo.control.post("/gates/call/shut")
    await marketo.fault("hold", gate="call", when="during", count=len(calls))
    tasks = [asyncio.create_task(call) for call in calls]
    (await marketo.control.get("/gates/call/held", params={"count": len(calls)})).raise_for_status()
    await marketo.control.post("/gates/call/open")
    return list(await asyncio.gather(*tasks))


async def test_overlapping_upserts_of_a_new_lead_make_duplicates(marketo: Marketo) -> None:
    person, company = [{"externalPersonId": "p"}], [{"externalCompanyId": "c"}]
    both = await side_by_side(marketo, [marketo.sync("leads", person, **BY_PERSON) for _ in range(2)])
    assert [outcomes(answer) for answer in both] == [["created"], ["created"]]
    stats = (await marketo.control.get("/stats")).json()
    assert stats["duplicates"]["leads"]["externalPersonId"] == {"p": 2}
    assert outcomes(await marketo.sync("leads", person, **BY_PERSON)) == ["1007"]
    # The other objects have a unique key.
    both = await side_by_side(marketo, [marketo.sync("companies", company) for _ in range(2)])
    assert sorted(outcomes(answer)[0] for answer in both) == ["created", "updated"]
    other = [{"externalCompanyId": "d"}]
    both = await side_by_side(marketo, [marketo.sync("companies", other, action="createOnly") for _ in range(2)])
    assert sorted(outcomes(answer)[0] for answer in both) == ["1017", "created"]


async def test_leads_are_found_by_email_whatever_its_case_but_by_guid_as_it_was_sent(marketo: Marketo) -> None:
    await marketo.sync("leads", [{"email": "A@x.example", "externalPersonId": "AB"}])
    assert outcomes(await marketo.sync("leads", [{"email": "a@X.example"}])) == ["updated"]
    assert outcomes(await marketo.sync("leads", [{"externalPersonId": "ab"}], **BY_PERSON)) == ["created"]


async def test_create_duplicate_and_asynchronous_processing(marketo: Marketo) -> None:
    person = [{"email": "a@x.example"}]
    assert outcomes(await marketo.sync("leads", person, action="createDuplicate")) == ["created"]
    assert outcomes(await marketo.sync("leads", person, action="createDuplicate")) == ["created"]
    assert outcomes(await marketo.sync("leads", person)) == ["1007"]
    assert "result" not in await marketo.sync("leads", [{"email": "b@x.example"}], asyncProcessing=True)
    assert (await marketo.control.get("/stats")).json()["stored"]["leads"] == 3


async def test_deleting(marketo: Marketo) -> None:
    created = await marketo.sync("leads", [{"email": "a@x.example"}])
    (person,) = [{"id": created["result"][0]["id"]}]
    assert outcomes(await marketo.sync("leads/delete", [person, {"id": 9}])) == ["deleted", "1004"]
    created = await marketo.sync("leads", [{"email": "a@x.example"}])
    content = {"input": [{"id": created["result"][0]["id"]}]}
    answer = (await marketo.rest.post("/rest/v1/leads.json?_method=DELETE", json=content)).json()
    assert outcomes(answer) == ["deleted"]
    for path, record in {
        "companies": {"externalCompanyId": "c"},
        "salespersons": {"externalSalesPersonId": "s"},
        "opportunities": {"externalOpportunityId": "o", "name": "Deal"},
    }.items():
        await marketo.sync(path, [record])
        assert outcomes(await marketo.sync(f"{path}/delete", [record, record])) == ["deleted", "1013"]
