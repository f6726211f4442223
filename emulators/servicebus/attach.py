"""What stands behind each link that a client opens."""

import logging
from collections.abc import Callable
from functools import partial
from typing import cast

from proton import Link, Receiver, Sender

from emulators.servicebus.connection import AmqpConnection, LinkEnd
from emulators.servicebus.errors import ServiceBusFault
from emulators.servicebus.links import ConsumerLink, ProducerLink, refuse
from emulators.servicebus.management import answer_management
from emulators.servicebus.namespace import entity_path
from emulators.servicebus.requests import Answer, Request, RequestLink, ResponseLink, put_token
from emulators.servicebus.sas import Claim

MANAGEMENT_SUFFIX = "/$management"

logger = logging.getLogger(__name__)


def attach(connection: AmqpConnection, link: Link) -> LinkEnd | None:
    """Open a link to the node at its address, or refuse it with the error that Service Bus gives."""
    path = entity_path(link.remote_source.address if link.is_sender else link.remote_target.address)
    try:
        return _attach(connection, link, path)
    except ServiceBusFault as fault:
        logger.info("refused a link to %r: %s", path, fault)
        refuse(link, fault)
        return None


def _attach(connection: AmqpConnection, link: Link, path: str) -> LinkEnd:
    node = path.lower()
    if node == "$cbs":
        return _request_node(connection, link, node, partial(put_token, connection))
    if node.endswith(MANAGEMENT_SUFFIX):
        path = path[: -len(MANAGEMENT_SUFFIX)]
        connection.check_claim(Claim.SEND | Claim.LISTEN, path)
        entity = connection.namespace.entity(path)
        return _request_node(connection, link, node, partial(answer_management, connection, entity))
    connection.check_claim(Claim.LISTEN if link.is_sender else Claim.SEND, path)
    entity = connection.namespace.entity(path)
    if isinstance(link, Sender):
        return ConsumerLink(connection, link, entity)
    return ProducerLink(connection, cast("Receiver", link), entity)


def _request_node(connection: AmqpConnection, link: Link, node: str, answer: Callable[[Request], Answer]) -> LinkEnd:
    if link.is_sender:
        return ResponseLink(connection, link, node)
    return RequestLink(connection, cast("Receiver", link), node, answer)
