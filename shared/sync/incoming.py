"""What comes in: webhooks of Dynamics, and messages from the triggers, without the SDK's types. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ..azure.service_bus import Properties
from ..dataverse.notifications import Notification, parse
from ..model.dead_letter import REPLAY_COUNT, first_seen, replays
from ..model.errors import NotificationError

#: Dynamics strips bodies of webhooks to 256 KB (dataverse.md 1.10): a larger one is not from there.
MAX_WEBHOOK_BYTES = 256 * 1024
#: A Service Bus message of the Standard tier takes 256 KB with its properties; Dynamics itself strips at 192 KB.
MAX_BODY_BYTES = 192 * 1024
#: What Dynamics strips, in the order in which it is missed least.
_BULKY = (("ParentContext", "PreEntityImages", "PostEntityImages"), ("InputParameters",))


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message from the trigger. `is_stamped`: `enqueued` is the broker's time, not the clock's of this process.

    Content type and correlation id are left out on purpose: in a batch, the platform drops empty values from their
    lists, so a message may be given its neighbour's. The body tells both.
    """

    body: bytes = field(repr=False)
    enqueued: datetime
    properties: Mapping[str, object] = field(default_factory=dict)
    is_stamped: bool = True

    @property
    def stamp(self) -> datetime | None:
        """When the broker took it in, by its own clock."""
        return self.enqueued if self.is_stamped else None

    @property
    def first_seen(self) -> datetime:
        """When it first came, be it as another message."""
        return first_seen(self.properties) or self.enqueued

    @property
    def replays(self) -> int:
        """How often it has come back from dead-letters."""
        return replays(self.properties)

    @property
    def replayed(self) -> Properties:
        """The count of replays as a property; nothing where there were none."""
        return {REPLAY_COUNT: self.replays} if self.replays else {}


@dataclass(frozen=True, slots=True)
class Rejected:
    """A webhook that is not taken in: the HTTP status, and why."""

    status: int
    text: str


def webhook(body: bytes, content_type: str, headers: Mapping[str, str]) -> tuple[bytes, str] | Rejected:
    """The body of a webhook as it goes into the queue, and its correlation id."""
    if content_type.partition(";")[0].strip().lower() != "application/json":
        return Rejected(415, "Content-Type must be application/json, as Dynamics webhooks send it")
    if len(body) > MAX_WEBHOOK_BYTES:
        return Rejected(413, "larger than the 256 KB that a Dynamics webhook can have")
    try:
        notification = parse(body, content_type=content_type, properties=headers)
    except NotificationError as error:
        return Rejected(400, str(error))
    slim = _slim(body, notification)
    if slim is None:
        return Rejected(413, "names more rows than fit into a message of 192 KB: send them in several requests")
    return slim, notification.correlation_id


def _slim(body: bytes, notification: Notification) -> bytes | None:
    """What fits into a Service Bus message and still names the same rows; None when nothing does."""
    if len(body) <= MAX_BODY_BYTES:
        return body
    context = json.loads(body)
    for keys in _BULKY:
        context = {key: value for key, value in context.items() if key not in keys}
        slim = json.dumps(context, ensure_ascii=False).encode(errors="replace")
        if len(slim) <= MAX_BODY_BYTES and _names_the_same(slim, notification):
            return slim
    return None


def _names_the_same(body: bytes, notification: Notification) -> bool:
    try:
        return parse(body).changes == notification.changes
    except NotificationError:
        return False
