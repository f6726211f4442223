"""What an operator reads: the verdict first, every fact on a line of its own, nothing taken for markup."""

import json
from typing import Any

from shared.cli.finding import failed
from shared.cli.show.command import as_json
from shared.cli.show.facts import Difference, Letter, Person, Relation, Role, Search, Subject, Unseen, Wait, Waiting
from shared.cli.show.text import render
from shared.model.outcome import Parent
from tests.support.commands import printed
from tests.support.values import NOON

ACCOUNT = Parent("company", "account", "7a1d9f40-1c52-ef11-a316-000d3a5b7c01")
VERDICT = failed("Pat [bold]Doe[/bold] is in Marketo, but …", "save the row", code="Differs")


def everything() -> Search:
    subject = Subject("contact", "2e6d9f40-1c52-ef11-a316-000d3a5b7c8d", "Pat [bold]Doe[/bold]", exists=True)
    subject.in_marketo = 1
    subject.differences = [Difference("title", "Boss", None, "it was changed")]
    subject.waiting = [Waiting("persons", routed=True, first_seen=NOON, due=NOON, attempt=2)]
    subject.letters = [Letter("dead-letters", "persons", "1003", "Invalid value", "marketo", NOON, 3)]
    subject.parked = [Wait(ACCOUNT, NOON, NOON)]
    person = Person(
        subject,
        row={"contactid": subject.id},
        details={"email": "pat@customer.example", "state": "active", "modifiedon": "2026-03-04T11:00:00Z"},
        relations=[
            Relation("externalSalesPersonId", None, "the row has no owner"),
            Relation("externalCompanyId", ACCOUNT, "the row's account", "Acme", exists=True, in_marketo=None),
        ],
        records=[{"id": 17, "externalPersonId": subject.id, "email": "pat@customer.example"}],
        same_email=[{"id": 18, "externalPersonId": None}],
        roles=[Role("deal", "Influencer", True, False, "Big deal", "the opportunity is not in Marketo")],
        children=1000,
        notes=["a note"],
        verdict=VERDICT,
    )
    return Search(
        [person], {ACCOUNT: Subject("account", ACCOUNT.id)}, {"persons": 7},
        [Unseen("companies", "the app is working on it now", 3, 1)], {"Table Storage": "it does not answer"},
    )  # fmt: skip


def text_of(search: Search, **options: Any) -> str:
    return printed(lambda console: render(console, search), **options)


def test_everything_is_printed_and_nothing_is_markup() -> None:
    lines = [line.strip() for line in text_of(everything(), width=40, soft_wrap=True).splitlines()]
    assert lines[:2] == ["Differs Pat [bold]Doe[/bold] is in Marketo, but …", "next: save the row"]
    for expected in (
        "active, modified 2026-03-04T11:00:00Z",
        "sales person: none; the row has no owner",
        f"company: Acme (account {ACCOUNT.id}), the row's account",
        "in Dynamics: yes; in Marketo: unknown",
        "persons: record, first seen 2026-03-04T12:00:00.000Z, not before 2026-03-04T12:00:00.000Z, 2 counted tries",
        "dead-letters: 1003 (marketo), Invalid value",
        f"parked since 2026-03-04T12:00:00.000Z: waits for company {ACCOUNT.id}, next look at 2026-03-04T12:00:00.000Z",
        "1000 or more records wait for this one",
        "differs: title is empty, expected Boss (it was changed)",
        "same e-mail: record 18: externalPersonId empty",
        "Influencer in Big deal: in Dynamics; the opportunity is not in Marketo",
        "a note",
        "persons: 7",
        "companies: the app is working on it now; the broker counts 3 waiting, 1 scheduled",
        "Table Storage: it does not answer",
    ):
        assert expected in lines


def test_the_json_has_json_types_only() -> None:
    data = as_json("pat@customer.example", everything(), VERDICT)
    again = json.loads(json.dumps(data))
    (person,) = again["persons"]
    assert person["verdict"] == again["verdict"]
    assert "values" not in person
    assert person["subject"]["parked"][0]["since"] == "2026-03-04T12:00:00.000Z"
    assert again["parents"][0]["entity"] == "company"
    assert [each["queue"] for each in again["not_looked_at"]] == ["companies", "Table Storage"]


def marketo_lines(**facts: object) -> str:
    search = everything()
    (person,) = search.persons
    for name, value in facts.items():
        setattr(person.subject if hasattr(person.subject, name) else person, name, value)
    return text_of(search, soft_wrap=True)


def test_of_an_id_of_another_table_only_the_verdict_is_said() -> None:
    search = everything()
    search.persons, search.others = [Person(Subject("", ACCOUNT.id, exists=False))], [Subject("connection", ACCOUNT.id)]
    search.persons[0].verdict = failed("it is no lead or contact, but connection 1", "", code="NotFound")
    assert text_of(search).startswith("NotFound it is no lead or contact, but connection 1\n\nMessages looked at\n")


def test_where_a_person_comes_from_is_said() -> None:
    lead = ACCOUNT.id
    assert f"continues lead {lead}" in marketo_lines(origin=lead, origin_person=0)
    assert "merge it into this one" in marketo_lines(origin=lead, origin_person=5)
    assert f"continues the person of lead {lead}: 5" in marketo_lines(origin=lead, origin_person=5, records=[])
    assert "continues" not in marketo_lines(origin=lead, origin_person=0, records=[])
    assert f"comes from lead {lead}" in marketo_lines(origin=lead)
    assert f"qualified into contact {lead}" in marketo_lines(qualified=True, winner=f"contact {lead}")
    assert f"merged into contact {lead}" in marketo_lines(winner=f"contact {lead}")


def test_the_candidates_of_an_ambiguous_row_are_named_with_the_command() -> None:
    ambiguous = Letter("dead-letters", "persons", "AmbiguousPerson", "2 persons", "msisync", NOON, 1)
    text = marketo_lines(lookalikes=[5, 6], letters=[ambiguous])
    assert "may be person 5, 6: msisync link contact" in text
    assert "may be" not in marketo_lines(lookalikes=[5, 6])
