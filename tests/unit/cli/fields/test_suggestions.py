"""`msisync fields suggest`: proposals that fit, and lines that sync.toml takes as they are."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.cli.fields.checks import check_fields
from shared.cli.fields.rules import DEFAULTS, Code
from shared.cli.fields.schemas import Schemas
from shared.cli.fields.suggestions import Proposal, as_toml, suggest_fields, suggest_write_back, toml_of
from shared.config import sync_toml
from shared.config.sync_toml import FieldRule, SyncConfig
from shared.dataverse.metadata import Column
from shared.marketo.fields import MarketoField

STRING = MarketoField("string", 255)
EMPTY = SyncConfig.model_validate({"contact": {"fields": {}}})


def column(name: str, kind: str = "String", label: str = "") -> Column:
    return Column(name, kind, readable=True, updatable=True, label=label, max_length=50 if kind == "String" else None)


def sides(*columns: Column, table: str = "contact", entity: str = "person", **fields: MarketoField) -> Schemas:
    return Schemas({table: {c.name: c for c in columns}}, {entity: fields}, {})


def proposed(schemas: Schemas, config: SyncConfig = EMPTY, table: str = "contact") -> dict[str, tuple[str, str, bool]]:
    """Field → rule, why, whether it is sure."""
    return {p.field: (as_toml(p.rules), p.why, p.sure) for p in suggest_fields(config, schemas, table)}


def test_adobes_default_mapping_comes_first_where_both_sides_have_it() -> None:
    schemas = sides(
        column("emailaddress1"), column("jobtitle"), column("title"), email=MarketoField("email", 255), title=STRING
    )
    assert proposed(schemas) == {
        "email": ('"emailaddress1"', "Adobe's default mapping", True),
        "title": ('"jobtitle"', "Adobe's default mapping", True),
    }


def test_a_default_with_alternatives_keeps_those_that_there_are() -> None:
    schemas = sides(
        column("jobtitle"), table="systemuser", entity="sales_person", title=STRING, email=MarketoField("string", 255)
    )
    assert proposed(schemas, table="systemuser") == {"title": ('"jobtitle"', "Adobe's default mapping", True)}


def test_equal_names_and_labels_are_found_whatever_separates_their_words() -> None:
    schemas = sides(
        column("new_shoe_size"),
        column("cust_tier", label="Loyalty Tier"),
        shoeSize=STRING,
        loyaltyTier__c=MarketoField("string", 255, "Loyalty tier"),
    )
    assert proposed(schemas) == {
        "shoeSize": ('"new_shoe_size"', "same name", True),
        "loyaltyTier__c": ('"cust_tier"', "same label", True),
    }


def test_what_is_only_similar_is_a_comment_with_its_confidence() -> None:
    schemas = sides(column("new_favourite_colour"), favoriteColour=STRING)
    (found,) = suggest_fields(EMPTY, schemas, "contact")
    assert not found.sure
    text = toml_of({"contact": [found]}, [])
    assert tomllib.loads(text) == {"contact": {"fields": {}}}
    assert f'# favoriteColour = "new_favourite_colour" # similar name, {found.confidence} %' in text


def test_one_column_goes_to_the_field_that_is_most_like_it() -> None:
    schemas = sides(column("new_colour"), column("new_colours"), colour=STRING, colours=STRING, colourx=STRING)
    assert {f: rule for f, (rule, _, sure) in proposed(schemas).items() if sure} == {
        "colour": '"new_colour"',
        "colours": '"new_colours"',
    }


@pytest.mark.parametrize(
    ("kind", "field", "rule"),
    [
        ("Picklist", STRING, '{ column = "new_x_y", convert = "label" }'),
        ("Picklist", MarketoField("integer"), '"new_x_y"'), ("Boolean", MarketoField("boolean"), '"new_x_y"'),
        ("DateTime", MarketoField("date"), '"new_x_y"'), ("Money", MarketoField("currency"), '"new_x_y"'),
        ("String", MarketoField("string", 10), '"new_x_y"'), ("String", MarketoField("integer"), None),
        ("String", MarketoField("boolean"), None), ("Picklist", MarketoField("boolean"), None),
        ("Lookup", STRING, None), ("Uniqueidentifier", STRING, None),
    ],
)  # fmt: skip
def test_only_types_that_fit_are_proposed(kind: str, field: MarketoField, rule: str | None) -> None:
    found = proposed(sides(column("new_x_y", kind), xY=field))
    assert found == ({"xY": (rule, "same name", True)} if rule else {})


def test_what_is_mapped_or_not_ours_to_write_is_not_proposed() -> None:
    config = SyncConfig.model_validate(
        {"contact": {"fields": {"colour": "new_paint"}}, "keys": {"person": "ownKey"}, "write_back": {"priority": "b"}}
    )
    columns = [
        "new_colour", "new_paint", "ownkey", "priority", "urgency", "unsubscribed", "new_synctomkto", "locked", "b",
    ]  # fmt: skip
    fields = ["colour", "paint", "ownKey", "priority", "urgency", "unsubscribed", "newSyncToMkto", "b", "leadScore"]
    theirs: dict[str, Any] = {**dict.fromkeys(fields, STRING), "locked": MarketoField("string", 255, writable=False)}
    schemas = sides(*map(column, columns), **theirs)
    assert proposed(schemas, config) == {}


def test_a_persons_company_fields_are_left_to_the_company() -> None:
    schemas = sides(column("industry"), column("new_region"), industry=STRING, region=STRING)
    assert proposed(schemas).keys() == {"region"}
    with_company = Schemas(schemas.columns, {**schemas.fields, "company": {"region": STRING}}, {})
    assert proposed(with_company) == {}
    company = sides(column("new_region"), table="account", entity="company", region=STRING)
    assert proposed(company, table="account").keys() == {"region"}


def test_the_shipped_mapping_is_adobes() -> None:
    shipped = sync_toml.load(Path(__file__).parents[4] / "sync.toml")
    for table, mapping in shipped.tables.items():
        for field, rules in mapping.fields.items():
            assert DEFAULTS.tables[table].fields[field] == rules


INSIGHT_FIELDS = {"priority": MarketoField("integer"), "relativeScore": MarketoField("integer")}
PAIRS = {"priority": ["Priority__c", "Engagement"], "relativeScoring": ["Relative Scoring Value"]}


def insight(lead: list[Column], contact: list[Column], write_back: dict[str, Any] | None = None) -> dict[str, Any]:
    config = SyncConfig.model_validate({"write_back": PAIRS if write_back is None else write_back})
    columns = {"lead": {c.name: c for c in lead}, "contact": {c.name: c for c in contact}}
    text = toml_of({}, suggest_write_back(config, Schemas(columns, {"person": INSIGHT_FIELDS}, {})))
    written: dict[str, Any] = tomllib.loads(text).get("write_back", {})
    return written


def test_write_back_names_are_those_of_both_tables() -> None:
    lead = [column("l_p", "Integer", "Engagement"), column("stars", "Integer", "Relative Scoring Value")]
    contact = [column("c_p", "Integer", "engagement"), column("stars", "Integer", "Relative Scoring Value")]
    assert insight(lead, contact) == {"priority": ["l_p", "c_p"], "relativeScoring": "stars"}


def test_the_native_connectors_columns_are_proposed() -> None:
    native = [column("mkt_priority", "Integer"), column("mkt_relativescore", "DateTime")]
    assert insight(native, native) == {"priority": "mkt_priority"}


def test_nothing_is_proposed_for_names_that_are_sure_already() -> None:
    columns = [column("a", "Integer"), column("b", "Integer")]
    assert insight(columns, columns, {"priority": "a", "relativeScoring": "b"}) == {}


def test_the_marketo_side_may_be_missing() -> None:
    columns = [column("a", "Integer", "Engagement")]
    assert insight(columns, columns, {"priority": "Engagement", "msiGone": "Nowhere"}) == {
        "priority": "a",
        "msiGone": "Nowhere",
    }


names = st.from_regex(r"new_[a-z0-9_]{0,8}|_new_[a-z0-9]{0,8}_value", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]) | st.just("\x7f"), min_size=1, max_size=8)
wanted = st.sampled_from(["empty", "present"]) | st.lists(
    st.integers(-9, 9) | texts | st.booleans(), min_size=1, max_size=3
)
whens = st.dictionaries(names, wanted, min_size=1, max_size=2)
rules = st.one_of(
    st.builds(lambda c, w: {"column": c, "when": w}, names, whens),
    st.builds(lambda c: {"column": c, "convert": "label"}, names),
    st.builds(lambda c: {"columns": c, "convert": "lines"}, st.lists(names, min_size=1, max_size=3)),
    st.builds(
        lambda c, v: {"column": c, "convert": "is", "values": v},
        names,
        st.lists(st.integers(-9, 9) | texts, min_size=1, max_size=3),
    ),
)


@settings(max_examples=40)
@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,8}", fullmatch=True),
        st.lists(rules | names, min_size=1, max_size=3),
        min_size=1,
    )
)
def test_every_rule_is_written_so_that_it_reads_back_the_same(fields: dict[str, Any]) -> None:
    config = SyncConfig.model_validate({"contact": {"fields": fields}})
    proposals = [Proposal(name, rule, "because", 100) for name, rule in config.tables["contact"].fields.items()]
    text = toml_of({"contact": proposals}, [])
    assert SyncConfig.model_validate(tomllib.loads(text)).tables == config.tables


kinds = st.sampled_from(["String", "Memo", "Integer", "Money", "Boolean", "DateTime", "Picklist", "Virtual", "Lookup"])
types = st.sampled_from(["string", "text", "email", "url", "integer", "currency", "boolean", "date", "datetime"])
words = st.sampled_from(["colour", "colours", "size", "new_colour", "new_size", "emailaddress1", "email", "jobtitle"])


@given(st.dictionaries(words, kinds), st.dictionaries(words, types))
def test_what_is_proposed_and_pasted_passes_the_check(columns: dict[str, str], fields: dict[str, str]) -> None:
    theirs: dict[str, Any] = {
        name: MarketoField(kind, 20 if kind == "string" else None) for name, kind in fields.items()
    }
    schemas = sides(*(column(name, kind) for name, kind in columns.items()), **theirs)
    text = toml_of({"contact": suggest_fields(EMPTY, schemas, "contact")}, [])
    uncommented = "\n".join(line.removeprefix("# ") for line in text.splitlines())
    pasted = SyncConfig.model_validate({**tomllib.loads(uncommented), "write_back": {}, "filter_column": ""})
    assert {f.code for f in check_fields(pasted, schemas)} <= {Code.CUT, Code.LOSSY, Code.KEY}


def test_a_rule_in_its_shortest_form() -> None:
    assert as_toml([FieldRule(columns=("a",))]) == '"a"'
    assert as_toml([FieldRule(columns=("a",)), FieldRule(columns=("b",))]) == '["a", "b"]'
