"""The namespace: queues by name, and for each the pulse that hands out messages and watches deadlines."""

import asyncio
import dataclasses
import itertools
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol
from urllib.parse import urlsplit

from emulators.servicebus.errors import EntityDisabled, EntityNotFound, NotAllowed
from emulators.servicebus.queues import MessageQueue
from emulators.servicebus.sas import POLICIES, Grant, Policy, check_token
from emulators.servicebus.sessions import SessionLock
from emulators.servicebus.settings import QueueSettings

DEAD_LETTER_SUFFIX = "/$deadletterqueue"


class Consumer(Protocol):
    """A link that messages go out on."""

    def pump(self) -> None:
        """Take what is there, as far as the link has credit."""

    def session_accepted(self, lock: SessionLock) -> None:
        """Start: a session was locked for this link, which waited for the next available one."""

    def session_lost(self) -> None:
        """End the link: its session's lock expired."""

    def disable(self) -> None:
        """End the link: the queue's status forbids receiving now, or the queue is gone."""


class Breakable(Protocol):
    """A client's connection."""

    def abort(self) -> None:
        """Break it off."""


class Entity:
    """A queue, or its dead-letter sub-queue, with the links that hang on it."""

    def __init__(self, path: str, queue: MessageQueue, clock: Callable[[], float]) -> None:
        self.path = path
        self.queue = queue
        self.deleted = False
        self.consumers: OrderedDict[Consumer, None] = OrderedDict()
        self.session_waiters: deque[Consumer] = deque()
        self._clock = clock
        self._wake_scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        queue.on_change = self.wake

    @property
    def is_dead_letter_queue(self) -> bool:
        """Whether this is a dead-letter sub-queue."""
        return self.queue.dead_letters is None

    def check_exists(self) -> None:
        """Raise EntityNotFound when the queue was deleted while a link was open."""
        if self.deleted:
            msg = f"The messaging entity '{self.path}' could not be found."
            raise EntityNotFound(msg)

    def check_sends(self) -> None:
        """Raise EntityNotFound, EntityDisabled, or NotAllowed for a dead-letter sub-queue: only the broker fills it."""
        self.check_exists()
        if self.is_dead_letter_queue:
            msg = f"Cannot send to the dead-letter sub-queue '{self.path}'."
            raise NotAllowed(msg)
        if not self.queue.settings.status.sends:
            msg = f"Sending to queue '{self.path}' is disabled."
            raise EntityDisabled(msg)

    def check_receives(self) -> None:
        """Raise EntityNotFound, or EntityDisabled unless messages may be received and settled."""
        self.check_exists()
        if not self.queue.settings.status.receives:
            msg = f"Receiving from queue '{self.path}' is disabled."
            raise EntityDisabled(msg)

    def wake(self) -> None:
        """Serve the links as soon as the input at hand is processed, so that a batch is handed out as a batch."""
        if not self._wake_scheduled:
            self._wake_scheduled = True
            asyncio.get_running_loop().call_soon(self._serve)

    def _serve(self) -> None:
        self._wake_scheduled = False
        queue = self.queue
        queue.advance()
        while queue.sessions.lost:
            queue.sessions.lost.pop().holder.session_lost()
        while self.session_waiters:
            lock = queue.accept_session(None, self.session_waiters[0])
            if lock is None:
                break
            self.session_waiters.popleft().session_accepted(lock)
        for consumer in list(self.consumers):
            consumer.pump()
        if self.consumers:
            # Whoever was served first is served last the next time.
            self.consumers.move_to_end(next(iter(self.consumers)))
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.queue.next_deadline()
        if deadline is not None and not self.deleted:
            delay = max(0.0, deadline - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self.wake)

    def end_consumers(self) -> None:
        """End the receiving links: the queue's status, or its removal, does not allow them any more.

        Senders keep their links and are refused message by message.
        """
        for consumer in [*self.consumers, *self.session_waiters]:
            consumer.disable()
        self.wake()


@dataclasses.dataclass(slots=True)
class QueuePair:
    """A queue with its dead-letter sub-queue, and when it was made and changed (seconds since the epoch)."""

    main: Entity
    dead_letters: Entity
    created_at: float
    updated_at: float

    @property
    def settings(self) -> QueueSettings:
        """What is configured for the queue."""
        return self.main.queue.settings


