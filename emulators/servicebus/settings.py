"""What can be configured about a queue, and the file that lists queues."""

import json
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path

# Service Bus: a lock lasts 5 minutes at most; the defaults of a new queue are 1 minute and 10 deliveries.
MAX_LOCK_SECONDS = 300.0
# Service Bus, Standard tier: limit for one message and for one batch.
MAX_MESSAGE_BYTES = 256 * 1024
# Service Bus: maximum length of a session id, a message id and a partition key, in characters.
MAX_ID_LENGTH = 128


class QueueStatus(StrEnum):
    """What an administrator lets clients do with a queue."""

    ACTIVE = "Active"
    DISABLED = "Disabled"
    SEND_DISABLED = "SendDisabled"
    RECEIVE_DISABLED = "ReceiveDisabled"

    @property
    def sends(self) -> bool:
        """Whether messages may be sent."""
        return self in {QueueStatus.ACTIVE, QueueStatus.RECEIVE_DISABLED}

    @property
    def receives(self) -> bool:
        """Whether messages may be received and settled."""
        return self in {QueueStatus.ACTIVE, QueueStatus.SEND_DISABLED}


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """One queue, in the terms of its management API. Raises ValueError for values that Service Bus refuses."""

    name: str
    sessions: bool = False
    #: A message or session is locked for so many seconds when it is received.
    lock_seconds: float = 60.0
    max_delivery_count: int = 10
    #: Seconds that a message lives at most; None is for ever.
    ttl_seconds: float | None = None
    dead_letter_on_expiration: bool = False
    #: Messages whose id was seen within so many seconds are dropped; None switches duplicate detection off.
    duplicate_detection_seconds: float | None = None
    status: QueueStatus = QueueStatus.ACTIVE

    def __post_init__(self) -> None:
        checks = {
            "name must have 1 to 260 characters": 1 <= len(self.name) <= 260,
            "lock_seconds must be above 0 and at most 300": 0 < self.lock_seconds <= MAX_LOCK_SECONDS,
            "max_delivery_count must be 1 to 2000": 1 <= self.max_delivery_count <= 2000,
            "ttl_seconds must be above 0": self.ttl_seconds is None or self.ttl_seconds > 0,
            "duplicate_detection_seconds must be above 0": self.duplicate_detection_seconds is None
            or self.duplicate_detection_seconds > 0,
        }
        wrong = [message for message, ok in checks.items() if not ok]
        if wrong:
            msg = f"queue {self.name!r}: {'; '.join(wrong)}"
            raise ValueError(msg)


def queue_of(text: str) -> QueueSettings:
    """Return the queue that `NAME` or `NAME:sessions` names, with the service's defaults. Raises ValueError."""
    name, _, kind = text.partition(":")
    if kind not in {"", "sessions"}:
        msg = f"queue {text!r}: expected NAME or NAME:sessions"
        raise ValueError(msg)
    return QueueSettings(name, sessions=bool(kind))


def load_queues(path: Path) -> list[QueueSettings]:
    """Read queues from a JSON file: a list of objects with the fields of QueueSettings.

    Raises ValueError that names the queue and the field that is wrong.
    """
    known = {field.name for field in fields(QueueSettings)}
    queues = []
    for entry in json.loads(path.read_text()):
        unknown = set(entry) - known
        if unknown or "name" not in entry:
            msg = f"{path}: queue {entry.get('name')!r}: unknown fields {sorted(unknown)}, known are {sorted(known)}"
            raise ValueError(msg)
        queues.append(QueueSettings(**{**entry, "status": QueueStatus(entry.get("status", QueueStatus.ACTIVE))}))
    return checked(queues, str(path))


def checked(queues: list[QueueSettings], source: str) -> list[QueueSettings]:
    """Return the queues. Raises ValueError when two of them have the same name."""
    if len({queue.name.lower() for queue in queues}) < len(queues):
        msg = f"{source}: two queues have the same name (names are case-insensitive)"
        raise ValueError(msg)
    return queues
