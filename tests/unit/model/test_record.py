"""The message on an entity queue, and what two mentions of one row become."""

import json
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.model.errors import MessageError
from shared.model.record import MAX_RECORDS, Record, coalesce, decode, encode, timestamp
from tests.support.values import NOON

ID = "4c8e7d15-2052-ef11-a316-000d3a5b7c8d"

moments = st.integers(-(10**12), 10**12).map(lambda milliseconds: NOON + timedelta(milliseconds=milliseconds))
few_ids = st.sampled_from([str(uuid.UUID(int=n)) for n in range(5)])
records = st.builds(
    Record, table=st.sampled_from(["lead", "contact", "account"]), id=st.one_of(few_ids, st.uuids().map(str)),
    first_seen=moments, operation=st.sampled_from(["upsert", "delete"]), correlation_id=st.text(max_size=36),
    attempt=st.integers(0, 20), requested=st.booleans(), parked_since=st.none() | moments, released=st.booleans(),
    collected=st.booleans(), write_back=st.booleans(), additive=st.booleans(),
    compared_only=st.booleans(),
    run=st.sampled_from(["", "20260304-120000-abcd/contact/7", "20260305-120000-abcd/contact/0"]),
    fields=st.sampled_from([(), ("city",), ("city", "title")]),
)  # fmt: skip


def body(**changes: Any) -> bytes:
    record = {"table": "lead", "id": ID, "seen": "2026-03-04T12:00:00Z"}
    return json.dumps({"version": 1, "entity": "person", "records": [record]} | changes).encode()


@given(st.lists(records, max_size=MAX_RECORDS))
def test_a_message_brings_back_the_records_that_were_put_in(given_records: list[Record]) -> None:
    assert decode(encode("person", given_records), "person") == given_records


def test_a_first_change_is_sent_without_the_facts_that_only_retries_have() -> None:
    message = json.loads(encode("person", [Record("lead", ID, NOON)]))
    assert message == {
        "version": 1,
        "entity": "person",
        "records": [{"table": "lead", "id": ID, "seen": "2026-03-04T12:00:00.000Z"}],
    }


def test_a_full_message_of_retries_stays_below_64_kb() -> None:
    full = Record("customeropportunityrole", ID, NOON, "delete", ID, 10, True, NOON, True, True)
    assert len(encode("opportunity_role", [full] * MAX_RECORDS)) < 64 * 1024


def test_facts_that_a_later_version_adds_do_not_stop_this_one() -> None:
    assert decode(body(records=[{"table": "lead", "id": ID, "seen": "2026-03-04T12:00:00Z", "new": 1}]), "person") == [
        Record("lead", ID, NOON)
    ]


def test_a_time_without_zone_is_utc_and_another_zone_stays_the_same_moment() -> None:
    times = ["2026-03-04T12:00:00", "2026-03-04T14:00:00+02:00"]
    found = decode(body(records=[{"table": "lead", "id": ID, "seen": time} for time in times]), "person")
    assert [record.first_seen for record in found] == [NOON, NOON]


def test_times_are_written_in_utc_to_the_millisecond() -> None:
    local = datetime(2026, 3, 4, 13, 0, 0, 123456, tzinfo=timezone(timedelta(hours=1)))
    assert timestamp(local) == "2026-03-04T12:00:00.123Z"


@pytest.mark.parametrize(
    ("sent", "code", "told"),
    [
        (b"", "BadMessage", "not JSON"),
        (b"\xff\xfe\x00", "BadMessage", "not JSON"),
        (b"[" * 100_000, "BadMessage", "not JSON"),
        (b"[]", "MessageVersion", "version 1"),
        (b"null", "MessageVersion", "version 1"),
        (body(version=2), "MessageVersion", "version 1"),
        (body(version="1"), "MessageVersion", "version 1"),
        (body(entity="company"), "WrongEntity", "'company' on the queue of person"),
        (body(entity=None), "WrongEntity", "on the queue of person"),
        (body(records=None), "BadMessage", "list"),
        (body(records=[{"id": ID, "seen": "2026-03-04T12:00:00Z"}]), "BadMessage", "records.0.table"),
        (body(records=[{"table": "lead", "id": ID, "seen": "yesterday"}]), "BadMessage", "records.0.seen"),
        (body(records=[{"table": "lead", "id": ID, "seen": "2026-03-04", "op": "x"}]), "BadMessage", "records.0.op"),
        (body(records=[{"table": "lead", "id": ID.upper(), "seen": "2026-03-04"}]), "BadMessage", "lower-case GUID"),
        (body(records=[{"table": "lead", "id": f"{ID}\n", "seen": "2026-03-04"}]), "BadMessage", "lower-case GUID"),
    ],
)
def test_other_messages_are_refused_with_a_code_and_a_reason(sent: bytes, code: str, told: str) -> None:
    with pytest.raises(MessageError) as refusal:
        decode(sent, "person")
    assert refusal.value.code == code
    assert told in str(refusal.value)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_other_bytes_are_refused_and_never_an_unhandled_error(sent: bytes) -> None:
    with pytest.raises(MessageError):
        decode(sent, "person")


@given(st.lists(records))
def test_coalescing_twice_changes_nothing_more(mentions: list[Record]) -> None:
    once = coalesce(mentions)
    assert coalesce(once) == once


@given(st.lists(records))
def test_each_row_is_there_once_in_order_of_its_first_mention(mentions: list[Record]) -> None:
    assert [record.key for record in coalesce(mentions)] == list(dict.fromkeys(record.key for record in mentions))


@given(st.lists(records))
def test_a_row_keeps_what_must_survive_of_all_its_mentions(mentions: list[Record]) -> None:
    for record in coalesce(mentions):
        same = [mention for mention in mentions if mention.key == record.key]
        assert record.first_seen == min(mention.first_seen for mention in same)
        assert record.requested == any(mention.requested for mention in same)
        assert record.attempt == min(mention.attempt for mention in same)
        assert record.run == max(mention.run for mention in same)
        assert record.parked_since == min((m.parked_since for m in same if m.parked_since), default=None)
        assert (record.operation == "delete") == all(mention.operation == "delete" for mention in same)
        assert record.additive == all(mention.additive for mention in same)
        assert record.compared_only == all(mention.compared_only for mention in same)
        assert bool(record.fields) == all(mention.fields for mention in same), "a whole change is never cut"
        assert not record.fields or set(record.fields) == {name for mention in same for name in mention.fields}
        assert bool(record.correlation_id) == any(mention.correlation_id for mention in same)


def test_the_latest_correlation_id_is_the_one_that_travels_on() -> None:
    older, newer = Record("lead", ID, NOON, correlation_id="older"), Record("lead", ID, NOON, correlation_id="newer")
    assert coalesce([older, newer])[0].correlation_id == "newer"
    assert coalesce([older, Record("lead", ID, NOON)])[0].correlation_id == "older"
