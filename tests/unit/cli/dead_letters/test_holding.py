"""Messages that are held: renewed in time, settled together, and one by one where the SDK cannot do that."""

from datetime import UTC, datetime, timedelta
from typing import Any

from azure.servicebus.exceptions import MessageLockLostError

from shared.cli.dead_letters.holding import Held
from shared.cli.dead_letters.settlement import Outcome, settle


class Message:
    """What is asked of a received message."""

    def __init__(self, number: int, *, seconds: float = 300) -> None:
        self.sequence_number = number
        self.locked_until_utc = datetime.now(UTC) + timedelta(seconds=seconds)
        self._delivery_id = number
        self._delivery_tag = str(number).encode()


class Receiver:
    """A receiver of the SDK; `ranges` says whether it settles ranges, `lost` whose locks are lost."""

    def __init__(self, *, ranges: bool = True, lost: tuple[int, ...] = (), lock: float = 300) -> None:
        self.settled: list[tuple[str, Any]] = []
        self.renewed: list[int] = []
        self._lost = lost
        self._lock = lock
        if ranges:
            self._handler = self

    async def settle_messages_async(
        self, deliveries: tuple[int, int], tag: bytes, outcome: str, **options: Any
    ) -> None:
        assert options["await_outcome"]
        assert tag == str(deliveries[0]).encode()
        if any(deliveries[0] <= number <= deliveries[1] for number in self._lost):
            raise RuntimeError("one of them was refused")
        self.settled.append((outcome, deliveries))

    async def complete_message(self, message: Message) -> None:
        self._check(message)
        self.settled.append(("complete", message.sequence_number))

    async def abandon_message(self, message: Message) -> None:
        self._check(message)
        self.settled.append(("abandon", message.sequence_number))

    async def renew_message_lock(self, message: Message) -> None:
        self._check(message)
        self.renewed.append(message.sequence_number)
        message.locked_until_utc = datetime.now(UTC) + timedelta(seconds=self._lock)

    def _check(self, message: Message) -> None:
        if message.sequence_number in self._lost:
            raise MessageLockLostError


def held_by(receiver: Any, *messages: Any) -> Held:
    held = Held(receiver)
    held.add(messages)
    return held


async def settled(receiver: Any, messages: list[Any], outcome: Outcome) -> int:
    return await settle(receiver, messages, outcome)


async def test_what_follows_one_another_is_settled_in_one_frame() -> None:
    receiver = Receiver()
    assert await settled(receiver, [Message(each) for each in (3, 1, 2, 7)], Outcome.REMOVED) == 4
    assert receiver.settled == [("accepted", (1, 3)), ("accepted", (7, 7))]


async def test_where_that_cannot_be_done_they_are_settled_one_by_one() -> None:
    for outcome, name in ((Outcome.REMOVED, "complete"), (Outcome.GIVEN_BACK, "abandon")):
        receiver = Receiver(ranges=False)
        assert await settled(receiver, [Message(each) for each in range(45)], outcome) == 45
        assert receiver.settled == [(name, each) for each in range(45)]


async def test_what_the_broker_does_not_confirm_is_not_counted() -> None:
    receiver = Receiver(lost=(2,))
    assert await settled(receiver, [Message(each) for each in range(1, 5)], Outcome.REMOVED) == 3
    assert receiver.settled == [("complete", 1), ("complete", 3), ("complete", 4)]


async def test_locks_are_renewed_before_they_end_and_not_all_the_time() -> None:
    receiver = Receiver(lost=(2,))
    held = held_by(receiver, Message(1, seconds=20), Message(2, seconds=20), Message(3, seconds=20), Message(4))
    await held.renew()
    assert receiver.renewed == [1, 3]
    assert len(held) == 3  # one is in the queue again
    await held.renew()
    assert receiver.renewed == [1, 3]


async def test_locks_that_are_shorter_than_they_should_be_are_renewed_each_time_and_no_more() -> None:
    receiver = Receiver(lock=5)
    await held_by(receiver, *(Message(each, seconds=5) for each in range(3))).renew()
    assert receiver.renewed == [0, 1, 2]


async def test_what_is_removed_is_not_given_back() -> None:
    receiver = Receiver()
    messages: list[Any] = [Message(each) for each in range(1, 4)]
    held = held_by(receiver, *messages)
    assert await held.complete(messages[:2]) == 2
    await held.give_back()
    assert receiver.settled == [("accepted", (1, 2)), ("released", (3, 3))]
    assert not len(held)
