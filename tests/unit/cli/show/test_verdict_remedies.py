"""What each verdict says to do: what brings the next state, until the record is synced."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.cli.command import Exit
from shared.cli.finding import Finding
from shared.cli.show.facts import (
    SALES_PERSON_EMAIL,
    Difference,
    Letter,
    Person,
    Relation,
    Role,
    Search,
    Subject,
    Unseen,
    Wait,
    Waiting,
)
from shared.cli.show.verdict import judge
from shared.marketo.usage import Closed
from shared.model.outcome import Parent
from shared.sync.circuit import Outage
from tests.support.values import NOON, guid

ME, ACCOUNT, USER, DEAL, OTHER, TIE = map(guid, range(1, 7))
COMPANY, SELLER = Parent("company", "account", ACCOUNT), Parent("sales_person", "systemuser", USER)
ROLE = Role(DEAL, "Buyer", True, False, "Big deal", rows=(("connection", TIE),))
CUSTOMER = replace(ROLE, role="Primary Contact", rows=())
NO_ROLE = Difference("role Buyer in Big deal", "Buyer", None, role=ROLE)
TITLE = Difference("title", "Boss", None)
QUEUED = Waiting("persons", routed=True, first_seen=NOON)
PARKED = Wait(COMPANY, NOON, NOON + timedelta(minutes=1))
REFUSED = Letter("dead-letters", "persons", "1003", "no name", "marketo", NOON, 1, "dead-letters/17")
PAUSED = Unseen("companies", "receiving is disabled", 4, 0, entity="company", resume="msisync resume company")
AWAY = Outage(NOON - timedelta(minutes=9), NOON + timedelta(minutes=1), "marketo 503: away")
SPENT = Closed(until=(NOON + timedelta(hours=17)).timestamp(), since=0, code="DayShareSpent", reason="share used up")


def me(**facts: Any) -> Subject:
    return Subject("contact", ME, "Pat Doe", **{"exists": True, "in_marketo": 0, **facts})


def account(**facts: Any) -> Subject:
    return Subject("account", ACCOUNT, "Acme", **{"exists": True, "in_marketo": 0, **facts})


def deals(**facts: Any) -> dict[str, Any]:
    return {"deals": {DEAL: Subject("opportunity", DEAL, "Big deal", **{"exists": True, "in_marketo": 0, **facts})}}


def tied(**facts: Any) -> dict[str, Any]:
    return deals(in_marketo=1) | {"ties": {TIE: Subject("connection", TIE, exists=True, **facts)}}


def verdict(subject: Subject, **around: Any) -> Finding:
    return judge(subject, Search(**{"at": NOON, "burst": timedelta(seconds=20), "parents": {}, **around}))


WITHOUT = me(in_marketo=1, differences=[NO_ROLE])
#: What is known, and the verdict with its code, its exit code and its remedy.
STEPS: dict[str, tuple[Subject, dict[str, Any], str, Exit, str]] = {
    "an opportunity that was never sent": (
        WITHOUT, deals(), "RoleMissing", Exit.ATTENTION, f"msisync resync opportunity_role {TIE}",
    ),
    "an opportunity that is on its way": (
        WITHOUT, deals(waiting=[replace(QUEUED, queue="deals")]), "RoleMissing", Exit.ATTENTION, "again in a moment",
    ),
    "a role that was never sent": (
        WITHOUT, tied(), "RoleMissing", Exit.ATTENTION, f"msisync resync opportunity_role {TIE}",
    ),
    "a role that is on its way": (
        WITHOUT, tied(waiting=[QUEUED]), "RoleMissing", Exit.ATTENTION, "again in a moment",
    ),
    "an opportunity whose own customer it is": (
        me(in_marketo=1, differences=[replace(NO_ROLE, role=CUSTOMER)]), deals(), "RoleMissing", Exit.ATTENTION,
        f"msisync resync opportunity {DEAL}",
    ),
    "an opportunity that Marketo refuses": (
        WITHOUT, deals(letters=[REFUSED]), "RoleMissing", Exit.FAILED,
        f"msisync dead-letters replay --id {DEAL} --apply",
    ),
    "a role whose own record is a dead letter": (
        WITHOUT, tied(letters=[REFUSED]), "RoleMissing", Exit.FAILED,
        f"msisync dead-letters replay --id {TIE} --apply",
    ),
    "an opportunity whose company is a dead letter": (
        WITHOUT, deals(parked=[PARKED]) | {"parents": {COMPANY: account(letters=[REFUSED])}}, "RoleMissing",
        Exit.FAILED, f"msisync dead-letters replay --id {ACCOUNT} --apply",
    ),
    "a change that was never posted": (me(), {}, "NotInMarketo", Exit.FAILED, f"msisync resync contact {ME}"),
    "a change that is on its way": (me(waiting=[QUEUED]), {}, "Queued", Exit.ATTENTION, "again in a moment"),
    "values that differ, and a role": (
        me(in_marketo=1, differences=[TITLE, NO_ROLE]), deals(), "Differs", Exit.FAILED, f"resync contact {ME}",
    ),
    "the queue of the parent is paused": (
        me(parked=[PARKED]), {"parents": {COMPANY: account()}, "unseen": [PAUSED]}, "WaitingForParent",
        Exit.ATTENTION, "msisync resume company",
    ),
    "the parent is on its way": (
        me(parked=[PARKED]), {"parents": {COMPANY: account(waiting=[replace(QUEUED, queue="companies")])}},
        "WaitingForParent", Exit.ATTENTION, "again in a moment",
    ),
    "its own queue is paused": (
        me(), {"unseen": [replace(PAUSED, queue="persons", entity="person", resume="msisync resume person")]},
        "Paused", Exit.ATTENTION, "msisync resume person",
    ),
    "the routing is paused, and nobody may count": (
        me(), {"unseen": [Unseen("changes", "receiving is disabled", resume="msisync resume --routing")]},
        "Paused", Exit.ATTENTION, "msisync resume --routing",
    ),
    "the root is a dead letter, two levels up": (
        me(parked=[PARKED]),
        {
            "parents": {
                COMPANY: account(parked=[Wait(SELLER, NOON)]),
                SELLER: Subject("systemuser", USER, "Sam", exists=True, in_marketo=0, letters=[REFUSED]),
            }
        },
        "WaitingForParent", Exit.FAILED, f"msisync dead-letters replay --id {USER} --apply",
    ),
    "Marketo is away": (
        me(waiting=[QUEUED]), {"outages": {"person": AWAY}}, "Outage", Exit.ATTENTION, "msisync doctor",
    ),
    "Marketo's day is used up": (
        me(waiting=[QUEUED]), {"closed": SPENT}, "Outage", Exit.ATTENTION, "MARKETO_DAILY_SHARE",
    ),
    "the app does not run": (
        me(waiting=[QUEUED]), {"silent": "the app is silent"}, "AppSilent", Exit.ATTENTION, "#app-silent",
    ),
    "the sales person has another address": (
        me(in_marketo=1, differences=[Difference(SALES_PERSON_EMAIL, "a@b.example", "c@d.example")]), {},
        "Differs", Exit.FAILED, f"msisync resync contact {ME}",
    ),
    "a dead letter of what was fixed by hand": (
        me(in_marketo=1, letters=[REFUSED]), {}, "Synced", Exit.OK, f"msisync dead-letters discard --id {ME} --apply",
    ),
    "a row that is gone left a dead letter": (
        me(exists=False, letters=[REFUSED]), {}, "GoneInDynamics", Exit.FAILED,
        f"msisync dead-letters discard --id {ME} --apply",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_each_verdict_says_what_brings_the_next(name: str) -> None:
    subject, around, code, exit_, step = STEPS[name]
    found = verdict(subject, **around)
    assert (found.code, found.exit) == (code, exit_), found.text
    assert step in found.remedy
    assert "save the row" not in found.remedy, "saving a row as it is sends nothing"


def test_an_opportunity_that_was_never_sent_is_named() -> None:
    found = verdict(WITHOUT, **deals())
    assert found.text == (
        f"contact Pat Doe ({ME}) is in Marketo as it is in Dynamics, but opportunity Big deal ({DEAL}) was not sent yet"
    )
    assert "its role in opportunity Big deal" in verdict(WITHOUT, **tied()).text


def test_several_opportunities_are_sent_by_one_command() -> None:
    gives = (("connection", OTHER), ("connection", ACCOUNT))  # a connection and its mirrored row
    roles = [ROLE, replace(ROLE, opportunity=OTHER, rows=gives), CUSTOMER, replace(CUSTOMER, opportunity=OTHER)]
    missing = [Difference(f"role {role.role}", role.role, None, role=role) for role in roles]
    found = verdict(me(in_marketo=1, differences=missing), **deals())
    assert found.remedy == (f"msisync resync opportunity_role {TIE} {OTHER}; msisync resync opportunity {DEAL} {OTHER}")
    assert "(the same of 3 more)" in found.text


def test_an_outage_says_why_and_when_it_is_tried_again() -> None:
    found = verdict(me(waiting=[QUEUED]), outages={"person": AWAY})
    assert "no calls for person since 2026-03-04T11:51:00.000Z (marketo 503: away)" in found.text
    assert "tried again automatically at 2026-03-04T12:01:00.000Z" in found.text
    assert verdict(me(waiting=[QUEUED]), outages={"dataverse": AWAY}).code == "Outage"
    assert verdict(me(waiting=[QUEUED]), outages={"company": AWAY}).code == "Queued", "another entity's"


def test_the_root_of_a_chain_is_in_the_sentence_with_its_address() -> None:
    subject, around, *_ = STEPS["the root is a dead letter, two levels up"]
    text = verdict(subject, **around).text
    for word in ("company, account Acme", "sales person, systemuser Sam", "dead-letters/17", "1003"):
        assert word in text


def test_a_queue_that_another_entity_has_hides_nothing_of_a_record() -> None:
    in_use = Unseen("persons", "the app is working on it now", 3, 0, entity="person")
    found = verdict(me(parked=[PARKED]), parents={COMPANY: account()}, unseen=[in_use])
    assert "may be among" not in found.text
    assert found.remedy.startswith(f"msisync resync account {ACCOUNT}")


def test_what_was_replayed_often_needs_again() -> None:
    found = verdict(me(letters=[replace(REFUSED, replays=3)]))
    assert f"msisync dead-letters replay --id {ME} --again --apply" in found.remedy


def test_the_address_of_the_sales_person_is_sent_by_the_sales_person() -> None:
    subject = me(in_marketo=1, differences=[Difference(SALES_PERSON_EMAIL, "a@b.example", "c@d.example")])
    search = Search([Person(subject, relations=[Relation("externalSalesPersonId", SELLER, "…")])], at=NOON)
    assert judge(subject, search).remedy.startswith(f"msisync resync systemuser {USER}")
