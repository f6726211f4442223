"""`msisync fields` against both simulators over TLS: what it reads, what it costs, and what it says of each break."""

import sys
import tomllib
from argparse import Namespace
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from emulators.marketo.switches import Switches
from local.parts import MarketoLimits
from local.stack import Stack
from shared.cli.command import Exit, Result
from shared.cli.context import Context
from shared.cli.fields.command import check, list_fields, suggest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the embedded stack needs Linux")

SHIPPED = (Path(__file__).parents[2] / "sync.toml").read_text(encoding="utf-8")
#: Marketo's limits are not what is tested.
LIMITS = MarketoLimits(calls_per_20s=10_000, concurrency=100, daily=1_000_000)
HEALTHY: dict[str, Any] = {"removed_columns": {}, "unreadable_columns": {}, "secured_columns": {}}


class Sides:
    """Both simulators in the hands of a test, and the commands on them."""

    def __init__(self, stack: Stack, http: httpx.AsyncClient, directory: Path) -> None:
        self._stack = stack
        self._http = http
        self._config = directory / "sync.toml"

    async def control(self, part: str, path: str, content: Any = None) -> Any:
        url = self._stack.control()[part] + path
        answer = await (self._http.get(url) if content is None else self._http.post(url, json=content))
        return answer.raise_for_status().json()

    async def reset(self) -> None:
        await self.control("dataverse", "/switches", HEALTHY)
        await self.control("dataverse", "/faults", [])
        await self.control("marketo", "/switches", Switches().as_json())
        self.write(SHIPPED)

    async def dynamics(self, **switches: Any) -> None:
        await self.control("dataverse", "/switches", switches)

    async def marketo(self, **switches: Any) -> None:
        await self.control("marketo", "/switches", switches)

    def configure(self, *changes: tuple[str, str]) -> None:
        text = SHIPPED
        for old, new in changes:
            assert text.count(old) == 1
            text = text.replace(old, new)
        self.write(text)

    def write(self, text: str) -> None:
        self._config.write_text(text, encoding="utf-8")

    async def check(self) -> Result:
        return await self._run(check, Namespace())

    async def suggest(self, table: str | None = None) -> Result:
        return await self._run(suggest, Namespace(table=table))

    async def list(self, table: str | None = None, find: str | None = None) -> Result:
        return await self._run(list_fields, Namespace(table=table, find=find))

    async def _run(self, run: Any, given: Namespace) -> Result:
        environment = {**self._stack.addresses.functions_environment(), "SYNC_CONFIG": str(self._config)}
        context = Context(environment)
        try:
            result: Result = await run(context, given, Console(quiet=True))
            return result
        finally:
            await context.close()


@pytest.fixture(scope="module")
async def shared_sides(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sides]:
    directory = tmp_path_factory.mktemp("fields")
    async with (
        Stack(directory=directory / "stack", empty=True, with_functions=False, marketo=LIMITS) as stack,
        httpx.AsyncClient(trust_env=False) as http,
    ):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in stack.addresses.functions_environment().items():
                patch.setenv(name, value)  # the way to the simulators; the clients read it from here
            yield Sides(stack, http, directory)


@pytest.fixture
async def sides(shared_sides: Sides) -> Sides:
    await shared_sides.reset()
    return shared_sides


def told(result: Result) -> list[tuple[str, str, str]]:
    """Severity, code and place of what is more than to be known."""
    return sorted(
        (f["severity"], f["code"], ".".join(filter(None, (f["table"], f["key"]))))
        for f in result.data["findings"]
        if f["severity"] != "ok"
    )


def text(result: Result, width: int = 200) -> str:
    console = Console(width=width, highlight=False, soft_wrap=True)
    with console.capture() as captured:
        result.show(console)
    return captured.get()


async def test_the_shipped_mapping_is_all_right_and_checked_with_few_requests(sides: Sides) -> None:
    await sides.control("marketo", "/stats/reset", {})
    await sides.control("dataverse", "/stats/reset", {})
    result = await sides.check()
    assert (result.exit, told(result)) == (Exit.OK, [])
    assert "all of them can be synced" in text(result)
    calls = (await sides.control("marketo", "/stats"))["calls"]
    assert sum(count for path in calls.values() for verb in path.values() for count in verb.values()) == 5
    requests = (await sides.control("dataverse", "/stats"))["requests"]
    assert requests["metadata"] == 4 * len(result.data["tables"])


