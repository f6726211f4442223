"""The operations of an entity's `$management` node (Service Bus: "AMQP request-response operations")."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from emulators.servicebus.amqp import Array, Long, Symbol, Timestamp
from emulators.servicebus.connection import AmqpConnection
from emulators.servicebus.errors import ArgumentError, MessageTooLarge, NotAllowed, ServiceBusFault, SessionLockLost
from emulators.servicebus.messages import Message, parse_message
from emulators.servicebus.namespace import Entity
from emulators.servicebus.requests import Answer, Request
from emulators.servicebus.sas import Claim
from emulators.servicebus.sessions import SessionLock
from emulators.servicebus.settings import MAX_MESSAGE_BYTES

# receiver-settle-mode of receive-by-sequence-number: 0 removes the message, 1 locks it.
_SETTLE_FIRST = 0


@dataclass(frozen=True, slots=True)
class _Call:
    """A request on an entity, and the receiver that the client says it acts for ("" where it names none)."""

    connection: AmqpConnection
    entity: Entity
    body: dict[str, Any]
    link_name: str

    def session(self) -> SessionLock:
        """Return the lock on the session that the client names.

        Raises SessionLockLost unless the client's receiver holds it.
        """
        self.entity.queue.advance()
        lock = self.entity.queue.sessions.held(self.body["session-id"])
        ends: list[object] = [*self.connection.link_ends(self.link_name)]
        if lock.holder not in ends:
            msg = f"The session '{lock.session.id}' is locked by another receiver."
            raise SessionLockLost(msg)
        return lock

    def session_if_any(self) -> SessionLock | None:
        """The same on a queue with sessions; None on any other."""
        return self.session() if self.entity.queue.settings.sessions else None


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
        answer = operation(_Call(connection, entity, body, str(request.properties.get("associated-link-name") or "")))
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


def _schedule(call: _Call) -> dict[str, Any]:
    call.entity.check_sends()
    messages = [parse_message(bytes(item["message"])) for item in call.body["messages"]]
    if sum(message.size for message in messages) > MAX_MESSAGE_BYTES:
        msg = f"The messages exceed the limit of {MAX_MESSAGE_BYTES} bytes."
        raise MessageTooLarge(msg)
    return {"sequence-numbers": Array([Long(number) for number in call.entity.queue.send(messages)])}


def _cancel_scheduled(call: _Call) -> dict[str, Any]:
    call.entity.check_sends()
    call.entity.queue.cancel_scheduled(call.body["sequence-numbers"])
    return {}


def _peek(call: _Call) -> dict[str, Any] | None:
    found = call.entity.queue.peek(
        call.body["from-sequence-number"], call.body["message-count"], call.body.get("session-id")
    )
    encoded: list[dict[str, bytes]] = []
    room = MAX_MESSAGE_BYTES
    for message in found:
        raw = message.encode()
        room -= len(raw)
        if encoded and room < 0:
            break
        encoded.append({"message": raw})
    return {"messages": encoded} if encoded else None


def _receive_deferred(call: _Call) -> dict[str, Any]:
    call.entity.check_receives()
    messages = call.entity.queue.receive_deferred(
        call.body["sequence-numbers"],
        lock=call.session_if_any(),
        delete=call.body["receiver-settle-mode"] == _SETTLE_FIRST,
    )
    return {"messages": [_handed_out(message) for message in messages]}


def _handed_out(message: Message) -> dict[str, Any]:
    return {"lock-token": UUID(bytes_le=message.lock_token), "message": message.encode()}


def _update_disposition(call: _Call) -> dict[str, Any]:
    call.entity.check_receives()
    session = call.session_if_any()
    queue = call.entity.queue
    settle: dict[str, Callable[[bytes], None]] = {
        "completed": queue.complete,
        "abandoned": queue.abandon,
        "defered": queue.defer,
        "suspended": lambda token: queue.dead_letter(
            token, call.body.get("deadletter-reason"), call.body.get("deadletter-description")
        ),
    }
    status = call.body["disposition-status"]
    if status not in settle:
        msg = f"The disposition status '{status}' is not supported."
        raise ArgumentError(msg)
    tokens = [token.bytes_le for token in call.body["lock-tokens"]]
    if session is not None and not session.messages.keys() >= set(tokens):
        msg = "A message is not locked by the receiver of this session."
        raise SessionLockLost(msg)
    for token in tokens:
        settle[status](token)
    return {}


def _renew_lock(call: _Call) -> dict[str, Any]:
    call.entity.check_receives()
    if call.entity.queue.settings.sessions:
        msg = "A message of a session has no lock of its own. Renew the session's lock."
        raise NotAllowed(msg)
    ends = [call.entity.queue.renew_lock(token.bytes_le) for token in call.body["lock-tokens"]]
    return {"expirations": Array([_timestamp(end) for end in ends])}


def _renew_session_lock(call: _Call) -> dict[str, Any]:
    call.entity.check_receives()
    return {"expiration": _timestamp(call.entity.queue.renew_session(call.session()))}


def _get_session_state(call: _Call) -> dict[str, Any]:
    return {"session-state": call.entity.queue.sessions.get_state(call.session().session.id)}


def _set_session_state(call: _Call) -> dict[str, Any]:
    state = call.body["session-state"]
    call.entity.queue.sessions.set_state(call.session().session.id, None if state is None else bytes(state))
    return {}


def _list_sessions(call: _Call) -> dict[str, Any] | None:
    call.entity.queue.advance()
    skip = call.body["skip"]
    found = call.entity.queue.sessions.with_messages_or_state()[skip : skip + call.body["top"]]
    return {"skip": skip + len(found), "sessions-ids": Array(found)} if found else None


def _timestamp(seconds: float) -> Timestamp:
    return Timestamp(round(seconds * 1000))


_OPERATIONS: dict[str, tuple[Claim, Callable[[_Call], dict[str, Any] | None]]] = {
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
