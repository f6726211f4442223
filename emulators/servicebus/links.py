"""The links that carry messages: senders that clients open, and receivers with or without a session."""

import asyncio
import contextlib
from typing import Any, NamedTuple, cast

from proton import Condition, Delivery, Link, Receiver, Sender, Terminus, symbol

from emulators.servicebus.connection import AmqpConnection, LinkEnd
from emulators.servicebus.errors import (
    MessageTooLarge,
    NotAllowed,
    ServiceBusFault,
    SessionLockLost,
    WaitTimeout,
)
from emulators.servicebus.frames import BATCH
from emulators.servicebus.messages import Message, parse_message, split_batch
from emulators.servicebus.namespace import Entity
from emulators.servicebus.sessions import SessionLock
from emulators.servicebus.settings import MAX_MESSAGE_BYTES

# The credit that the real service gives a sender.
SEND_CREDIT = 1000
# Service Bus: how long a receiver waits for the next available session unless it says otherwise.
DEFAULT_SESSION_WAIT = 60.0

SESSION_FILTER = symbol("com.microsoft:session-filter")
LOCKED_UNTIL = symbol("com.microsoft:locked-until-utc")
TIMEOUT = symbol("com.microsoft:timeout")
# .NET ticks (100 ns since 0001-01-01) of the Unix epoch.
EPOCH_TICKS = 621_355_968_000_000_000


def condition_of(fault: ServiceBusFault) -> Condition:
    """Return a fault as the AMQP error that a client gets. Clients count on its three fields being there."""
    return Condition(fault.condition, str(fault), {symbol("com.microsoft:tracking-id"): "local"})


def refuse(link: Link, fault: ServiceBusFault) -> None:
    """Answer an attach with the error: a link without source and target, closed at once (AMQP 1.0, part 2, 2.6.3)."""
    link.source.type = link.target.type = Terminus.UNSPECIFIED
    link.open()
    link.condition = condition_of(fault)
    link.close()


def open_as_asked(link: Link) -> None:
    """Confirm a link with the termini and settle modes that the client asked for."""
    link.source.copy(link.remote_source)
    link.target.copy(link.remote_target)
    link.snd_settle_mode = link.remote_snd_settle_mode
    link.rcv_settle_mode = link.remote_rcv_settle_mode


class Transfer(NamedTuple):
    """What a client sent in one delivery."""

    payload: bytes
    is_batch: bool


def receive_whole(connection: AmqpConnection, link: Receiver, delivery: Delivery) -> Transfer | None:
    """Return what was sent in a delivery once it is complete."""
    if delivery.aborted:
        connection.formats.take(link.name)
        delivery.settle()
        return None
    if not delivery.readable or delivery.partial:
        return None
    payload = bytes(link.recv(delivery.pending) or b"")
    link.advance()
    return Transfer(payload, is_batch=connection.formats.take(link.name) == BATCH)


def settle_rejected(delivery: Delivery, fault: ServiceBusFault) -> None:
    """Settle a delivery with the error that a client gets for it."""
    delivery.local.condition = condition_of(fault)
    delivery.update(Delivery.REJECTED)
    delivery.settle()


class ProducerLink(LinkEnd):
    """A client's sender: takes messages and batches, each wholly or not at all."""

    def __init__(self, connection: AmqpConnection, link: Receiver, entity: Entity) -> None:
        entity.check_sends()
        self._connection = connection
        self._link = link
        self._entity = entity
        open_as_asked(link)
        link.max_message_size = MAX_MESSAGE_BYTES
        link.open()
        link.flow(SEND_CREDIT)

    def on_delivery(self, delivery: Delivery) -> None:
        """Take what was sent, and answer with the outcome."""
        sent = receive_whole(self._connection, self._link, delivery)
        if sent is None:
            return
        try:
            self._entity.check_sends()
            size = len(sent.payload)
            if size > MAX_MESSAGE_BYTES:
                msg = f"The message (size: {size} bytes) exceeds the limit ({MAX_MESSAGE_BYTES} bytes)."
                raise MessageTooLarge(msg)
            parts = split_batch(sent.payload) if sent.is_batch else [sent.payload]
            self._entity.queue.send([parse_message(part) for part in parts])
        except ServiceBusFault as fault:
            settle_rejected(delivery, fault)
        else:
            delivery.update(Delivery.ACCEPTED)
            delivery.settle()
        if self._link.credit < SEND_CREDIT // 2:
            self._link.flow(SEND_CREDIT - self._link.credit)