class Namespace:
    """All queues and the policies of their clients. Names of queues are case-insensitive."""

    def __init__(
        self,
        queues: Iterable[QueueSettings],
        clock: Callable[[], float],
        policies: Mapping[str, Policy] = POLICIES,
    ) -> None:
        self.clock = clock
        self._policies = policies
        #: Clients that are connected.
        self.connections: set[Breakable] = set()
        self._pairs: dict[str, QueuePair] = {}
        self._lost_settlements: set[str] = set()
        for settings in queues:
            self.create(settings)

    def check_token(self, token: str) -> Grant:
        """Return what a token allows, by the policies of this namespace. Raises Unauthorized."""
        return check_token(token, self.clock, self._policies)

    def create(self, settings: QueueSettings) -> QueuePair:
        """Add a queue; one of the same name must not be there."""
        numbers = itertools.count(1)
        dead = MessageQueue(_dead_letter_settings(settings), self.clock, sequence_numbers=numbers)
        main = MessageQueue(settings, self.clock, dead_letters=dead, sequence_numbers=numbers)
        now = self.clock()
        pair = QueuePair(
            main=Entity(settings.name, main, self.clock),
            dead_letters=Entity(settings.name + DEAD_LETTER_SUFFIX, dead, self.clock),
            created_at=now,
            updated_at=now,
        )
        self._pairs[settings.name.lower()] = pair
        return pair

    def update(self, settings: QueueSettings) -> QueuePair:
        """Change a queue, and end the links that its new status forbids. Raises EntityNotFound."""
        pair = self.pair(settings.name)
        pair.main.queue.settings = settings
        pair.dead_letters.queue.settings = _dead_letter_settings(settings)
        pair.updated_at = self.clock()
        for entity in (pair.main, pair.dead_letters):
            entity.wake()
            if not settings.status.receives:
                entity.end_consumers()
        return pair

    def delete(self, name: str) -> None:
        """Remove a queue with its messages and end its links. Raises EntityNotFound."""
        pair = self.pair(name)
        del self._pairs[name.lower()]
        for entity in (pair.main, pair.dead_letters):
            entity.deleted = True
            entity.end_consumers()

    def drop_connections(self) -> int:
        """Break every connection off; gives how many there were."""
        broken = list(self.connections)
        for connection in broken:
            connection.abort()
        return len(broken)

    def lose_settlement(self, name: str) -> int:
        """Let the next settlement of a message of this queue be lost, with its connection. Raises EntityNotFound."""
        self._lost_settlements.add(self.entity(name).path)
        return 1

    def loses_settlement(self, entity: Entity) -> bool:
        """Say whether the settlement at hand is lost."""
        lost = entity.path in self._lost_settlements
        self._lost_settlements.discard(entity.path)
        return lost

    def pairs(self) -> list[QueuePair]:
        """Return all queues by name."""
        return [self._pairs[name] for name in sorted(self._pairs)]

    def pair(self, name: str) -> QueuePair:
        """Return a queue with its sub-queue. Raises EntityNotFound."""
        pair = self._pairs.get(name.lower())
        if pair is None:
            msg = f"The messaging entity '{name}' could not be found."
            raise EntityNotFound(msg)
        return pair

    def entity(self, path: str) -> Entity:
        """Return a queue or, under `queue/$deadletterqueue`, its dead-letter sub-queue. Raises EntityNotFound."""
        name = path.lower().removesuffix(DEAD_LETTER_SUFFIX)
        pair = self.pair(name)
        return pair.main if name == path.lower() else pair.dead_letters


def entity_path(address: str | None) -> str:
    """Return the path of an AMQP address, which may be `queue` or `amqps://host:port/queue`."""
    address = address or ""
    return (urlsplit(address).path if "://" in address else address).strip("/")


def _dead_letter_settings(settings: QueueSettings) -> QueueSettings:
    return dataclasses.replace(
        settings, sessions=False, ttl_seconds=None, dead_letter_on_expiration=False, duplicate_detection_seconds=None
    )