BREAKS: dict[str, tuple[dict[str, Any], list[tuple[str, str, str]]]] = {
    "a column is gone": (
        {"dynamics": {"removed_columns": {"contact": ["jobtitle"]}}},
        [("attention", "ColumnMissing", "contact.fields.title")],
    ),
    "a column cannot be read": (
        {"dynamics": {"unreadable_columns": {"account": ["sic"]}}},
        [("attention", "ColumnUnreadable", "account.fields.sicCode")],
    ),
    "a field is gone": (
        {"marketo": {"removed_fields": {"leads": ["middleName"]}}},
        [
            ("attention", "FieldMissing", "contact.fields.middleName"),
            ("attention", "FieldMissing", "lead.fields.middleName"),
        ],
    ),
    "a column is hidden by column-level security": (
        {"dynamics": {"secured_columns": {"account": {"sic": "hidden", "revenue": "read"}}}},
        [("attention", "ColumnHidden", "account.fields.sicCode")],
    ),
    "a lookup is hidden": (
        {"dynamics": {"secured_columns": {"contact": {"parentcustomerid": "hidden"}}}},
        [("attention", "ColumnHidden", "contact")],
    ),
    "the filter's column is hidden": (
        {"dynamics": {"secured_columns": {"contact": {"new_synctomkto": "hidden"}}}},
        [("failed", "Filter", "contact.filter_column")],
    ),
    "a field is read-only": (
        {"configure": [('department = "department"', 'personTimeZone = "department"')]},
        [("attention", "FieldReadOnly", "contact.fields.personTimeZone")],
    ),
    "a type does not fit": (
        {"configure": [('dateOfBirth = "birthdate"', 'dateOfBirth = "department"')]},
        [("failed", "WrongType", "contact.fields.dateOfBirth")],
    ),
    "text is cut": (
        {
            "marketo": {"custom_fields": {"companies": [{"name": "tag", "dataType": "string", "length": 5}]}},
            "configure": [('sicCode = "sic"', 'tag = "sic"')],
        },
        [("attention", "Cut", "account.fields.tag")],
    ),
    "a choice goes to text by number": (
        {"configure": [('rating = { column = "leadqualitycode", convert = "label" }', 'rating = "leadqualitycode"')]},
        [("attention", "Doubtful", "lead.fields.rating")],
    ),
    "text has no labels": (
        {"configure": [('sicCode = "sic"', 'sicCode = { column = "sic", convert = "label" }')]},
        [("attention", "Never", "account.fields.sicCode")],
    ),
    "a filter's column is gone": (
        {"configure": [("[contact.fields]", '[contact]\nfilter = { new_gone = "present" }\n[contact.fields]')]},
        [("failed", "Filter", "contact.filter")],
    ),
    "the feature is off": (
        {"marketo": {"msi_non_native": False}},
        [
            *(("attention", "WriteBack", f"write_back.msiLastInterestingMoment{x}") for x in ("Date", "Desc")),
            *(("attention", "WriteBack", f"write_back.msiLastInterestingMoment{x}") for x in ("Source", "Type")),
            ("failed", "Key", "keys.person"),
        ],
    ),
    "a company's own key is missing": (
        {"configure": [('company = "externalCompanyId"', 'company = "crmAccountId"')]},
        [("failed", "Key", "keys.company")],
    ),
    "a column of Sales Insight is gone": (
        {"dynamics": {"removed_columns": {"lead": ["new_priority"]}}},
        [("attention", "WriteBack", "lead.write_back.priority")],
    ),
    "an object is denied": (
        {"marketo": {"denied_objects": ["opportunities"]}},
        [("failed", "NotDescribed", "Marketo opportunities")],
    ),
}


@pytest.mark.parametrize("name", BREAKS)
async def test_each_break_is_told_and_nothing_else(sides: Sides, name: str) -> None:
    how, expected = BREAKS[name]
    await sides.dynamics(**how.get("dynamics", {}))
    await sides.marketo(**how.get("marketo", {}))
    sides.configure(*how.get("configure", []))
    result = await sides.check()
    assert told(result) == expected
    worst = Exit.FAILED if any(severity == "failed" for severity, _, _ in expected) else Exit.ATTENTION
    assert result.exit == worst
    assert all(f["remedy"] for f in result.data["findings"] if f["severity"] != "ok")


