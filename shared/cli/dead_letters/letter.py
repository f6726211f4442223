"""A dead letter as a value, read from either kind of message: of this app, or of the broker. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ...azure.receiver import Message
from ...config.settings import QueueSettings
from ...dataverse.notifications import parse
from ...model.dead_letter import Explanation
from ...model.entities import OPPORTUNITY_ROLE, TABLES
from ...model.errors import MessageError, NotificationError
from ...model.record import decode, timestamp
from ..invocation import quoted
from ..peek import Place
from ..remedies import remedy

UNKNOWN = "unknown"
#: How the dead-letter sub-queue is called in an address; "$deadletterqueue" would vanish in a shell.
_SUB_QUEUE = "dead"

#: Rows of Dynamics: (table, id).
Rows = tuple[tuple[str, str], ...]


@dataclass(slots=True, eq=False)
class Facts:
    """What filters, groups and selections ask of a dead letter: of a whole one, or of what the console keeps of it.

    It lies in `place` with the sequence number `number`, and came there at `since`. `code`, `reason` and `system` say
    why; `source_queue` is where it came from. `entity` is empty when nobody knows it; `ids` are the rows that it names,
    those of a broker's dead letter may be many. `replays` is how often it was replayed. `is_write_back`: it is about
    Sales Insight's fields on their way back to Dynamics. `compares`: the roles of an opportunity are, or may be, to be
    compared, so that old ones are deleted.
    """

    place: Place
    number: int
    since: datetime | None
    code: str
    reason: str
    system: str
    source_queue: str
    entity: str
    ids: Rows
    replays: int
    is_write_back: bool
    compares: bool

    @property
    def address(self) -> str:
        """What `msisync dead-letters show` takes."""
        return address(self.place, self.number)


@dataclass(slots=True)
class DeadLetter(Facts):
    """One message that needs a person. `message` is as it lies there.

    `attempts` are counted tries, of the broker's dead letters deliveries.
    """

    message: Message
    first_seen: datetime | None
    attempts: int

    @property
    def identity(self) -> str:
        """What tells it from one that gets the same address when its queue was deleted and created again."""
        return f"{self.address}@{timestamp(self.since) if self.since else ''}"

    @property
    def remedy(self) -> str:
        """What to do next."""
        selection = quoted(["--id", self.ids[0][1]] if self.ids else ["--code", self.code])
        row = {"row": " ".join(self.ids[0])} if self.ids else {}
        return remedy(self.code, self.system, selection, replays=self.replays, entity=self.entity, **row)


def places(queues: QueueSettings) -> list[Place]:
    """Every place where dead letters lie, the app's own queue first."""
    names = [queues.dead_letters, *queues.received]
    return [Place(queues.dead_letters), *(Place(name, dead=True) for name in names)]


def address(place: Place, sequence_number: int) -> str:
    """A place and a number in it as one word, such as "dead-letters/17" or "persons/dead/5"."""
    return f"{place.queue}{f'/{_SUB_QUEUE}' if place.dead else ''}/{sequence_number}"


def place_of(text: str, queues: QueueSettings) -> tuple[Place, int] | None:
    """The other way round; None when it is no address of a dead letter."""
    name, _, number = text.rpartition("/")
    known = {address(place, 0).rpartition("/")[0]: place for place in places(queues)}
    place = known.get(name)
    known_number = number.isdecimal() and len(number) < 20 and int(number) < 2**63
    return (place, int(number)) if place and known_number else None


def read(place: Place, message: Message, queues: QueueSettings) -> DeadLetter:
    """What a message of a place says. Understands every message: what is missing is unknown or empty."""
    why = Explanation.read(message.properties)
    if place.queue != queues.dead_letters:  # the broker's; what an earlier replay has left in it is not about this
        given = (message.reason, message.description, "service bus", place.queue, why.first_seen)
        why = Explanation(*given, attempts=message.delivery_count, replays=why.replays)
    source = why.source_queue or UNKNOWN
    ids: Rows
    if why.record_id:
        entity, ids, replays = why.entity, ((why.table, why.record_id),), 0
    else:
        entity, ids, replays = _body(message, why.entity or queues.entity_of(source))
    return DeadLetter(
        place,
        message.sequence_number,
        message.enqueued,
        why.code or message.reason or UNKNOWN,
        why.message or message.description,
        why.system or UNKNOWN,
        source,
        entity,
        ids,
        max(why.replays, replays),
        is_write_back=message.properties.get("write_back") is True,
        compares=entity == OPPORTUNITY_ROLE.name and _compares(message.body),
        message=message,
        first_seen=why.first_seen or message.enqueued,
        attempts=why.attempts,
    )


def _compares(body: bytes) -> bool:
    """Whether any of these records of roles has an opportunity compared. A body that nobody understands may have."""
    try:
        return not all(record.additive for record in decode(body, OPPORTUNITY_ROLE.name))
    except MessageError:
        return True


def _body(message: Message, entity: str) -> tuple[str, Rows, int]:
    """(entity, rows, replays) of records, or of a notification where no entity is known."""
    if entity:
        try:
            records = decode(message.body, entity)
        except MessageError:
            return entity, (), 0
        return entity, tuple(record.key for record in records), max((record.replays for record in records), default=0)
    try:
        changes = parse(message.body).changes
    except NotificationError:
        return "", (), 0
    known = next((TABLES[change.table][0].name for change in changes if change.table in TABLES), "")
    return known, tuple((change.table, change.id) for change in changes), 0
