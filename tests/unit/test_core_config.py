"""sync.toml: what is delivered loads, and what is wrong in it is told by key, all at once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from shared import config
from shared.config import SyncConfig
from shared.entities import TABLES
from shared.errors import ConfigurationError

ROOT = Path(__file__).parents[2]


def loaded(folder: Path, text: str) -> SyncConfig:
    path = folder / "sync.toml"
    path.write_text(text, encoding="utf-8")
    return config.load(path)


def refused(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as refusal:
        loaded(folder, text)
    assert refusal.value.code == "BadSyncConfig"
    return refusal.value.message.splitlines()


def test_the_delivered_file_maps_every_table_but_the_legacy_roles() -> None:
    delivered = config.load(ROOT / "sync.toml")
    assert set(delivered.tables) == TABLES.keys() - {"customeropportunityrole"}
    assert delivered.language == 1033


def test_the_delivered_policies_are_the_defaults() -> None:
    delivered = config.load(ROOT / "sync.toml")
    assert delivered.owner == SyncConfig().owner
    assert delivered.roles == SyncConfig().roles


def test_every_line_that_the_delivered_file_offers_behind_a_hash_can_be_turned_on(tmp_path: Path) -> None:
    lines = (ROOT / "sync.toml").read_text(encoding="utf-8").splitlines()
    offered = ("# unsubscribed =", "# [customeropportunityrole.fields]", "# externalCreatedDate =")
    text = "\n".join(line[2:] if line.startswith(offered) else line for line in lines)
    turned_on = loaded(tmp_path, text)
    assert "customeropportunityrole" in turned_on.tables
    assert "unsubscribed" in turned_on.tables["lead"].fields
    assert "unsubscribed" in turned_on.tables["contact"].fields


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
def test_the_fixed_owner_may_be_written_as_dynamics_shows_it(
    tmp_path: Path, case: Callable[[str], str], form: str
) -> None:
    user = "9b7e41d2-904d-ee11-be6f-000d3a4f1b2c"
    assert loaded(tmp_path, f'[owner]\nteam = "fixed"\nfixed = "{form.format(case(user))}"').owner.fixed == user


@pytest.mark.parametrize(
    ("text", "key", "told"),
    [
        ('languages = "x"', "languages", "not permitted"),
        ('language = "English"', "language", "integer"),
        ("[acount.fields]", "acount", "not permitted"),
        ("[account.field]", "account.field", "not permitted"),
        ("[account]", "account.fields", "required"),
        ('[owner]\nteams = "none"', "owner.teams", "not permitted"),
        ('[owner]\nteam = "boss"', "owner.team", "'administrator', 'none' or 'fixed'"),
        ('[owner]\nteam = "fixed"', "owner", 'fixed = "<systemuserid>"'),
        ('[owner]\nunusable_user = "fixed"', "owner", 'fixed = "<systemuserid>"'),
        ('[owner]\nteam = "fixed"\nfixed = "sam"', "owner.fixed", "pattern"),
        ('[owner]\nteam = "fixed"\nfixed = 5', "owner.fixed", "string"),
        ('[roles]\ndefault = ""', "roles.default", "1 character"),
        (f'[roles]\ndefault = "{"x" * 51}"', "roles.default", "50 characters"),
        ('[lead.fields]\nx = { column = "a", convert = "lable" }', "lead.fields.x.0.convert", "'label'"),
        ('[lead.fields]\nx = { column = "a", convert = "is" }', "lead.fields.x.0", "values = [...] go together"),
        ('[lead.fields]\nx = { column = "a", values = [1] }', "lead.fields.x.0", "values = [...] go together"),
        ('[lead.fields]\nx = { columns = ["a", "b"] }', "lead.fields.x.0", "lines"),
        ('[lead.fields]\nx = { columns = [], convert = "lines" }', "lead.fields.x.0.columns", "at least 1"),
        ('[lead.fields]\nx = { columm = "a" }', "lead.fields.x.0.columm", "not permitted"),
        ('[lead.fields]\nx = "Upper Case"', "lead.fields.x.0.columns.0", "pattern"),
        ("[lead.fields]\nx = []", "lead.fields.x", "at least 1"),
        ("[lead.fields]\nx = 5", "lead.fields.x.0", "dictionary"),
        ('[lead.fields]\nx = { column = "a", when = { b = "full" } }', "lead.fields.x.0.when.b", "'present'"),
    ],
)
def test_a_wrong_line_is_told_by_file_and_key(tmp_path: Path, text: str, key: str, told: str) -> None:
    lines = refused(tmp_path, text)
    assert any(line.startswith(f"{tmp_path / 'sync.toml'}: {key}") and told in line for line in lines), lines


def test_all_problems_are_listed_at_once_one_a_line(tmp_path: Path) -> None:
    lines = refused(tmp_path, 'languages = 1\n[owner]\nteam = "boss"\n[lead.fields]\nx = 5\ny = "A"')
    for key in ("languages", "owner.team", "lead.fields.x", "lead.fields.y"):
        assert any(f": {key}" in line for line in lines), key


def test_broken_toml_is_told_with_its_place(tmp_path: Path) -> None:
    (line,) = refused(tmp_path, "language = 1033\n[owner\n")
    assert str(tmp_path / "sync.toml") in line
    assert "line 2" in line


def test_a_file_in_another_encoding_is_told(tmp_path: Path) -> None:
    path = tmp_path / "sync.toml"
    path.write_bytes('[roles]\ndefault = "Entscheider für alles"'.encode("latin-1"))
    with pytest.raises(ConfigurationError, match="not valid TOML"):
        config.load(path)


def test_a_missing_file_is_told_with_the_setting_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        config.load(tmp_path / "nowhere.toml")
    assert refusal.value.code == "NoSyncConfig"
    assert "nowhere.toml" in refusal.value.message
    assert "SYNC_CONFIG" in refusal.value.message
