"""How the product's queues must be, and what is wrong with a queue that is otherwise. One table.

`python3 dev.py generate` writes the queues of the Bicep files and of Microsoft's emulator from it.
Sessions guarantee one writer per entity; the lock of 5 minutes, Service Bus' longest, must outlast an invocation
(functionTimeout of host.json), for the host does not renew it in batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from .finding import Finding, attention, failed

LOCK = timedelta(minutes=5)
#: Service Bus' default. Fewer, and an outage of some minutes fills the dead-letter sub-queues.
DELIVERIES = 10
#: A queue's status, as its management says it: as it should be, and after msisync pause.
ACTIVE, PAUSED = "Active", "ReceiveDisabled"
#: "Never" is written as the longest duration that .NET knows.
NEVER = timedelta(days=365 * 1000)


@dataclass(frozen=True, slots=True)
class QueueDesign:
    """A queue: the field of QueueSettings that names it, its name unless that says otherwise, and its sessions."""

    setting: str
    name: str
    sessions: bool


QUEUES = (
    QueueDesign("changes", "dynamics-changes", sessions=False),
    QueueDesign("sales_person", "sales-persons", sessions=True),
    QueueDesign("company", "companies", sessions=True),
    QueueDesign("person", "persons", sessions=True),
    QueueDesign("opportunity", "opportunities", sessions=True),
    QueueDesign("opportunity_role", "opportunity-roles", sessions=True),
    QueueDesign("dead_letters", "dead-letters", sessions=False),
)


class Described(Protocol):
    """A queue as its management describes it (azure.servicebus.management.QueueProperties)."""

    requires_session: bool | None
    lock_duration: timedelta | None
    max_delivery_count: int | None
    default_message_time_to_live: timedelta | None
    dead_lettering_on_message_expiration: bool | None
    forward_to: str | None
    status: str | None


def resume_line(setting: str) -> str:
    """What ends the pause of a queue, by the field of QueueSettings that names it."""
    return f"msisync resume {'--routing' if setting == 'changes' else setting}"


def status_word(status: object) -> str:
    """A queue's status as one word, whether the SDK gives it as an enumeration or as text."""
    return str(getattr(status, "value", status))


def flaws(design: QueueDesign, queue: Described) -> Iterator[Finding]:
    """Everything about a queue that is not as designed."""
    status = status_word(queue.status)
    if status == PAUSED and design.setting != "dead_letters":
        yield attention("it is paused: changes keep queueing, and nothing takes them", resume_line(design.setting))
    elif status != ACTIVE:
        yield failed(f"it is {status}", "set its status to Active")
    if bool(queue.requires_session) is not design.sessions:
        how, text = ("with", "it has no sessions: two writers could overlap")
        if not design.sessions:
            how, text = ("without", "it has sessions: nothing reads it")
        remedy = f"sessions cannot be changed: delete the queue when it is empty and create it {how} sessions"
        yield failed(text, remedy)
    if (queue.lock_duration or LOCK) < LOCK:
        seconds = (queue.lock_duration or LOCK).total_seconds()
        text = f"its lock lasts {seconds:.0f} s, not 300: work may be done twice"
        yield failed(text, "set its lock duration to PT5M")
    if (queue.max_delivery_count or DELIVERIES) < DELIVERIES:
        text = f"it dead-letters after {queue.max_delivery_count} deliveries: an outage soon fills its dead letters"
        yield attention(text, f"set its max delivery count to {DELIVERIES}")
    life = queue.default_message_time_to_live
    if life and life < NEVER and not queue.dead_lettering_on_message_expiration:
        text = f"messages vanish after {life}"
        yield failed(text, "let messages expire never, or into the dead letters (dead lettering on message expiration)")
    if queue.forward_to:
        yield failed("it forwards its messages to another queue or topic", "take the forwarding away")
