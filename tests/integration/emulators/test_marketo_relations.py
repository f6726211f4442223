"""Links between records in the Marketo simulator, under every setting of what is not documented (marketo.md 3.4)."""

import pytest

from emulators.marketo.harness import Marketo
from tests.support.marketo_simulator import outcomes, records

NOW = 1_780_000_000.0
BY_PERSON = {"lookupField": "externalPersonId"}
OWNER, COMPANY, DEAL = "externalSalesPersonId", "externalCompanyId", "externalOpportunityId"


@pytest.fixture
async def marketo(marketo: Marketo) -> Marketo:
    await marketo.sync("salespersons", [{OWNER: "s"}])
    await marketo.sync("companies", [{COMPANY: "c", "company": "Contoso", OWNER: "s"}])
    return marketo


@pytest.mark.parametrize(
    ("policy", "expected", "link", "companies"),
    [("skip", "1013", None, 1), ("ignore", "created", None, 1), ("implicit", "created", "new", 2)],
)
async def test_unknown_company(marketo: Marketo, policy: str, expected: str, link: str | None, companies: int) -> None:
    await marketo.switch(missing_company=policy)
    assert outcomes(await marketo.sync("leads", [{"externalPersonId": "p", COMPANY: "new"}], **BY_PERSON)) == [expected]
    assert [person.get(COMPANY) for person in await records(marketo, "leads")] == ([] if policy == "skip" else [link])
    assert len(await records(marketo, "companies")) == companies


@pytest.mark.parametrize(
    ("policy", "expected", "links"),
    [("skip", "1013", []), ("ignore", "created", [None]), ("implicit", "created", ["x"])],
)
async def test_no_sales_person(marketo: Marketo, policy: str, expected: str, links: list[str | None]) -> None:
    await marketo.switch(missing_sales_person=policy)
    for path, key in (("leads", {"email": "a@x.example"}), ("companies", {COMPANY: "c2"})):
        before = len(await records(marketo, path))
        assert outcomes(await marketo.sync(path, [{**key, OWNER: "x"}])) == [expected]
        assert [record.get(OWNER) for record in (await records(marketo, path))[before:]] == links


async def test_an_opportunity_of_an_unknown_sales_person_fails_the_whole_call(marketo: Marketo) -> None:
    deals = [{DEAL: "o1", "name": "Deal", OWNER: "s"}, {DEAL: "o2", "name": "Deal", OWNER: "x"}]
    assert outcomes(await marketo.sync("opportunities", deals)) == ["718"]
    assert await records(marketo, "opportunities") == []
    await marketo.switch(opportunity_sales_person="record")
    assert outcomes(await marketo.sync("opportunities", deals)) == ["created", "718"]


@pytest.mark.parametrize(("policy", "expected"), [("skip", "1013"), ("ignore", "created"), ("implicit", "created")])
async def test_an_opportunity_of_an_unknown_company(marketo: Marketo, policy: str, expected: str) -> None:
    await marketo.switch(missing_company=policy)
    assert outcomes(await marketo.sync("opportunities", [{DEAL: "o", "name": "D", COMPANY: "new"}])) == [expected]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("by_parent", ["created", "1013", "1004"]),
        ("1004", ["created", "1004", "1004"]),
        ("1003", ["created", "1003", "1003"]),
    ],
)
async def test_a_role_needs_its_opportunity_and_its_lead(marketo: Marketo, setting: str, expected: list[str]) -> None:
    await marketo.switch(role_parent_code=setting)
    lead_id = (await marketo.sync("leads", [{"email": "a@x.example"}]))["result"][0]["id"]
    await marketo.sync("opportunities", [{DEAL: "o", "name": "Deal"}])
    roles = [
        {DEAL: "o", "leadId": lead_id, "role": "Decision Maker"},
        {DEAL: "x", "leadId": lead_id, "role": "Decision Maker"},
        {DEAL: "o", "leadId": 99, "role": "Decision Maker"},
    ]
    assert outcomes(await marketo.sync("opportunities/roles", roles)) == expected
    again = [{**roles[0], "isPrimary": True}, {**roles[0], "role": "Other"}, {DEAL: "o", "leadId": lead_id}]
    assert outcomes(await marketo.sync("opportunities/roles", again)) == ["updated", "created", "1002"]
    assert outcomes(await marketo.sync("opportunities/roles", [roles[0], roles[0]])) == ["updated", "1036"]
    assert outcomes(await marketo.sync("opportunities/roles/delete", roles[:2])) == ["deleted", "1013"]


