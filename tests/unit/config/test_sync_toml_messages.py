"""What is wrong in sync.toml is told by file and key, all at once, with what to write instead."""

from pathlib import Path

import pytest

from shared.config import sync_toml
from shared.model.errors import ConfigurationError


def refused(path: Path) -> list[str]:
    """What is said of a file, without its name, which every line begins with."""
    with pytest.raises(ConfigurationError) as refusal:
        sync_toml.load(path)
    assert refusal.value.code == "BadSyncConfig"
    lines = refusal.value.message.splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    return [line.removeprefix(f"{path}: ") for line in lines]


def written(folder: Path, text: str) -> Path:
    path = folder / "sync.toml"
    path.write_text(text, encoding="utf-8")
    return path


LEAD = "[lead.fields]\n"
#: The text, the key that must be named, and the remedy.
BAD = [
    # keys and sections that do not exist
    ('langage = "x"', "langage", 'did you mean "language"?'),
    ("zzz = 1", "zzz", "allowed: language, empty, refused, unsubscribe"),
    ("[contacts.fields]", "contacts", "unknown section; did you mean [contact]?"),
    ("[acount.fields]", "acount", "did you mean [account]?"),
    ("[person.fields]", "person", "write [lead] or [contact]"),
    ("[opportunity_role.fields]", "opportunity_role", "write [connection] or [customeropportunityrole]"),
    ("[zzz]", "zzz", "allowed: keys, text, owner, roles, lifecycle, person, write_back, systemuser, account, lead"),
    ("[tables.lead.fields]", "unknown section tables", "[contact.fields]"),
    ("[owner]\nlanguage = 1031", "owner.language", "at the top of the file, before the first [section]"),
    ('[owner]\nteams = "none"', "owner.teams", 'did you mean "team"?'),
    ('[owner]\nzzz = "none"', "owner.zzz", "allowed here: team, unusable_user, fixed"),
    ('[roles]\ndefalt = "x"', "roles.defalt", 'did you mean "default"?'),
    ('[keys]\npersons = "x"', "keys.persons", 'did you mean "person"?'),
    ('[keys]\nlead = "x"', "keys.lead", "allowed here: person, company"),
    ("[account.field]", "account.field", 'did you mean "fields"?'),
    ('[account]\ncompany = "name"', "account.company", "fields stand under [account.fields]"),
    ("[account]", "account.fields", "write [account.fields]"),
    (f'{LEAD}x = {{ columm = "a" }}', "lead.fields.x.columm", 'did you mean "column"?'),
    (f'{LEAD}filter = {{ new_region = ["EMEA"] }}', "lead.fields.filter.new_region", "it stands under [lead]"),
    # wrong types and values
    ('[lifecycle]\nperson = "flag"', "lifecycle", 'needs deleted_flag = "'),
    ('[lifecycle]\nperson = "flg"', "lifecycle.person", 'did you mean "flag"?'),
    ('[lifecycle]\ncompany = "unlink"', "lifecycle.company", "must be 'keep' or 'delete'"),
    ('[lifecycle]\ndeleted_flag = "Is deleted"', "lifecycle.deleted_flag", "write its API name"),
    ("[lifecycle]\ndelete_brake = 0", "lifecycle.delete_brake", "must be 1 or more"),
    ('[lifecycle]\nrols = "keep"', "lifecycle.rols", 'did you mean "role"?'),
    ('language = "1033"', "language", 'must be a whole number, not "1033"'),
    ("language = true", "language", "must be a whole number, not true"),
    ("language = 0", "language", "must be 1 or more"),
    ("empty = false", "empty", "must be 'clear' or 'keep', not false"),
    ('empty = "kep"', "empty", 'did you mean "keep"?'),
    ('time_zone = "Berlin"', "time_zone", '"Berlin" is not a time zone: write one such as "Europe/Berlin"'),
    ('unsubscribe = "optout"', "unsubscribe", 'did you mean "opt_out"?'),
    ("unsubscribe = true", "unsubscribe", "must be 'never', 'opt_out' or 'both', not true"),
    ("filter_column = false", "filter_column", "must be text in quotes, not false"),
    ('filter_column = "New_SyncToMkto"', "filter_column", 'write "new_synctomkto"'),
    ('owner = "none"', "owner", "must be a section: [owner]"),
    ('write_back = "x"', "write_back", "must be a section: [write_back]"),
    ("account = 5", "account", "must be a section: [account]"),
    ("[account]\nfields = 5", "account.fields", "must be a section: [account.fields]"),
    ('[owner]\nteam = "boss"', "owner.team", "'administrator', 'none' or 'fixed', not \"boss\""),
    ("[owner]\nunusable_user = 1", "owner.unusable_user", "'none', 'keep' or 'fixed', not 1"),
    ('[owner]\nteam = "fixed"', "owner", 'fixed = "<systemuserid>" is needed'),
    ('[owner]\nunusable_user = "fixed"', "owner", 'fixed = "<systemuserid>" is needed'),
    ('[owner]\nfixed = "sam@x.com"', "owner.fixed", '"sam@x.com" is not a valid GUID: write one such as "9b7e41d2-'),
    ("[owner]\nfixed = 5", "owner.fixed", "must be text in quotes, not 5"),
    ('[roles]\ndefault = " "', "roles.default", "must not be empty"),
    (f'[roles]\ndefault = "{"x" * 51}"', "roles.default", "at most 50 characters"),
    ('[contact.fields]\nunsubscribe = "both"', "contact.fields.unsubscribe", "stands at the top of the file"),
    ('[lead.fields]\nfilter_column = "new_sync"', "lead.fields.filter_column", "stands at the top of the file"),
    ('[keys]\nperson = "CRM GUID"', "keys.person", "write its API name, such as firstName, not its label"),
    ("[write_back]\npriority = 5", "write_back.priority", "must be text in quotes, not 5"),
    ('[write_back]\npriority = ["a", 5]', "write_back.priority.1", "must be text in quotes, not 5"),
    ("[write_back]\npriority = []", "write_back.priority", "write at least one, or delete the line"),
    ('[write_back]\npriority = ""', "write_back.priority", "must not be empty"),
    ('[write_back]\n"Sales Urgency" = "x"', "write_back.Sales Urgency", "write its API name"),
    # rules
    (f'{LEAD}x = {{ column = "a", convert = "lable" }}', "lead.fields.x.convert", 'did you mean "label"?'),
    (f'{LEAD}x = {{ column = "a", convert = "upper" }}', "lead.fields.x.convert", "'plain', 'label', 'lines', 'is'"),
    (f'{LEAD}x = {{ column = "a", convert = "is" }}', "lead.fields.x", "needs the values that mean true"),
    (f'{LEAD}x = {{ column = "a", convert = "is", values = 1 }}', "lead.fields.x.values", "a list of values: [1]"),
    (f'{LEAD}x = {{ column = "a", convert = "is", values = [0.5] }}', "lead.fields.x.values", "whole numbers"),
    (f'{LEAD}x = {{ column = "a", convert = "is", values = [] }}', "lead.fields.x.values", "write the values"),
    (f'{LEAD}x = {{ column = "a", values = [1] }}', "lead.fields.x", 'needs convert = "is"'),
    (f'{LEAD}x = {{ columns = ["a", "b"] }}', "lead.fields.x", 'need convert = "lines"; if one stands in'),
    (f'{LEAD}x = {{ columns = [], convert = "lines" }}', "lead.fields.x.columns", "write at least one"),
    (f'{LEAD}x = {{ column = ["a", "b"] }}', "lead.fields.x", 'several as columns = ["a", "b"]'),
    (f"{LEAD}x = {{ column = 5 }}", "lead.fields.x.column", "must be text in quotes, not 5"),
    (f'{LEAD}x = {{ convert = "label" }}', "lead.fields.x.column", 'write column = "..."'),
    (f"{LEAD}x = []", "lead.fields.x", "write at least one, or delete the line"),
    (f"{LEAD}x = 5", "lead.fields.x", "must be a column in quotes, or a rule"),
    (f'{LEAD}x = ["a", 5]', "lead.fields.x.1", "must be a column in quotes, or a rule"),
    # names
    (f'{LEAD}x = "FirstName"', "lead.fields.x", 'logical names are lower case: write "firstname"'),
    (f'{LEAD}x = "First Name"', "lead.fields.x", "write its logical name"),
    (f'{LEAD}x = ""', "lead.fields.x", "write its logical name"),
    (f'{LEAD}x = "ownerid"', "lead.fields.x", 'is a lookup: write "_ownerid_value"'),
    (f'{LEAD}x = {{ column = "OwnerId" }}', "lead.fields.x.column", 'is a lookup: write "_ownerid_value"'),
    (f'{LEAD}x = "campaignid_value"', "lead.fields.x", 'is a lookup: write "_campaignid_value"'),
    (f'{LEAD}x = "_new_storeid"', "lead.fields.x", 'is a lookup: write "_new_storeid_value"'),
    (f'{LEAD}"First Name" = "firstname"', "lead.fields.First Name", "write its API name, such as firstName"),
    # conditions
    (f'{LEAD}x = {{ column = "a", when = {{ b = "full" }} }}', "lead.fields.x.when.b", 'a list of values: ["full"]'),
    (f'{LEAD}x = {{ column = "a", when = {{ B = [1] }} }}', "lead.fields.x.when.B", 'write "b"'),
    (f'{LEAD}x = {{ column = "a", when = {{ b = [] }} }}', "lead.fields.x.when.b", "write the values"),
    (f'{LEAD}x = {{ column = "a", when = {{ }} }}', "lead.fields.x.when", "such as { statecode = [0] }"),
    ('[lead]\nfields = {}\nfilter = "open"', "lead.filter", "must be a condition"),
    ("[lead]\nfields = {}\nfilter = []", "lead.filter", "write at least one, or delete the line"),
    ('[lead]\nfields = {}\nfilter = { new_region = "EMEA" }', "lead.filter.new_region", 'a list of values: ["EMEA"]'),
    ("[lead]\nfields = {}\nfilter = [{ a = [1] }, { parentaccountid = [1] }]", "lead.filter.1", "is a lookup"),
    # what only the whole file tells
    (f'{LEAD}externalPersonId = "leadid"', "lead.fields.externalPersonId", "the sync itself sets this field"),
    (f'{LEAD}externalcompanyid = "x"', "lead.fields.externalcompanyid", "the sync itself sets this field"),
    ('[account.fields]\nexternalSalesPersonId = "x"', "account.fields.externalSalesPersonId", "delete the line"),
    ('[connection.fields]\nrole = "name"', "connection.fields.role", "the sync itself sets this field"),
    ('[connection.fields]\nleadId = "name"', "connection.fields.leadId", "the sync itself sets this field"),
    (f'[lifecycle]\ndeleted_flag = "gone"\n{LEAD}Gone = "x"', "lead.fields.Gone", "the sync itself sets this field"),
    (f'[keys]\nperson = "crmGuid"\n{LEAD}CrmGuid = "leadid"', "lead.fields.CrmGuid", "the sync itself sets this field"),
    (f'{LEAD}priority = "prioritycode"', "lead.fields.priority", "name it in [write_back]"),
    ('[contact.fields]\nRelativeScore = "x"', "contact.fields.RelativeScore", "read-only"),
    (f'[write_back]\nmsiNew = "a"\n{LEAD}msiNew = "x"', "lead.fields.msiNew", "name it in [write_back]"),
    (f'{LEAD}createdAt = "createdon"', "lead.fields.createdAt", "Marketo itself sets this field"),
    (f'{LEAD}email = "a"\nEmail = "b"', "lead.fields.Email", "email is the same field in Marketo"),
    ('[write_back]\npriority = "a"\nPriority = "b"', "write_back.Priority", "priority is the same field in Marketo"),
    ('[opportunity.fields]\nstage = "stepname"', "opportunity.fields.name", 'write name = "name"'),
    # TOML itself
    ("[owner\n", "line 1", "[owner; text needs quotes"),
    (f"{LEAD}email = emailaddress1", "line 2", "email = emailaddress1; text needs quotes"),
    (f'{LEAD}email = "a"\nemail = "b"', "line 3", 'email = "b"; this key or section is there twice'),
    (f"[owner]\n{LEAD}[owner]", "line 3", "[owner]; this key or section is there twice"),
    (f'{LEAD}x = {{ column = "a",', "line 2", "no valid TOML"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "key", "remedy"), BAD, ids=[text.replace("\n", " ") for text, _, _ in BAD])
