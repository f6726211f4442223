"""Service Bus messages: how they come in (single or batched), what the broker knows of them, how they go out."""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from emulators.servicebus import amqp
from emulators.servicebus.amqp import DecodeError, Long, Symbol, Timestamp
from emulators.servicebus.errors import ArgumentError, InvalidMessage
from emulators.servicebus.settings import MAX_ID_LENGTH

# Section codes of an AMQP message (OASIS AMQP 1.0, part 3, 3.2).
HEADER, DELIVERY_ANNOTATIONS, MESSAGE_ANNOTATIONS, PROPERTIES, APPLICATION_PROPERTIES = range(0x70, 0x75)
DATA, _SEQUENCE, VALUE, FOOTER = range(0x75, 0x79)

_PROPERTY_MESSAGE_ID = 0
_PROPERTY_GROUP_ID = 10

SCHEDULED_ENQUEUE_TIME = "x-opt-scheduled-enqueue-time"
# Set by the broker: what a client writes there is not kept.
_BROKER_ANNOTATIONS = frozenset(
    (
        "x-opt-sequence-number",
        "x-opt-enqueue-sequence-number",
        "x-opt-enqueued-time",
        "x-opt-locked-until",
        "x-opt-message-state",
        SCHEDULED_ENQUEUE_TIME,
    )
)
# Format codes that a map may have; null stands for none.
_NULL = b"\x40"
_MAPS = b"\x40\xc1\xd1"
_REASON, _DESCRIPTION = "DeadLetterReason", "DeadLetterErrorDescription"


class MessageState(IntEnum):
    """Where a message is in its life. READY and LOCKED are Service Bus's "Active"."""

    READY = 0
    DEFERRED = 1
    SCHEDULED = 2
    LOCKED = 3


@dataclass(slots=True, eq=False)
class Message:
    """One message in a queue. Times are seconds since the epoch.

    `application_properties` are the encoded map: only what is dead-lettered has its map taken apart.
    """

    annotations: list[bytes]
    properties: bytes
    application_properties: bytes
    body: bytes
    durable: bool = False
    priority: int | None = None
    message_id: object = None
    session_id: str | None = None
    #: Time to live that the sender asked for, in seconds.
    ttl: float | None = None
    scheduled_for: float | None = None
    size: int = 0

    sequence_number: int = 0
    enqueued_sequence_number: int = 0
    enqueued_at: float = 0.0
    expires_at: float | None = None
    delivery_count: int = 0
    state: MessageState = MessageState.READY
    #: A deferred message goes back to be deferred when its lock is lost.
    deferred: bool = False
    lock_token: bytes = b""
    locked_until: float = 0.0

    def mark_dead(self, reason: str | None, description: str | None) -> None:
        """Write why the message was dead-lettered into its application properties, as Service Bus does."""
        given = amqp.split_map(self.application_properties, 0) if self.application_properties else []
        kept = [raw for key, raw in given if key not in {_REASON, _DESCRIPTION}]
        for key, text in ((_REASON, reason), (_DESCRIPTION, description)):
            if text is not None:
                kept.append(amqp.encode(key) + amqp.encode(text))
        self.application_properties = amqp.join_map(kept)

    def encode(self) -> bytes:
        """Return the message as a receiver gets it, with the broker's header fields and annotations."""
        annotations = [
            *self.annotations,
            _pair("x-opt-sequence-number", Long(self.sequence_number)),
            _pair("x-opt-enqueued-time", _timestamp(self.enqueued_at)),
            _pair("x-opt-message-state", 0 if self.state is MessageState.LOCKED else int(self.state)),
        ]
        if self.enqueued_sequence_number:
            annotations.append(_pair("x-opt-enqueue-sequence-number", Long(self.enqueued_sequence_number)))
        if self.scheduled_for is not None:
            annotations.append(_pair(SCHEDULED_ENQUEUE_TIME, _timestamp(self.scheduled_for)))
        if self.state is MessageState.LOCKED:
            annotations.append(_pair("x-opt-locked-until", _timestamp(self.locked_until)))
        application_properties = b""
        if self.application_properties:
            application_properties = _section(APPLICATION_PROPERTIES, self.application_properties)
        return b"".join(
            (
                self._encode_header(),
                _section(MESSAGE_ANNOTATIONS, amqp.join_map(annotations)),
                self.properties,
                application_properties,
                self.body,
            )
        )

    def _encode_header(self) -> bytes:
        fields = (
            (b"\x41" if self.durable else b"\x42")
            + (b"\x40" if self.priority is None else b"\x50" + bytes((self.priority,)))
            + (b"\x40" if self.ttl is None else b"\x70" + struct.pack(">I", min(int(self.ttl * 1000), 0xFFFFFFFF)))
            + b"\x42\x70"
            + struct.pack(">I", self.delivery_count)
        )
        return b"\x00\x53\x70\xc0" + bytes((len(fields) + 1, 5)) + fields