class ConsumerLink(LinkEnd):
    """A client's receiver. On a session queue it holds one session, or waits for the next available one."""

    def __init__(self, connection: AmqpConnection, link: Sender, entity: Entity) -> None:
        entity.check_receives()
        self._connection = connection
        self._link = link
        self._entity = entity
        self._queue = entity.queue
        self._lock: SessionLock | None = None
        self._wait: asyncio.TimerHandle | None = None
        self._closed = False
        self._deletes = link.remote_snd_settle_mode == Link.SND_SETTLED
        filters = _filters(link)
        if self._queue.settings.sessions != (SESSION_FILTER in filters):
            raise NotAllowed(_SESSIONS_REQUIRED if self._queue.settings.sessions else _NO_SESSIONS)
        if not self._queue.settings.sessions:
            self._start()
            return
        lock = self._queue.accept_session(filters[SESSION_FILTER], self)
        if lock is not None:
            self.session_accepted(lock)
        else:
            wait = (link.remote_properties or {}).get(TIMEOUT)
            self._entity.session_waiters.append(self)
            self._wait = asyncio.get_running_loop().call_later(
                DEFAULT_SESSION_WAIT if wait is None else wait / 1000, self._give_up_waiting
            )

    def session_accepted(self, lock: SessionLock) -> None:
        """See Consumer."""
        self._stop_waiting()
        self._lock = lock
        self._link.properties = {LOCKED_UNTIL: EPOCH_TICKS + round(lock.locked_until * 10_000_000)}
        self._start()
        self._connection.transmit_soon()

    def pump(self) -> None:
        """See Consumer."""
        credit = self._link.credit
        # The session's lock may end at this very moment; `session_lost` follows then.
        with contextlib.suppress(SessionLockLost):
            if credit > 0:
                for message in self._queue.receive(credit, lock=self._lock, delete=self._deletes):
                    self._send(message)
        if self._link.drain_mode:
            self._link.drained()
        # At once: credit that the client takes back now would leave them here, locked and never on their way.
        self._connection.transmit()

    def on_flow(self) -> None:
        """See LinkEnd."""
        self._entity.wake()

    def on_delivery(self, delivery: Delivery) -> None:
        """Apply the outcome that the client chose, and confirm it."""
        if not delivery.updated:
            return
        outcome = delivery.remote_state
        if self._connection.namespace.loses_settlement(self._entity):
            self._connection.abort()
            return
        try:
            self._entity.check_receives()
            self._apply(delivery.tag.encode(), outcome, delivery)
        except ServiceBusFault as fault:
            settle_rejected(delivery, fault)
        else:
            delivery.update(outcome)
            delivery.settle()

    def session_lost(self) -> None:
        """See Consumer."""
        self._end(SessionLockLost("The session lock has expired on the MessageSession. Accept a new MessageSession."))

    def disable(self) -> None:
        """See Consumer."""
        try:
            self._entity.check_receives()
        except ServiceBusFault as fault:
            self._end(fault)

    def on_closed(self) -> None:
        """Give the session up. Locks of messages without a session stay until they expire, as in Service Bus."""
        self._closed = True
        self._stop_waiting()
        self._entity.consumers.pop(self, None)
        if self._lock is not None:
            self._queue.close_session(self._lock)

    def _start(self) -> None:
        open_as_asked(self._link)
        if self._lock is not None:
            filters = self._link.source.filter
            filters.clear()
            filters.put_object({SESSION_FILTER: self._lock.session.id})
        self._link.open()
        self._entity.consumers[self] = None
        self._entity.wake()

    def _send(self, message: Message) -> None:
        delivery = self._link.delivery(message.lock_token.decode())
        self._link.stream(message.encode())
        self._link.advance()
        if self._deletes:
            delivery.settle()

    def _apply(self, token: bytes, outcome: int, delivery: Delivery) -> None:
        if outcome == Delivery.ACCEPTED:
            self._queue.complete(token)
        elif outcome == Delivery.RELEASED:
            self._queue.release(token)
        elif outcome == Delivery.MODIFIED and delivery.remote.undeliverable:
            self._queue.defer(token)
        elif outcome == Delivery.MODIFIED:
            self._queue.abandon(token)
        elif outcome == Delivery.REJECTED:
            condition = delivery.remote.condition
            info = cast("dict[Any, Any]", (condition.info if condition else None) or {})
            self._queue.dead_letter(token, info.get("DeadLetterReason"), info.get("DeadLetterErrorDescription"))

    def _stop_waiting(self) -> None:
        if self._wait is not None:
            self._wait.cancel()
            self._wait = None
        if self in self._entity.session_waiters:
            self._entity.session_waiters.remove(self)

    def _give_up_waiting(self) -> None:
        self._stop_waiting()
        self._end(WaitTimeout("The operation did not complete within the allotted timeout: no session is available."))

    def _end(self, fault: ServiceBusFault) -> None:
        if self._closed:
            return
        if self in self._entity.consumers:
            self._link.condition = condition_of(fault)
        else:
            refuse(self._link, fault)
        self._connection.end_link(self._link)


_SESSIONS_REQUIRED = (
    "It is not possible for an entity that requires sessions to create a non-sessionful message receiver."
)
_NO_SESSIONS = (
    "A sessionful message receiver cannot be created on an entity that does not require sessions. "
    "Ensure RequiresSession is set to true when creating a Queue or Subscription to enable sessionful behavior."
)


def _filters(link: Sender) -> dict[Any, Any]:
    data = link.remote_source.filter
    data.rewind()
    if not data.next():
        return {}
    return cast("dict[Any, Any]", data.get_object() or {})
