"""No message is lost or doubled, whatever is done to a queue in whatever order."""

import itertools
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from emulators.servicebus.errors import MessageLockLost, MessageNotFound, SessionCannotBeLocked, SessionLockLost
from emulators.servicebus.messages import Message, MessageState
from emulators.servicebus.queues import MessageQueue
from emulators.servicebus.sessions import SessionLock
from emulators.servicebus.settings import QueueSettings

LOCK_SECONDS = 10


@dataclass
class Held:
    """A received message, as the client knows it."""

    queue: MessageQueue
    message: Message
    token: bytes
    lock: SessionLock | None
    ends: float
    settled: bool = False


class Holder:
    """A receiver that accepted a session."""

    def session_lost(self) -> None:
        """Nothing to do: the test asks the lock."""


class QueueMachine(RuleBasedStateMachine):
    sessions = False
    held = Bundle("held")
    locks = Bundle("locks")

    @initialize()
    def start(self) -> None:
        self.now = 1_000.0
        options = QueueSettings(
            "q",
            sessions=self.sessions,
            lock_seconds=LOCK_SECONDS,
            max_delivery_count=3,
            dead_letter_on_expiration=True,
        )
        numbers = itertools.count(1)
        self.dead = MessageQueue(QueueSettings("d"), lambda: self.now, sequence_numbers=numbers)
        self.queue = MessageQueue(options, lambda: self.now, dead_letters=self.dead, sequence_numbers=numbers)
        self.ids = itertools.count()
        self.expected: set[int] = set()
        self.in_hands: dict[int, Held] = {}
        self.closed: list[SessionLock] = []

    @rule(
        count=st.integers(1, 4),
        delay=st.sampled_from([None, -5, 3, 15]),
        ttl=st.sampled_from([None, 8, 30]),
        session=st.sampled_from("AB"),
    )
    def send(self, count: int, delay: int | None, ttl: int | None, session: str) -> None:
        messages = []
        for _ in range(count):
            message = Message([], b"", b"", b"", message_id=next(self.ids), session_id=session, ttl=ttl)
            message.scheduled_for = None if delay is None else self.now + delay
            messages.append(message)
        self.queue.send(messages)
        self.expected |= {message.message_id for message in messages}  # type: ignore[misc]  # ids are ints here

    @rule(seconds=st.sampled_from([0.5, 1, 5, 10, 20]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=held, limit=st.integers(1, 5))
    def receive(self, limit: int) -> Any:
        if self.sessions:
            return multiple()
        return multiple(*[self._hold(self.queue, message, None) for message in self.queue.receive(limit)])

    @rule(target=held, limit=st.integers(1, 3))
    def receive_dead_letters(self, limit: int) -> Any:
        return multiple(*[self._hold(self.dead, message, None) for message in self.dead.receive(limit)])

    @rule(target=locks, name=st.sampled_from([None, "A", "B"]))
    def accept_session(self, name: str | None) -> Any:
        if not self.sessions:
            return multiple()
        try:
            lock = self.queue.accept_session(name, Holder())
        except SessionCannotBeLocked:
            return multiple()
        return multiple() if lock is None else lock

    @rule(target=held, lock=locks, limit=st.integers(1, 5))
    def receive_in_session(self, lock: SessionLock, limit: int) -> Any:
        try:
            messages = self.queue.receive(limit, lock=lock)
        except SessionLockLost:
            assert self._is_over(lock)
            return multiple()
        assert not self._is_over(lock)
        assert {message.session_id for message in messages} <= {lock.session.id}
        return multiple(*[self._hold(self.queue, message, lock) for message in messages])

    @rule(lock=locks)
    def renew_session(self, lock: SessionLock) -> None:
        try:
            until = self.queue.renew_session(lock)
        except SessionLockLost:
            assert self._is_over(lock)
            return
        assert not self._is_over(lock)
        assert until == self.now + LOCK_SECONDS
        for item in self.in_hands.values():
            if item.lock is lock:
                item.ends = until

    @rule(lock=consumes(locks))
    def close_session(self, lock: SessionLock) -> None:
        self.queue.close_session(lock)
        self.closed.append(lock)
        for item in self.in_hands.values():
            if item.lock is lock:
                item.ends = self.now

    @rule(item=held)
    def renew(self, item: Held) -> None:
        if item.lock is None and self._try(item, lambda: item.queue.renew_lock(item.token), settles=False):
            item.ends = self.now + item.queue.settings.lock_seconds

    @rule(item=held)
    def complete(self, item: Held) -> None:
        if self._try(item, lambda: item.queue.complete(item.token)):
            self.expected.discard(item.message.message_id)

    @rule(item=held, how=st.sampled_from(["abandon", "release", "defer"]))
    def give_back(self, item: Held, how: str) -> None:
        self._try(item, lambda: getattr(item.queue, how)(item.token))

    @rule(item=held)
    def dead_letter(self, item: Held) -> None:
        self._try(item, lambda: item.queue.dead_letter(item.token, "why", None))

    @rule(target=held)
    def receive_deferred(self) -> Any:
        deferred = [item for item in self.queue.peek(0, 250) if item.state is MessageState.DEFERRED]
        if not deferred or self.sessions:
            return multiple()
        return self._hold(self.queue, self.queue.receive_deferred([deferred[0].sequence_number])[0], None)

    @rule()
    def cancel_scheduled(self) -> None:
        scheduled = [item for item in self.queue.peek(0, 250) if item.state is MessageState.SCHEDULED]
        if scheduled:
            self.queue.cancel_scheduled([scheduled[0].sequence_number])
            self.expected.discard(scheduled[0].message_id)
            with pytest.raises(MessageNotFound):
                self.queue.cancel_scheduled([scheduled[0].sequence_number])

    @invariant()
    def everything_is_in_one_place(self) -> None:
        found = [message.message_id for queue in (self.queue, self.dead) for message in queue.peek(0, 250)]
        assert sorted(found) == sorted(self.expected)  # type: ignore[type-var]  # ids are ints here

    @invariant()
    def counts_agree_with_a_peek(self) -> None:
        counts = self.queue.counts()
        assert counts.active + counts.scheduled == len(self.queue.peek(0, 250))

    def teardown(self) -> None:
        """When all clients are gone and time has passed, every message can be had again."""
        self.now += 10_000
        deferred = [item.sequence_number for item in self.queue.peek(0, 250) if item.state is MessageState.DEFERRED]
        deferred_dead = [item.sequence_number for item in self.dead.peek(0, 250) if item.state is MessageState.DEFERRED]
        found = self.dead.receive(250) + self.dead.receive_deferred(deferred_dead)
        if self.sessions:
            held = []
            while (lock := self.queue.accept_session(None, Holder())) is not None:
                held.append(lock)
                messages = self.queue.receive(250, lock=lock)
                assert messages, "a session without messages was offered"
                found += messages
            for name in "AB":
                own = [item.sequence_number for item in self.queue.peek(0, 250, name)]
                locks = [lock for lock in held if lock.session.id == name]
                lock = locks[0] if locks else self.queue.accept_session(name, Holder())
                found += self.queue.receive_deferred([number for number in own if number in deferred], lock=lock)
        else:
            found += self.queue.receive(250) + self.queue.receive_deferred(deferred)
        assert sorted(message.message_id for message in found) == sorted(self.expected)  # type: ignore[type-var]  # ints

    def _is_over(self, lock: SessionLock) -> bool:
        return lock in self.closed or lock.locked_until <= self.now

    def _hold(self, queue: MessageQueue, message: Message, lock: SessionLock | None) -> Held:
        number = message.message_id
        assert isinstance(number, int)
        before = self.in_hands.get(number)
        assert before is None or before.settled or before.ends <= self.now, "handed out twice under a lock"
        ends = lock.locked_until if lock else self.now + queue.settings.lock_seconds
        self.in_hands[number] = Held(queue, message, message.lock_token, lock, ends)
        return self.in_hands[number]

    def _try(self, item: Held, operation: Any, *, settles: bool = True) -> bool:
        try:
            operation()
        except (MessageLockLost, SessionLockLost):
            assert item.settled or item.ends <= self.now, "a valid lock was refused"
            return False
        assert not item.settled
        assert item.ends > self.now, "a lock that expired was accepted"
        item.settled = item.settled or settles
        return True


class SessionQueueMachine(QueueMachine):
    sessions = True


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestSessionQueue = SessionQueueMachine.TestCase
TestSessionQueue.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
