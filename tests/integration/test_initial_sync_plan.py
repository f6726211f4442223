"""`msisync initial-sync plan` against both simulators: what it counts, what it costs, and that it writes nothing."""

import json
import sys
from collections.abc import AsyncIterator

import pytest

from local.harness import Made, Rows
from shared.cli.command import Exit, Result
from tests.support.sides import Sides, running_sides

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the embedded stack needs Linux")

PERSONS = 40


class Organisation:
    """An account, contacts and leads: some are in Marketo, some would be adopted, one is ambiguous, one filtered."""

    def __init__(self, sides: Sides) -> None:
        self.sides, self.rows = sides, Rows()
        seller = self.rows.user()
        account = self.rows.account(seller)
        self.contacts = [self.rows.contact(account, seller) for _ in range(PERSONS)]
        self.contacts[0].values["new_synctomkto"] = False
        self.rows.lead(account, seller)

    async def seed(self) -> None:
        await self.sides.control("dataverse", "/seed", self.rows.seed_body())
        for contact in self.contacts[1:6]:
            await self.marketing_has(contact, externalPersonId=contact.id)
        await self.marketing_has(*self.contacts[6:16])
        await self.marketing_has(self.ambiguous, self.ambiguous)

    @property
    def ambiguous(self) -> Made:
        return self.contacts[16]

    async def marketing_has(self, *persons: Made, **fields: str) -> None:
        found = [{"email": person.values["emailaddress1"], **fields} for person in persons]
        await self.sides.control("marketo", "/seed", {"leads": found})

    async def in_marketo(self) -> str:
        """All persons of Marketo, as text."""
        return json.dumps(await self.sides.control("marketo", "/records/leads"), sort_keys=True)

    async def plan(self, *words: str) -> tuple[Result, str]:
        return await self.sides.types("initial-sync", "plan", *words)


@pytest.fixture(scope="module")
async def organisation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Organisation]:
    async with running_sides(tmp_path_factory.mktemp("plan")) as sides:
        made = Organisation(sides)
        await made.seed()
        yield made


async def test_all_rows_are_counted_and_nothing_is_written(organisation: Organisation) -> None:
    before = await organisation.in_marketo()
    result, text = await organisation.plan("--whole")
    tables = result.data["tables"]
    assert list(tables)[:4] == ["systemuser", "account", "lead", "contact"]
    assert (tables["account"]["rows"], tables["account"]["kept"]) == (1, 1)
    contact = tables["contact"]
    assert (contact["rows"], contact["kept"], contact["sampled"]) == (PERSONS, PERSONS - 1, False)
    assert contact["expected"] == {"updated": 5, "adopted": 10, "ambiguous": 1, "created": PERSONS - 17}
    assert contact["ambiguous"][0]["id"] == organisation.ambiguous.id
    assert tables["lead"]["expected"] == {"created": 1}
    assert result.data["marketo_calls"]["least"] >= 6
    assert result.exit is not Exit.OK
    assert not result.data["green"]
    assert f"ambiguous: contact {organisation.ambiguous.id}" in text
    assert "Nothing has been written" in text
    assert await organisation.in_marketo() == before


async def test_a_sample_asks_marketo_less_and_says_so(organisation: Organisation) -> None:
    result, text = await organisation.plan("--only", "contact", "--sample", "10")
    assert list(result.data["tables"]) == ["contact"]
    contact = result.data["tables"]["contact"]
    assert (contact["rows"], contact["kept"], contact["asked"], contact["sampled"]) == (PERSONS, PERSONS - 1, 10, True)
    assert abs(sum(contact["expected"].values()) - (PERSONS - 1)) <= 2  # rounded
    assert f"asked about 10 of {PERSONS - 1} contacts" in text


async def test_a_query_chooses_rows_of_one_table(organisation: Organisation) -> None:
    result, _ = await organisation.plan("--only", "contact", "--query", f"contactid eq {organisation.ambiguous.id}")
    assert result.data["tables"]["contact"]["expected"] == {"ambiguous": 1}
    with pytest.raises(SystemExit, match="64"):
        await organisation.plan("--query", "statecode eq 0")


async def test_the_doctor_s_findings_are_part_of_it(organisation: Organisation) -> None:
    result, text = await organisation.plan("--only", "account")
    assert {check["id"] for check in result.data["doctor"]} >= {"endpoint"}
    assert "doctor, " in text
    assert result.exit is Exit.FAILED


async def test_rows_that_cannot_be_read_leave_the_checks_and_the_reason(organisation: Organisation) -> None:
    refused = {"match": "/contacts", "status": 403, "code": "0x80040220", "times": 1000}
    await organisation.sides.control("dataverse", "/faults", [refused])
    try:
        result, text = await organisation.plan("--only", "contact")
    finally:
        await organisation.sides.control("dataverse", "/faults", [])
    assert (result.exit, result.data["tables"]) == (Exit.FAILED, {})
    assert result.data["unread"].startswith("0x80040220")
    assert result.data["doctor"]
    assert "The rows could not be read: 0x80040220" in text
    assert "Marketo calls" not in text