def test_what_is_wrong_is_told_by_key_with_its_remedy(tmp_path: Path, text: str, key: str, remedy: str) -> None:
    lines = refused(written(tmp_path, text))
    assert any(line.startswith(key) and remedy in line for line in lines), lines
    of_python = {"Input", "dictionary", "tuple", "pydantic", "FieldRule", "Extra", "None"}
    assert not of_python & set(" ".join(lines).split())


def test_the_problems_of_all_tables_are_listed_at_once_one_a_line(tmp_path: Path) -> None:
    text = f"""
    languages = 1
    [owner]
    team = "boss"
    {LEAD}
    x = 5
    y = "A"
    [contact.fields]
    email = {{ column = "emailaddress1", convert = "lower" }}
    externalPersonId = "contactid"
    """
    assert [line.partition(": ")[0] for line in refused(written(tmp_path, text))] == [
        "owner.team", "lead.fields.x", "lead.fields.y", "contact.fields.email.convert", "languages",
        "contact.fields.externalPersonId",
    ]  # fmt: skip


def test_an_opportunity_role_may_be_called_by_any_name_on_other_objects(tmp_path: Path) -> None:
    """A field is the sync's only on the object that it identifies or relates."""
    text = '[lead.fields]\nrole = "new_role"\n[opportunity.fields]\nname = "name"\npriority = "prioritycode"'
    found = sync_toml.load(written(tmp_path, text))
    assert set(found.tables) == {"lead", "opportunity"}


