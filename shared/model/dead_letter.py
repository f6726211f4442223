"""What a dead letter says about itself in its application properties (docs/messages.md): written and read here. Pure.

A notification that is sent again, and a message that is replayed, carry some of them as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from .ids_and_times import moment
from .record import timestamp

FIRST_SEEN = "first_seen"
REPLAY_COUNT = "replay_count"
#: Of a message that the app has sent again after the broker had given it up: when. That happens once.
BROUGHT_BACK = "brought_back"
#: The broker's own, which it writes anew when it gives a message up again.
BROKERS_OWN = frozenset({"DeadLetterReason", "DeadLetterErrorDescription"})
#: Characters of the message.
MESSAGE_LENGTH = 1024


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a message is a dead letter: whose (`system`) code, what it means, and where and when the message came.

    The rest is about a record; of a notification it is empty. `replays` is how often it was replayed before.
    """

    code: str
    message: str
    system: str
    source_queue: str
    first_seen: datetime | None
    entity: str = ""
    table: str = ""
    record_id: str = ""
    attempts: int = 0
    replays: int = 0
    write_back: bool = False

    def as_properties(self) -> dict[str | bytes, int | float | bytes | bool | str]:
        """Application properties."""
        names = ("code", "message", "system", "source_queue", *(_OF_RECORD if self.record_id else ()))
        return {
            **{name: getattr(self, name) for name in names},
            "message": self.message[:MESSAGE_LENGTH],
            **({FIRST_SEEN: timestamp(self.first_seen)} if self.first_seen else {}),
            **({"write_back": True} if self.write_back else {}),
            **({REPLAY_COUNT: self.replays} if self.replays else {}),
        }

    @classmethod
    def read(cls, properties: Mapping[str, object]) -> Explanation:
        """The other way round. Whoever wrote them: what is missing is empty, and what is not a number is 0."""
        texts = ("code", "message", "system", "source_queue", "entity", "table", "record_id")
        return cls(
            **{name: _text(properties, name) for name in texts},
            first_seen=first_seen(properties),
            attempts=_number(properties, "attempts"),
            replays=replays(properties),
            write_back=properties.get("write_back") is True,
        )


_OF_RECORD = ("entity", "table", "record_id", "attempts")


def first_seen(properties: Mapping[str, object]) -> datetime | None:
    """When the change came first, of any message; None when it does not say so."""
    return moment(properties.get(FIRST_SEEN), zoned=True)


def replays(properties: Mapping[str, object]) -> int:
    """How often the message was replayed."""
    return _number(properties, REPLAY_COUNT)


def _text(properties: Mapping[str, object], name: str) -> str:
    value = properties.get(name)
    return "" if value is None else str(value)


def _number(properties: Mapping[str, object], name: str) -> int:
    text = _text(properties, name)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 7 else 0
