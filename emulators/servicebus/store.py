"""What a queue remembers: its messages by sequence number, and the message ids it saw lately."""

import itertools
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator

from emulators.servicebus.messages import Message

_SLACK = 64


class MessageStore:
    """The messages of a queue in the order of their sequence numbers, which `numbers` hands out in rising order."""

    def __init__(self, numbers: Iterator[int]) -> None:
        self.size_bytes = 0
        self._numbers = numbers
        #: In order, because each new message gets a higher number.
        self._messages: dict[int, Message] = {}
        #: For the search of a number; may have numbers of messages that are gone.
        self._order: list[int] = []

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message: Message) -> None:
        """Keep a message under the next sequence number."""
        message.sequence_number = next(self._numbers)
        self._messages[message.sequence_number] = message
        self._order.append(message.sequence_number)
        self.size_bytes += message.size

    def remove(self, message: Message) -> None:
        """Forget a message."""
        del self._messages[message.sequence_number]
        self.size_bytes -= message.size
        if len(self._order) > 2 * len(self._messages) + _SLACK:
            self._order = list(self._messages)

    def get(self, sequence_number: int) -> Message | None:
        """Return a message if it is there."""
        return self._messages.get(sequence_number)

    def since(self, sequence_number: int) -> Iterator[Message]:
        """Return the messages from a sequence number on."""
        for number in itertools.islice(self._order, bisect_left(self._order, sequence_number), None):
            message = self._messages.get(number)
            if message is not None:
                yield message


class SeenIds:
    """The message ids that were seen within a time window."""

    def __init__(self) -> None:
        self._seen: OrderedDict[object, float] = OrderedDict()

    def is_duplicate(self, message_id: object, now: float, window: float) -> bool:
        """Tell whether the id was seen within `window` seconds, and remember it otherwise."""
        while self._seen and next(iter(self._seen.values())) <= now - window:
            self._seen.popitem(last=False)
        if message_id in self._seen:
            return True
        self._seen[message_id] = now
        return False
