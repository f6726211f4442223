"""Looks at the stack from outside while the changes are on their way."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx
from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables.aio import TableClient
from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusClient
from azure.servicebus.aio.management import ServiceBusAdministrationClient

from local.stack import Stack
from local.world.model import ENTITIES, MARKETO_OBJECTS, Reference

PARKED_TABLE = "parked"
#: The parked records are listed at every so manieth look: thousands of rows cost the SDK a tenth of a second.
LOOKS_PER_LIST = 4


class WatchError(Exception):
    """A simulator does not do what the demo asks. The message says which one and why."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter: why, and about which row if it is about one."""

    code: str
    message: str
    entity: str
    source: Reference | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A parked record and the parent that it waits for."""

    source: Reference
    entity: str
    parent: tuple[str, str]


@dataclass
class Snapshot:
    """Where everything is at one moment, by entity."""

    queued: dict[str, int] = field(default_factory=dict)
    changes: int = 0
    parked: Counter[str] = field(default_factory=Counter)
    stored: dict[str, int] = field(default_factory=dict)
    letters: Counter[str] = field(default_factory=Counter)
    marketo_calls: int = 0

    @property
    def idle(self) -> bool:
        """Whether no queue holds a message, scheduled ones included."""
        return self.changes == 0 and not any(self.queued.values())


class Watch:
    """Reads queues, the table of parked records, dead letters and the simulators' counters."""

    def __init__(self, stack: Stack, endpoints: Mapping[str, Any]) -> None:
        bus = endpoints["service_bus"]
        self._queues: dict[str, str] = bus["queues"]
        self._controls = stack.control()
        self._admin = ServiceBusAdministrationClient.from_connection_string(
            bus["connection_string"], connection_verify=endpoints["ca_bundle"]
        )
        self._bus = ServiceBusClient.from_connection_string(bus["connection_string"])
        self._dead_letters = self._bus.get_queue_receiver(self._queues["dead_letters"])
        self._table = TableClient.from_connection_string(endpoints["storage"]["connection_string"], PARKED_TABLE)
        self._http = httpx.AsyncClient(trust_env=False, timeout=60.0)
        self._letters: list[Letter] = []
        self._next_letter = 0
        self._parked: Counter[str] = Counter()
        self._looks = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()
        await self._table.close()
        await self._dead_letters.close()
        await self._bus.close()
        await self._admin.close()

    async def tell(self, part: str, path: str, content: Any) -> None:
        """Post to a simulator's control API; `part` is dataverse or marketo. Raises WatchError if it refuses."""
        answer = await self._http.post(f"{self._controls[part]}/{path}", json=content)
        if not answer.is_success:
            msg = f"{part} refuses /{path}: {answer.text}"
            raise WatchError(msg)

    async def ask(self, part: str, path: str) -> Any:
        """Get from a simulator's control API."""
        return (await self._http.get(f"{self._controls[part]}/{path}")).raise_for_status().json()

    async def look(self) -> Snapshot:
        """Take a snapshot."""
        snapshot = Snapshot()
        snapshot.changes = await self._count("changes")
        for entity in ENTITIES:
            snapshot.queued[entity] = await self._count(entity)
        if snapshot.idle or self._looks % LOOKS_PER_LIST == 0:
            self._parked = Counter(waiting.entity for waiting in await self.parked())
        self._looks += 1
        snapshot.parked = self._parked
        snapshot.letters.update(letter.entity for letter in await self.letters())
        counters = await self.ask("marketo", "stats")
        snapshot.stored = {entity: counters["stored"][name] for entity, name in MARKETO_OBJECTS.items()}
        snapshot.marketo_calls = counters["calls_total"]
        return snapshot

    async def letters(self) -> list[Letter]:
        """Every dead letter, by peeking."""
        while True:
            found = await self._dead_letters.peek_messages(250, sequence_number=self._next_letter, timeout=10)
            if not found:
                return self._letters
            self._letters += [_letter(message) for message in found]
            self._next_letter = (found[-1].sequence_number or 0) + 1

    async def parked(self) -> list[Waiting]:
        """Every parked record."""
        try:
            rows = [row async for row in self._table.list_entities(select=["PartitionKey", "RowKey", "Entity"])]
        except ResourceNotFoundError:  # the app makes the table when it first parks
            return []
        return [_waiting(row) for row in rows if not row["RowKey"].startswith("!")]

    async def _count(self, name: str) -> int:
        found = await self._admin.get_queue_runtime_properties(self._queues[name])
        return (found.active_message_count or 0) + (found.scheduled_message_count or 0)


def _letter(message: ServiceBusReceivedMessage) -> Letter:
    told = {_text(name): value for name, value in (message.application_properties or {}).items()}

    def shown(name: str) -> str:
        return _text(told.get(name, ""))

    source = (shown("table"), shown("record_id")) if "record_id" in told else None
    return Letter(shown("code"), shown("message"), shown("entity"), source)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _waiting(row: Mapping[str, Any]) -> Waiting:
    parent, table, row_id = row["RowKey"].split("|")
    return Waiting((table, row_id), row["Entity"], (row["PartitionKey"], parent))


def endpoints_of(stack: Stack) -> dict[str, Any]:
    """What clients of the stack are told."""
    told: dict[str, Any] = json.loads(stack.endpoints_file.read_text())
    return told
