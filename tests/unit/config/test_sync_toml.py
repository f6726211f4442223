"""sync.toml: what is delivered shows every option with its default, and each option does what it says."""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from shared.config import sync_toml
from shared.config.conditions import Condition, SyncFilter
from shared.config.sync_toml import INSIGHT_PAIRS, FieldRule, LifecyclePolicy, OwnerPolicy, SyncConfig
from shared.marketo.fields import MarketoField
from shared.model.entities import TABLES
from shared.sync.mapping import compile_table
from tests.support.values import ROOT


def loaded(folder: Path, text: str) -> SyncConfig:
    path = folder / "sync.toml"
    path.write_text(text, encoding="utf-8")
    return sync_toml.load(path)


def test_the_delivered_file_maps_every_table_but_the_legacy_roles() -> None:
    delivered = sync_toml.load(ROOT / "sync.toml")
    assert set(delivered.tables) == TABLES.keys() - {"customeropportunityrole"}
    assert delivered.language == 1033


OPTIONS = [name for name in SyncConfig.model_fields if name != "tables"]


@pytest.mark.parametrize("option", OPTIONS)
def test_the_delivered_policies_are_the_defaults(option: str) -> None:
    assert getattr(sync_toml.load(ROOT / "sync.toml"), option) == getattr(SyncConfig(), option)


def test_the_delivered_file_shows_every_option() -> None:
    text = (ROOT / "sync.toml").read_text(encoding="utf-8")
    shown = tomllib.loads(text)
    for option in OPTIONS:
        section = getattr(SyncConfig(), option)
        assert option in shown
        for name in type(section).model_fields if isinstance(section, BaseModel) else ():
            assert name in shown[option] or f"\n# {name} = " in text
    assert set(shown["write_back"]) == set(INSIGHT_PAIRS)
    explained = [f"convert = {json.dumps(name)}" for name in get_args(FieldRule.model_fields["convert"].annotation)]
    for word in (*explained[1:], *FieldRule.model_fields, "filter = ", '"present"', '"empty"'):
        assert word in text
    policies: list[tuple[type[BaseModel], str]] = [
        (SyncConfig, "empty"), (SyncConfig, "unsubscribe"), (OwnerPolicy, "team"), (OwnerPolicy, "unusable_user"),
        *((LifecyclePolicy, name) for name in ("person", "opportunity", "role", "company", "sales_person")),
    ]  # fmt: skip
    for model, option in policies:
        for word in get_args(model.model_fields[option].annotation):
            assert f'"{word}"' in text


def examples() -> list[tuple[int, ...]]:
    """The lines that become one example when their # is taken away: a key, or a section and a key of it."""
    found: list[tuple[int, ...]] = []
    section: tuple[int, ...] = ()
    for number, line in enumerate((ROOT / "sync.toml").read_text(encoding="utf-8").splitlines()):
        if re.match(r"# \[[\w.]+\]$", line):
            section = (number,)
        elif re.match(r"# \w+ = ", line):
            found.append((*section, number))
        else:
            section = ()
    return found


@pytest.mark.parametrize("example", examples())
def test_every_example_behind_a_hash_can_be_turned_on(tmp_path: Path, example: tuple[int, ...]) -> None:
    lines = (ROOT / "sync.toml").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line.removeprefix("# ") if n in example else line for n, line in enumerate(lines))
    assert loaded(tmp_path, text) != sync_toml.load(ROOT / "sync.toml")


def test_the_delivered_file_has_an_example_of_a_filter_of_custom_fields_and_of_a_fixed_owner() -> None:
    lines = (ROOT / "sync.toml").read_text(encoding="utf-8").splitlines()
    names = [lines[example[-1]].split()[1] for example in examples()]
    options = ["fixed", "deleted_flag", "person", "partition"]
    assert names == [*options, "favoriteColor", "filter", "filter", "campaignGuid", "externalCreatedDate"]


@pytest.mark.parametrize(
    ("section", "policy"),
    [
        ("", "keep"), ('deleted_flag = "newDeleted"', "flag"),
        ('deleted_flag = "newDeleted"\nperson = "keep"', "keep"), ('person = "delete"', "delete"),
    ],
)  # fmt: skip
def test_a_deleted_person_is_flagged_once_there_is_a_field(tmp_path: Path, section: str, policy: str) -> None:
    assert loaded(tmp_path, f"[lifecycle]\n{section}").lifecycle.of("person") == policy


def test_what_is_deleted_by_default_is_what_nobody_else_keeps(tmp_path: Path) -> None:
    lifecycle = loaded(tmp_path, "").lifecycle
    names = ("opportunity", "opportunity_role", "company", "sales_person")
    assert [lifecycle.of(name) for name in names] == ["delete", "delete", "keep", "keep"]


def test_an_empty_file_syncs_nothing_with_the_default_policies(tmp_path: Path) -> None:
    empty = loaded(tmp_path, "")
    assert empty.tables == {}
    assert empty.owner.team == "administrator"