async def test_company_fields_cannot_be_written_through_a_linked_lead(marketo: Marketo) -> None:
    free = {"externalPersonId": "p", "company": "Home", "industry": "None"}
    assert outcomes(await marketo.sync("leads", [free], **BY_PERSON)) == ["created"]
    assert outcomes(await marketo.sync("leads", [{"externalPersonId": "p", COMPANY: "c"}], **BY_PERSON)) == ["updated"]
    assert outcomes(await marketo.sync("leads", [free], **BY_PERSON)) == ["1021"]
    linked = {"externalPersonId": "q", COMPANY: "c", "website": "https://contoso.example"}
    assert outcomes(await marketo.sync("leads", [linked], **BY_PERSON)) == ["1021"]
    answer = await marketo.get("leads", filterType="externalPersonId", filterValues="p", fields="company,industry")
    assert answer["result"] == [{"company": "Contoso", "industry": None}]


@pytest.mark.parametrize(("policy", "link"), [("ignore", "c"), ("unlink", None)])
async def test_a_lead_cannot_leave_its_company(marketo: Marketo, policy: str, link: str | None) -> None:
    await marketo.switch(lead_without_company=policy)
    await marketo.sync("leads", [{"externalPersonId": "p", COMPANY: "c"}], **BY_PERSON)
    answer = await marketo.sync("leads", [{"externalPersonId": "p", COMPANY: None}], **BY_PERSON)
    assert outcomes(answer) == ["updated"]
    assert (await records(marketo, "leads"))[0].get(COMPANY) == link


async def test_records_in_use_cannot_be_deleted(marketo: Marketo) -> None:
    person = (await marketo.sync("leads", [{"email": "a@x.example", COMPANY: "c", OWNER: "s"}]))["result"][0]
    await marketo.sync("opportunities", [{DEAL: "o", "name": "Deal"}])
    role = {DEAL: "o", "leadId": person["id"], "role": "Buyer"}
    await marketo.sync("opportunities/roles", [role])
    for path, key in {"salespersons": {OWNER: "s"}, "companies": {COMPANY: "c"}, "opportunities": {DEAL: "o"}}.items():
        assert outcomes(await marketo.sync(f"{path}/delete", [key])) == ["1022"]
    await marketo.sync("opportunities/roles/delete", [role])
    assert outcomes(await marketo.sync("opportunities/delete", [{DEAL: "o"}])) == ["deleted"]
    await marketo.sync("leads/delete", [{"id": person["id"]}])
    assert outcomes(await marketo.sync("companies/delete", [{COMPANY: "c"}])) == ["deleted"]
    # Adobe: a sales person of a company that has been deleted stays in use.
    assert outcomes(await marketo.sync("salespersons/delete", [{OWNER: "s"}])) == ["1022"]


async def test_deletions_may_take_the_links_along(marketo: Marketo) -> None:
    await marketo.switch(delete_with_children="allow")
    person = (await marketo.sync("leads", [{"email": "a@x.example", COMPANY: "c"}]))["result"][0]
    await marketo.sync("opportunities", [{DEAL: "o", "name": "Deal"}, {DEAL: "o2", "name": "Deal"}])
    await marketo.sync(
        "opportunities/roles", [{DEAL: deal, "leadId": person["id"], "role": "Buyer"} for deal in ("o", "o2")]
    )
    assert outcomes(await marketo.sync("opportunities/delete", [{DEAL: "o"}])) == ["deleted"]
    assert len(await records(marketo, "roles")) == 1
    assert outcomes(await marketo.sync("companies/delete", [{COMPANY: "c"}])) == ["deleted"]
    assert (await records(marketo, "leads"))[0][COMPANY] is None
    assert outcomes(await marketo.sync("leads/delete", [{"id": person["id"]}])) == ["deleted"]
    assert await records(marketo, "roles") == []
