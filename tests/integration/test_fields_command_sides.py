"""`msisync fields` against both simulators over TLS: what it reads, what it costs, and what it says of each break."""

import sys
import tomllib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from emulators.marketo.switches import Switches
from shared.cli.command import Exit, Result
from tests.support.commands import printed
from tests.support.sides import Sides, running_sides
from tests.support.values import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the embedded stack needs Linux")

SHIPPED = (ROOT / "sync.toml").read_text(encoding="utf-8")
HEALTHY: dict[str, Any] = {"removed_columns": {}, "unreadable_columns": {}, "secured_columns": {}}


class Fields:
    """Both simulators, a sync.toml, and the commands on them."""

    def __init__(self, sides: Sides, sync_toml: Path) -> None:
        self.sides, self._sync_toml = sides, sync_toml
        sides.environment["SYNC_CONFIG"] = str(sync_toml)

    async def reset(self) -> None:
        await self.switch("dataverse", **HEALTHY)
        await self.switch("marketo", **Switches().as_json())
        self.write(SHIPPED)

    async def switch(self, system: str, **switches: Any) -> None:
        await self.sides.control(system, "/switches", switches)

    def write(self, text: str) -> None:
        self._sync_toml.write_text(text, encoding="utf-8")

    async def types(self, *words: str) -> Result:
        return (await self.sides.types("fields", *words))[0]


@pytest.fixture(scope="module")
async def shared_fields(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fields]:
    directory = tmp_path_factory.mktemp("fields")
    async with running_sides(directory) as sides:
        yield Fields(sides, directory / "sync.toml")


@pytest.fixture
async def fields(shared_fields: Fields) -> Fields:
    await shared_fields.reset()
    return shared_fields


def told(result: Result) -> list[tuple[str, str, str]]:
    """Severity, code and place of what is more than to be known."""
    return sorted(
        (f["severity"], f["code"], ".".join(filter(None, (f["table"], f["key"]))))
        for f in result.data["findings"]
        if f["severity"] != "ok"
    )


def text(result: Result, width: int = 200) -> str:
    return printed(result.show, width, soft_wrap=True)


async def test_the_shipped_mapping_is_all_right_and_checked_with_few_requests(fields: Fields) -> None:
    await fields.sides.control("marketo", "/stats/reset", {})
    await fields.sides.control("dataverse", "/stats/reset", {})
    result = await fields.types("check")
    assert (result.exit, told(result)) == (Exit.OK, [])
    assert "all of them can be synced" in text(result)
    calls = (await fields.sides.control("marketo", "/stats"))["calls"]
    assert sum(count for path in calls.values() for verb in path.values() for count in verb.values()) == 5
    requests = (await fields.sides.control("dataverse", "/stats"))["requests"]
    assert requests["metadata"] == 4 * len(result.data["tables"])


BREAKS: dict[str, tuple[str, dict[str, Any], list[tuple[str, str, str]]]] = {
    "a column is gone": (
        "dataverse",
        {"removed_columns": {"contact": ["jobtitle"]}},
        [("attention", "ColumnMissing", "contact.fields.title")],
    ),
    "a column cannot be read": (
        "dataverse",
        {"unreadable_columns": {"account": ["sic"]}},
        [("attention", "ColumnUnreadable", "account.fields.sicCode")],
    ),
    "a field is gone": (
        "marketo",
        {"removed_fields": {"leads": ["middleName"]}},
        [
            ("attention", "FieldMissing", "contact.fields.middleName"),
            ("attention", "FieldMissing", "lead.fields.middleName"),
        ],
    ),
    "a column is hidden by column-level security": (
        "dataverse",
        {"secured_columns": {"account": {"sic": "hidden", "revenue": "read"}}},
        [("attention", "ColumnHidden", "account.fields.sicCode")],
    ),
    "a lookup is hidden": (
        "dataverse",
        {"secured_columns": {"contact": {"parentcustomerid": "hidden"}}},
        [("attention", "ColumnHidden", "contact")],
    ),
    "the filter's column is hidden": (
        "dataverse",
        {"secured_columns": {"contact": {"new_synctomkto": "hidden"}}},
        [("failed", "Filter", "contact.filter_column")],
    ),
    "the feature is off": (
        "marketo",
        {"msi_non_native": False},
        [
            *(("attention", "WriteBack", f"write_back.msiLastInterestingMoment{x}") for x in ("Date", "Desc")),
            *(("attention", "WriteBack", f"write_back.msiLastInterestingMoment{x}") for x in ("Source", "Type")),
            ("failed", "Key", "keys.person"),
        ],
    ),
    "a column of Sales Insight is gone": (
        "dataverse",
        {"removed_columns": {"lead": ["new_priority"]}},
        [("attention", "WriteBack", "lead.write_back.priority")],
    ),
}