def test_an_identifier_in_a_condition_is_brought_to_the_form_that_dataverse_gives(tmp_path: Path) -> None:
    text = '[lead]\nfilter = { _ownerid_value = ["{8853C932-0425-EE11-9965-000D3A4F1B2C}"], city = ["EMEA"] }\n'
    (rule,) = sync_toml.load(written(tmp_path, text + LEAD)).filter_of("lead").rule
    assert rule == {"_ownerid_value": ["8853c932-0425-ee11-9965-000d3a4f1b2c"], "city": ["EMEA"]}


def test_a_column_may_end_like_a_lookup(tmp_path: Path) -> None:
    text = f'{LEAD}x = "new_value"\ny = "_ownerid_value"\nz = "accountid"'
    found = sync_toml.load(written(tmp_path, text)).tables["lead"].fields
    assert [rules[0].columns for rules in found.values()] == [("new_value",), ("_ownerid_value",), ("accountid",)]


def test_a_file_in_another_encoding_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "sync.toml"
    path.write_bytes('[roles]\ndefault = "Entscheider für alles"'.encode("latin-1"))
    assert refused(path) == ["line 2 is not UTF-8; save the file as UTF-8"]


@pytest.mark.parametrize(
    ("name", "told"),
    [("nowhere.toml", "nowhere.toml does not exist"), ("", "is a directory")],
    ids=["a missing file", "a directory instead of a file"],
)
def test_what_is_no_file_is_told_with_the_setting_that_names_it(tmp_path: Path, name: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{told}[\s\S]*SYNC_CONFIG") as refusal:
        sync_toml.load(tmp_path / name)
    assert refusal.value.code == "NoSyncConfig"
