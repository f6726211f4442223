"""`msisync fields check`: what it says about each kind of mistake, from schemas at hand."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.cli.fields.checks import check_fields
from shared.cli.fields.rules import Code
from shared.cli.fields.schemas import Schemas, in_marketo, load_schemas
from shared.cli.finding import Finding, Severity
from shared.config.sync_toml import SyncConfig
from shared.dataverse.metadata import Column
from shared.marketo.fields import MarketoField
from shared.model.codes import Kind
from shared.model.errors import DataverseError, MarketoError, VendorError
from shared.sync.mapping import compile_table

KINDS = {
    "words": "String", "notes": "Memo", "count": "Integer", "money": "Money", "yes": "Boolean", "day": "DateTime",
    "choice": "Picklist", "status": "Status", "choices": "Virtual", "parent": "Lookup",
    "contactid": "Uniqueidentifier",
}  # fmt: skip
COLUMNS = {
    name: Column(name, kind, readable=True, updatable=True, max_length={"String": 100, "Memo": 2000}.get(kind))
    for name, kind in KINDS.items()
} | {"secret": Column("secret", "String", readable=False)}
FIELDS = {
    "externalPersonId": MarketoField("string", 255, searchable=True), "text": MarketoField("string", 255),
    "short": MarketoField("string", 40), "area": MarketoField("text"), "email": MarketoField("email", 255),
    "url": MarketoField("url", 255), "whole": MarketoField("integer"), "amount": MarketoField("currency"),
    "flag": MarketoField("boolean"), "date": MarketoField("date"), "moment": MarketoField("datetime"),
    "locked": MarketoField("string", 255, writable=False), "priority": MarketoField("integer"),
}  # fmt: skip


def sides(columns: dict[str, Column] | None = None, fields: dict[str, MarketoField] | None = None) -> Schemas:
    return Schemas({"contact": COLUMNS if columns is None else columns}, {"person": FIELDS | (fields or {})}, {})


def config(fields: dict[str, Any] | None = None, **more: Any) -> SyncConfig:
    contact = {"fields": fields or {}, **more.pop("contact", {})}
    return SyncConfig.model_validate({"contact": contact, "filter_column": "", "write_back": {}, **more})


def findings(fields: dict[str, Any] | None = None, schemas: Schemas | None = None, **more: Any) -> list[Finding]:
    return check_fields(config(fields, **more), schemas or sides())


def only(found: list[Finding]) -> Finding:
    (finding,) = found
    return finding


@pytest.mark.parametrize(
    ("field", "rule"),
    [
        ("text", "words"),
        ("text", "count"),
        ("text", "yes"),
        ("text", "day"),
        ("text", "_parent_value"),
        ("TEXT", "contactid"),
        ("area", "notes"),
        ("email", "words"),
        ("whole", "count"),
        ("whole", "choice"),
        ("amount", "money"),
        ("amount", "yes"),
        ("flag", "yes"),
        ("moment", "day"),
        ("whole", "yes"),
        ("text", {"column": "choice", "convert": "label"}),
        ("text", {"column": "choices", "convert": "label"}),
        ("text", {"column": "yes", "convert": "label"}),
        ("flag", {"column": "status", "convert": "is", "values": [1, 2]}),
        ("flag", {"column": "words", "convert": "is", "values": ["a"]}),
        ("flag", {"column": "yes", "convert": "true_only"}),
        ("text", {"columns": ["words", "count"], "convert": "lines"}),
        ("text", {"column": "words", "when": {"status": [1], "_parent_value": "empty"}}),
        ("text", ["words", "notes"]),
    ],
)
def test_what_fits_is_not_mentioned(field: str, rule: Any) -> None:
    found = findings({field: rule}, sides(fields={"text": MarketoField("string", 2000)}))
    assert found == []


@pytest.mark.parametrize(
    ("field", "rule"),
    [
        ("whole", "words"), ("whole", "day"), ("flag", "choice"), ("flag", "choices"), ("flag", "day"),
        ("date", "choice"), ("url", "count"), ("whole", "_parent_value"),
        ("whole", {"column": "choice", "convert": "label"}), ("amount", "words"), ("amount", "day"),
        ("date", "words"), ("date", "count"), ("moment", "yes"), ("email", "count"), ("email", "yes"),
        ("email", "_parent_value"), ("date", {"columns": ["words", "notes"], "convert": "lines"}),
    ],
)  # fmt: skip
def test_a_type_that_marketo_refuses_stops_records(field: str, rule: Any) -> None:
    found = only(findings({field: rule}))
    assert (found.severity, found.code, found.table, found.key) == (
        Severity.FAILED, Code.WRONG_TYPE, "contact", f"fields.{field}",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("field", "rule", "code", "says"),
    [
        ("text", "choice", Code.DOUBTFUL, 'convert = "label"'),
        ("area", "choices", Code.DOUBTFUL, 'convert = "label"'),
        ("flag", "words", Code.DOUBTFUL, 'convert = "is"'),
        ("flag", "count", Code.DOUBTFUL, "only 0 and 1"),
        ("flag", {"column": "choice", "convert": "label"}, Code.DOUBTFUL, 'convert = "is"'),
        ("whole", "money", Code.LOSSY, "rounded"),
        ("date", "day", Code.LOSSY, "time_zone"),
        ("text", {"column": "words", "convert": "label"}, Code.NEVER, "no labels"),
        ("text", {"column": "_parent_value", "convert": "label"}, Code.NEVER, "no labels"),
        ("flag", {"column": "choice", "convert": "true_only"}, Code.NEVER, "no Yes/No column"),
        ("flag", {"column": "choice", "convert": "is", "values": ["Hot"]}, Code.NEVER, "always false"),
        ("text", {"column": "words", "when": {"status": ["Open"]}}, Code.NEVER, "never used"),
        ("text", {"column": "nothing"}, Code.COLUMN_MISSING, "no column nothing"),
        ("text", {"column": "word"}, Code.COLUMN_MISSING, "is words meant?"),
        ("text", "parent", Code.COLUMN_MISSING, "read as _parent_value"),
        ("text", "secret", Code.COLUMN_UNREADABLE, "cannot be read"),
        ("text", {"column": "words", "when": {"gone": "empty"}}, Code.COLUMN_MISSING, "no column gone"),
        ("nothing", "words", Code.FIELD_MISSING, "have no field nothing"),
        ("shorty", "words", Code.FIELD_MISSING, "is short meant?"),
        ("locked", "words", Code.FIELD_READ_ONLY, "cannot be written"),
    ],
)
def test_what_is_left_out_or_not_meant_needs_attention(field: str, rule: Any, code: Code, says: str) -> None:
    found = only(findings({field: rule}))
    assert (found.severity, found.code) == (Severity.ATTENTION, code)
    assert says in f"{found.text} {found.remedy}"
    assert found.remedy


def test_text_that_may_be_cut_says_both_lengths() -> None:
    found = only(findings({"short": "words"}))
    assert (found.severity, found.code) == (Severity.ATTENTION, Code.CUT)
    assert "100" in found.text
    assert "40" in found.text
    lines = only(findings({"short": {"columns": ["words", "words"], "convert": "lines"}}))
    assert "201" in lines.text
    assert findings({"short": {"column": "choice", "convert": "label"}}) == []


def test_a_text_area_takes_thirty_thousand() -> None:
    long = COLUMNS | {"notes": Column("notes", "Memo", readable=True, max_length=30_001)}
    assert only(findings({"area": "notes"}, sides(long))).code is Code.CUT
    fits = COLUMNS | {"notes": Column("notes", "Memo", readable=True, max_length=30_000)}
    assert findings({"area": "notes"}, sides(fits)) == []


def test_what_adobes_own_mapping_cuts_is_only_mentioned() -> None:
    columns = {"jobtitle": Column("jobtitle", "String", readable=True, max_length=300)}
    fields = {"title": MarketoField("string", 255), "rating": MarketoField("string", 255)}
    assert only(findings({"title": "jobtitle"}, sides(columns, fields))).severity is Severity.OK
    assert only(findings({"rating": "jobtitle"}, sides(columns, fields))).severity is Severity.ATTENTION


def test_alternatives_are_judged_one_by_one() -> None:
    found = findings({"whole": ["count", "words", "gone"]})
    assert [f.code for f in found] == [Code.WRONG_TYPE, Code.COLUMN_MISSING]


def test_a_filter_that_names_what_is_not_there_stops_the_table() -> None:
    for rule in ({"gone": "present"}, [{"words": "present"}, {"secret": ["x"]}]):
        found = only(findings(contact={"filter": rule}))
        assert (found.severity, found.code, found.key) == (Severity.FAILED, Code.FILTER, "filter")
    assert "_parent_value" in only(findings(contact={"filter": {"parent": "present"}})).remedy
    assert findings(contact={"filter": {"_parent_value": "present"}}) == []


def test_a_filter_that_no_row_can_pass() -> None:
    assert only(findings(contact={"filter": {"status": ["Open"]}})).severity is Severity.FAILED
    assert only(findings(contact={"filter": {"words": [1]}})).severity is Severity.FAILED
    assert findings(contact={"filter": {"status": [1], "yes": True}}) == []


def flag(column: Column | None, name: str = "new_synctomkto") -> Finding | None:
    columns = COLUMNS | ({column.name: column} if column else {})
    found = findings(None, sides(columns), filter_column=name)
    return found[0] if found else None


def test_without_the_native_filter_column_everything_syncs_and_that_is_all_right() -> None:
    missing = flag(None)
    assert missing
    assert (missing.severity, missing.key) == (Severity.OK, "filter_column")
    assert flag(Column("new_synctomkto", "Boolean", readable=True)) is None


def test_a_filter_column_that_does_not_filter_as_meant() -> None:
    hidden = flag(Column("new_synctomkto", "Boolean", readable=False))
    text = flag(Column("new_synctomkto", "Picklist", readable=True))
    misspelled = flag(Column("new_synctomkto", "Boolean", readable=True), "new_synctomarketo")
    assert [f.severity if f else None for f in (hidden, text, misspelled)] == [Severity.ATTENTION] * 3


def test_keys() -> None:
    def key(name: str, **fields: MarketoField) -> list[Finding]:
        return findings(None, sides(fields=fields), keys={"person": name})

    assert key("externalPersonId") == []
    assert only(key("EXTERNALPERSONID")).remedy == "write externalPersonId in [keys]"
    assert key("ownId", ownId=MarketoField("string", 255, searchable=True)) == []
    for broken in (
        key("ownId"),
        key("ownId", ownId=MarketoField("integer", searchable=True)),
        key("ownId", ownId=MarketoField("string", 20, searchable=True)),
        key("ownId", ownId=MarketoField("string", 255, searchable=False)),
        key("ownId", ownId=MarketoField("string", 255, searchable=True, writable=False)),
    ):
        assert (only(broken).severity, only(broken).code, only(broken).key) == (
            Severity.FAILED, Code.KEY, "keys.person",
        )  # fmt: skip


def test_without_the_feature_the_guides_key_is_missing() -> None:
    schemas = Schemas({"contact": COLUMNS}, {"person": {"text": MarketoField("string", 255)}}, {})
    assert "MSI Non-Native" in only(findings(None, schemas)).remedy


def test_a_companys_own_key_must_be_on_companies() -> None:
    account = {"name": Column("name", "String", readable=True, max_length=160)}
    settings = SyncConfig.model_validate({"account": {"fields": {}}, "keys": {"company": "crmId"}, "filter_column": ""})
    fields = {"externalCompanyId": MarketoField("string", 100)}
    found = only(check_fields(settings, Schemas({"account": account}, {"company": fields}, {})))
    assert (found.severity, found.key) == (Severity.FAILED, "keys.company")
    fields["crmId"] = MarketoField("string", 255)
    assert check_fields(settings, Schemas({"account": account}, {"company": fields}, {})) == []


def test_write_back_needs_attention_once_for_each_pair_and_table() -> None:
    columns = {
        "new_a": Column("new_a", "Integer", readable=True, updatable=True),
        "new_b": Column("new_b", "DateTime", readable=True, updatable=True),
        "new_c_d": Column("new_c_d", "Integer", readable=True, updatable=True),
    }
    pairs = {"priority": ["new_a"], "urgency": ["new_b"], "relativeUrgency": ["C_D__c"], "msiGone": ["new_a"]}
    settings = SyncConfig.model_validate(
        {"lead": {"fields": {}}, "contact": {"fields": {}}, "filter_column": "", "write_back": pairs}
    )
    fields = FIELDS | {"urgency": MarketoField("float"), "relativeUrgency": MarketoField("integer")}
    found = check_fields(settings, Schemas({"lead": columns, "contact": columns}, {"person": fields}, {}))
    assert [(f.severity, f.table, f.key) for f in found] == [
        (Severity.ATTENTION, "lead", "write_back.urgency"), (Severity.OK, "lead", "write_back.relativeUrgency"),
        (Severity.ATTENTION, "", "write_back.msiGone"), (Severity.ATTENTION, "lead", "write_back.msiGone"),
        (Severity.ATTENTION, "contact", "write_back.urgency"), (Severity.OK, "contact", "write_back.relativeUrgency"),
        (Severity.ATTENTION, "contact", "write_back.msiGone"),
    ]  # fmt: skip
    assert {f.code for f in found} == {Code.WRITE_BACK}


def test_what_a_vendor_does_not_describe_is_one_finding_and_not_many() -> None:
    gone, denied = "0x80060888: Could not find an entity with name lead", "603: Access denied"
    settings = SyncConfig.model_validate({"lead": {"fields": {"email": "x"}}, "opportunity": {"fields": {"name": "y"}}})
    schemas = Schemas({"opportunity": {}}, {"person": FIELDS}, {"lead": gone, in_marketo("opportunity"): denied})
    found = [f for f in check_fields(settings, schemas) if f.code is not Code.FILTER]
    assert [(f.severity, f.code) for f in found] == [(Severity.FAILED, Code.NOT_DESCRIBED)] * 2
    assert "lead" in found[0].table
    assert found[1].key == "Marketo opportunities"


VALUES: dict[str, Any] = {
    "words": "some words", "notes": "some notes", "count": 7, "money": 7.5, "yes": True, "day": "2026-03-04",
    "choice": 3, "status": 1, "choices": "1,2", "_parent_value": "2e6d9f40-1c52-ef11-a316-000d3a5b7c8d",
    "contactid": "2e6d9f40-1c52-ef11-a316-000d3a5b7c8d",
}  # fmt: skip
#: What Marketo takes of each type (marketo.md 4.7): a number is no text, a yes no number.
ACCEPTED: dict[str, tuple[type, ...]] = {
    "string": (str,), "text": (str,), "integer": (int,), "currency": (int, float), "boolean": (bool,),
}  # fmt: skip


@given(
    column=st.sampled_from(list(VALUES)),
    field=st.sampled_from([name for name, f in FIELDS.items() if f.data_type in ACCEPTED and f.writable]),
)
def test_what_passes_the_check_is_mapped_to_what_marketo_takes(column: str, field: str) -> None:
    if any(f.severity is Severity.FAILED for f in findings({field: column})):
        return
    mapped = compile_table(config({field: column}).fields_of("contact"), FIELDS).map(VALUES, {}).record
    if field not in mapped:
        return
    value = mapped[field]
    assert isinstance(value, ACCEPTED[FIELDS[field].data_type])
    assert isinstance(value, bool) == (FIELDS[field].data_type == "boolean")


class Asked:
    """Stands for Dataverse's metadata and for Marketo: gives what it is told to, or raises it."""

    def __init__(self, answer: dict[str, Any] | VendorError) -> None:
        self._answer = answer

    async def columns(self, *_: object) -> dict[str, Any]:
        if isinstance(self._answer, VendorError):
            raise self._answer
        return self._answer

    describe = columns


