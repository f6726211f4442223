"""Service Bus messages as the real host hands them to a worker: body and trigger metadata.

Three of its habits matter to an app, and are kept. For cardinality MANY the *string* arrays of the metadata (and text
bodies) travel as typed collections **without their empty entries**, since the Python worker does not announce
`IncludeEmptyEntriesInMessagePayload`: when only some messages of a batch have a correlation id, the ids move up to
other messages. Dates come without a zone. DeliveryCount starts at 1. (Azure/azure-functions-host,
GrpcMessageConversionExtensions; Microsoft.Azure.WebJobs.Extensions.ServiceBus, ServiceBusTriggerBindingStrategy.)
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from azure.servicebus import ServiceBusReceivedMessage

from local.functions.wire import Invocation, Typed

#: What .NET says of a message that does not expire (DateTime.MaxValue).
_NEVER = datetime.max  # noqa: DTZ901 (dates travel without a zone)


def batch_invocation(function: str, messages: Sequence[ServiceBusReceivedMessage], *, binary: bool) -> Invocation:
    """Describe one call with a batch (cardinality MANY)."""
    bodies = [body_of(message) for message in messages]
    data = Typed("collection_bytes", bodies) if binary else _strings([_text(body) for body in bodies])
    properties = _json([_properties(message) for message in messages])
    subjects = _strings([message.subject for message in messages])
    metadata = {
        "DeliveryCountArray": _json([_delivery_count(message) for message in messages]),
        "DeadLetterSourceArray": _strings([message.dead_letter_source for message in messages]),
        "LockTokenArray": _strings([str(message.lock_token) for message in messages]),
        "ExpiresAtUtcArray": _json([_date(message.expires_at_utc) for message in messages]),
        "ExpiresAtArray": _json([_date(message.expires_at_utc) + "+00:00" for message in messages]),
        "EnqueuedTimeUtcArray": _json([_date(message.enqueued_time_utc) for message in messages]),
        "EnqueuedTimeArray": _json([_date(message.enqueued_time_utc) + "+00:00" for message in messages]),
        "MessageIdArray": _strings([message.message_id for message in messages]),
        "ContentTypeArray": _strings([message.content_type for message in messages]),
        "ReplyToArray": _strings([message.reply_to for message in messages]),
        "SequenceNumberArray": Typed("collection_sint64", [message.sequence_number for message in messages]),
        "ToArray": _strings([message.to for message in messages]),
        "SubjectArray": subjects,
        "LabelArray": subjects,
        "CorrelationIdArray": _strings([message.correlation_id for message in messages]),
        "ApplicationPropertiesArray": properties,
        "UserPropertiesArray": properties,
        "SessionIdArray": _strings([message.session_id for message in messages]),
        "ReplyToSessionIdArray": _strings([message.reply_to_session_id for message in messages]),
        "PartitionKeyArray": _strings([message.partition_key for message in messages]),
        # The extension puts the partition keys here too.
        "TransactionPartitionKeyArray": _strings([message.partition_key for message in messages]),
    }
    return Invocation(function, data, metadata)


def message_invocation(function: str, message: ServiceBusReceivedMessage, *, binary: bool) -> Invocation:
    """Describe one call with one message (cardinality ONE)."""
    body = body_of(message)
    properties = _json(_properties(message))
    strings = {
        "DeadLetterSource": message.dead_letter_source,
        "LockToken": str(message.lock_token),
        "MessageId": message.message_id,
        "ContentType": message.content_type,
        "ReplyTo": message.reply_to,
        "To": message.to,
        "Subject": message.subject,
        "Label": message.subject,
        "CorrelationId": message.correlation_id,
        "SessionId": message.session_id,
        "ReplyToSessionId": message.reply_to_session_id,
        "PartitionKey": message.partition_key,
    }
    metadata = {
        "DeliveryCount": _json(_delivery_count(message)),
        "ExpiresAtUtc": _json(_date(message.expires_at_utc)),
        "ExpiresAt": _json(_date(message.expires_at_utc) + "+00:00"),
        "EnqueuedTimeUtc": _json(_date(message.enqueued_time_utc)),
        "EnqueuedTime": _json(_date(message.enqueued_time_utc) + "+00:00"),
        "SequenceNumber": _json(message.sequence_number),
        "ApplicationProperties": properties,
        "UserProperties": properties,
        **{name: Typed("string", value) for name, value in strings.items() if value is not None},
    }
    return Invocation(function, Typed("bytes", body) if binary else Typed("string", _text(body)), metadata)


def body_of(message: ServiceBusReceivedMessage) -> bytes:
    """Return the data sections of a message as one. Raises TypeError for AMQP value and sequence bodies."""
    body = message.body
    if isinstance(body, str | bytes) or not hasattr(body, "__iter__"):
        msg = f"message {message.message_id}: only data bodies can be bound, not {message.body_type}"
        raise TypeError(msg)
    return b"".join(bytes(section) for section in body)


def _strings(values: Sequence[str | None]) -> Typed:
    return Typed("collection_string", [value for value in values if value])


def _json(value: object) -> Typed:
    return Typed("json", json.dumps(value, separators=(",", ":")))


def _text(body: bytes) -> str:
    return body.decode("utf-8", errors="replace")


def _delivery_count(message: ServiceBusReceivedMessage) -> int:
    # The broker counts earlier deliveries; .NET, unlike the Python SDK, counts this one too.
    return (message.delivery_count or 0) + 1


def _date(moment: datetime | None) -> str:
    return (moment or _NEVER).replace(tzinfo=None).isoformat()


def _properties(message: ServiceBusReceivedMessage) -> dict[str, Any]:
    return {_plain(name): _plain(value) for name, value in (message.application_properties or {}).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, datetime):
        return value.isoformat()
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)
