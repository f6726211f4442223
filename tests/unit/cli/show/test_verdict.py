"""Where a record stands: each constellation of facts has one code, and a sentence that names what matters."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.cli.command import Exit
from shared.cli.finding import Finding
from shared.cli.show.facts import Difference, Letter, Search, Subject, Unseen, Wait, Waiting
from shared.cli.show.verdict import judge
from shared.config.sync_toml import LifecyclePolicy
from shared.model.outcome import LeftOut, Parent, WillNotCome, of_company
from tests.support.values import ROOT
from tests.unit.cli.show.test_verdict_remedies import STEPS

NOW = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)
ID = "2e6d9f40-1c52-ef11-a316-000d3a5b7c8d"
ACCOUNT = Parent("company", "account", "7a1d9f40-1c52-ef11-a316-000d3a5b7c01")
USER = Parent("sales_person", "systemuser", "9b1d9f40-1c52-ef11-a316-000d3a5b7c02")

TITLE = Difference("title", "Boss", None)
EMAIL = Difference("email", "a@b.example", None)
UNFIT = LeftOut("email", "NotAnAddress", "no e-mail address", "text of 12 characters")
REFUSED_TITLE = LeftOut("title", "1003", "Invalid value for field 'title'", "text of 4 characters")
NOTIFIED = Waiting("dynamics-changes", routed=False, notification="Update")
QUEUED = Waiting("persons", routed=True, first_seen=NOW - timedelta(seconds=5))
RETRIED = Waiting("persons", routed=True, first_seen=NOW, due=NOW + timedelta(seconds=60), attempt=2)
THROTTLED = Waiting("persons", routed=True, first_seen=NOW, due=NOW + timedelta(minutes=5))
PUT_OFF = Waiting("persons", routed=True, first_seen=NOW - timedelta(hours=1), due=NOW + timedelta(seconds=5))
COLLECTED = Waiting("persons", routed=True, first_seen=NOW, due=NOW + timedelta(seconds=15))
REFUSED = Letter("dead-letters", "persons", "1003", "Invalid value for field 'email'", "marketo", NOW, 1)
PARKED = Wait(ACCOUNT, NOW - timedelta(minutes=3), NOW + timedelta(minutes=1))
IN_USE = Unseen("persons", "the app is working on it now", 3, 1)
EMPTY = Unseen("persons", "the app is working on it now", 0, 0)
UNCOUNTED = Unseen("persons", "receiving is disabled")


def person(**facts: Any) -> Subject:
    return Subject("contact", ID, "Pat Doe", **{"exists": True, "in_marketo": 0, **facts})


def verdict(subject: Subject, **around: Any) -> Finding:
    given: dict[str, Any] = {"at": NOW, "burst": timedelta(seconds=20), "parents": {}, **around}
    return judge(subject, Search(**given))


DELETES = {"lifecycle": LifecyclePolicy(person="delete")}
BRAKED = Letter("dead-letters", "persons", "DeleteBrake", "its row is gone", "msisync", NOW, 1)
CASES: dict[str, tuple[Subject, dict[str, Any], str, Exit, list[str]]] = {
    "as it is in Dynamics": (person(in_marketo=1), {}, "Synced", Exit.OK, ["Pat Doe", ID]),
    "synced, another change comes": (
        person(in_marketo=1, waiting=[QUEUED]), {}, "Synced", Exit.OK, ["another change"],
    ),
    "a lead that has become a contact": (
        person(qualified=True, winner=f"contact {USER.id}"), {}, "Qualified", Exit.OK, [f"into contact {USER.id}"],
    ),
    "a lead that has become a contact which is not synced": (person(qualified=True), {}, "Qualified", Exit.OK, []),
    "a lead whose contact has not taken its person yet": (
        person(qualified=True, in_marketo=1, differences=[TITLE]), {}, "Differs", Exit.FAILED, [],
    ),
    "merged away before it was synced": (
        person(winner=f"contact {USER.id}"), {}, "Merged", Exit.OK, ["nothing is created", f"into contact {USER.id}"],
    ),
    "merged away, and kept": (
        person(winner=f"contact {USER.id}", in_marketo=1, differences=[TITLE]), {}, "Merged", Exit.OK, ["keeps"],
    ),
    "merged away, and not merged in Marketo": (
        person(winner=f"contact {USER.id}", in_marketo=1, differences=[TITLE]),
        {"lifecycle": LifecyclePolicy(merged="merge")}, "Differs", Exit.FAILED, [],
    ),
    "merged away, and on its way": (
        person(winner=f"contact {USER.id}", waiting=[QUEUED]), {}, "Queued", Exit.ATTENTION, [],
    ),
    "differs, and nothing comes": (
        person(in_marketo=1, differences=[TITLE]), {}, "Differs", Exit.FAILED, ["title", "nothing waits"],
    ),
    "synced without a field that its row has an unfit value for": (
        person(in_marketo=1, left_out=[UNFIT]), {}, "FieldsLeftOut", Exit.FAILED,
        ["email", "NotAnAddress", "text of 12 characters"],
    ),
    "linked, and a field of its company is mapped": (
        person(in_marketo=1, left_out=[of_company("companyTier")]), {}, "FieldsLeftOut", Exit.FAILED, ["companyTier"],
    ),
    "differs by a field of the company that it has left": (
        person(in_marketo=1, differences=[Difference("companyTier", "A", "B")], left_out=[of_company("companyTier")]),
        {}, "FieldsLeftOut", Exit.FAILED, ["companyTier", "CompanyField"],
    ),
    "differs by a field that marketo refuses": (
        person(in_marketo=1, differences=[TITLE], left_out=[REFUSED_TITLE]), {}, "FieldsLeftOut", Exit.FAILED,
        ["title", "1003", "text of 4 characters"],
    ),
    "differs by more than what marketo refuses": (
        person(in_marketo=1, differences=[TITLE, EMAIL], left_out=[REFUSED_TITLE]), {}, "Differs", Exit.FAILED,
        ["email"],
    ),
    "refused once, and right by now": (person(in_marketo=1, left_out=[REFUSED_TITLE]), {}, "Synced", Exit.OK, []),
    "differs, and a change comes": (
        person(in_marketo=1, differences=[TITLE], waiting=[QUEUED]), {}, "Queued", Exit.ATTENTION, ["persons"],
    ),
    "differs, as the dead letter says": (
        person(in_marketo=1, differences=[TITLE], letters=[REFUSED]), {}, "DeadLettered", Exit.FAILED, ["1003"],
    ),
    "kept out": (person(kept_out="new_synctomkto is No"), {}, "Filtered", Exit.OK, ["new_synctomkto is No"]),
    "kept out, still in Marketo": (
        person(kept_out="new_synctomkto is No", in_marketo=1, differences=[TITLE]),
        {}, "Filtered", Exit.OK, ["no longer updated"],
    ),
    "kept out while a change comes": (person(kept_out="No", waiting=[QUEUED]), {}, "Filtered", Exit.OK, []),
    "not read by the app": (
        person(waiting=[NOTIFIED]), {}, "NotSentYet", Exit.ATTENTION, ["dynamics-changes"],
    ),
    "routed as well": (person(waiting=[NOTIFIED, QUEUED]), {}, "Queued", Exit.ATTENTION, ["persons"]),
    "collected in a burst": (person(waiting=[COLLECTED]), {}, "Queued", Exit.ATTENTION, []),
    "tried before": (
        person(waiting=[RETRIED]), {}, "Retrying", Exit.ATTENTION, ["2 counted tries", "2026-03-04T10:01:00.000Z"],
    ),
    "put off without a counted try": (person(waiting=[THROTTLED]), {}, "Retrying", Exit.ATTENTION, ["10:05:00"]),
    "put off for an hour already": (person(waiting=[PUT_OFF]), {}, "Retrying", Exit.ATTENTION, []),
    "tried again after a dead letter": (
        person(waiting=[RETRIED], letters=[REFUSED]), {}, "Retrying", Exit.ATTENTION, [],
    ),
    "refused": (
        person(letters=[REFUSED]), {}, "DeadLettered", Exit.FAILED, ["1003", "Invalid value for field 'email'"],
    ),
    "refused twice": (
        person(letters=[Letter("dead-letters", "persons", "1001", "old"), REFUSED]),
        {}, "DeadLettered", Exit.FAILED, ["1003"],
    ),
    "the queue is worked on": (
        person(), {"unseen": [IN_USE]}, "Queued", Exit.ATTENTION, ["4 messages of persons", "working on it"],
    ),
    "differs while the queue is worked on": (
        person(in_marketo=1, differences=[TITLE]), {"unseen": [IN_USE]}, "Queued", Exit.ATTENTION, ["may be"],
    ),
    "the queue is held, but empty": (person(), {"unseen": [EMPTY]}, "NotInMarketo", Exit.FAILED, ["never posted"]),
    "a queue that nobody can count": (
        person(), {"unseen": [UNCOUNTED]}, "NotInMarketo", Exit.FAILED, ["not known", "receiving is disabled"],
    ),
    "more dead letters than were looked at": (
        person(), {"unseen": [Unseen("dead-letters", "only its first 5000", 9000, 0, moves=False)]},
        "NotInMarketo", Exit.FAILED, ["not known", "dead-letters (only its first 5000)"],
    ),
    "the broker is away": (
        person(), {"troubles": {"Service Bus": "cannot be reached"}}, "NotInMarketo", Exit.FAILED,
        ["not known: Service Bus (cannot be reached)"],
    ),
    "storage is away": (
        person(in_marketo=1, differences=[TITLE]), {"troubles": {"Table Storage": "no answer"}},
        "Differs", Exit.FAILED, ["Table Storage (no answer)"],
    ),
    "the broker is away, and it does not matter": (
        person(in_marketo=1), {"troubles": {"Service Bus": "cannot be reached"}}, "Synced", Exit.OK, [],
    ),
    "twice by key": (
        person(in_marketo=2, letters=[REFUSED]), {}, "DuplicateInMarketo", Exit.FAILED, ["2 records"],
    ),
    "twice by e-mail": (
        person(in_marketo=1, lookalikes=[77]), {}, "DuplicateInMarketo", Exit.FAILED, ["record 77"],
    ),
    "gone, with a record": (
        person(exists=False, in_marketo=1), DELETES, "GoneInDynamics", Exit.FAILED, ["Marketo has its record"],
    ),
    "gone, kept": (person(exists=False, in_marketo=1), {}, "Kept", Exit.OK, ["Marketo keeps its record"]),
    "gone, flagged": (
        person(exists=False, in_marketo=1, flagged=True), DELETES, "Flagged", Exit.OK,
        ["deleted in Dynamics, and flagged as deleted in Marketo"],
    ),
    "gone, its deletion is on its way": (
        person(exists=False, in_marketo=1, waiting=[QUEUED]), DELETES, "Queued", Exit.ATTENTION, ["waits in"],
    ),
    "gone, stopped by the brake": (
        person(exists=False, in_marketo=1, letters=[BRAKED]), DELETES, "DeadLettered", Exit.FAILED, ["DeleteBrake"],
    ),
    "gone, with a message": (
        person(exists=False, waiting=[NOTIFIED]), {}, "GoneInDynamics", Exit.FAILED, ["dynamics-changes"],
    ),
    "nowhere": (Subject("", ID, exists=False, in_marketo=0), {}, "NotFound", Exit.FAILED, [ID]),
    "a row of another table": (
        Subject("", ACCOUNT.id, exists=False, in_marketo=0),
        {"others": [Subject("account", ACCOUNT.id, "Acme", True, in_marketo=1)]}, "NotFound", Exit.FAILED,
        ["not a lead or contact, but account Acme", "which is in Marketo"],
    ),
    "a row of another table that is a dead letter": (
        Subject("", ACCOUNT.id, exists=False, in_marketo=0, letters=[REFUSED]),
        {"others": [Subject("account", ACCOUNT.id, "Acme", True, in_marketo=0)]}, "DeadLettered", Exit.FAILED,
        ["account Acme", "1003"],
    ),
    "nowhere, for it is deleted": (
        Subject("", ID, exists=False, in_marketo=0), DELETES, "NotFound", Exit.FAILED, ["is deleted in Marketo too"],
    ),
    "Dynamics is away": (
        Subject("", ID, in_marketo=1), {"troubles": {"Dynamics": "AADSTS50126: …"}}, "Unknown", Exit.FAILED,
        ["AADSTS50126"],
    ),
    "Dynamics is away, a message is there": (
        Subject("", ID, in_marketo=1, waiting=[QUEUED]), {"troubles": {"Dynamics": "away"}},
        "Queued", Exit.ATTENTION, [],
    ),
    "Marketo is away": (
        person(in_marketo=None, differences=None), {"troubles": {"Marketo": "603: denied"}}, "Unknown", Exit.FAILED,
        ["603"],
    ),
    "Marketo is away, the record is queued": (
        person(in_marketo=None, waiting=[QUEUED]), {"troubles": {"Marketo": "603"}}, "Queued", Exit.ATTENTION, [],
    ),
    "Marketo is away, a dead letter is there": (
        person(in_marketo=None, letters=[REFUSED]), {"troubles": {"Marketo": "603"}}, "DeadLettered", Exit.FAILED, [],
    ),
    "nobody knows the mapping": (
        person(in_marketo=1, differences=None), {"troubles": {"the mapping": "FilterColumnMissing"}},
        "Unknown", Exit.FAILED, ["FilterColumnMissing"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_each_constellation_has_its_verdict(name: str) -> None:
    subject, around, code, exit_, words = CASES[name]
    found = verdict(subject, **around)
    assert (found.code, found.exit) == (code, exit_)
    assert [word for word in words if word not in found.text] == []
    assert bool(found.remedy) is (exit_ is not Exit.OK)


def account(**facts: Any) -> Subject:
    return Subject("account", ACCOUNT.id, "Acme", **{"exists": True, "in_marketo": 0, **facts})


PARENTS: dict[str, tuple[Subject, Exit, str, list[str]]] = {
    "refused": (account(letters=[REFUSED]), Exit.FAILED, "DeadLettered", ["1003"]),
    "queued": (account(waiting=[QUEUED]), Exit.ATTENTION, "Queued", []),
    "waiting itself": (
        account(parked=[Wait(USER, NOW)]), Exit.ATTENTION, "WaitingForParent", ["sales person", USER.id],
    ),
    "gone": (account(exists=False), Exit.FAILED, "NotFound", []),
    "never posted": (account(), Exit.FAILED, "NotInMarketo", ["never posted"]),
}  # fmt: skip


@pytest.mark.parametrize("name", PARENTS)
def test_who_waits_for_a_parent_is_told_why_that_is_missing(name: str) -> None:
    parent, exit_, code, words = PARENTS[name]
    found = verdict(person(parked=[PARKED]), parents={ACCOUNT: parent})
    assert (found.code, found.exit) == ("WaitingForParent", exit_)
    wanted = ["Pat Doe", "its company, account Acme", ACCOUNT.id, "2026-03-04T09:57:00.000Z", f"[{code}]", *words]
    assert [word for word in wanted if word not in found.text] == []
    assert found.remedy


@pytest.mark.parametrize("parent", [account(in_marketo=1), account(kept_out="new_synctomkto is No")])
def test_a_parent_that_keeps_nobody_up_any_more(parent: Subject) -> None:
    found = verdict(person(parked=[PARKED]), parents={ACCOUNT: parent})
    assert (found.code, found.exit) == ("WaitingForParent", Exit.ATTENTION)
    assert "2026-03-04T10:01:00.000Z" in found.text


LATER = replace(PARKED, linked_later=True)
UNLINKED = Difference("externalCompanyId", ACCOUNT.id, None)
NOTED = WillNotCome("1003", "Invalid value for field 'company'", NOW)


@pytest.mark.parametrize("name", PARENTS)
def test_who_is_in_marketo_without_a_link_is_told_why_and_that_it_follows(name: str) -> None:
    parent, exit_, code, words = PARENTS[name]
    subject = person(in_marketo=1, differences=[UNLINKED], parked=[LATER])
    found = verdict(subject, parents={ACCOUNT: parent})
    assert (found.code, found.exit) == ("LinkedLater", exit_)
    wanted = ["Pat Doe", "without the link to its company, account Acme", f"[{code}]", *words]
    assert [word for word in wanted if word not in found.text] == []
    assert found.remedy.endswith("the link follows automatically")


def test_another_difference_is_told_first() -> None:
    subject = person(in_marketo=1, differences=[UNLINKED, TITLE], parked=[LATER])
    assert verdict(subject, parents={ACCOUNT: account()}).code == "Differs"


@pytest.mark.parametrize(
    ("cause", "remedy"),
    [
        (NOTED, f"msisync dead-letters replay --id {ACCOUNT.id} --apply"),
        (replace(NOTED, code="RowHidden"), "Read on the table"),
        (replace(NOTED, code="UserWithoutMail", skipped=True), "give the user an e-mail address"),
    ],
)
def test_a_parent_s_note_tells_the_cause_where_no_dead_letter_is_seen(cause: WillNotCome, remedy: str) -> None:
    subject = person(in_marketo=1, differences=[UNLINKED], parked=[replace(LATER, cause=cause)])
    found = verdict(subject, parents={ACCOUNT: account(exists=cause.code != "RowHidden")})
    assert (found.code, found.exit) == ("LinkedLater", Exit.FAILED)
    assert f"{cause.code}, {cause.message}" in found.text
    assert remedy in found.remedy


def test_a_row_that_is_hidden_is_not_taken_for_gone() -> None:
    hidden = Letter("dead-letters", "persons", "RowHidden", "the row is there", "dataverse", NOW, 1)
    found = verdict(person(exists=False, letters=[hidden]))
    assert (found.code, found.exit) == ("DeadLettered", Exit.FAILED)
    assert "Read on the table" in found.remedy


def test_a_queue_comes_before_parking_and_parking_before_dead_letters() -> None:
    parents = {ACCOUNT: account()}
    assert verdict(person(parked=[PARKED], waiting=[QUEUED]), parents=parents).code == "Queued"
    assert verdict(person(parked=[PARKED], letters=[REFUSED]), parents=parents).code == "WaitingForParent"


@pytest.mark.parametrize(
    ("code", "system", "remedy"),
    [
        ("1007", "marketo", "merge the records in Marketo"),
        ("ParentMissing", "msisync", "why the parent does not sync"),
        ("AmbiguousPerson", "msisync", "msisync link"),
        ("UnknownTable", "msisync", "sync.toml"),
        ("MaxDeliveryCountExceeded", "service bus", "the app's log"),
        ("1018", "marketo", "msisync doctor"),
        ("1003", "marketo", "correct the row"),
        ("CannotMap", "msisync", "correct the row"),
        ("0x80048306", "dataverse", "let the sync user read and write the row"),
        ("0x80040265", "dataverse", "which plug-in"),
    ],
)
def test_a_dead_letter_says_what_to_do(code: str, system: str, remedy: str) -> None:
    found = verdict(person(letters=[Letter("dead-letters", "persons", code, "…", system)]))
    assert remedy in found.remedy


def test_each_code_is_in_the_documentation_and_no_other() -> None:
    page = (ROOT / "docs/commands/show-person.md").read_text(encoding="utf-8")
    table = page.partition("| verdict |")[2].partition("\n\n")[0]
    told = {code for line in table.splitlines() for code in re.findall(r"`(\w+)`", line.split("|")[1])}
    tried = {code for _, _, code, *_ in (*CASES.values(), *STEPS.values())}
    assert told == tried | {"LinkedLater"}


def test_a_field_of_the_company_is_to_be_mapped_for_accounts_and_not_corrected_in_the_row() -> None:
    only = verdict(person(in_marketo=1, left_out=[of_company("companyTier")]))
    assert only.remedy == "map companyTier in [account.fields] of sync.toml instead"
    both = verdict(person(in_marketo=1, left_out=[UNFIT, of_company("companyTier")]))
    assert both.remedy.startswith("correct what email is made from")
    assert both.remedy.endswith("map companyTier in [account.fields] of sync.toml instead")
