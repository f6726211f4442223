"""What a queue does with messages over time, with a clock that the test moves."""

import itertools
import time

import pytest

from emulators.servicebus import amqp
from emulators.servicebus.errors import (
    MessageLockLost,
    MessageNotFound,
    SessionLockLost,
)
from emulators.servicebus.messages import Message, MessageState, parse_message
from emulators.servicebus.queues import MessageQueue
from emulators.servicebus.settings import QueueSettings
from tests.support.clocks import Clock


class Holder:
    def session_lost(self) -> None:
        pass


@pytest.fixture
def clock() -> Clock:
    return Clock(1_000.0)


def queue_of(clock: Clock, **options: object) -> MessageQueue:
    numbers = itertools.count(1)
    dead = MessageQueue(QueueSettings("q/$deadletterqueue"), clock, sequence_numbers=numbers)
    settings = QueueSettings(name="q", **options)  # type: ignore[arg-type]  # each test names fields of the settings
    return MessageQueue(settings, clock, dead_letters=dead, sequence_numbers=numbers)


def message(name: str, session: str | None = None, **fields: object) -> Message:
    made = Message([], b"", b"", b"\x00\x53\x75\xa0\x00", message_id=name, session_id=session)
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def names(messages: list[Message]) -> list[object]:
    return [item.message_id for item in messages]


def reason_of(dead: Message) -> object:
    properties, _ = amqp.decode(parse_message(dead.encode()).application_properties)
    return properties["DeadLetterReason"]


def test_the_last_failed_delivery_dead_letters_the_message_with_the_services_reason(clock: Clock) -> None:
    queue = queue_of(clock, max_delivery_count=2)
    queue.send([message("a")])
    for _ in range(2):
        queue.abandon(queue.receive(1)[0].lock_token)
    assert not queue.receive(1)
    assert queue.dead_letters is not None
    dead = queue.dead_letters.receive(1)[0]
    assert dead.delivery_count == 2
    assert dead.enqueued_sequence_number == 1
    assert reason_of(dead) == "MaxDeliveryCountExceeded"


def test_nothing_ever_leaves_the_dead_letter_queue_by_itself(clock: Clock) -> None:
    queue = queue_of(clock, max_delivery_count=1, ttl_seconds=5)
    queue.send([message("a")])
    queue.abandon(queue.receive(1)[0].lock_token)
    dead = queue.dead_letters
    assert dead is not None
    for _ in range(3):
        clock.now += 1_000
        dead.abandon(dead.receive(1)[0].lock_token)
    dead.dead_letter(dead.receive(1)[0].lock_token, "again", None)
    assert names(dead.peek(0, 10)) == ["a"]


def test_scheduled_messages_become_active_together_under_new_sequence_numbers(clock: Clock) -> None:
    queue = queue_of(clock)
    numbers = queue.send([message(str(n), scheduled_for=clock.now + 10 - n / 10) for n in range(3)])
    assert (queue.counts().active, queue.counts().scheduled) == (0, 3)
    assert queue.next_deadline() == clock.now + 9.8
    assert not queue.receive(10)
    clock.now += 10
    received = queue.receive(10)
    assert names(received) == ["2", "1", "0"]
    assert min(item.sequence_number for item in received) > max(numbers)
    assert {item.enqueued_at for item in received} == {clock.now}


def test_a_schedule_in_the_past_is_now(clock: Clock) -> None:
    queue = queue_of(clock)
    queue.send([message("a", scheduled_for=clock.now - 1)])
    assert names(queue.receive(1)) == ["a"]


def test_cancelling_is_all_or_nothing(clock: Clock) -> None:
    queue = queue_of(clock)
    numbers = queue.send([message("a", scheduled_for=clock.now + 10), message("b", scheduled_for=clock.now + 10)])
    with pytest.raises(MessageNotFound):
        queue.cancel_scheduled([numbers[0], 99])
    assert queue.counts().scheduled == 2
    queue.cancel_scheduled(numbers)
    clock.now += 20
    assert not queue.receive(1)


@pytest.mark.parametrize("dead_letter", [True, False])
def test_an_expired_message_is_dropped_or_dead_lettered(clock: Clock, dead_letter: bool) -> None:
    queue = queue_of(clock, ttl_seconds=60, dead_letter_on_expiration=dead_letter)
    queue.send([message("own", ttl=10), message("queue's", ttl=100)])
    clock.now += 10
    assert names(queue.peek(0, 10)) == ["queue's"]
    clock.now += 50
    assert not queue.receive(1)
    assert queue.dead_letters is not None
    dead = queue.dead_letters.peek(0, 10)
    assert names(dead) == (["own", "queue's"] if dead_letter else [])
    assert {reason_of(each) for each in dead} == ({"TTLExpiredException"} if dead_letter else set())


def test_a_locked_message_can_be_settled_after_it_expired_but_does_not_come_again(clock: Clock) -> None:
    queue = queue_of(clock, ttl_seconds=5)
    queue.send([message("a"), message("b")])
    first, second = queue.receive(2)
    clock.now += 6
    queue.complete(first.lock_token)
    queue.abandon(second.lock_token)
    assert not queue.receive(1)
    assert queue.counts().active == 0


