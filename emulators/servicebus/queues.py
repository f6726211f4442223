"""One queue, or its dead-letter sub-queue, as a state machine over an injected clock. It knows no AMQP links."""

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from emulators.servicebus.deadlines import Deadlines
from emulators.servicebus.errors import MessageLockLost, MessageNotFound, NotAllowed, SessionLockLost
from emulators.servicebus.messages import Message, MessageState
from emulators.servicebus.sessions import SessionHolder, SessionLock, Sessions
from emulators.servicebus.settings import QueueSettings
from emulators.servicebus.store import MessageStore, SeenIds

# Service Bus: a peek returns 250 messages at most.
MAX_PEEK = 250

_tokens = itertools.count(1)


def new_lock_token() -> bytes:
    """Return a lock token: 16 bytes that clients read as a little-endian GUID, ASCII because proton decodes tags."""
    return b"%016x" % next(_tokens)


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """How many messages are in a queue. `active` has the locked and the deferred ones in it."""

    active: int
    scheduled: int


class MessageQueue:
    """The messages of one queue: sent, scheduled, locked, settled, deferred, expired, dead-lettered.

    `clock` returns seconds since the epoch. `dead_letters` takes what cannot be delivered; without it the queue is a
    dead-letter sub-queue itself: nothing expires there, and deliveries are not counted against a maximum.
    `on_change` is called when something may have become deliverable, or a deadline may have moved.
    """

    def __init__(
        self,
        settings: QueueSettings,
        clock: Callable[[], float],
        *,
        dead_letters: "MessageQueue | None" = None,
        sequence_numbers: Iterable[int] | None = None,
    ) -> None:
        self.settings = settings
        self.on_change: Callable[[], None] = lambda: None
        self.dead_letters = dead_letters
        self.sessions = Sessions()
        self._clock = clock
        self._messages = MessageStore(iter(sequence_numbers if sequence_numbers is not None else itertools.count(1)))
        self._seen_ids = SeenIds()
        self._ready: list[int] = []
        self._locked: dict[bytes, Message] = {}
        self._scheduled: Deadlines[int] = Deadlines()
        self._expiring: Deadlines[int] = Deadlines()
        self._lock_ends: Deadlines[bytes] = Deadlines()

    # Sending

    def send(self, messages: Sequence[Message]) -> list[int]:
        """Take all of the messages or none, and return their sequence numbers; a duplicate gets 0 and is dropped.

        A message whose scheduled time lies ahead becomes active then, under a new sequence number.
        Raises NotAllowed for a message without session id on a session queue.
        """
        if self.settings.sessions and any(message.session_id is None for message in messages):
            msg = (
                "The SessionId was not set on a message, and it cannot be sent to the entity. Entities that have "
                "session support enabled can only receive messages that have the SessionId set to a valid value."
            )
            raise NotAllowed(msg)
        now = self.advance()
        numbers = [self._accept(message, now) for message in messages]
        self.on_change()
        return numbers

    def cancel_scheduled(self, sequence_numbers: Iterable[int]) -> None:
        """Remove scheduled messages. Raises MessageNotFound, and removes none, when one of them is not scheduled."""
        self.advance()
        messages = [self._find(number, MessageState.SCHEDULED) for number in dict.fromkeys(sequence_numbers)]
        for message in messages:
            self._scheduled.cancel(message.sequence_number)
            self._forget(message)

    def _accept(self, message: Message, now: float) -> int:
        window = self.settings.duplicate_detection_seconds
        named = message.message_id is not None
        if window is not None and named and self._seen_ids.is_duplicate(message.message_id, now, window):
            return 0
        if message.scheduled_for is not None and message.scheduled_for > now:
            message.state = MessageState.SCHEDULED
            message.enqueued_at = now
            self._messages.add(message)
            self._scheduled.set(message.sequence_number, message.scheduled_for)
        else:
            self._enqueue(message, now)
        return message.sequence_number

    def _enqueue(self, message: Message, now: float) -> None:
        message.enqueued_at = now
        self._messages.add(message)
        lives = [ttl for ttl in (message.ttl, self.settings.ttl_seconds) if ttl is not None]
        if lives and self.dead_letters is not None:
            message.ttl = min(lives)
            message.expires_at = now + message.ttl
            self._expiring.set(message.sequence_number, message.expires_at)
        self._make_ready(message)

    def _forget(self, message: Message) -> None:
        self._messages.remove(message)
        self._expiring.cancel(message.sequence_number)

    def _make_ready(self, message: Message) -> None:
        message.state = MessageState.READY
        if self.settings.sessions:
            self.sessions.push(message)
        else:
            heapq.heappush(self._ready, message.sequence_number)

    # Receiving

    def receive(self, limit: int, *, lock: SessionLock | None = None, delete: bool = False) -> list[Message]:
        """Lock (or, with `delete`, remove) up to `limit` messages in order, of the session that `lock` holds if any."""
        now = self.advance()
        if lock is not None:
            self.sessions.check(lock)
        ready = self._ready if lock is None else lock.session.ready
        received: list[Message] = []
        while ready and len(received) < limit:
            message = self._messages.get(heapq.heappop(ready))
            if message is None or message.state is not MessageState.READY:
                continue
            if self.settings.sessions:
                self.sessions.take_ready(message)
            self._hand_out(message, now, lock, delete=delete)
            received.append(message)
        return received

    def receive_deferred(
        self, sequence_numbers: Iterable[int], *, lock: SessionLock | None = None, delete: bool = False
    ) -> list[Message]:
        """Lock (or remove) deferred messages. Raises MessageNotFound, and locks none, when one is not deferred."""
        now = self.advance()
        if lock is not None:
            self.sessions.check(lock)
        messages = [self._find(number, MessageState.DEFERRED) for number in dict.fromkeys(sequence_numbers)]
        if lock is not None and any(message.session_id != lock.session.id for message in messages):
            msg = "A deferred message belongs to another session."
            raise MessageNotFound(msg)
        for message in messages:
            self._hand_out(message, now, lock, delete=delete)
        return messages

    def peek(self, from_sequence_number: int, limit: int, session_id: str | None = None) -> list[Message]:
        """Return messages in any state from a sequence number on, without locking them."""
        self.advance()
        messages = self._messages.since(from_sequence_number)
        wanted = (message for message in messages if session_id is None or message.session_id == session_id)
        return list(itertools.islice(wanted, min(limit, MAX_PEEK)))

    def _hand_out(self, message: Message, now: float, lock: SessionLock | None, *, delete: bool) -> None:
        message.lock_token = new_lock_token()
        if delete:
            self._forget(message)
            return
        message.state = MessageState.LOCKED
        self._locked[message.lock_token] = message
        if lock is not None:
            message.locked_until = lock.locked_until
            lock.messages[message.lock_token] = message
        else:
            message.locked_until = now + self.settings.lock_seconds
            self._lock_ends.set(message.lock_token, message.locked_until)

    def _find(self, sequence_number: int, state: MessageState) -> Message:
        message = self._messages.get(sequence_number)
        if message is None or message.state is not state:
            msg = f"The message with sequence number {sequence_number} was not found."
            raise MessageNotFound(msg)
        return message

    # Settling

    def renew_lock(self, token: bytes) -> float:
        """Extend a message's lock and return when it ends now. Raises MessageLockLost."""
        now = self.advance()
        message = self._held(token)
        message.locked_until = now + self.settings.lock_seconds
        self._lock_ends.set(token, message.locked_until)
        self.on_change()
        return message.locked_until

    def complete(self, token: bytes) -> None:
        """Remove a locked message. Raises MessageLockLost."""
        self.advance()
        self._forget(self._unlock(self._held(token)))

    def abandon(self, token: bytes) -> None:
        """Return a locked message to the queue; the delivery counts as failed. Raises MessageLockLost."""
        now = self.advance()
        self._return(self._unlock(self._held(token)), now, failed=True)
        self.on_change()

    def release(self, token: bytes) -> None:
        """Return a locked message that the client did not look at: the delivery does not count."""
        now = self.advance()
        self._return(self._unlock(self._held(token)), now, failed=False)
        self.on_change()

    def defer(self, token: bytes) -> None:
        """Set a locked message aside: it is only received by its sequence number. Raises MessageLockLost."""
        self.advance()
        message = self._unlock(self._held(token))
        message.delivery_count += 1
        message.deferred = True
        message.state = MessageState.DEFERRED

    def dead_letter(self, token: bytes, reason: str | None, description: str | None) -> None:
        """Move a locked message to the dead-letter sub-queue. In that sub-queue itself it just stays."""
        now = self.advance()
        message = self._unlock(self._held(token))
        if self.dead_letters is None:
            self._return(message, now, failed=False)
            self.on_change()
        else:
            self._move_to_dead_letters(message, reason, description)

    def _held(self, token: bytes) -> Message:
        message = self._locked.get(token)
        if message is None and self.settings.sessions:
            msg = "The session lock was lost, or the message was settled already."
            raise SessionLockLost(msg)
        if message is None:
            msg = (
                "The lock supplied is invalid. Either the lock expired, or the message has already been removed "
                "from the queue, or was received by a different receiver instance."
            )
            raise MessageLockLost(msg)
        return message

    def _unlock(self, message: Message) -> Message:
        del self._locked[message.lock_token]
        self._lock_ends.cancel(message.lock_token)
        if self.settings.sessions:
            self.sessions.unlock_message(message)
        return message

    def _return(self, message: Message, now: float, *, failed: bool) -> None:
        message.delivery_count += failed
        if self.dead_letters is not None and failed and message.delivery_count >= self.settings.max_delivery_count:
            description = f"Message could not be consumed after {message.delivery_count} delivery attempts."
            self._move_to_dead_letters(message, "MaxDeliveryCountExceeded", description)
        elif message.deferred:
            message.state = MessageState.DEFERRED
        elif message.expires_at is not None and message.expires_at <= now:
            self._expire(message)
        else:
            self._make_ready(message)

    def _expire(self, message: Message) -> None:
        if self.settings.dead_letter_on_expiration:
            self._move_to_dead_letters(message, "TTLExpiredException", "The message expired and was dead lettered.")
        else:
            self._forget(message)

    def _move_to_dead_letters(self, message: Message, reason: str | None, description: str | None) -> None:
        self._forget(message)
        message.mark_dead(reason, description)
        if self.dead_letters is not None:
            self.dead_letters.take_dead(message)

    def take_dead(self, message: Message) -> None:
        """Add a message that the main queue gave up. It keeps its delivery count and gets a new sequence number."""
        message.enqueued_sequence_number = message.enqueued_sequence_number or message.sequence_number
        message.expires_at, message.deferred = None, False
        self._messages.add(message)
        self._make_ready(message)
        self.on_change()

    # Sessions

    def accept_session(self, session_id: str | None, holder: SessionHolder) -> SessionLock | None:
        """Lock a named session, or the next one that has messages and is free; None when there is none.

        Raises SessionCannotBeLocked for a named session that somebody else holds.
        """
        now = self.advance()
        lock = self.sessions.accept(session_id, holder, now + self.settings.lock_seconds)
        if lock is not None:
            self.on_change()
        return lock

    def renew_session(self, lock: SessionLock) -> float:
        """Extend a session's lock and return when it ends now. Raises SessionLockLost."""
        now = self.advance()
        self.sessions.renew(lock, now + self.settings.lock_seconds)
        self.on_change()
        return lock.locked_until

    def close_session(self, lock: SessionLock) -> None:
        """Give a session up: what is locked under it is available again at once.

        These deliveries do not count (Service Bus, "Message sessions": only a lock that expires raises the count).
        """
        now = self.advance()
        if self.sessions.release(lock):
            self._return_session(lock, now, failed=False)

    def _return_session(self, lock: SessionLock, now: float, *, failed: bool) -> None:
        for message in list(lock.messages.values()):
            del self._locked[message.lock_token]
            self._return(message, now, failed=failed)
        lock.messages.clear()
        self.sessions.offer(lock.session)
        self.on_change()

    # Time

    def advance(self) -> float:
        """Bring the queue up to the clock: activate, unlock and expire what is due. Returns the time used."""
        now = self._clock()
        self._activate(now, due=now)
        self._end_locks(now, due=now)
        for number in self._expiring.take_due(now):
            expired = self._messages.get(number)
            if expired is not None and expired.state is MessageState.READY:
                if self.settings.sessions:
                    self.sessions.take_ready(expired)
                self._expire(expired)
        return now

    def hurry(self) -> int:
        """Make all scheduled messages active now, as if their time had come; gives how many."""
        now, count = self.advance(), len(self._scheduled)
        self._activate(now, due=math.inf)
        self.on_change()
        return count

    def lose_locks(self) -> int:
        """End all locks on messages and sessions now, as if their time had passed; gives how many messages return."""
        now, count = self.advance(), len(self._locked)
        self._end_locks(now, due=math.inf)
        self.on_change()
        return count

    def _activate(self, now: float, *, due: float) -> None:
        for number in self._scheduled.take_due(due):
            message = self._find(number, MessageState.SCHEDULED)
            self._forget(message)
            self._enqueue(message, now)

    def _end_locks(self, now: float, *, due: float) -> None:
        for token in self._lock_ends.take_due(due):
            self._return(self._unlock(self._locked[token]), now, failed=True)
        for lock in self.sessions.take_expired(due):
            self._return_session(lock, now, failed=True)

    def next_deadline(self) -> float | None:
        """Return when `advance` has something to do next."""
        ends = (self._scheduled.next(), self._lock_ends.next(), self._expiring.next(), self.sessions.next_deadline())
        return min((end for end in ends if end is not None), default=None)

    @property
    def size_bytes(self) -> int:
        """How many bytes the messages were when they were sent."""
        return self._messages.size_bytes

    def counts(self) -> QueueCounts:
        """Return how many messages there are now."""
        self.advance()
        return QueueCounts(active=len(self._messages) - len(self._scheduled), scheduled=len(self._scheduled))