async def test_a_finding_is_one_line_in_a_pipe_and_whole_in_a_narrow_terminal(sides: Sides) -> None:
    await sides.dynamics(removed_columns={"contact": ["jobtitle"]})
    result = await sides.check()
    (line,) = [line for line in text(result, 60).splitlines() if "contact.fields.title" in line]
    assert "no column jobtitle" in line


async def test_without_the_filters_column_everything_is_synced_which_is_all_right(sides: Sides) -> None:
    await sides.dynamics(removed_columns={"lead": ["new_synctomkto"]})
    result = await sides.check()
    assert result.exit is Exit.OK
    assert "lead.filter_column" in text(result)


async def test_list_shows_both_sides_and_what_is_mapped(sides: Sides) -> None:
    result = await sides.list("contact")
    columns = {row["name"]: row for row in result.data["tables"]["contact"]}
    fields = {row["name"]: row for row in result.data["objects"]["person"]}
    assert columns["emailaddress1"] == {
        "name": "emailaddress1", "logical_name": "emailaddress1", "type": "String", "length": 100, "label": "Email",
        "readable": True, "mapped_to": ["email"],
    }  # fmt: skip
    assert columns["_parentcustomerid_value"]["logical_name"] == "parentcustomerid"
    assert columns["new_priority"]["mapped_to"] == ["← priority"]
    assert fields["email"]["mapped_from"] == ["lead.emailaddress1", "contact.emailaddress1"]
    assert fields["externalPersonId"]["mapped_from"] == ["lead.leadid", "contact.contactid"]
    assert (fields["createdAt"]["writable"], fields["email"]["length"]) == (False, 255)


async def test_list_finds_names_labels_and_mappings(sides: Sides) -> None:
    result = await sides.list("contact", "BUSINESS PHONE")
    assert [row["name"] for row in result.data["tables"]["contact"]] == ["telephone1"]
    by_mapping = await sides.list("contact", "jobtitle")
    assert [row["name"] for row in by_mapping.data["objects"]["person"]] == ["title"]
    nothing = await sides.list("contact", "no such thing")
    assert "nothing found" in text(nothing)


async def test_list_without_a_table_shows_all_that_are_mapped(sides: Sides) -> None:
    result = await sides.list()
    assert list(result.data["tables"]) == ["systemuser", "account", "lead", "contact", "opportunity", "connection"]
    assert list(result.data["objects"]) == ["sales_person", "company", "person", "opportunity", "opportunity_role"]
    assert "Dynamics: opportunity" in text(result)


def pasted(toml: str, *, all_of_it: bool) -> dict[str, Any]:
    lines: Iterable[str] = toml.splitlines()
    if all_of_it:
        lines = (line.removeprefix("# ") if " = " in line else line for line in lines)
    return tomllib.loads("\n".join(lines))


async def test_what_is_suggested_for_an_empty_mapping_can_be_pasted_and_is_all_right(sides: Sides) -> None:
    tables = ("systemuser", "account", "lead", "contact", "connection")
    empty = "".join(f"[{table}.fields]\n" for table in tables) + '[opportunity.fields]\nname = "name"\n'
    sides.write(empty)
    result = await sides.suggest()
    assert result.exit is Exit.OK
    mapped = pasted(result.data["toml"], all_of_it=False)
    assert mapped["contact"]["fields"]["email"] == "emailaddress1"
    assert mapped["write_back"]["priority"] == "new_priority"
    proposed = text(result).replace("[opportunity.fields]", '[opportunity.fields]\nname = "name"')
    sides.write(proposed)
    checked = await sides.check()
    assert (checked.exit, told(checked)) == (Exit.OK, [])
    assert checked.data["fields"] > 60


async def test_fields_of_ones_own_are_suggested_by_name_and_label(sides: Sides) -> None:
    own = [{"name": "interests", "dataType": "string"}, {"name": "socialNickname", "dataType": "string"}]
    await sides.marketo(custom_fields={"leads": own})
    result = await sides.suggest("contact")
    found = {p["field"]: p for p in result.data["tables"]["contact"]}
    assert found["interests"]["rule"] == '{ column = "new_interests", convert = "label" }'
    assert found["interests"]["confidence"] == 100
    assert pasted(result.data["toml"], all_of_it=True)["contact"]["fields"]["interests"]["convert"] == "label"
    assert "lead" not in result.data["tables"]


async def test_when_everything_is_mapped_that_is_said(sides: Sides) -> None:
    result = await sides.suggest("systemuser")
    assert "Nothing to propose" in text(result)
    assert tomllib.loads(text(result)) == {}