async def loaded(dataverse: Any, marketo: Any) -> Schemas:
    metadata: Any = Asked(dataverse)
    client: Any = Asked(marketo)
    return await load_schemas(metadata, client, ["opportunity"], 1033)


async def test_a_vendor_that_refuses_is_a_finding_and_one_that_is_unwell_an_error() -> None:
    refused = MarketoError("603", "Access denied", kind=Kind.CONFIGURATION)
    schemas = await loaded(COLUMNS, refused)
    assert (schemas.columns, schemas.fields, schemas.refused) == (
        {"opportunity": COLUMNS}, {}, {"Marketo opportunities": str(refused)},
    )  # fmt: skip
    assert (await loaded(DataverseError("x", "gone", kind=Kind.GONE), {})).refused.keys() == {"opportunity"}
    for unwell in (Kind.TRANSIENT, Kind.THROTTLED, Kind.DAILY):
        with pytest.raises(MarketoError):
            await loaded(COLUMNS, MarketoError("608", "unavailable", kind=unwell))


def test_the_flag_of_deleted_persons_must_be_a_boolean_field_that_can_be_written() -> None:
    def flagged(name: str, **fields: MarketoField) -> list[Finding]:
        return findings(None, sides(fields=fields), lifecycle={"deleted_flag": name})

    assert flagged("flag") == flagged("Flag") == []
    missing, locked, text = (only(flagged(name)) for name in ("flags", "locked", "text"))
    assert [f.severity for f in (missing, locked, text)] == [Severity.ATTENTION, Severity.ATTENTION, Severity.FAILED]
    assert missing.remedy == "is flag meant?"
    assert {f.key for f in (missing, locked, text)} == {"lifecycle.deleted_flag"}
