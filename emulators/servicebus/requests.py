"""Request-response nodes: `$cbs`, which takes tokens, and each entity's `$management`."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from proton import Delivery, Link, Receiver

from emulators.servicebus import amqp
from emulators.servicebus.connection import AmqpConnection, LinkEnd
from emulators.servicebus.errors import ServiceBusFault
from emulators.servicebus.links import open_as_asked, receive_whole, settle_rejected
from emulators.servicebus.messages import APPLICATION_PROPERTIES, PROPERTIES, VALUE
from emulators.servicebus.messages import sections as message_sections

REQUEST_CREDIT = 100

_tags = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks of a node."""

    message_id: object
    properties: Mapping[str, Any]
    body: Any


@dataclass(frozen=True, slots=True)
class Answer:
    """Application properties and body of an answer."""

    properties: dict[str, Any]
    body: Any = None


class RequestLink(LinkEnd):
    """The client's sender to a node: every message is a request, answered on the node's response link."""

    def __init__(
        self, connection: AmqpConnection, link: Receiver, path: str, answer: Callable[[Request], Answer]
    ) -> None:
        self._connection = connection
        self._link = link
        self._path = path
        self._answer = answer
        open_as_asked(link)
        link.open()
        link.flow(REQUEST_CREDIT)

    def on_delivery(self, delivery: Delivery) -> None:
        """Answer a request."""
        sent = receive_whole(self._connection, self._link, delivery)
        if sent is None:
            return
        try:
            request = parse_request(sent.payload)
        except ServiceBusFault as fault:
            settle_rejected(delivery, fault)
            return
        delivery.update(Delivery.ACCEPTED)
        delivery.settle()
        if self._link.credit < REQUEST_CREDIT // 2:
            self._link.flow(REQUEST_CREDIT - self._link.credit)
        response_link = self._connection.response_links.get(self._path)
        answer = self._answer(request)
        if response_link is not None:
            answered = response_link.delivery(f"r{next(_tags)}")
            response_link.stream(encode_answer(request.message_id, answer))
            response_link.advance()
            answered.settle()


class ResponseLink(LinkEnd):
    """The client's receiver from a node."""

    def __init__(self, connection: AmqpConnection, link: Link, path: str) -> None:
        self._connection = connection
        self._link = link
        self._path = path
        open_as_asked(link)
        link.open()
        connection.response_links[path] = link

    def on_closed(self) -> None:
        """See LinkEnd."""
        if self._connection.response_links.get(self._path) == self._link:
            del self._connection.response_links[self._path]


def parse_request(payload: bytes) -> Request:
    """Read a request. Raises InvalidMessage."""
    message_id, properties, body = None, {}, None
    for code, _, start, _ in message_sections(payload):
        if code == PROPERTIES:
            message_id = next(iter(amqp.decode(payload, start)[0]), None)
        elif code == APPLICATION_PROPERTIES:
            properties = amqp.decode(payload, start)[0]
        elif code == VALUE:
            body = amqp.decode(payload, start)[0]
    return Request(message_id, properties, body)


def encode_answer(message_id: object, answer: Answer) -> bytes:
    """Return an answer as a message whose correlation id is the request's message id."""
    parts = (
        (PROPERTIES, [None, None, None, None, None, message_id]),
        (APPLICATION_PROPERTIES, answer.properties),
        (VALUE, answer.body),
    )
    return b"".join(bytes((0x00, 0x53, code)) + amqp.encode(value) for code, value in parts)


def put_token(connection: AmqpConnection, request: Request) -> Answer:
    """Answer a `put-token` request of `$cbs` (AMQP claims-based security)."""
    try:
        grant = connection.namespace.check_token(str(request.body))
    except ServiceBusFault as fault:
        return Answer({"status-code": fault.status, "status-description": str(fault)})
    connection.grants = [kept for kept in connection.grants if kept.path != grant.path]
    connection.grants.append(grant)
    return Answer({"status-code": 202, "status-description": "Accepted"})
