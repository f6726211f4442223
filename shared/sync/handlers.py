"""What each trigger does, on plain values: route notifications, sync records, release the parked, take a webhook in."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import datetime, timedelta

from ..azure.service_bus import Bus, Outgoing
from ..config.settings import QueueSettings
from ..dataverse.notifications import Notification, parse
from ..marketo.client import MarketoClient
from ..model.dead_letter import FIRST_SEEN
from ..model.entities import ENTITIES, OPPORTUNITY, REFERENCE_TABLES
from ..model.errors import BrokerUnavailableError, MessageError, MsiSyncError, NotificationError
from ..model.outcome import Later, Outcome, Removed, Skipped, Synced
from ..model.record import MAX_RECORDS, Record, read, timestamp
from ..telemetry import spans
from ..telemetry.redaction import described
from ..transport import call_count
from . import history_steps, measures
from .circuit_breaker import DATAVERSE, Circuits
from .dependants import Dependants
from .engine import Engine
from .follow_ups import FollowUps
from .heartbeat import FUNCTIONS, TIMER, Note, unnoted
from .history_log import History, nothing_kept
from .incoming import Incoming, Rejected, webhook
from .left_out_rows import LeftOutRows
from .marketo_cache import Known
from .parking import Parking
from .role_requests import RoleRequests
from .routing import Refusal, Routed, opportunities_before, records_of, worth_packing
from .scheduling import AT_ONCE, Bursts, Windows
from .settlement import Settler, refused, storage_fails, tried_again
from .statistics import Counts
from .synced_versions import SyncedVersions

log = logging.getLogger(__name__)

#: How long notifications wait when Dataverse cannot be asked whose they are.
ORGANIZATION_SECONDS = 60


@dataclass(slots=True)
class Pipeline:
    """The functions of function_app.py, wired to their neighbours by shared/app/composition.py.

    `role_requests`: which opportunities have their roles synced after them.
    `tables`: those that sync.toml maps, each with the columns that decide whether a row is synced. `is_echo`: whether a
    notification tells of a write-back of our own. `written_again`: these records are to be written back to, which had
    been given up. `relabel`: send on rows whose choices were renamed. `look_again`: send on what depends on rows that
    could not be seen, and can be now. `gauges`: report what all instances share. `note` hears at each invocation which
    function runs. `delivered` hears when the broker took in the newest message of each batch, by its own clock.
    `versions`: what the engine notes, for the minute timer to tend.
    `tell_runs` hears what became of each batch's records, and how many calls of Marketo that took.
    `history` keeps what happened to each record: after everything else, and nothing waits for it.
    """

    queues: QueueSettings
    _: KW_ONLY
    bursts: Bursts
    circuits: Circuits
    bus: Bus
    engine: Engine
    settler: Settler
    parking: Parking
    marketo: MarketoClient
    known: Known
    dependants: Dependants
    counts: Counts
    left_out: LeftOutRows
    role_requests: RoleRequests
    gauges: Callable[[], Awaitable[None]]
    tables: Mapping[str, Collection[str]]
    organization_id: Callable[[], Awaitable[str]]
    is_echo: Callable[[Notification], Awaitable[bool]]
    written_again: Callable[[Sequence[Record]], Awaitable[None]]
    relabel: Callable[[Callable[[Sequence[Record]], Awaitable[None]]], Awaitable[int]]
    look_again: Callable[[Callable[[Sequence[Record]], Awaitable[None]]], Awaitable[int]]
    now: Callable[[], datetime]
    note: Note = unnoted
    versions: SyncedVersions | None = None
    delivered: Callable[[datetime], None] = lambda _: None
    tell_runs: Callable[[Sequence[tuple[Record, Outcome]], int], Awaitable[None]] | None = None
    history: History = field(default_factory=nothing_kept)
    _follow_ups: FollowUps = field(init=False)

    def __post_init__(self) -> None:
        self._follow_ups = FollowUps(
            queues=self.queues, bus=self.bus, dependants=self.dependants, marketo=self.marketo, parking=self.parking,
            role_requests=self.role_requests,
        )  # fmt: skip

    async def accept(self, body: bytes, content_type: str, headers: Mapping[str, str]) -> tuple[int, str]:
        """Take a webhook in: (HTTP status, text). 202 means that the change is in the queue for good."""
        with spans.invocation("receive_webhook"):
            taken = webhook(body, content_type, headers)
            if isinstance(taken, Rejected):
                return taken.status, taken.text
            slim, correlation_id = taken
            try:
                await self.bus.send([Outgoing(self.queues.changes, slim, correlation_id=correlation_id or None)])
            except Exception as error:  # noqa: BLE001  (Dynamics tries again, whatever it was)
                log.error("webhook_not_queued correlation=%s error=%s", correlation_id, described(error))
                return 503, "the queue cannot be reached; please try again"
            return 202, "queued"

    async def route(self, messages: Sequence[Incoming]) -> None:
        """Send each notification's records to their entities' queues; refused ones to dead-letters."""
        with spans.invocation("route_changes", [message.properties for message in messages]):
            self._heard_of(messages)
            await self.note(FUNCTIONS["changes"])
            await self._route(messages)

    async def _route(self, messages: Sequence[Incoming]) -> None:
        try:
            organization = await self.organization_id()
        except MsiSyncError as error:  # without it nothing can be checked: later, not ten times at once
            log.warning("routing_waits %s", error)
            await self._put_off(messages)
            return
        await self.bursts.adapt()
        routed = Routed()
        letters = []
        seen: list[Record] = []
        echoes = 0
        deciding: list[tuple[Incoming, list[Record]]] = []
        for message in messages:
            found, opportunities = await self._read(message, organization)
            if found is None:
                echoes += 1
            elif isinstance(found, Refusal):
                log.warning("refused code=%s message=%s", found.code, found.message)
                letters.append(refused(self.queues, message, found, self.queues.changes))
            else:
                routed.add(record for record in found if record.table not in REFERENCE_TABLES)
                routed.add_roles(opportunities)
                seen += found
                if decides := [r for r in found if r.table in REFERENCE_TABLES and r.deciding]:
                    deciding.append((message, decides))
        spans.correlate(record.correlation_id for record in seen)
        windows = self.bursts.noticed(len(messages))
        later = self._follow_ups.put_off(routed, windows)
        await self.bus.send([*later, *self._follow_ups.work(routed, windows), *letters])
        await self._decided(deciding, windows)
        self.history.add(history_steps.received(seen, self.now()))
        measures.refused(letters)
        log.info("routed notifications=%d refused=%d echoes=%d", len(messages), len(letters), echoes)

    async def _decided(self, deciding: Sequence[tuple[Incoming, list[Record]]], windows: Windows) -> None:
        """Sync what was linked or named by what these teams and roles were; later, where that cannot be found out."""
        try:
            await self._follow_ups.resend([record for _, records in deciding for record in records], windows)
        except BrokerUnavailableError:  # nothing is durable: the host delivers the messages again
            raise
        except MsiSyncError as error:
            log.warning("references_wait %s", error)
            await self._put_off([message for message, _ in deciding])

    async def _put_off(self, messages: Sequence[Incoming]) -> None:
        """Have these notifications come again when Dataverse may answer."""
        waits = self.circuits.delays(len(messages), DATAVERSE)
        await self.bus.send([self._later(message, wait) for message, wait in zip(messages, waits, strict=True)])

    def _later(self, message: Incoming, wait: float) -> Outgoing:
        return Outgoing(
            self.queues.changes,
            message.body,
            at=self.now() + timedelta(seconds=max(wait, ORGANIZATION_SECONDS)),
            properties={
                FIRST_SEEN: timestamp(message.first_seen),
                **message.replayed,
                **spans.passed_on(message.properties),
            },
        )

    async def sync(self, entity_name: str, messages: Sequence[Incoming]) -> None:
        """Sync the records of these messages and make every outcome durable."""
        with spans.invocation(f"sync_{entity_name}", [message.properties for message in messages], entity_name):
            received = self._heard_of(messages)
            await self.note(FUNCTIONS[entity_name])
            with call_count.counted() as calls:
                settled = await self._sync(entity_name, messages, received)
            if self.tell_runs:
                await self.tell_runs(settled, calls["marketo"])

    def _heard_of(self, messages: Sequence[Incoming]) -> datetime | None:
        """When the broker took in the newest of these messages; None: nobody knows."""
        newest = max((stamp for message in messages if (stamp := message.stamp)), default=None)
        if newest:
            self.delivered(newest)
        return newest

    async def _sync(
        self, entity_name: str, messages: Sequence[Incoming], received: datetime | None
    ) -> list[tuple[Record, Outcome]]:
        records: list[Record] = []
        bursts: list[datetime | None] = []
        letters = []
        for message in messages:
            try:
                work = read(message.body, entity_name)
                records += work.records
                bursts.append(work.burst)
            except MessageError as error:
                refusal = Refusal(error.code, error.message)
                letters.append(refused(self.queues, message, refusal, self.queues.of(entity_name)))
        await self.bus.send(letters)
        measures.refused(letters, entity_name)
        spans.correlate(record.correlation_id for record in records)
        entity = ENTITIES[entity_name]
        windows = self.bursts.carried(bursts)
        if windows.more and (unique := worth_packing(records, len(bursts))):
            return await self.settler.settle(entity, [(r, Later("FillsAMessage", soon=True)) for r in unique], windows)
        begun = self.role_requests.begin(records) if entity is OPPORTUNITY else None
        outcomes = await self.engine.sync(entity, records, windows, received)
        outcomes = await self._follow_ups.relink(entity, await self._write_back(outcomes), windows)
        if begun:
            await self._follow_ups.roles(begun, outcomes, windows)
        settled = await self.settler.settle(entity, outcomes, windows)
        self.history.add(history_steps.settled(entity, settled, self.now()))
        await self.counts.add(entity_name, settled)
        await self.left_out.note(entity_name, settled)
        measures.settled(entity_name, settled, self.now())
        return settled

    async def _write_back(self, outcomes: list[tuple[Record, Outcome]]) -> list[tuple[Record, Outcome]]:
        """Have those rows written back again that an operator has replayed.

        Gives the outcomes, with another try for those rows when storage is away: their neighbours are settled.
        """
        again = [r for r, outcome in outcomes if r.write_back and isinstance(outcome, Synced | Removed | Skipped)]
        if not again or not await storage_fails(self.written_again(again)):
            return outcomes
        return tried_again(outcomes, again)

    async def take_up(self, records: Sequence[Record], opportunities: Sequence[Record]) -> None:
        """Have rows synced whose changes were missed, and the roles of opportunities compared: durably.

        More than a message of an entity's queue holds are a burst: parents first, in full calls.
        """
        many = len(records) + len(opportunities) > MAX_RECORDS
        windows = self.bursts.noticed(self.bursts.burst_batch) if many else AT_ONCE
        routed = Routed()
        routed.add(record for record in records if record.table not in REFERENCE_TABLES)
        routed.add_roles(opportunities)
        await self.bus.send(self._follow_ups.work(routed, windows))
        await self._follow_ups.resend([record for record in records if record.table in REFERENCE_TABLES], windows)
        self.history.add(history_steps.received(records, self.now(), "change tracking: no notification told of it"))

    async def release(self) -> None:
        """The safety net under the release that follows each parent's sync."""
        with spans.invocation("release_deferred"):
            await self.note(TIMER)
            await self.counts.tend()
            if self.versions:
                await self.versions.tend()
            await self.gauges()
            await self.relabel(self._follow_ups.send_on)
            await self.look_again(self._follow_ups.send_on)
            try:
                if await storage_fails(self._check_parked()):
                    log.warning("release_waits storage is away")
            except BrokerUnavailableError:  # the host shall report a failed run
                raise
            except MsiSyncError as error:
                log.warning("release_waits %s", error)
            await self.history.drop_old()

    async def _check_parked(self) -> None:
        counts = await self.parking.check(self.marketo, self.known)
        log.info("release_deferred %s", " ".join(f"{name}={n}" for name, n in counts.items()))

    async def _read(self, message: Incoming, organization: str) -> tuple[list[Record] | Refusal | None, list[Record]]:
        """The records of a notification, or why it is refused, or None for an echo; and the opportunities that may have
        a role less.
        """
        try:
            notification = parse(message.body, properties=message.properties)
        except NotificationError as error:
            return Refusal(error.code, error.message), []
        found = records_of(
            notification,
            enqueued=message.first_seen,
            organization_id=organization,
            tables=self.tables,
            last_seen=message.stamp,
        )
        if isinstance(found, Refusal):
            return found, []
        if await self.is_echo(notification):
            return None, []
        before = opportunities_before(notification, enqueued=message.first_seen, last_seen=message.stamp)
        if not message.replays:
            return found, before
        found, before = ([replace(each, replays=message.replays) for each in part] for part in (found, before))
        return found, before
