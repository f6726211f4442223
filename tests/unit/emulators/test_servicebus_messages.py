"""What Service Bus messages look like on the wire, against the SDK's own encoder and decoder."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from azure.servicebus import ServiceBusMessage, ServiceBusMessageBatch, ServiceBusReceivedMessage
from azure.servicebus._pyamqp._encode import encode_payload
from azure.servicebus._pyamqp.message import BatchMessage
from azure.servicebus._transport._pyamqp_transport import PyamqpTransport
from hypothesis import given
from hypothesis import strategies as st

from emulators.servicebus import amqp
from emulators.servicebus.amqp import Array, DecodeError, Long, Symbol, Timestamp
from emulators.servicebus.errors import ArgumentError, InvalidMessage
from emulators.servicebus.messages import MessageState, parse_message, split_batch


def encoded(message: ServiceBusMessage) -> bytes:
    raw = PyamqpTransport.to_outgoing_amqp_message(message.raw_amqp_message)
    return bytes(encode_payload(bytearray(), raw))


def batched(*messages: ServiceBusMessage) -> bytes:
    return b"".join(b"\x00\x53\x75" + amqp.encode(encoded(message)) for message in messages)


def test_the_broker_reads_what_the_sdk_writes() -> None:
    when = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    message = parse_message(
        encoded(ServiceBusMessage("body", message_id="m", session_id="s", scheduled_enqueue_time_utc=when))
    )
    assert (message.message_id, message.session_id, message.scheduled_for) == ("m", "s", when.timestamp())


def test_the_sdk_reads_what_the_broker_hands_out() -> None:
    sent = ServiceBusMessage(
        b"body", application_properties={"n": 1, "text": "x"}, session_id="s", subject="subject", partition_key="s"
    )
    message = parse_message(encoded(sent))
    message.sequence_number, message.enqueued_at, message.delivery_count = 7, 1_700_000_000.5, 3
    message.state, message.locked_until = MessageState.LOCKED, 1_700_000_060.0
    received = ServiceBusReceivedMessage.from_bytes(message.encode())
    assert b"".join(received.body) == b"body"
    assert received.application_properties == {b"n": 1, b"text": b"x"}
    assert (received.session_id, received.subject, received.partition_key) == ("s", "subject", "s")
    assert (received.sequence_number, received.delivery_count) == (7, 3)
    assert received.enqueued_time_utc == datetime.fromtimestamp(1_700_000_000.5, UTC)
    assert received.locked_until_utc == datetime.fromtimestamp(1_700_000_060, UTC)


def test_the_reasons_of_a_dead_letter_replace_older_ones_beside_the_senders_properties() -> None:
    message = parse_message(encoded(ServiceBusMessage("x", application_properties={"kept": True})))
    message.mark_dead("First", "one")
    message.mark_dead("Second", None)
    received = ServiceBusReceivedMessage.from_bytes(message.encode())
    assert received.application_properties == {b"kept": True, b"DeadLetterReason": b"Second"}


def test_a_batch_is_split() -> None:
    messages = [ServiceBusMessage(text) for text in ("one", "two" * 200)]
    assert split_batch(batched(*messages)) == [encoded(message) for message in messages]


@pytest.mark.parametrize("payload", [b"", b"x", b"\x00\x53\x77" + amqp.encode("x"), b"\x00\x53\x75\x40"])
def test_what_is_no_batch_is_refused(payload: bytes) -> None:
    with pytest.raises(InvalidMessage):
        split_batch(payload)


def test_the_sdks_own_batch_with_its_envelope_is_split() -> None:
    batch = ServiceBusMessageBatch(max_size_in_bytes=10_000)
    for text in ("one", "two"):
        batch.add_message(ServiceBusMessage(text, session_id="s", message_id=text))
    payload = bytes(encode_payload(bytearray(), BatchMessage(*batch._message)))
    assert [parse_message(part).message_id for part in split_batch(payload)] == ["one", "two"]


@pytest.mark.parametrize(
    "payload", [b"", b"\x01", b"\x00\x53\x75", b"\x00\x53\x75\xa0\x09short", b"\x00\x53\x10\xa0\x00"]
)
def test_what_is_no_message_is_refused(payload: bytes) -> None:
    with pytest.raises(InvalidMessage):
        parse_message(payload)


def test_an_id_longer_than_128_characters_is_refused() -> None:
    properties = [None] * 10 + ["s" * 129]
    with pytest.raises(ArgumentError, match="session id"):
        parse_message(b"\x00\x53\x73" + amqp.encode(properties))


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**31), 2**31 - 1)
    | st.integers(-(2**63), 2**63 - 1).map(Long)
    | st.integers(-(2**40), 2**40).map(Timestamp)
    | st.text(max_size=300)
    | st.text("abc:-.", max_size=300).map(Symbol)
    | st.binary(max_size=300)
    | st.uuids(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=20,
)


@given(VALUES)
def test_every_value_survives_the_wire(value: object) -> None:
    raw = amqp.encode(value)
    decoded, end = amqp.decode(raw)
    assert decoded == value
    assert type(decoded) is type(value)
    assert end == amqp.skip(raw, 0) == len(raw)


@pytest.mark.parametrize("items", [[], ["a", "bc"], [Long(1), Long(-2)], [UUID(int=5)], [Timestamp(9)]])
def test_arrays_survive_the_wire(items: list[object]) -> None:
    raw = amqp.encode(Array(items))
    assert amqp.decode(raw) == (items, len(raw))


@given(st.binary(max_size=60))
def test_no_bytes_upset_the_decoder_otherwise_than_by_refusal(raw: bytes) -> None:
    try:
        parse_message(raw)
    except (InvalidMessage, ArgumentError):
        return


def test_a_truncated_value_is_refused() -> None:
    with pytest.raises(DecodeError):
        amqp.decode(b"\xa1\x05abc")
