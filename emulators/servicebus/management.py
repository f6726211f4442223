"""The operations of an entity's `$management` node (Service Bus: "AMQP request-response operations")."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from emulators.servicebus.amqp import Array, Long, Symbol, Timestamp
from emulators.servicebus.connection import AmqpConnection
from emulators.servicebus.errors import ArgumentError, MessageTooLarge, NotAllowed, ServiceBusFault
from emulators.servicebus.messages import Message, parse_message
from emulators.servicebus.namespace import Entity
from emulators.servicebus.requests import Answer, Request
from emulators.servicebus.sas import Claim
from emulators.servicebus.sessions import SessionLock
from emulators.servicebus.settings import MAX_MESSAGE_BYTES

# receiver-settle-mode of receive-by-sequence-number: 0 removes the message, 1 locks it.
_SETTLE_FIRST = 0


def answer_management(connection: AmqpConnection, entity: Entity, request: Request) -> Answer:
    """Carry out one request on an entity."""
    name = str(request.properties.get("operation"))
    try:
        if name not in _OPERATIONS:
            msg = f"The operation '{name}' is not supported."
            raise NotAllowed(msg)
        claim, operation = _OPERATIONS[name]
        connection.check_claim(claim, entity.path)
        entity.check_exists()
        body = request.body if isinstance(request.body, dict) else {}
        answer = operation(entity, body)
    except KeyError as missing:
        return _failure(ArgumentError(f"The request lacks {missing}."))
    except ServiceBusFault as fault:
        return _failure(fault)
    if answer is None:
        return Answer({"statusCode": 204, "statusDescription": "No Content"})
    return Answer({"statusCode": 200, "statusDescription": "OK"}, answer)


def _failure(fault: ServiceBusFault) -> Answer:
    return Answer(
        {"statusCode": fault.status, "statusDescription": str(fault), "errorCondition": Symbol(fault.condition)}
    )


def _schedule(entity: Entity, body: dict[str, Any]) -> dict[str, Any]:
    entity.check_sends()
    messages = [parse_message(bytes(item["message"])) for item in body["messages"]]
    if sum(message.size for message in messages) > MAX_MESSAGE_BYTES:
        msg = f"The messages exceed the limit of {MAX_MESSAGE_BYTES} bytes."
        raise MessageTooLarge(msg)
    return {"sequence-numbers": Array([Long(number) for number in entity.queue.send(messages)])}


def _cancel_scheduled(entity: Entity, body: dict[str, Any]) -> dict[str, Any]:
    entity.check_sends()
    entity.queue.cancel_scheduled(body["sequence-numbers"])
    return {}


def _peek(entity: Entity, body: dict[str, Any]) -> dict[str, Any] | None:
    found = entity.queue.peek(body["from-sequence-number"], body["message-count"], body.get("session-id"))
    encoded: list[dict[str, bytes]] = []
    room = MAX_MESSAGE_BYTES
    for message in found:
        raw = message.encode()
        room -= len(raw)
        if encoded and room < 0:
            break
        encoded.append({"message": raw})
    return {"messages": encoded} if encoded else None


def _receive_deferred(entity: Entity, body: dict[str, Any]) -> dict[str, Any]:
    entity.check_receives()
    messages = entity.queue.receive_deferred(
        body["sequence-numbers"], lock=_lock(entity, body), delete=body["receiver-settle-mode"] == _SETTLE_FIRST
    )
    return {"messages": [_handed_out(message) for message in messages]}


def _handed_out(message: Message) -> dict[str, Any]:
    return {"lock-token": UUID(bytes_le=message.lock_token), "message": message.encode()}


def _update_disposition(entity: Entity, body: dict[str, Any]) -> dict[str, Any]:
    entity.check_receives()
    _lock(entity, body)
    queue = entity.queue
    settle: dict[str, Callable[[bytes], None]] = {
        "completed": queue.complete,
        "abandoned": queue.abandon,
        "defered": queue.defer,
        "suspended": lambda token: queue.dead_letter(
            token, body.get("deadletter-reason"), body.get("deadletter-description")
        ),
    }
    status = body["disposition-status"]
    if status not in settle:
        msg = f"The disposition status '{status}' is not supported."
        raise ArgumentError(msg)
    for token in body["lock-tokens"]:
        settle[status](token.bytes_le)
    return {}


def _renew_lock(entity: Entity, body: dict[str, Any]) -> dict[str, Any]:
    entity.check_receives()
    if entity.queue.settings.sessions:
        msg = "A message of a session has no lock of its own. Renew the session's lock."
        raise NotAllowed(msg)
    ends = [entity.queue.renew_lock(token.bytes_le) for token in body["lock-tokens"]]
    return {"expirations": Array([_timestamp(end) for end in ends])}


def _renew_session_lock(entity: Entity, body: dict[str, Any]) -> dict[str, Any]:
    entity.check_receives()
    return {"expiration": _timestamp(entity.queue.renew_session(_held(entity, body)))}


def _get_session_state(entity: Entity, body: dict[str, Any]) -> dict[str, Any]:
    return {"session-state": entity.queue.sessions.get_state(_held(entity, body).session.id)}


def _set_session_state(entity: Entity, body: dict[str, Any]) -> dict[str, Any]:
    state = body["session-state"]
    entity.queue.sessions.set_state(_held(entity, body).session.id, None if state is None else bytes(state))
    return {}


def _list_sessions(entity: Entity, body: dict[str, Any]) -> dict[str, Any] | None:
    entity.queue.advance()
    skip = body["skip"]
    found = entity.queue.sessions.with_messages_or_state()[skip : skip + body["top"]]
    return {"skip": skip + len(found), "sessions-ids": Array(found)} if found else None


def _lock(entity: Entity, body: dict[str, Any]) -> SessionLock | None:
    return _held(entity, body) if entity.queue.settings.sessions else None


def _held(entity: Entity, body: dict[str, Any]) -> SessionLock:
    entity.queue.advance()
    return entity.queue.sessions.held(body["session-id"])


def _timestamp(seconds: float) -> Timestamp:
    return Timestamp(round(seconds * 1000))


_OPERATIONS: dict[str, tuple[Claim, Callable[[Entity, dict[str, Any]], dict[str, Any] | None]]] = {
    "com.microsoft:schedule-message": (Claim.SEND, _schedule),
    "com.microsoft:cancel-scheduled-message": (Claim.SEND, _cancel_scheduled),
    "com.microsoft:peek-message": (Claim.LISTEN, _peek),
    "com.microsoft:receive-by-sequence-number": (Claim.LISTEN, _receive_deferred),
    "com.microsoft:update-disposition": (Claim.LISTEN, _update_disposition),
    "com.microsoft:renew-lock": (Claim.LISTEN, _renew_lock),
    "com.microsoft:renew-session-lock": (Claim.LISTEN, _renew_session_lock),
    "com.microsoft:get-session-state": (Claim.LISTEN, _get_session_state),
    "com.microsoft:set-session-state": (Claim.LISTEN, _set_session_state),
    "com.microsoft:get-message-sessions": (Claim.LISTEN, _list_sessions),
}
