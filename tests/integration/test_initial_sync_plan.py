"""`msisync initial-sync plan` against both simulators: what it counts, what it costs, and that it writes nothing."""

import json
import sys
from collections.abc import AsyncIterator
from io import StringIO
from typing import Any

import httpx
import pytest
from rich.console import Console

from local.harness import Made, Rows
from local.parts import MarketoLimits
from local.stack import Stack
from shared.cli.command import Exit, Result
from shared.cli.context import Context
from shared.cli.main import parser

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the embedded stack needs Linux")

LIMITS = MarketoLimits(calls_per_20s=10_000, concurrency=100, daily=1_000_000)
PERSONS = 40


class Sides:
    """Both simulators, and an operator with the command line."""

    def __init__(self, stack: Stack, http: httpx.AsyncClient) -> None:
        self._stack = stack
        self._http = http
        self.rows = Rows()

    async def control(self, part: str, path: str, content: Any = None) -> Any:
        url = self._stack.control()[part] + path
        answer = await (self._http.get(url) if content is None else self._http.post(url, json=content))
        return answer.raise_for_status().json()

    async def marketing_has(self, *persons: Made, **fields: Any) -> None:
        found = [{"email": person.values["emailaddress1"], **fields} for person in persons]
        await self.control("marketo", "/seed", {"leads": found})

    async def in_marketo(self) -> str:
        """All persons of Marketo, as text."""
        return json.dumps(await self.control("marketo", "/records/leads"), sort_keys=True)

    async def plan(self, *words: str) -> tuple[Result, str]:
        given = parser().parse_args(["initial-sync", "plan", *words, "--json"])
        context = Context(self._stack.addresses.functions_environment())
        try:
            result: Result = await given.command.run(context, given, Console(quiet=True))
        finally:
            await context.close()
        shown = StringIO()
        result.show(Console(file=shown, width=200, highlight=False))
        return result, shown.getvalue()


@pytest.fixture(scope="module")
async def sides(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sides]:
    """An account, contacts and leads: some are in Marketo, some would be adopted, one is ambiguous, one filtered."""
    directory = tmp_path_factory.mktemp("plan")
    async with (
        Stack(directory=directory / "stack", empty=True, with_functions=False, marketo=LIMITS) as stack,
        httpx.AsyncClient(trust_env=False) as http,
    ):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in stack.addresses.functions_environment().items():
                patch.setenv(name, value)  # the way to the simulators
            sides = Sides(stack, http)
            seller = sides.rows.user()
            account = sides.rows.account(seller)
            contacts = [sides.rows.contact(account, seller) for _ in range(PERSONS)]
            contacts[0].values["new_synctomkto"] = False
            sides.rows.lead(account, seller)
            await sides.control("dataverse", "/seed", sides.rows.seed_body())
            for contact in contacts[1:6]:
                await sides.marketing_has(contact, externalPersonId=contact.id)
            await sides.marketing_has(*contacts[6:16])
            await sides.marketing_has(contacts[16], contacts[16])
            yield sides


async def test_all_rows_are_counted_and_nothing_is_written(sides: Sides) -> None:
    before = await sides.in_marketo()
    result, text = await sides.plan("--whole")
    tables = result.data["tables"]
    assert list(tables)[:4] == ["systemuser", "account", "lead", "contact"]
    assert (tables["account"]["rows"], tables["account"]["kept"]) == (1, 1)
    contact = tables["contact"]
    assert (contact["rows"], contact["kept"], contact["sampled"]) == (PERSONS, PERSONS - 1, False)
    assert contact["expected"] == {"updated": 5, "adopted": 10, "ambiguous": 1, "created": PERSONS - 17}
    assert contact["ambiguous"][0]["id"] == sides.rows.made[18].id
    assert tables["lead"]["expected"] == {"created": 1}
    assert result.data["marketo_calls"]["least"] >= 6
    assert result.exit is not Exit.OK
    assert not result.data["green"]
    assert f"ambiguous: contact {sides.rows.made[18].id}" in text
    assert "Nothing has been written" in text
    assert await sides.in_marketo() == before


async def test_a_sample_asks_marketo_less_and_says_so(sides: Sides) -> None:
    result, text = await sides.plan("--only", "contact", "--sample", "10")
    assert list(result.data["tables"]) == ["contact"]
    contact = result.data["tables"]["contact"]
    assert (contact["rows"], contact["kept"], contact["asked"], contact["sampled"]) == (PERSONS, PERSONS - 1, 10, True)
    assert abs(sum(contact["expected"].values()) - (PERSONS - 1)) <= 2  # rounded
    assert f"asked about 10 of {PERSONS - 1} contacts" in text


async def test_a_query_chooses_rows_of_one_table(sides: Sides) -> None:
    result, _ = await sides.plan("--only", "contact", "--query", f"contactid eq {sides.rows.made[18].id}")
    assert result.data["tables"]["contact"]["expected"] == {"ambiguous": 1}
    with pytest.raises(SystemExit, match="64"):
        await sides.plan("--query", "statecode eq 0")


async def test_the_doctor_s_findings_are_part_of_it(sides: Sides) -> None:
    result, text = await sides.plan("--only", "account")
    assert {check["id"] for check in result.data["doctor"]} >= {"endpoint"}
    assert "doctor, " in text
    assert result.exit is Exit.FAILED


async def test_rows_that_cannot_be_read_leave_the_checks_and_the_reason(sides: Sides) -> None:
    refused = {"match": "/contacts", "status": 403, "code": "0x80040220", "times": 1000}
    await sides.control("dataverse", "/faults", [refused])
    try:
        result, text = await sides.plan("--only", "contact")
    finally:
        await sides.control("dataverse", "/faults", [])
    assert (result.exit, result.data["tables"]) == (Exit.FAILED, {})
    assert result.data["unread"].startswith("0x80040220")
    assert result.data["doctor"]
    assert "The rows could not be read: 0x80040220" in text
    assert "Marketo calls" not in text