def test_a_duplicate_within_the_window_is_accepted_and_dropped(clock: Clock) -> None:
    queue = queue_of(clock, duplicate_detection_seconds=60)
    queue.send([message("a"), message("a")])
    queue.complete(queue.receive(1)[0].lock_token)
    clock.now += 59
    queue.send([message("a")])
    assert queue.counts().active == 0
    clock.now += 1
    queue.send([message("a")])
    assert queue.counts().active == 1


def test_a_deferred_message_comes_only_by_its_number_and_stays_deferred_when_given_back(clock: Clock) -> None:
    queue = queue_of(clock)
    queue.send([message("a")])
    received = queue.receive(1)[0]
    queue.defer(received.lock_token)
    assert not queue.receive(1)
    number = received.sequence_number
    queue.abandon(queue.receive_deferred([number])[0].lock_token)
    assert queue.peek(0, 1)[0].state is MessageState.DEFERRED
    again = queue.receive_deferred([number])[0]
    with pytest.raises(MessageNotFound):
        queue.receive_deferred([number])
    queue.complete(again.lock_token)
    assert queue.counts().active == 0


def test_a_session_lock_expires_unless_renewed_and_takes_its_message_locks_along(clock: Clock) -> None:
    queue = queue_of(clock, sessions=True, lock_seconds=30)
    queue.send([message("a", "S")])
    lock = queue.accept_session("S", Holder())
    assert lock is not None
    token = queue.receive(1, lock=lock)[0].lock_token
    clock.now += 20
    queue.renew_session(lock)
    clock.now += 20
    assert queue.next_deadline() == clock.now + 10
    clock.now += 10
    with pytest.raises(SessionLockLost):
        queue.renew_session(lock)
    with pytest.raises(SessionLockLost):
        queue.complete(token)
    assert queue.sessions.lost == [lock]


def test_a_session_whose_messages_expired_is_not_available(clock: Clock) -> None:
    queue = queue_of(clock, sessions=True, ttl_seconds=5)
    queue.send([message("a", "S")])
    clock.now += 5
    assert queue.accept_session(None, Holder()) is None


def test_a_session_keeps_its_state_for_the_next_holder(clock: Clock) -> None:
    queue = queue_of(clock, sessions=True)
    lock = queue.accept_session("S", Holder())
    assert lock is not None
    queue.sessions.set_state("S", b"half-way")
    queue.close_session(lock)
    assert queue.sessions.get_state("S") == b"half-way"
    assert queue.sessions.with_messages_or_state() == ["S"]
    queue.sessions.set_state("S", None)
    assert queue.sessions.with_messages_or_state() == []


def test_peek_pages_by_sequence_number_and_shows_every_state(clock: Clock) -> None:
    queue = queue_of(clock)
    queue.send([message(str(n)) for n in range(300)])
    queue.defer(queue.receive(1)[0].lock_token)
    queue.complete(queue.receive(1)[0].lock_token)
    queue.receive(1)
    queue.send([message("later", scheduled_for=clock.now + 10)])
    page = queue.peek(1, 1_000)
    assert names(page)[:3] == ["0", "2", "3"]
    assert len(page) == 250
    rest = queue.peek(page[-1].sequence_number + 1, 1_000)
    assert names(rest)[-1] == "later"
    assert len(page) + len(rest) == 300


def test_tens_of_thousands_of_messages_are_no_problem(clock: Clock) -> None:
    queue = queue_of(clock, sessions=True)
    count = 30_000
    started = time.process_time()
    queue.send([message(str(n), "S", scheduled_for=clock.now + n % 7) for n in range(count)])
    clock.now += 10
    lock = queue.accept_session(None, Holder())
    assert lock is not None
    done = 0
    while received := queue.receive(100, lock=lock):
        done += len(received)
        for item in received:
            queue.complete(item.lock_token)
        queue.peek(0, 1)
    assert done == count
    # Quadratic work would take minutes, of the processor and not of a busy machine.
    assert time.process_time() - started < 20


def test_scheduled_messages_can_be_hurried(clock: Clock) -> None:
    queue = queue_of(clock)
    queue.send([message("later", scheduled_for=clock.now + 60), message("last", scheduled_for=clock.now + 3600)])
    assert queue.receive(2) == []
    assert queue.hurry() == 2
    assert names(queue.receive(2)) == ["later", "last"]
    assert queue.counts().scheduled == 0


@pytest.mark.parametrize("session", [None, "s"])
def test_locks_that_are_lost_bring_the_messages_again(clock: Clock, session: str | None) -> None:
    queue = queue_of(clock, sessions=session is not None)
    queue.send([message("a", session), message("b", session)])
    lock = queue.accept_session("s", Holder()) if session else None
    held = queue.receive(2, lock=lock)
    assert queue.lose_locks() == 2
    with pytest.raises(SessionLockLost if session else MessageLockLost):
        queue.complete(held[0].lock_token)
    again = queue.receive(2, lock=queue.accept_session("s", Holder()) if session else None)
    assert [(each.message_id, each.delivery_count) for each in again] == [("a", 1), ("b", 1)]
