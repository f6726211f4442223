"""What a replay sends, and what is written to a file: nothing is lost on either way."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.azure.receiver import Message
from shared.azure.service_bus import Outgoing
from shared.cli.dead_letters.archive import ArchiveError, letters_in, line_of, writing
from shared.cli.dead_letters.letter import DeadLetter, read
from shared.cli.dead_letters.resend import Stamp, refusal, resend
from shared.cli.peek import Place
from shared.model.record import Record, decode, encode
from shared.sync.routing import Refusal
from tests.support.queues import QUEUES
from tests.support.values import NOON

SEEN = NOON - timedelta(hours=30)
ID = "2e6d9f40-1c52-ef11-a316-000d3a5b7c8d"
STAMP = Stamp(NOON, "5f0c")
STAMPS = {"replayed_at": "2026-03-04T12:00:00.000Z", "replay_id": "5f0c"}
OURS, PERSONS, CHANGES = Place("dead-letters"), Place("persons", dead=True), Place("changes", dead=True)
OF_RECORD: dict[str, object] = {"source_queue": "persons", "entity": "person", "table": "contact", "record_id": ID}
NOTIFICATION = json.dumps({"MessageName": "Update", "PrimaryEntityName": "contact", "PrimaryEntityId": ID}).encode()


def letter(place: Place, body: bytes, properties: dict[str, object] | None = None, **message: Any) -> DeadLetter:
    return read(place, Message(5, body, NOON, properties=properties or {}, **message), QUEUES)


def sent(found: DeadLetter) -> Outgoing:
    prepared = resend(found, QUEUES, STAMP)
    assert isinstance(prepared, Outgoing)
    assert refusal(found, QUEUES) is None
    return prepared


def test_a_deletion_that_an_operator_releases_passes_the_brake_from_then_on() -> None:
    record = Record("contact", ID, SEEN, "delete")
    released = resend(letter(OURS, encode("person", [record]), OF_RECORD), QUEUES, Stamp(NOON, "5f0c", confirms=True))
    assert isinstance(released, Outgoing)
    (again,) = decode(released.body, "person")
    assert (again.operation, again.confirmed) == ("delete", True)
    (later,) = decode(sent(letter(OURS, released.body, OF_RECORD)).body, "person")
    assert later.confirmed


def test_a_record_begins_anew_and_keeps_what_it_is() -> None:
    record = Record(
        "contact", ID, SEEN, correlation_id="c0", attempt=8, requested=True, parked_since=SEEN, released=True,
        collected=True, filter_changed=True, deciding=True, forced=True, replays=1,
    )  # fmt: skip
    properties = {**OF_RECORD, "code": "ParentMissing", "replay_count": 1, "somebody's": "own"}
    found = sent(letter(OURS, encode("person", [record]), properties, correlation_id="c0", content_type="text/json"))
    assert (found.queue, found.session, found.at) == ("persons", "person", None)
    assert (found.correlation_id, found.content_type) == ("c0", "text/json")
    assert found.properties == {**properties, **STAMPS, "replay_count": 2}
    (again,) = decode(found.body, "person")
    assert again == Record(
        "contact", ID, SEEN, correlation_id="c0", requested=True, filter_changed=True, deciding=True, forced=True,
        replays=2,
    )  # fmt: skip


@pytest.mark.parametrize("half", [{"additive": True}, {"compared_only": True}])
def test_of_a_change_that_is_two_dead_letters_each_does_the_whole(half: dict[str, Any]) -> None:
    """One sends the role and one compares. They look alike, so an operator may discard one as a duplicate."""
    record = Record("connection", ID, SEEN, **half)
    found = sent(letter(Place("roles", dead=True), encode("opportunity_role", [record])))
    assert decode(found.body, "opportunity_role") == [Record("connection", ID, SEEN, replays=1)]


def test_a_notification_goes_back_as_it_came() -> None:
    found = sent(letter(OURS, NOTIFICATION, {"source_queue": "changes", "first_seen": "2026-03-01T00:00:00.000Z"}))
    assert (found.queue, found.session, found.body) == ("changes", None, NOTIFICATION)
    assert found.properties["first_seen"] == "2026-03-01T00:00:00.000Z"
    assert found.properties["replay_count"] == 1


def test_what_the_broker_gave_up_goes_back_without_the_broker_s_own_words() -> None:
    records = [Record("contact", ID, SEEN, attempt=1), Record("lead", ID, SEEN, replays=2)]
    given = {"DeadLetterReason": "x", "DeadLetterErrorDescription": "y", "kept": True}
    found = sent(letter(PERSONS, encode("person", records), given, reason="x"))
    assert found.properties == {"kept": True, **STAMPS, "replay_count": 3}
    assert [(record.attempt, record.replays) for record in decode(found.body, "person")] == [(0, 3), (0, 3)]
    assert sent(letter(CHANGES, NOTIFICATION)).queue == "changes"


def test_a_record_whose_queue_has_another_name_by_now() -> None:
    given = {**OF_RECORD, "source_queue": "people-of-last-year"}
    assert sent(letter(OURS, encode("person", [Record("contact", ID, SEEN)]), given)).queue == "persons"


@pytest.mark.parametrize(
    ("place", "body", "properties", "code"),
    [
        (OURS, b"hello", {"source_queue": "changes", "code": "NotJson"}, "NotJson"),
        (OURS, b"hello", {}, "NotJson"),
        (OURS, b"hello", OF_RECORD, "BadMessage"),
        (OURS, b'{"version": 2}', OF_RECORD, "MessageVersion"),
        (PERSONS, encode("company", []), {}, "WrongEntity"),
        (CHANGES, b"{}", {}, "NoRoutingTriple"),
    ],
)
def test_what_is_unreadable_is_refused(place: Place, body: bytes, properties: dict[str, object], code: str) -> None:
    found = letter(place, body, properties)
    refused = resend(found, QUEUES, STAMP)
    assert isinstance(refused, Refusal)
    assert refused.code == code
    assert refusal(found, QUEUES) == refused


_VALUES = (
    st.text() | st.booleans() | st.binary() | st.uuids() | st.integers() | st.floats(allow_nan=False) | st.none()
    | st.datetimes(timezones=st.just(UTC))
)  # fmt: skip


@given(st.dictionaries(st.text(min_size=1, max_size=9), _VALUES))
def test_properties_are_kept_in_a_form_that_can_be_sent(properties: dict[str, object]) -> None:
    kept = sent(letter(CHANGES, NOTIFICATION, properties)).properties
    for name, value in properties.items():
        if value is not None and name not in STAMPS and name != "replay_count":
            assert str(kept[name]) == str(value) or isinstance(value, datetime)
    for value in kept.values():
        assert isinstance(value, str | bytes | float | UUID) or -(2**31) <= value < 2**31


@given(st.binary(), st.dictionaries(st.text(max_size=9), st.text() | st.booleans() | st.binary() | st.integers()))
def test_a_file_gives_back_what_was_written(tmp_path_factory: Any, body: bytes, properties: dict[str, object]) -> None:
    path = tmp_path_factory.mktemp("archive") / "letters.jsonl"
    written = [
        letter(OURS, body, properties, correlation_id="c", content_type="t"),
        letter(PERSONS, body, properties, reason="r", description="d", delivery_count=3),
    ]
    with writing(path) as file:
        file.writelines(map(line_of, written))
    assert list(letters_in(path, QUEUES)) == written


@pytest.mark.parametrize(
    "line",
    [
        "{}", "x", "[]", "[" * 200_000, '{"queue": "dead-letters", "dead": false, "sequence": 1e999, "body": ""}',
        '{"queue": "q", "dead": false, "sequence": 1, "body_base64": "%"}',
    ],
    ids=lambda line: line[:50],
)  # fmt: skip
def test_a_line_that_is_no_dead_letter_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "letters.jsonl"
    path.write_text(f"{line_of(letter(OURS, b'x'))}\n{line}\n")
    with pytest.raises(ArchiveError, match="line 3"):
        list(letters_in(path, QUEUES))
    with pytest.raises(ArchiveError, match="cannot be read"):
        list(letters_in(tmp_path / "nowhere", QUEUES))
