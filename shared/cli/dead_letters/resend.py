"""What is sent for a replay: the dead letter's message back to where it belongs, stamped. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ...azure.service_bus import Outgoing, Properties, sendable
from ...config.settings import QueueSettings
from ...dataverse.notifications import parse
from ...model.dead_letter import BROKERS_OWN, BROUGHT_BACK, REPLAY_COUNT, Explanation
from ...model.entities import ENTITIES
from ...model.errors import MessageError, NotificationError
from ...model.record import Record, decode, encode, timestamp
from ...sync.routing import Refusal
from .letter import DeadLetter

#: Not about the message that is sent: why it lay there, and that the app has brought it back once.
_DROPPED = BROKERS_OWN | {BROUGHT_BACK}


@dataclass(frozen=True, slots=True)
class Stamp:
    """What all messages of one replay carry: when it was, and its id.

    `confirms`: it releases deletions from the brake (shared/sync/delete_brake.py).
    """

    at: datetime
    id: str
    confirms: bool = False


def resend(letter: DeadLetter, queues: QueueSettings, stamp: Stamp) -> Outgoing | Refusal:
    """The message to send, or why nobody would understand it.

    A notification goes back to the queue of changes, records to the queue of their entity. Application properties are
    kept, except the broker's own. Records begin anew: no tries so far, no parent waited for; and each role is sent and
    has its opportunity compared, because its change may have been two messages whose dead letters look alike.
    """
    entity = _entity(letter, queues)
    understood = _understood(letter, entity)
    if isinstance(understood, Refusal):
        return understood
    message, replays = letter.message, letter.replays + 1
    queue, body = queues.changes, message.body
    if entity:
        anew: dict[str, Any] = {
            "attempt": 0, "parked_since": None, "released": False, "collected": False, "additive": False,
            "compared_only": False,
        }  # fmt: skip
        records = [
            replace(record, **anew, replays=replays, confirmed=record.confirmed or stamp.confirms)
            for record in understood
        ]
        queue, body = queues.of(entity), encode(entity, records)
    kept = {name: value for name, value in message.properties.items() if name not in _DROPPED}
    stamps: Properties = {REPLAY_COUNT: replays, "replayed_at": timestamp(stamp.at), "replay_id": stamp.id}
    return Outgoing(
        queue,
        body,
        session=entity or None,
        content_type=message.content_type or "application/json",
        correlation_id=message.correlation_id or None,
        properties={**sendable(kept), **stamps},
    )


def refusal(letter: DeadLetter, queues: QueueSettings) -> Refusal | None:
    """Why nobody would understand the message if it were sent; None when it can be replayed."""
    understood = _understood(letter, _entity(letter, queues))
    return understood if isinstance(understood, Refusal) else None


def _understood(letter: DeadLetter, entity: str) -> list[Record] | Refusal:
    """The records of an entity's message; none, where the body is a notification."""
    try:
        if entity:
            return decode(letter.message.body, entity)
        parse(letter.message.body)
    except (MessageError, NotificationError) as error:
        return Refusal(error.code, error.message)
    return []


def _entity(letter: DeadLetter, queues: QueueSettings) -> str:
    """Whose queue the body belongs to; empty for a notification."""
    source = queues.entity_of(letter.source_queue)
    if source or letter.source_queue == queues.changes:
        return source
    of_record = bool(Explanation.read(letter.message.properties).record_id)  # of a queue that has another name by now
    return letter.entity if of_record and letter.entity in ENTITIES else ""