def _pair(key: str, value: object) -> bytes:
    return amqp.encode(Symbol(key)) + amqp.encode(value)


def _timestamp(seconds: float) -> Timestamp:
    return Timestamp(round(seconds * 1000))


def _section(code: int, content: bytes) -> bytes:
    return bytes((0x00, 0x53, code)) + content


def sections(payload: bytes) -> list[tuple[int, int, int, int]]:
    """Return (code, start, start of the value, end) of every section, one at least. Raises InvalidMessage."""
    found = []
    position = 0
    try:
        if not payload:
            msg = "it has no section"
            raise DecodeError(msg)
        while position < len(payload):
            if payload[position] != 0x00:
                msg = "a message section was expected"
                raise DecodeError(msg)
            code, value_start = amqp.decode(payload, position + 1)
            if not isinstance(code, int) or not HEADER <= code <= FOOTER:
                msg = f"unknown message section {code!r}"
                raise DecodeError(msg)
            end = amqp.skip(payload, value_start)
            found.append((code, position, value_start, end))
            position = end
    except (IndexError, ValueError, struct.error) as error:
        msg = f"not an AMQP message: {error}"
        raise InvalidMessage(msg) from error
    return found


def split_batch(payload: bytes) -> list[bytes]:
    """Return the messages of a batch, each of which is encoded in a data section of its own. Raises InvalidMessage."""
    bodies = [(code, start) for code, _, start, _ in sections(payload) if DATA <= code <= VALUE]
    if not bodies or any(code != DATA for code, _ in bodies):
        msg = "a batch has nothing but data sections, a message in each"
        raise InvalidMessage(msg)
    parts = [amqp.decode(payload, start)[0] for _, start in bodies]
    if not all(isinstance(part, bytes) for part in parts):
        msg = "a data section holds no binary value"
        raise InvalidMessage(msg)
    return parts


def parse_message(payload: bytes) -> Message:
    """Read one message. Raises InvalidMessage, or ArgumentError for an id that is too long."""
    header: list[Any] = []
    annotations: list[tuple[Any, bytes]] = []
    properties = b""
    application_properties = b""
    body = []
    fields: list[Any] = []
    try:
        for code, start, value_start, end in sections(payload):
            if code == HEADER:
                header = amqp.decode(payload, value_start)[0]
            elif code == MESSAGE_ANNOTATIONS:
                annotations = amqp.split_map(payload, value_start)
            elif code == PROPERTIES:
                properties, fields = payload[start:end], amqp.decode(payload, value_start)[0]
            elif code == APPLICATION_PROPERTIES:
                application_properties = _checked_map(payload[value_start:end])
            elif code != DELIVERY_ANNOTATIONS:
                body.append(payload[start:end])
    except (IndexError, ValueError, struct.error) as error:
        msg = f"not an AMQP message: {error}"
        raise InvalidMessage(msg) from error
    header += [None] * (5 - len(header))
    fields += [None] * (_PROPERTY_GROUP_ID + 1 - len(fields))
    return Message(
        durable=bool(header[0]),
        priority=header[1],
        annotations=[raw for key, raw in annotations if key not in _BROKER_ANNOTATIONS],
        properties=properties,
        application_properties=application_properties,
        body=b"".join(body),
        message_id=_checked_id("message id", fields[_PROPERTY_MESSAGE_ID]),
        session_id=_checked_id("session id", fields[_PROPERTY_GROUP_ID]),
        ttl=None if header[2] is None else header[2] / 1000,
        scheduled_for=_scheduled_time(annotations),
        size=len(payload),
    )


def _checked_map(encoded: bytes) -> bytes:
    if encoded[0] not in _MAPS:
        msg = "the application properties are not a map"
        raise DecodeError(msg)
    return b"" if encoded == _NULL else encoded


def _checked_id(what: str, value: Any) -> Any:
    if isinstance(value, str) and len(value) > MAX_ID_LENGTH:
        msg = f"The {what} is longer than {MAX_ID_LENGTH} characters."
        raise ArgumentError(msg)
    return value


def _scheduled_time(annotations: list[tuple[Any, bytes]]) -> float | None:
    for key, raw in annotations:
        if key == SCHEDULED_ENQUEUE_TIME:
            value = amqp.decode(raw, amqp.skip(raw, 0))[0]
            return None if value is None else value / 1000
    return None
