"""What public sources say of Marketo beyond Adobe's reference: texts, sales persons, companies behind leads, merges."""

import pytest

from emulators.marketo.harness import Marketo
from tests.support.marketo_simulator import records

BY_PERSON = {"lookupField": "externalPersonId"}
CUSTOM = {"companies": [{"name": "custTier", "dataType": "string"}]}


@pytest.mark.parametrize(
    ("switch", "text", "kept"),
    [
        ("cut", "Hello \U0001f600 world", "Hello "),
        ("cut", "\U0001f600 world", None),
        ("cut", "Łódź · 東京", "Łódź · 東京"),
        ("keep", "Hello \U0001f600 world", "Hello \U0001f600 world"),
    ],
)
async def test_a_text_is_stored_up_to_its_first_character_outside_the_basic_plane(
    marketo: Marketo, switch: str, text: str, kept: str | None
) -> None:
    """Source: blog.teknkl.com/surrogate-pair-emoji-truncated-newlines-snipped; the answer does not tell."""
    await marketo.switch(beyond_basic_plane=switch)
    person = {"externalPersonId": "p", "title": text, "address": text}
    assert (await marketo.sync("leads", [person], **BY_PERSON))["result"][0]["status"] == "created"
    (stored,) = await records(marketo, "leads")
    assert (stored.get("title"), stored.get("address")) == (kept, kept)


async def test_text_areas_are_measured_in_bytes(marketo: Marketo) -> None:
    """Source: Adobe, field-types.md: text areas hold 30,000 bytes, strings 255 characters."""
    texts = [("address", 15_000), ("title", 255), ("address", 15_001), ("title", 256)]
    people = [{"externalPersonId": str(n), field: "é" * length} for n, (field, length) in enumerate(texts)]
    result = (await marketo.sync("leads", people, **BY_PERSON))["result"]
    assert [each["status"] for each in result] == ["created", "created", "skipped", "skipped"]
    assert [each["reasons"][0]["code"] for each in result[2:]] == ["1003", "1003"]


async def test_a_sales_person_needs_an_address_that_is_one(marketo: Marketo) -> None:
    good = {"externalSalesPersonId": "s", "email": "owner@x.example"}
    bad = {"externalSalesPersonId": "t", "email": "owner at x"}
    first, second = (await marketo.sync("salespersons", [good, bad]))["result"]
    assert first["status"] == "created"
    told = "Invalid value for field 'email' and value 'owner at x'"
    assert (second["status"], second["reasons"]) == ("skipped", [{"code": "1003", "message": told}])
    await marketo.switch(sales_person_email_format="accept")
    assert (await marketo.sync("salespersons", [bad]))["result"][0]["status"] == "created"


async def test_where_a_lead_may_write_its_company_all_leads_of_it_show_that(marketo: Marketo) -> None:
    """Source: a Marketo Nation article says so, Adobe's pages say 1021 (marketo.md 8.4): a switch decides."""
    await marketo.switch(custom_fields=CUSTOM, company_fields_on_lead="shared")
    await marketo.sync("companies", [{"externalCompanyId": "c", "company": "Contoso"}])
    people = [{"externalPersonId": key, "externalCompanyId": "c"} for key in ("p", "q")]
    await marketo.sync("leads", people, **BY_PERSON)
    # The one that leaves its company stays linked in Marketo, and its free text becomes the company's name.
    leaving = {"externalPersonId": "p", "externalCompanyId": None, "company": "Somewhere", "custTier": "tin"}
    assert (await marketo.sync("leads", [leaving], **BY_PERSON))["result"][0]["status"] == "updated"
    (company,) = await records(marketo, "companies")
    assert (company["company"], company["custTier"]) == ("Somewhere", "tin")
    shown = await marketo.get("leads", filterType="externalPersonId", filterValues="q", fields="company,custTier")
    assert shown["result"] == [{"company": "Somewhere", "custTier": "tin"}]


async def test_an_expired_token_is_told_as_such_once(marketo: Marketo) -> None:
    """Adobe's error-codes.md knows both: first 602 expired, then 601 invalid."""
    await marketo.control.post("/clock/advance", json={"seconds": 3601})
    codes = [(await marketo.get("stats/usage"))["errors"][0]["code"] for _ in range(3)]
    assert codes == ["602", "601", "601"]
    await marketo.authorise()
    assert (await marketo.get("stats/usage"))["success"]


async def test_a_deletion_by_hand(marketo: Marketo) -> None:
    await marketo.sync("companies", [{"externalCompanyId": "c", "company": "Contoso"}])
    await marketo.sync("leads", [{"externalPersonId": "p", "externalCompanyId": "c"}], **BY_PERSON)
    token = (await marketo.get("activities/pagingtoken", sinceDatetime="2020-01-01T00:00:00Z"))["nextPageToken"]
    wanted = {"companies": [{"externalCompanyId": "c"}], "leads": [{"externalPersonId": "p"}]}
    assert (await marketo.control.post("/delete", json=wanted)).json() == {"deleted": 2}
    assert (await records(marketo, "companies"), await records(marketo, "leads")) == ([], [])
    deleted = await marketo.get("activities/deletedleads", nextPageToken=token)
    assert len(deleted["result"]) == 1


async def test_a_merge_by_hand_keeps_the_roles_of_both(marketo: Marketo) -> None:
    result = (await marketo.sync("leads", [{"externalPersonId": key} for key in ("p", "q")], **BY_PERSON))["result"]
    winner, loser = (entry["id"] for entry in result)
    await marketo.sync("opportunities", [{"externalOpportunityId": "o", "name": "Deal"}])
    roles = [(winner, "Buyer"), (loser, "Buyer"), (loser, "Judge")]
    await marketo.sync(
        "opportunities/roles", [{"externalOpportunityId": "o", "leadId": lead, "role": role} for lead, role in roles]
    )
    await marketo.control.post("/merge", json={"winner": {"id": winner}, "losers": [{"id": loser}]})
    kept = {(role["leadId"], role["role"]) for role in await records(marketo, "roles")}
    assert kept == {(winner, "Buyer"), (winner, "Judge")}
