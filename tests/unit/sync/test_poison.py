"""One message that nobody understands is put aside with its reason, once; its batch neighbours go on."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from azure.servicebus import ServiceBusMessageBatch
from hypothesis import given
from hypothesis import strategies as st

from shared.azure.service_bus import _wire
from shared.model.errors import MessageError
from shared.model.ids_and_times import moment
from shared.model.record import Record, decode, encode, timestamp
from shared.sync.incoming import Incoming
from shared.telemetry.spans import passed_on
from tests.support.pipeline import SEEN, World, body, context
from tests.support.values import NOON, guid

GOOD = Record("lead", guid(1), SEEN)
#: Whatever JSON can say in Python: NaN, Infinity, numbers of any size, lone surrogates, any nesting.
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**31, 2**63, -(2**63) - 1, 10**400, -1, 0, 1])
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["\ud800", "x" * 100_000, "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "\x00", "NaN"]
    )
    | st.datetimes().map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = [
    *("table", "id", "seen", "op", "correlation", "attempt", "requested", "parked", "released", "collected", "forced"),
    *("filter_changed", "deciding", "replays", "write_back", "absent", "last"),
]
records = st.dictionaries(st.sampled_from(KEYS), values).map(
    lambda odd: {"table": "lead", "id": guid(2), "seen": "2026-03-04T11:00:00Z", **odd}
)
messages = st.fixed_dictionaries(
    {"version": st.just(1) | values, "entity": st.just("person") | values, "records": st.lists(records, max_size=2)},
    optional={"burst": values, "more": values},
)
bodies = messages.map(lambda message: json.dumps(message).encode()) | st.binary(max_size=50)
NAMES = [
    "first_seen", "replay_count", "attempts", "traceparent", "Diagnostic-Id", "code",
    "http://x/MessageMaxSizeExceeded",
]  # fmt: skip
properties = st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), values)


@given(bodies)
def test_every_body_is_records_that_can_be_sent_again_or_a_refusal_that_can_be_kept(sent: bytes) -> None:
    refusal, found = decoded(sent)
    if refusal:
        assert refusal.isprintable()
        assert len(refusal) < 400
    assert decode(encode("person", found), "person") == found
    for record in found:
        assert 0 <= record.attempt <= 1_000_000
        assert all(abs(record.first_seen - at) < timedelta(days=400_000) for at in (NOON, SEEN))


@given(st.lists(st.tuples(bodies, properties), max_size=3))
async def test_good_messages_go_on_beside_poison_and_poison_is_kept_once(
    odd: list[tuple[bytes, dict[str, Any]]],
) -> None:
    world = World()
    poison = [Incoming(sent, SEEN, facts) for sent, facts in odd]
    await world.pipeline.sync("person", [*poison, Incoming(encode("person", [GOOD]), SEEN)])
    assert GOOD in [record for record, _ in world.settled]
    refused = sum(bool(decoded(sent)[0]) for sent, _ in odd)
    assert len(world.letters()) == refused
    for letter in world.letters():
        assert_can_be_sent(letter)


def decoded(sent: bytes) -> tuple[str, list[Record]]:
    """(why it is refused, or the records of a body)."""
    try:
        return "", decode(sent, "person")
    except MessageError as error:
        return error.message, []


def assert_can_be_sent(letter: Any) -> None:
    """The SDK can encode it, and the broker takes it. Raises MessageSizeExceededError when not."""
    ServiceBusMessageBatch(max_size_in_bytes=255 * 1024).add_message(_wire(letter, {}))


PLACES = [
    *("MessageName", "PrimaryEntityName", "PrimaryEntityId", "OrganizationId", "CorrelationId", "InputParameters"),
    *("OutputParameters", "SharedVariables", "ParentContext", "Depth", "OperationCreatedOn", "UserId"),
]


@given(st.lists(st.tuples(st.dictionaries(st.sampled_from(PLACES), values), properties), max_size=3))
async def test_good_notifications_go_on_beside_poison(odd: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    world = World()
    poison = [Incoming(json.dumps(context(2) | parts).encode(), SEEN, facts) for parts, facts in odd]
    await world.pipeline.route([*poison, Incoming(body(1), SEEN)])
    routed = [r for m in world.sent if m.queue == "person" for r in decode(m.body, "person")]
    assert guid(1) in [record.id for record in routed]
    for message in world.sent:
        assert_can_be_sent(message)


ODD = {
    "an offset that leaves the calendar": {"seen": "0001-01-01T00:00:00+14:00"},
    "a date beyond the calendar": {"seen": "9999-12-31T23:59:59-14:00"},
    "a time at the end of the calendar": {"last": "9999-12-31T23:59:59Z"},
    "negative tries": {"attempt": -1},
    "tries beyond 32 bits": {"attempt": 2**31},
    "tries beyond 64 bits": {"replays": 10**30},
    "tries as a boolean": {"attempt": True},
    "not a number": {"attempt": float("nan")},
    "infinity": {"absent": float("inf")},
    "a number as a boolean": {"requested": 1},
    "a number as a time": {"seen": 1_700_000_000},
    "a huge text": {"correlation": "x" * 100_000},
    "half a character": {"table": "\ud800"},
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
async def test_a_record_with_an_odd_fact_is_put_aside_with_its_reason(world: World, odd: dict[str, Any]) -> None:
    record = {"table": "lead", "id": guid(2), "seen": "2026-03-04T11:00:00Z", **odd}
    poison = json.dumps({"version": 1, "entity": "person", "records": [record]}).encode()
    await world.pipeline.sync("person", [Incoming(poison, SEEN), Incoming(encode("person", [GOOD]), SEEN)])
    assert world.synced == [GOOD]
    (letter,) = world.letters()
    assert letter.properties["code"] == "BadMessage"
    assert f"records.0.{next(iter(odd))}" in str(letter.properties["message"])
    assert letter.body == poison


@pytest.mark.parametrize("foreign", ["x" * 300_000, "00-é-1", "\ud800", "", 5, None])
def test_a_context_that_no_message_can_carry_is_not_passed_on(foreign: object) -> None:
    assert passed_on({"traceparent": foreign}) in ({}, {"traceparent": "5"})


@given(values | st.datetimes().map(lambda at: at.isoformat()) | st.integers().map(lambda ms: f"/Date({ms})/"))
def test_a_time_is_one_that_can_be_written_and_reckoned_with_or_none(value: object) -> None:
    found = moment(value)
    if found:
        assert moment(timestamp(found)) == found.replace(microsecond=found.microsecond // 1000 * 1000)
        for far in (found - timedelta(days=300_000), found + timedelta(days=300_000)):
            assert isinstance(far, datetime)
