"""Service Bus messages as the real host hands them to a worker: body and trigger metadata.

Three of its habits matter to an app, and are kept. For cardinality MANY the *string* arrays of the metadata (and text
bodies) travel as typed collections **without their empty entries**, since the Python worker does not announce
`IncludeEmptyEntriesInMessagePayload`: when only some messages of a batch have a correlation id, the ids move up to
other messages. Dates come without a zone. DeliveryCount starts at 1. (Azure/azure-functions-host,
GrpcMessageConversionExtensions; Microsoft.Azure.WebJobs.Extensions.ServiceBus, ServiceBusTriggerBindingStrategy.)
"""

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.amqp import AmqpMessageBodyType

from emulators.functions.wire import Invocation, Typed

#: What .NET says of a message that does not expire (DateTime.MaxValue).
_NEVER = datetime.max  # noqa: DTZ901 (dates travel without a zone)


@dataclass(frozen=True, kw_only=True)
class QueueMessage:
    """What a trigger shows of a message. `delivery_count` is 1 at the first delivery, as .NET counts."""

    body: bytes
    application_properties: Mapping[str, Any] = field(default_factory=dict)
    message_id: str | None = field(default_factory=lambda: uuid.uuid4().hex)
    content_type: str | None = None
    correlation_id: str | None = None
    session_id: str | None = None
    subject: str | None = None
    to: str | None = None
    reply_to: str | None = None
    reply_to_session_id: str | None = None
    partition_key: str | None = None
    dead_letter_source: str | None = None
    lock_token: str = field(default_factory=lambda: str(uuid.uuid4()))
    sequence_number: int | None = 1
    delivery_count: int = 1
    enqueued_time: datetime | None = field(default_factory=lambda: datetime.now(UTC))
    expires_at: datetime | None = None

    @classmethod
    def of(cls, message: ServiceBusReceivedMessage, *, binary: bool = False) -> "QueueMessage":
        """Read a received message. Raises TypeError for a body that cannot be bound to text, or (`binary`) to bytes.

        Bytes are made of data only; text also of an AMQP value that is a string. Never of other values and sequences.
        (Microsoft.Azure.WebJobs.Extensions.ServiceBus, MessageToByteArrayConverter and MessageToStringConverter.)
        """
        return cls(
            body=_body(message, binary=binary),
            application_properties={
                _plain(name): _plain(value) for name, value in (message.application_properties or {}).items()
            },
            message_id=message.message_id,
            content_type=message.content_type,
            correlation_id=message.correlation_id,
            session_id=message.session_id,
            subject=message.subject,
            to=message.to,
            reply_to=message.reply_to,
            reply_to_session_id=message.reply_to_session_id,
            partition_key=message.partition_key,
            dead_letter_source=message.dead_letter_source,
            lock_token=str(message.lock_token),
            sequence_number=message.sequence_number,
            # The SDK shows the broker's count of earlier deliveries; .NET counts this one too.
            delivery_count=(message.delivery_count or 0) + 1,
            enqueued_time=message.enqueued_time_utc,
            expires_at=message.expires_at_utc,
        )


#: Metadata that are strings, in both cardinalities.
_STRINGS: Mapping[str, Callable[[QueueMessage], str | None]] = {
    "DeadLetterSource": lambda message: message.dead_letter_source,
    "LockToken": lambda message: message.lock_token,
    "MessageId": lambda message: message.message_id,
    "ContentType": lambda message: message.content_type,
    "ReplyTo": lambda message: message.reply_to,
    "To": lambda message: message.to,
    "Subject": lambda message: message.subject,
    "Label": lambda message: message.subject,
    "CorrelationId": lambda message: message.correlation_id,
    "SessionId": lambda message: message.session_id,
    "ReplyToSessionId": lambda message: message.reply_to_session_id,
    "PartitionKey": lambda message: message.partition_key,
}
#: Metadata that travel as JSON, in both cardinalities.
_DOCUMENTS: Mapping[str, Callable[[QueueMessage], Any]] = {
    "DeliveryCount": lambda message: message.delivery_count,
    "ExpiresAtUtc": lambda message: _date(message.expires_at),
    "ExpiresAt": lambda message: _date(message.expires_at) + "+00:00",
    "EnqueuedTimeUtc": lambda message: _date(message.enqueued_time),
    "EnqueuedTime": lambda message: _date(message.enqueued_time) + "+00:00",
    "ApplicationProperties": lambda message: message.application_properties,
    "UserProperties": lambda message: message.application_properties,
}


def batch_invocation(function: str, messages: Sequence[QueueMessage], *, binary: bool = False) -> Invocation:
    """Describe one call with a batch (cardinality MANY)."""
    bodies = [message.body for message in messages]
    metadata = {f"{name}Array": _strings([get(each) for each in messages]) for name, get in _STRINGS.items()}
    metadata |= {f"{name}Array": _json([get(each) for each in messages]) for name, get in _DOCUMENTS.items()}
    metadata["SequenceNumberArray"] = Typed("collection_sint64", [message.sequence_number for message in messages])
    # The extension puts the partition keys here too.
    metadata["TransactionPartitionKeyArray"] = metadata["PartitionKeyArray"]
    data = Typed("collection_bytes", bodies) if binary else _strings([_text(body) for body in bodies])
    return Invocation(function, data, metadata)


def message_invocation(function: str, message: QueueMessage, *, binary: bool = False) -> Invocation:
    """Describe one call with one message (cardinality ONE)."""
    metadata = {name: Typed("string", value) for name, get in _STRINGS.items() if (value := get(message)) is not None}
    metadata |= {name: _json(get(message)) for name, get in _DOCUMENTS.items()}
    metadata["SequenceNumber"] = _json(message.sequence_number)
    return Invocation(
        function, Typed("bytes", message.body) if binary else Typed("string", _text(message.body)), metadata
    )


def _body(message: ServiceBusReceivedMessage, *, binary: bool) -> bytes:
    body = message.body
    if message.body_type is AmqpMessageBodyType.DATA:
        return b"".join(bytes(section) for section in body)
    if body is None:  # no section at all, which .NET reads as data without bytes
        return b""
    if isinstance(body, str) and not binary:
        return body.encode()
    wanted = "bytes" if binary else "text"
    msg = f"message {message.message_id}: a body of AMQP type {message.body_type.value} cannot be bound to {wanted}"
    raise TypeError(msg)


def _strings(values: Sequence[str | None]) -> Typed:
    return Typed("collection_string", [value for value in values if value])


def _json(value: object) -> Typed:
    return Typed("json", json.dumps(value, separators=(",", ":")))


def _text(body: bytes) -> str:
    return body.decode("utf-8", errors="replace")


def _date(moment: datetime | None) -> str:
    return (moment or _NEVER).replace(tzinfo=None).isoformat()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, datetime):
        return value.isoformat()
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)
