"""Every word that people have for an entity or a table means it, and no other."""

from argparse import ArgumentTypeError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.cli.entity_words import as_entity, as_table, as_table_or_entity
from shared.cli.main import parser
from shared.model.entities import ENTITIES, TABLES

CASES = st.sampled_from([str.upper, str.lower, str.title])
GUID = "2e6d9f40-1c52-ef11-a316-000d3a5b7c8d"


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("company companies Company account accounts", "company"),
        (
            "sales_person sales-person salesperson sales-persons user users systemuser systemusers seller",
            "sales_person",
        ),
        ("person persons people", "person"),
        ("opportunity opportunities", "opportunity"),
        ("opportunity_role opportunity-roles role roles", "opportunity_role"),
    ],
)
def test_an_entity_has_many_names(words: str, name: str) -> None:
    assert {as_entity(word) for word in words.split()} == {name}


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("account accounts company companies", "account"),
        ("systemuser SystemUsers user sales-person", "systemuser"),
        ("contact contacts", "contact"),
        ("lead leads", "lead"),
        ("opportunity opportunities", "opportunity"),
        ("connection connections", "connection"),
        ("customeropportunityrole customer-opportunity-roles", "customeropportunityrole"),
    ],
)
def test_a_table_has_many_names(words: str, name: str) -> None:
    assert {as_table(word) for word in words.split()} == {name}
    assert {as_table_or_entity(word) for word in words.split() if word != "company"} <= {name, "sales_person"}


@given(st.sampled_from([*ENTITIES, *TABLES]), CASES, st.sampled_from(["_", "-", " ", ""]), st.sampled_from(["", "s"]))
def test_no_spelling_means_another_one(name: str, case: object, gap: str, end: str) -> None:
    word = str(case(name.replace("_", gap))) + (end if not name.endswith("y") else "")  # type: ignore[operator]
    found = as_table_or_entity(word)
    assert name in {found, ENTITIES[found].tables[0].name if found in ENTITIES else TABLES[found][0].name}


@pytest.mark.parametrize(
    ("parse", "word", "told"),
    [
        (as_entity, "contact", "'contact' is a part of person, which has lead and contact; did you mean person?"),
        (as_entity, "comapny", "'comapny' is no entity; did you mean company?; one of: company, opportunity"),
        (as_entity, "dead_letters", "'dead_letters' is no entity; one of: company, opportunity, opportunity_role"),
        (as_table, "persons", "'persons' has several tables; one of: lead, contact"),
        (as_table, "contcat", "'contcat' is no table; did you mean contact?; one of: account"),
        (as_table_or_entity, "phonecall", "'phonecall' is no table or entity; one of: account"),
    ],
)
def test_what_could_be_another_one_is_refused(parse: object, word: str, told: str) -> None:
    with pytest.raises(ArgumentTypeError) as refused:
        parse(word)  # type: ignore[operator]
    assert str(refused.value).startswith(told)


@pytest.mark.parametrize(
    ("line", "argument", "value"),
    [
        ("pause companies", "entity", "company"),
        ("resume Sales-Person", "entity", "sales_person"),
        ("lifecycle release accounts", "entity", "company"),
        ("dead-letters list --entity users", "entity", "sales_person"),
        (f"resync accounts {GUID}", "target", "account"),
        (f"resync persons {GUID}", "target", "person"),
        ("reconcile contacts companies", "tables", ["contact", "account"]),
        ("fields list Contacts", "table", "contact"),
        (f"link Contacts {GUID} 7", "table", "contact"),
        ("lifecycle preview leads", "table", "lead"),
        ("quick-sync accounts --fields city", "table", "account"),
        ("initial-sync plan --only contacts leads", "only", ["contact", "lead"]),
    ],
)
def test_every_command_understands_them(line: str, argument: str, value: object) -> None:
    assert getattr(parser().parse_args(line.split()), argument) == value
