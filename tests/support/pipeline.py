"""A pipeline whose neighbours are stand-ins: notifications, messages and what became of them."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from local.wiring import pipeline_around
from shared.azure.parked_rows import Parked
from shared.azure.service_bus import Outgoing
from shared.dataverse.notifications import Notification
from shared.model.entities import Entity
from shared.model.errors import BrokerUnavailableError, MsiSyncError, StorageUnavailableError
from shared.model.outcome import Outcome, Parent, Synced
from shared.model.record import Record, decode
from shared.sync.circuit_breaker import Circuits
from shared.sync.incoming import Incoming
from shared.sync.scheduling import Bursts, Windows
from shared.transport import call_count
from tests.support.values import guid

NOON = datetime(2026, 3, 4, 12, 0, 3, tzinfo=UTC)
SEEN = NOON - timedelta(seconds=40)
ORGANIZATION = "aa55bb66-0000-4000-8000-000000000001"
TABLES = ["systemuser", "account", "lead", "contact", "opportunity", "connection"]
JSON = "application/json"


def context(number: int = 1, table: str = "lead", **facts: Any) -> dict[str, Any]:
    return {
        "MessageName": "Update",
        "PrimaryEntityName": table,
        "PrimaryEntityId": guid(number),
        "OrganizationId": ORGANIZATION,
        "CorrelationId": guid(77),
        "InputParameters": [
            {
                "key": "Target",
                "value": {"Attributes": [{"key": "subject", "value": None}], "Id": guid(number), "LogicalName": table},
            }
        ],
    } | facts


def update_of(number: int, table: str, columns: Sequence[str]) -> bytes:
    target = {
        "Attributes": [{"key": name, "value": None} for name in columns],
        "Id": guid(number),
        "LogicalName": table,
    }
    return body(number, table, InputParameters=[{"key": "Target", "value": target}])


def body(number: int = 1, table: str = "lead", **facts: Any) -> bytes:
    return json.dumps(context(number, table, **facts)).encode()


def incoming(sent: bytes) -> Incoming:
    return Incoming(sent, SEEN)


class World:
    """Everything around the pipeline at once: bus, engine and settler."""

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.unreachable = False
        self.synced: list[Record] = []
        self.settled: list[tuple[Record, Outcome]] = []
        self.counted: list[tuple[str, int]] = []
        self.refusal: MsiSyncError | None = None
        self.children: list[Record] = []
        self.looked_for: list[Record] = []
        self.in_marketo: set[str] = set()
        self.outcome: Outcome = Synced("created")
        self.pages: list[list[Record]] = []
        self.finds: list[str] = []
        self.children_error: MsiSyncError | None = None
        self.check_error: MsiSyncError | None = None
        self.echoes: set[str] = set()
        self.again: list[Record] = []
        self.relabelled: list[Record] = []
        self.appeared: list[Record] = []
        self.storage_is_away = False
        self.heard: list[datetime] = []
        self.links: list[Parked] = []
        self.unparked: list[Parked] = []
        self.told_runs: list[tuple[list[str], int]] = []
        self.pipeline = pipeline_around(
            self,
            bursts=Bursts(burst_batch=3, seconds=20.0, now=lambda: NOON),
            circuits=Circuits(None, seconds=60.0, now=lambda: NOON),
            gauges=self.tell,
            tables={table: {"new_synctomkto"} for table in TABLES},
            organization_id=self.organization,
            is_echo=self.is_echo,
            written_again=self.written_again,
            relabel=self.relabel,
            look_again=self.look_again,
            now=lambda: NOON,
            delivered=self.heard.append,
            tell_runs=self.tell_runs,
        )

    async def of(self, parents: Sequence[Record]) -> AsyncIterator[list[Record]]:
        self.looked_for += parents
        if parents and self.children_error:
            raise self.children_error
        for parent in parents:
            for page in self.pages or [self.children]:
                yield [replace(child, first_seen=parent.first_seen) for child in page]

    async def find(self, entity: Any, keys: Sequence[str]) -> dict[str, int]:
        self.finds.append(entity.name)
        return {key: 1 for key in keys if key in self.in_marketo}

    async def links_to(self, parents: Sequence[Parent]) -> list[Parked]:
        return [] if self.storage_is_away else [child for child in self.links if child.parent in parents]

    async def linked(self, children: Sequence[Parked]) -> None:
        sent = {record.key for message in self.sent for record in decode(message.body, message.queue)}
        assert {child.record.key for child in children} <= sent, "taken away before it was sent"
        self.unparked += children

    async def is_echo(self, notification: Notification) -> bool:
        return notification.tag in self.echoes

    async def relabel(self, send: Any) -> int:
        await send(self.relabelled)
        return len(self.relabelled)

    async def look_again(self, send: Any) -> int:
        await send(self.appeared)
        return len(self.appeared)

    async def written_again(self, records: Sequence[Record]) -> None:
        if self.storage_is_away:
            raise StorageUnavailableError("ServiceRequestError")
        self.again += records

    async def organization(self) -> str:
        if self.refusal:
            raise self.refusal
        return ORGANIZATION

    async def send(self, messages: Sequence[Outgoing]) -> None:
        if self.unreachable:
            raise BrokerUnavailableError("ServiceBusConnectionError")
        self.sent += messages

    async def sync(
        self, entity: Entity, records: Sequence[Record], windows: Windows, received: datetime | None
    ) -> list[tuple[Record, Outcome]]:
        self.windows, self.received, self.entity = windows, received, entity
        self.synced += records
        call_count.count("marketo")
        return [(record, self.outcome) for record in records]

    async def lost_after(self, *given: Any) -> list[tuple[Record, Outcome]]:
        """Sync, and be without the broker then."""
        self.unreachable = True
        return [(record, self.outcome) for record in given[1]]

    async def settle(
        self, entity: Entity, outcomes: Sequence[tuple[Record, Outcome]], windows: Windows
    ) -> Sequence[tuple[Record, Outcome]]:
        if self.synced:
            assert entity is self.entity
            assert windows is self.windows
        self.settled += outcomes
        return outcomes

    async def add(self, entity_name: str, outcomes: Sequence[tuple[Record, Outcome]]) -> None:
        assert outcomes == self.settled, "counted before it was settled"
        self.counted.append((entity_name, len(outcomes)))

    async def note(self, entity_name: str, outcomes: Sequence[tuple[Record, Outcome]]) -> None:
        assert (entity_name, len(outcomes)) == self.counted[-1]

    async def tell_runs(self, outcomes: Sequence[tuple[Record, Outcome]], calls: int) -> None:
        assert outcomes == self.settled, "told before it was settled"
        self.told_runs.append(([record.run for record, _ in outcomes], calls))

    async def tend(self) -> None:
        self.counted.append(("tended", 0))

    async def tell(self) -> None:
        self.counted.append(("told", 0))

    async def check(self, *_: Any) -> dict[str, int]:
        if self.storage_is_away:
            raise StorageUnavailableError("ServiceRequestError")
        if self.check_error:
            raise self.check_error
        return {"checked": 5, "released": 2}

    async def accept(self, sent: bytes, content_type: str = JSON) -> int:
        status, text = await self.pipeline.accept(sent, content_type, {})
        assert text
        return status

    def ids(self) -> dict[str, list[str]]:
        """The ids of the records that were sent, by queue."""
        return {m.queue: [record.id for record in decode(m.body, m.queue)] for m in self.sent}

    def letters(self) -> list[Outgoing]:
        return [message for message in self.sent if message.queue == "dead-letters"]
