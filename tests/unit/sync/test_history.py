"""What the history says of records: each outcome as a line, and each line as a sentence, without values."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.azure.history_tables import Row
from shared.model.entities import COMPANY, OPPORTUNITY_ROLE, PERSON
from shared.model.outcome import (
    SAME_ADDRESS,
    Deferred,
    Failed,
    Later,
    LeftOut,
    Merged,
    Outcome,
    Parent,
    Removed,
    Retry,
    Skipped,
    Synced,
)
from shared.model.record import Record
from shared.sync.history import PHRASES, Event, What, events_of, row_of
from shared.sync.history_steps import MOST_NAMES, received, settled
from shared.sync.storms import COVERED
from tests.support.values import guid

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
CONTACT = Record("contact", guid(1), NOON, correlation_id="c-1")
ACCOUNT, LEAD, WINNER = (
    Parent("company", "account", guid(2)), Parent("person", "lead", guid(3)), Parent("person", "contact", guid(4)),
)  # fmt: skip
LEFT_OUT = LeftOut("email", "1003", "Invalid value for field 'email'", "text of 12 characters")


def events(outcome: Outcome, record: Record = CONTACT) -> list[Event]:
    return events_of(row_of(line) for line in settled(PERSON, [(record, outcome)], NOON))


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (Synced("created", marketo_id=1017), "created in Marketo: Marketo id 1017"),
        (Synced("updated", left_out=(LEFT_OUT,)), "updated in Marketo: without the fields email (1003)"),
        (Synced("updated", (ACCOUNT,)), f"updated in Marketo: without the links to account {guid(2)}"),
        (
            Synced("adopted", marketo_id=1017, found_by=SAME_ADDRESS),
            "went on as a person that Marketo had: Marketo id 1017; found by its e-mail address",
        ),
        (COVERED, "covered: a later read of its row was sent a moment before"),
        (Synced("known"), "Marketo had it already"),
        (Skipped("Filtered"), "not sent: Filtered"),
        (Removed("deleted", "RowGone", "1017"), "deleted in Marketo: Marketo id 1017; RowGone"),
        (Removed("flagged", "Deleted"), "flagged as deleted in Marketo: Deleted"),
        (Deferred((ACCOUNT,)), f"parked: waits for account {guid(2)}"),
        (Retry(60, "1029", "Too many jobs", counted=True), "to be tried again: 1029; in 60 s; counted tries: 1"),
        (Failed("1007", "…", "marketo"), "became a dead letter: 1007; said by marketo; counted tries: 1"),
    ],
)
def test_an_outcome_is_a_sentence(outcome: Outcome, text: str) -> None:
    (event,) = events(outcome)
    assert event.text == text
    assert (event.table, event.id, event.at, event.correlation_id) == ("contact", guid(1), NOON, "c-1")


def test_marketo_s_request_and_the_run_are_named() -> None:
    (event,) = events(Synced("created", request_id="14d8#1"), replace(CONTACT, run="r-1|7"))
    assert (event.request_id, event.run) == ("14d8#1", "r-1|7")


def test_what_was_parked_says_that_it_is_released_and_a_replay_that_it_is_one() -> None:
    released, sent = events(Synced("updated"), replace(CONTACT, released=True, replays=2))
    assert released.what == What.RELEASED
    assert sent.text == "updated in Marketo: after replay 2"


def test_a_parent_says_that_somebody_waits_for_it_and_a_quick_sync_what_was_sent() -> None:
    (event,) = events(Synced("updated"), replace(CONTACT, requested=True, fields=("city", "title")))
    assert event.text == ("updated in Marketo: asked for by a record that waits for it; only the fields city, title")


def test_a_merge_is_told_of_both_rows_with_both_of_marketo_s_ids() -> None:
    loser, winner = events(Merged("Merged", WINNER, "merged", "1017", 1018))
    assert (loser.id, winner.id) == (guid(1), guid(4))
    assert loser.text == (
        f"its row was merged into another one: into contact {guid(4)}; its record in Marketo was merged; "
        "Marketo id 1017; Marketo id 1018"
    )
    assert winner.text == (
        f"another row was merged into it: from contact {guid(1)}; its record in Marketo was merged; Marketo id 1018"
    )


@pytest.mark.parametrize(
    "outcome",
    [
        *(Retry(60, code, "…") for code in ("CircuitOpen", "LeaseHeld", "StorageAway", "OutOfTime", "InFlight")),
        Later("FillsACall"),
    ],
)
def test_what_waits_with_all_others_leaves_no_line(outcome: Outcome) -> None:
    assert not events(outcome)


def test_an_opportunity_s_roles_are_not_the_opportunity() -> None:
    record = Record("opportunity", guid(5), NOON)
    (event,) = events_of(row_of(line) for line in settled(OPPORTUNITY_ROLE, [(record, Synced("updated"))], NOON))
    assert event.text == "roles: updated in Marketo"
    account = Record("account", guid(5), NOON)
    (own,) = events_of(row_of(line) for line in settled(COMPANY, [(account, Synced("updated"))], NOON))
    assert own.text == "updated in Marketo"


def test_a_change_that_waited_long_says_since_when() -> None:
    records = [CONTACT, replace(CONTACT, operation="delete")]
    quick, late = events_of(
        row_of(line)
        for record, after in zip(records, (3, 90), strict=True)
        for line in received([record], NOON + timedelta(seconds=after))
    )
    assert quick.text == "received: by notification"
    assert late.text == "received: by notification; deletion; in the queue since 2026-03-04T12:00:00.000Z"


def test_a_long_list_of_names_is_cut() -> None:
    many = tuple(replace(LEFT_OUT, field=f"f{n}") for n in range(MOST_NAMES + 3))
    (event,) = events(Synced("updated", left_out=many))
    assert event.facts["left_out"][-1] == "and 3 more"
    assert len(event.facts["left_out"]) == MOST_NAMES + 1


def test_neither_a_reason_s_sentence_nor_a_value_s_look_is_kept() -> None:
    text = "".join(
        row_of(line).text for line in settled(PERSON, [(CONTACT, Synced("updated", left_out=(LEFT_OUT,)))], NOON)
    )
    failed = "".join(row_of(line).text for line in settled(PERSON, [(CONTACT, Failed("1007", "Ada is twice"))], NOON))
    assert "Invalid" not in text
    assert "12 characters" not in text
    assert "Ada" not in failed


def test_everything_that_can_happen_has_its_words() -> None:
    assert all(what.text for what in What)
    told = [fact for outcome in (Synced("adopted"), Retry(1, "606", "")) for e in events(outcome) for fact in e.facts]
    assert set(told) <= PHRASES.keys()


def test_the_oldest_comes_first_and_json_has_all() -> None:
    lines = [[Event(NOON + timedelta(hours=n), "contact", guid(1), What.UPDATED)] for n in (2, 1)]
    first, second = events_of(row_of(line) for line in lines)
    assert first.at < second.at
    assert first.as_json() == {
        "at": "2026-03-04T13:00:00.000Z", "what": "updated", "text": "updated in Marketo", "table": "contact",
        "id": guid(1), "facts": {}, "correlation_id": "", "request_id": "", "run": "", "by": "",
    }  # fmt: skip


def test_what_happens_in_one_invocation_is_one_row() -> None:
    """As rows of earlier versions are: they are read for days after a deployment."""
    record = replace(CONTACT, released=True, run="r-1")
    (line,) = settled(OPPORTUNITY_ROLE, [(record, Synced("updated", marketo_id=7, request_id="14d8#1"))], NOON)
    row = row_of(line)
    assert (row.id, row.at) == (guid(1), NOON)
    assert row.text == (
        '{"table":"contact","steps":[{"what":"released"},{"what":"updated","marketo_id":7}],'
        '"entity":"opportunity_role","correlation":"c-1","request":"14d8#1","run":"r-1"}'
    )


def test_a_step_of_a_newer_version_is_shown_by_its_name() -> None:
    text = json.dumps({"table": "contact", "steps": [{"what": "teleported", "where": "there"}]})
    (event,) = events_of([Row(guid(1), NOON, text)])
    assert event.text == "teleported"


@given(st.text() | st.from_regex(r"\{\"table\":.*\}", fullmatch=True))
def test_a_row_that_cannot_be_read_is_left_out(text: str) -> None:
    assert events_of([Row(guid(1), NOON, text)]) == []