@pytest.mark.parametrize("name", BREAKS)
async def test_each_break_is_told_and_nothing_else(fields: Fields, name: str) -> None:
    system, switches, expected = BREAKS[name]
    await fields.switch(system, **switches)
    result = await fields.types("check")
    assert told(result) == expected
    worst = Exit.FAILED if any(severity == "failed" for severity, _, _ in expected) else Exit.ATTENTION
    assert result.exit == worst
    assert all(f["remedy"] for f in result.data["findings"] if f["severity"] != "ok")


async def test_a_finding_is_one_line_in_a_pipe_and_whole_in_a_narrow_terminal(fields: Fields) -> None:
    await fields.switch("dataverse", removed_columns={"contact": ["jobtitle"]})
    result = await fields.types("check")
    (line,) = [line for line in text(result, 60).splitlines() if "contact.fields.title" in line]
    assert "no column jobtitle" in line


async def test_without_the_filters_column_everything_is_synced_which_is_all_right(fields: Fields) -> None:
    await fields.switch("dataverse", removed_columns={"lead": ["new_synctomkto"]})
    result = await fields.types("check")
    assert result.exit is Exit.OK
    assert "lead.filter_column" in text(result)


async def test_list_shows_both_sides_and_what_is_mapped(fields: Fields) -> None:
    result = await fields.types("list", "contact")
    columns = {row["name"]: row for row in result.data["tables"]["contact"]}
    theirs = {row["name"]: row for row in result.data["objects"]["person"]}
    assert columns["emailaddress1"] == {
        "name": "emailaddress1", "logical_name": "emailaddress1", "type": "String", "length": 100, "label": "Email",
        "readable": True, "mapped_to": ["email"],
    }  # fmt: skip
    assert columns["_parentcustomerid_value"]["logical_name"] == "parentcustomerid"
    assert columns["new_priority"]["mapped_to"] == ["← priority"]
    assert theirs["email"]["mapped_from"] == ["lead.emailaddress1", "contact.emailaddress1"]
    assert theirs["externalPersonId"]["mapped_from"] == ["lead.leadid", "contact.contactid"]
    assert (theirs["createdAt"]["writable"], theirs["email"]["length"]) == (False, 255)


async def test_list_finds_names_labels_and_mappings(fields: Fields) -> None:
    result = await fields.types("list", "contact", "--find", "BUSINESS PHONE")
    assert [row["name"] for row in result.data["tables"]["contact"]] == ["telephone1"]
    by_mapping = await fields.types("list", "contact", "--find", "jobtitle")
    assert [row["name"] for row in by_mapping.data["objects"]["person"]] == ["title"]
    nothing = await fields.types("list", "contact", "--find", "no such thing")
    assert "nothing found" in text(nothing)


async def test_list_without_a_table_shows_all_that_are_mapped(fields: Fields) -> None:
    result = await fields.types("list")
    assert list(result.data["tables"]) == ["systemuser", "account", "lead", "contact", "opportunity", "connection"]
    assert list(result.data["objects"]) == ["sales_person", "company", "person", "opportunity", "opportunity_role"]
    assert "Dynamics: opportunity" in text(result)


def pasted(toml: str, *, all_of_it: bool) -> dict[str, Any]:
    lines: Iterable[str] = toml.splitlines()
    if all_of_it:
        lines = (line.removeprefix("# ") if " = " in line else line for line in lines)
    return tomllib.loads("\n".join(lines))


async def test_what_is_suggested_for_an_empty_mapping_can_be_pasted_and_is_all_right(fields: Fields) -> None:
    tables = ("systemuser", "account", "lead", "contact", "connection")
    empty = "".join(f"[{table}.fields]\n" for table in tables) + '[opportunity.fields]\nname = "name"\n'
    fields.write(empty)
    result = await fields.types("suggest")
    assert result.exit is Exit.OK
    mapped = pasted(result.data["toml"], all_of_it=False)
    assert mapped["contact"]["fields"]["email"] == "emailaddress1"
    assert mapped["write_back"]["priority"] == "new_priority"
    proposed = text(result).replace("[opportunity.fields]", '[opportunity.fields]\nname = "name"')
    fields.write(proposed)
    checked = await fields.types("check")
    assert (checked.exit, told(checked)) == (Exit.OK, [])
    assert checked.data["fields"] > 60


async def test_fields_of_ones_own_are_suggested_by_name_and_label(fields: Fields) -> None:
    own = [{"name": "interests", "dataType": "string"}, {"name": "socialNickname", "dataType": "string"}]
    await fields.switch("marketo", custom_fields={"leads": own})
    result = await fields.types("suggest", "contact")
    found = {p["field"]: p for p in result.data["tables"]["contact"]}
    assert found["interests"]["rule"] == '{ column = "new_interests", convert = "label" }'
    assert found["interests"]["confidence"] == 100
    assert pasted(result.data["toml"], all_of_it=True)["contact"]["fields"]["interests"]["convert"] == "label"
    assert "lead" not in result.data["tables"]


async def test_when_everything_is_mapped_that_is_said(fields: Fields) -> None:
    result = await fields.types("suggest", "systemuser")
    assert "Nothing to propose" in text(result)
    assert tomllib.loads(text(result)) == {}