def test_each_form_of_a_rule_that_the_file_explains_is_understood(tmp_path: Path) -> None:
    text = """
    [lead.fields]
    plain = "firstname"
    lookup = "_campaignid_value"
    label = { column = "statuscode", convert = "label" }
    lines = { columns = ["address1_line1", "address1_line2"], convert = "lines" }
    is = { column = "statecode", convert = "is", values = [1, 2] }
    true_only = { column = "donotbulkemail", convert = "true_only" }
    when = { column = "companyname", when = { statecode = [1], _parentaccountid_value = "empty" } }
    either = [{ column = "a", when = { b = "present" } }, "c"]
    """
    fields = loaded(tmp_path, text).tables["lead"].fields
    assert [rule.convert for rules in fields.values() for rule in rules] == [
        "plain", "plain", "label", "lines", "is", "true_only", "plain", "plain", "plain",
    ]  # fmt: skip
    assert fields["is"][0].values == (1, 2)
    assert fields["when"][0].when == {"statecode": [1], "_parentaccountid_value": "empty"}
    assert [rule.columns for rule in fields["either"]] == [("a",), ("c",)]


@pytest.mark.parametrize("form", ["{}", "{{{}}}"], ids=["bare", "in braces"])
@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_the_fixed_owner_as_dynamics_shows_it(tmp_path: Path, case: Callable[[str], str], form: str) -> None:
    user = "9b7e41d2-904d-ee11-be6f-000d3a4f1b2c"
    assert loaded(tmp_path, f'[owner]\nteam = "fixed"\nfixed = "{form.format(case(user))}"').owner.fixed == user


def test_a_file_that_an_editor_on_windows_wrote_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sync.toml"
    path.write_bytes('language = 1031\r\n[roles]\r\ndefault = "Entscheider für alles"\r\n'.encode("utf-8-sig"))
    found = sync_toml.load(path)
    assert (found.language, found.roles.default) == (1031, "Entscheider für alles")


@pytest.mark.parametrize("table", ["lead", "contact"])
@pytest.mark.parametrize(
    ("policy", "opted_out", "opted_in"),
    [
        ("never", {}, {}),
        ("opt_out", {"unsubscribed": True}, {}),
        ("both", {"unsubscribed": True}, {"unsubscribed": False}),
    ],
)
def test_opting_out_unsubscribes_as_the_policy_says(
    tmp_path: Path, table: str, policy: str, opted_out: dict[str, bool], opted_in: dict[str, bool]
) -> None:
    rules = loaded(tmp_path, f'unsubscribe = "{policy}"\n[{table}.fields]').fields_of(table)
    fields = compile_table(rules, {"unsubscribed": MarketoField("boolean")})
    assert fields.columns == ({"donotbulkemail"} if policy != "never" else set())
    assert fields.map({"donotbulkemail": True}, {}).record == opted_out
    assert fields.map({"donotbulkemail": False}, {}).record == opted_in


def test_the_unsubscribe_policy_concerns_persons_only_and_gives_way_to_a_rule_of_the_operator(tmp_path: Path) -> None:
    text = 'unsubscribe = "both"\n[account.fields]\n[lead.fields]\nUnsubscribed = "new_optout"'
    found = loaded(tmp_path, text)
    assert found.fields_of("account") == {}
    assert {name: rules[0].columns for name, rules in found.fields_of("lead").items()} == {
        "Unsubscribed": ("new_optout",)
    }


@pytest.mark.parametrize(
    ("text", "person", "company"),
    [
        ("", ("externalPersonId",), ("externalCompanyId",)),
        ('[keys]\nperson = "crmGuid"', ("crmGuid",), ("externalCompanyId",)),
        ('[keys]\ncompany = "crmAccount"', ("externalPersonId",), ("externalCompanyId", "crmAccount")),
    ],
)
def test_the_guids_are_held_by_the_fields_that_the_operator_names(
    tmp_path: Path, text: str, person: tuple[str, ...], company: tuple[str, ...]
) -> None:
    found = loaded(tmp_path, text)
    assert found.key_fields("person") == person
    assert found.key_fields("company") == company
    assert found.key_fields("sales_person") == ("externalSalesPersonId",)
    assert found.key_fields("opportunity") == ("externalOpportunityId",)
    assert found.key_fields("opportunity_role") == ()


FILTERED = """
filter_column = "new_tomarketo"
[contact]
filter = { new_region = ["EMEA"], _parentcustomerid_value = "present" }
[contact.fields]
[account]
filter = [{ new_value = [true] }, { statecode = 0 }]
[account.fields]
[systemuser.fields]
"""


def test_a_filter_is_the_column_of_four_tables_and_the_rule_of_each(tmp_path: Path) -> None:
    found = loaded(tmp_path, FILTERED)
    rule: Condition = {"new_region": ["EMEA"], "_parentcustomerid_value": "present"}
    assert found.filter_of("contact") == SyncFilter("new_tomarketo", (rule,))
    assert found.filter_of("account") == SyncFilter("new_tomarketo", ({"new_value": [True]}, {"statecode": [0]}))
    assert found.filter_of("lead") == found.filter_of("opportunity") == SyncFilter("new_tomarketo")
    assert found.filter_of("systemuser") == found.filter_of("connection") == SyncFilter()
    assert loaded(tmp_path, 'filter_column = ""').filter_of("contact") == SyncFilter()


def test_the_columns_of_a_filter_are_told_as_notifications_name_them(tmp_path: Path) -> None:
    found = loaded(tmp_path, FILTERED)
    assert found.filter_columns("contact") == {"new_tomarketo", "new_region", "parentcustomerid"}
    assert found.filter_columns("account") == {"new_tomarketo", "new_value", "statecode"}
