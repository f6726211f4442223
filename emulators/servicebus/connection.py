"""One AMQP connection: bytes between an asyncio transport and proton's engine, and the engine's events to the links."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

from proton import Collector, Connection, Delivery, Event, EventType, Link, Session, Transport, TransportException

from emulators.servicebus.errors import Unauthorized
from emulators.servicebus.frames import TransferFormats
from emulators.servicebus.namespace import Namespace
from emulators.servicebus.sas import Claim, Grant

# The real service's values.
MAX_FRAME_BYTES = 64 * 1024

logger = logging.getLogger(__name__)


class LinkEnd:
    """What stands behind one link. Every reaction is optional."""

    def on_delivery(self, delivery: Delivery) -> None:
        """Something arrived, or a delivery was settled."""

    def on_flow(self) -> None:
        """The peer changed its credit."""

    def on_closed(self) -> None:
        """The link is gone: closed by either side, or with its session or connection."""


class AmqpConnection(asyncio.Protocol):
    """A client's connection. `attach` decides what stands behind a link that the client opens.

    Its tokens are checked once, when they are put on `$cbs`; what they grant is kept in `grants`.
    """

    def __init__(self, namespace: Namespace, attach: Callable[["AmqpConnection", Link], LinkEnd | None]) -> None:
        self.namespace = namespace
        self.grants: list[Grant] = []
        #: Of what the client sends on its links.
        self.formats = TransferFormats()
        #: Where answers of request-response nodes such as `$cbs` go, by the node's path.
        self.response_links: dict[str, Link] = {}
        self._attach = attach
        self._links: dict[Link, LinkEnd] = {}
        self._transmit_scheduled = False
        self._socket: asyncio.Transport | None = None
        self._collector = Collector()
        self._connection = Connection()
        self._connection.collect(self._collector)
        self._engine = Transport(Transport.SERVER)
        self._engine.max_frame_size = MAX_FRAME_BYTES
        self._engine.sasl().allowed_mechs("ANONYMOUS")
        self._engine.bind(self._connection)
        self._reactions: dict[EventType, Callable[[Any], None]] = {
            Event.CONNECTION_REMOTE_OPEN: self._on_connection_open,
            Event.CONNECTION_REMOTE_CLOSE: lambda event: event.connection.close(),
            Event.SESSION_REMOTE_OPEN: lambda event: event.session.open(),
            Event.SESSION_REMOTE_CLOSE: self._on_session_close,
            Event.LINK_REMOTE_OPEN: self._on_link_open,
            Event.LINK_REMOTE_CLOSE: lambda event: self._drop_link(event.link),
            Event.LINK_REMOTE_DETACH: lambda event: self._drop_link(event.link),
            Event.LINK_FLOW: self._on_flow,
            Event.DELIVERY: self._on_delivery,
        }

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start: the client is there."""
        self._socket = cast("asyncio.Transport", transport)
        self.namespace.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Feed the engine and answer."""
        self.formats.feed(data)
        view = memoryview(data)
        try:
            while view:
                room = self._engine.capacity()
                if room <= 0:
                    break
                self._engine.push(bytes(view[:room]))
                view = view[room:]
                self._dispatch()
        except TransportException as error:
            logger.warning("AMQP: %s", error)
        self.transmit()

    def connection_lost(self, exc: Exception | None) -> None:
        """End all links: sessions are given up, messages locked without a session stay locked."""
        del exc
        self._socket = None
        self.namespace.connections.discard(self)
        for link in list(self._links):
            self._forget(link)
        self._engine.unbind()
        self._collector.release()

    # For the links

    def link_ends(self, name: str) -> list[LinkEnd]:
        """Return what stands behind the client's links of this name, or with "" behind all of them."""
        return [end for link, end in self._links.items() if name in {"", link.name}]

    def transmit_soon(self) -> None:
        """Write what the links produced, once the work at hand is done."""
        if not self._transmit_scheduled:
            self._transmit_scheduled = True
            asyncio.get_running_loop().call_soon(self.transmit)

    def transmit(self) -> None:
        """Write what the links produced."""
        self._transmit_scheduled = False
        self._dispatch()
        if self._socket is None:
            return
        while (pending := self._engine.pending()) > 0:
            output = self._engine.peek(pending) or b""
            self._socket.write(output)
            self._engine.pop(len(output))
        if pending < 0 or self._engine.capacity() < 0:
            self._socket.close()

    def end_link(self, link: Link) -> None:
        """Close a link from this side; set its `condition` before to say why."""
        link.close()
        self._forget(link)
        self.transmit_soon()

    def abort(self) -> None:
        """Break off, without a word to the client."""
        if self._socket is not None:
            self._socket.abort()

    def check_claim(self, claim: Claim, path: str) -> None:
        """Raise Unauthorized unless a token put on this connection grants `claim` on the entity at `path`."""
        now = self.namespace.clock()
        if not any(grant.allows(claim, path.lower(), now) for grant in self.grants):
            msg = f"Unauthorized access. '{claim.name}' claim(s) are required to perform this operation on '{path}'."
            raise Unauthorized(msg)

    # proton's side

    def _dispatch(self) -> None:
        while (event := self._collector.peek()) is not None:
            reaction = self._reactions.get(event.type)
            if reaction is not None:
                reaction(event)
            del event
            self._collector.pop()

    def _on_connection_open(self, event: Any) -> None:
        event.connection.container = "servicebus-emulator"
        event.connection.open()

    def _on_link_open(self, event: Any) -> None:
        link = event.link
        end = self._attach(self, link)
        if end is not None:
            self._links[link] = end

    def _on_session_close(self, event: Any) -> None:
        session: Session = event.session
        for link in [link for link in self._links if link.session == session]:
            self._forget(link)
        session.close()

    def _on_flow(self, event: Any) -> None:
        end = self._links.get(event.link)
        if end is not None:
            end.on_flow()

    def _on_delivery(self, event: Any) -> None:
        end = self._links.get(event.link)
        if end is not None:
            end.on_delivery(event.delivery)

    def _drop_link(self, link: Link) -> None:
        link.close()
        self._forget(link)
        link.free()

    def _forget(self, link: Link) -> None:
        end = self._links.pop(link, None)
        if end is not None:
            end.on_closed()
