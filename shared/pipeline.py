"""What each trigger does, on plain values: route notifications, sync records, release the parked, take a webhook in."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from shared.bus import Bus, Outgoing
from shared.changes import parse
from shared.entities import ENTITIES
from shared.errors import MessageError, NotificationError
from shared.known import Known
from shared.marketo.client import MarketoClient
from shared.parking import Parking
from shared.records import Record, decode, encode
from shared.routing import Refusal, Routed, records_of
from shared.settings import Settings
from shared.settle import Settler, dead_letter
from shared.sync import Engine

log = logging.getLogger(__name__)

#: Dynamics strips bodies of webhooks to 256 KB (dataverse.md 1.10): a larger one is not from there.
MAX_WEBHOOK_BYTES = 256 * 1024
#: A Service Bus message of the Standard tier takes 256 KB with its properties; Dynamics itself strips at 192 KB.
MAX_BODY_BYTES = 192 * 1024
_BULKY = ("ParentContext", "InputParameters", "PreEntityImages", "PostEntityImages")
#: In a burst, each tier's messages become visible so long after those of its parents' tier.
TIER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message from the trigger, without the SDK's types.

    Content type and correlation id are left out on purpose: in a batch, the platform drops empty values from their
    lists, so a message may be given its neighbour's. The body tells both.
    """

    body: bytes
    enqueued: datetime
    properties: Mapping[str, object] = field(default_factory=dict)


class Pipeline:
    """The functions of function_app.py, wired to their neighbours by shared/app.py."""

    def __init__(
        self,
        settings: Settings,
        *,
        bus: Bus,
        engine: Engine,
        settler: Settler,
        parking: Parking,
        marketo: MarketoClient,
        known: Known,
        tables: Sequence[str],
        organization_id: Callable[[], Awaitable[str]],
        now: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        self._queues = settings.queues
        self._bus = bus
        self._engine = engine
        self._settler = settler
        self._parking = parking
        self._marketo = marketo
        self._known = known
        self._tables = frozenset(tables)
        self._organization_id = organization_id
        self._now = now

    async def accept(self, body: bytes, content_type: str, headers: Mapping[str, str]) -> tuple[int, str]:
        """Take a webhook in: (HTTP status, text). 202 means that the change is in the queue for good."""
        if content_type.partition(";")[0].strip().lower() != "application/json":
            return 415, "Content-Type must be application/json, as Dynamics webhooks send it"
        if len(body) > MAX_WEBHOOK_BYTES:
            return 413, "larger than the 256 KB that a Dynamics webhook can have"
        try:
            notification = parse(body, content_type=content_type, properties=headers)
        except NotificationError as error:
            return 400, str(error)
        try:
            await self._bus.send(
                [Outgoing(self._queues.changes, _slim(body), correlation_id=notification.correlation_id or None)]
            )
        except Exception as error:
            log.exception("webhook_not_queued correlation=%s", notification.correlation_id, exc_info=error)
            return 503, "the queue cannot be reached; please try again"
        return 202, "queued"

    async def route(self, messages: Sequence[Incoming]) -> None:
        """Send each notification's records to their entities' queues; refused ones to dead-letters."""
        organization = await self._organization_id()
        routed = Routed()
        letters = []
        for message in messages:
            found = self._read(message, organization)
            if isinstance(found, Refusal):
                log.warning("refused code=%s message=%s", found.code, found.message)
                letters.append(self._refused(message, found, self._queues.changes))
            else:
                routed.add(found)
        await self._bus.send([*self._work(routed, burst=len(messages) >= self._settings.sync.burst_batch), *letters])
        log.info("routed notifications=%d refused=%d", len(messages), len(letters))

    async def sync(self, entity_name: str, messages: Sequence[Incoming]) -> None:
        """Sync the records of these messages and make every outcome durable."""
        records: list[Record] = []
        letters = []
        for message in messages:
            try:
                records += decode(message.body, entity_name)
            except MessageError as error:
                refusal = Refusal(error.code, error.message)
                letters.append(self._refused(message, refusal, self._queues.of(entity_name)))
        await self._bus.send(letters)
        entity = ENTITIES[entity_name]
        await self._settler.settle(entity, await self._engine.sync(entity, records))

    async def release(self) -> None:
        """The safety net under the release that follows each parent's sync."""
        counts = await self._parking.check(self._marketo, self._known)
        log.info("release_deferred %s", " ".join(f"{name}={n}" for name, n in counts.items()))

    def _read(self, message: Incoming, organization: str) -> list[Record] | Refusal:
        try:
            notification = parse(message.body, properties=message.properties)
        except NotificationError as error:
            return Refusal(error.code, error.message)
        return records_of(notification, enqueued=message.enqueued, organization_id=organization, tables=self._tables)

    def _work(self, routed: Routed, *, burst: bool) -> list[Outgoing]:
        """A full batch means that more is waiting: then messages wait for the end of a common window, parents first.

        So bursts fill calls of 300 records instead of making many small ones, and a lone change goes at once.
        """
        window = self._settings.sync.burst_window
        start = None
        if burst and window:
            seconds = math.ceil(self._now().timestamp() / window) * window
            start = datetime.fromtimestamp(seconds, UTC)
        return [
            Outgoing(
                self._queues.of(entity),
                encode(entity, group),
                session=entity,
                at=start + timedelta(seconds=TIER_SECONDS * ENTITIES[entity].tier) if start else None,
            )
            for entity, group in routed.groups()
        ]

    def _refused(self, message: Incoming, refusal: Refusal, queue: str) -> Outgoing:
        return dead_letter(
            self._queues,
            message.body,
            code=refusal.code,
            message=refusal.message,
            system="msisync",
            source_queue=queue,
            first_seen=message.enqueued,
        )


def _slim(body: bytes) -> bytes:
    """What fits into a Service Bus message: larger bodies lose what Dynamics itself would strip."""
    if len(body) <= MAX_BODY_BYTES:
        return body
    context = json.loads(body.decode("utf-8-sig"))
    return json.dumps({key: value for key, value in context.items() if key not in _BULKY}).encode()
