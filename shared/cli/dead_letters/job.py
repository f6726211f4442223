"""What is to be done in one place, as a value that also goes to another process."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from ...azure.service_bus import Outgoing
from ...config.settings import QueueSettings
from ...model.record import timestamp
from ...sync.routing import Refusal
from ..peek import Place
from .letter import DeadLetter
from .resend import Stamp, resend

Prepare = Callable[[DeadLetter], Outgoing | Refusal | None]


@dataclass(frozen=True, slots=True)
class Job:
    """The dead letters of a place with these numbers: send them again with this stamp, or remove them without one."""

    place: Place
    numbers: Sequence[int]
    stamp: Stamp | None

    def as_json(self) -> str:
        """One line."""
        stamp = {"at": timestamp(self.stamp.at), "id": self.stamp.id} if self.stamp else None
        place = {"queue": self.place.queue, "dead": self.place.dead}
        return json.dumps({"place": place, "numbers": list(self.numbers), "stamp": stamp})

    @classmethod
    def from_json(cls, line: str | bytes) -> Job:
        """The other way round."""
        given = json.loads(line)
        stamp = given["stamp"] and Stamp(datetime.fromisoformat(given["stamp"]["at"]), given["stamp"]["id"])
        return cls(Place(**given["place"]), array("q", given["numbers"]), stamp)


def preparing(queues: QueueSettings, stamp: Stamp | None) -> Prepare:
    """What is to be sent for a dead letter, or why not; None when it is only to go."""

    def prepare(letter: DeadLetter) -> Outgoing | Refusal | None:
        return resend(letter, queues, stamp) if stamp else None

    return prepare
