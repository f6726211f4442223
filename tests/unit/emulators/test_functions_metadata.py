import json
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.functions import meta
from azure.functions.servicebus import ServiceBusMessageInConverter
from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus._pyamqp.message import Message

from emulators.functions.metadata import QueueMessage, batch_invocation
from emulators.functions.wire import Invocation, to_datum

ENQUEUED = datetime(2026, 11, 21, 20, 30, 1, 250_000, tzinfo=UTC)


def convert(invocation: Invocation) -> Any:
    """What azure-functions' own converter makes of it."""
    metadata = {name: to_datum(typed, meta.Datum) for name, typed in invocation.metadata.items()}
    return ServiceBusMessageInConverter.decode(to_datum(invocation.data, meta.Datum), trigger_metadata=metadata)


def message(body: bytes = b"{}", **fields: Any) -> QueueMessage:
    return QueueMessage(body=body, enqueued_time=ENQUEUED, **fields)


def test_a_batch_becomes_official_messages() -> None:
    sent = [
        message(f'{{"n":{n}}}'.encode(), message_id=f"m{n}", sequence_number=n, delivery_count=n, session_id="s",
                content_type="application/json", correlation_id=f"c{n}", application_properties={"attempt": n})
        for n in (1, 2, 3)
    ]  # fmt: skip
    got = convert(batch_invocation("f", sent))
    assert [json.loads(each.get_body())["n"] for each in got] == [1, 2, 3]
    assert [each.message_id for each in got] == ["m1", "m2", "m3"]
    assert [each.sequence_number for each in got] == [1, 2, 3]
    assert [each.delivery_count for each in got] == [1, 2, 3]
    assert [each.correlation_id for each in got] == ["c1", "c2", "c3"]
    assert {each.session_id for each in got} == {"s"}
    assert {each.content_type for each in got} == {"application/json"}
    assert [each.application_properties for each in got] == [{"attempt": 1}, {"attempt": 2}, {"attempt": 3}]


def test_dates_of_a_batch_have_no_zone() -> None:
    [got] = convert(batch_invocation("f", [message()]))
    assert got.enqueued_time_utc == ENQUEUED.replace(tzinfo=None)


def test_empty_strings_of_a_batch_are_left_out_and_the_rest_moves_up() -> None:
    got = convert(batch_invocation("f", [message(), message(correlation_id="second")]))
    assert [each.correlation_id for each in got] == ["second", None]


def test_text_that_is_no_utf8_is_damaged_and_binary_is_not() -> None:
    body = bytes(range(256))
    [text] = convert(batch_invocation("f", [message(body)]))
    [binary] = convert(batch_invocation("f", [message(body)], binary=True))
    assert text.get_body() != body
    assert binary.get_body() == body


def received(**sent: Any) -> ServiceBusReceivedMessage:
    return ServiceBusReceivedMessage(Message(**sent), receiver=None)


@pytest.mark.parametrize(
    ("sent", "binary", "body"),
    [
        ({"data": [b"da", b"ta"]}, False, b"data"), ({"data": [b"da", b"ta"]}, True, b"data"),
        ({"value": "value"}, False, b"value"), ({}, False, b""), ({}, True, b""),
    ],
)  # fmt: skip
def test_a_body_is_bound(sent: dict[str, Any], binary: bool, body: bytes) -> None:
    assert QueueMessage.of(received(**sent), binary=binary).body == body


@pytest.mark.parametrize(
    ("sent", "binary"),
    [
        ({"value": "value"}, True), ({"value": 42}, False), ({"value": 42}, True), ({"value": {"a": 1}}, False),
        ({"value": {"a": 1}}, True), ({"sequence": [["a", 1]]}, False), ({"sequence": [["a", 1]]}, True),
    ],
)  # fmt: skip
def test_a_body_that_cannot_be_bound_is_refused(sent: dict[str, Any], binary: bool) -> None:
    with pytest.raises(TypeError, match="cannot be bound to"):
        QueueMessage.of(received(**sent), binary=binary)
