"""Everything that a test does to a running stack, and every look that it takes from the outside."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables.aio import TableClient
from azure.servicebus import ServiceBusMessage, ServiceBusReceiveMode, ServiceBusSubQueue
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver, ServiceBusSender

from local.bench.queue_counts import QueueCounts, counts_in, shared_access_token
from local.dataverse.notifications import Notification, Origin, notification
from local.harness.rows import Made, Rows
from local.harness.waiting import eventually
from local.marketo.objects import COMPANIES, LEADS, OPPORTUNITIES, ROLES, SALES_PERSONS
from local.stack import Stack

#: Marketo's object and its key, by the Dynamics table that feeds it.
OBJECTS = {
    "systemuser": (SALES_PERSONS, "externalSalesPersonId"),
    "account": (COMPANIES, "externalCompanyId"),
    "contact": (LEADS, "externalPersonId"),
    "lead": (LEADS, "externalPersonId"),
    "opportunity": (OPPORTUNITIES, "externalOpportunityId"),
}
PARKED_TABLE = "parked"
_BROKER_PART = "service-bus"

Record = dict[str, Any]


@dataclass(frozen=True)
class DeadLetter:
    """A message of dead-letters: its body and its application properties."""

    body: bytes
    properties: dict[str, Any]

    @property
    def code(self) -> str:
        """Why it is there."""
        return str(self.properties.get("code"))


@dataclass
class System:
    """A running stack and the clients that look at it. `functions` is the URL of the first Functions host."""

    stack: Stack
    http: httpx.AsyncClient
    endpoints: dict[str, Any]
    _bus: ServiceBusClient | None = None
    _senders: dict[str, ServiceBusSender] = field(default_factory=dict)
    _peeker: ServiceBusReceiver | None = None
    _letters: list[DeadLetter] = field(default_factory=list)
    _next_letter: int = 0

    # -- doing --------------------------------------------------------------------------------------------------

    async def seed(self, rows: Rows) -> None:
        """Put rows into Dynamics, without notifications."""
        await self.dataverse("/seed", rows.seed_body())

    async def notify(self, *rows: Made, message: str = "Update") -> None:
        """Send the notification of one change for each row, in this order, as one burst."""
        await self.post("changes", [body_of(row, message) for row in rows])

    async def post(
        self, queue: str, bodies: Sequence[bytes | ServiceBusMessage], *, session: str | None = None
    ) -> None:
        """Send messages to a queue, named as endpoints.json names it."""
        messages = [
            body if isinstance(body, ServiceBusMessage)
            else ServiceBusMessage(body, content_type="application/json", session_id=session)
            for body in bodies
        ]  # fmt: skip
        if queue not in self._senders:
            self._senders[queue] = self._client().get_queue_sender(self.queue(queue))
        for start in range(0, len(messages), 100):
            await self._senders[queue].send_messages(messages[start : start + 100])

    async def run_timer(self, host: str = "a", *, expect: int = 200) -> None:
        """Run release_deferred now and wait for its end."""
        url = f"{self.hosts[host]}/admin/functions/release_deferred"
        answer = await self.http.post(url, params={"wait": "1"}, headers=self._admin)
        assert answer.status_code == expect, answer.text  # noqa: S101

    async def dataverse(self, path: str, content: Any = None) -> Any:
        """Call the Dataverse simulator's control API: POST with content, else GET."""
        return await self._control("dataverse", path, content)

    async def marketo(self, path: str, content: Any = None) -> Any:
        """Call the Marketo simulator's control API: POST with content, else GET."""
        return await self._control("marketo", path, content)

    async def fault(self, kind: str, **details: Any) -> None:
        """Queue a fault in Marketo."""
        await self.marketo("/faults", {"kind": kind, **details})

    async def forget_faults(self) -> None:
        """Drop all faults of Marketo and Dataverse that have not struck."""
        (await self.http.delete(f"{self.stack.control()['marketo']}/faults")).raise_for_status()
        await self.dataverse("/faults", [])

    async def dataverse_faults(self) -> list[dict[str, Any]]:
        """The faults of Dataverse that have not struck as often as they should."""
        nothing = {"match": "^$", "times": 0}  # the simulator tells its faults only to who adds one
        return [fault for fault in await self.dataverse("/faults", nothing) if fault["times"] > 0]

    async def restart_service_bus(self) -> None:
        """Let the broker come back after it was stopped, with empty queues."""
        await self.drop_connections()
        await self.stack.start_part(_BROKER_PART)

    async def stop_service_bus(self) -> None:
        """Stop the broker; its messages are gone."""
        await self.drop_connections()
        await self.stack.stop_part(_BROKER_PART)

    async def drop_connections(self) -> None:
        """Close this test's connection to the broker."""
        links = [*self._senders.values(), *([self._peeker] if self._peeker else [])]
        await asyncio.gather(*(link.close() for link in links))
        if self._bus is not None:
            await self._bus.close()
        self._bus, self._peeker, self._next_letter = None, None, 0
        self._senders.clear()

    # -- looking ------------------------------------------------------------------------------------------------

    async def records(self, table: str, *, of: Iterable[Made] | None = None) -> dict[str, Record]:
        """Marketo's records of what a Dynamics table feeds, by external key; `of` some rows only."""
        name, key = OBJECTS[table]
        wanted = None if of is None else {made.id for made in of}
        found = await self.marketo(f"/records/{name}")
        return {row[key]: row for row in found if row.get(key) and (wanted is None or row[key] in wanted)}

    async def record(self, made: Made) -> Record | None:
        """Marketo's record of a row."""
        return (await self.records(made.table, of=[made])).get(made.id)

    async def synced(self, *rows: Made, seconds: float = 20.0) -> list[Record]:
        """Wait until Marketo has all of these rows, and return its records in the same order."""

        async def look() -> dict[Made, Record | None]:
            tables = {made.table for made in rows}
            found = {table: await self.records(table) for table in tables}
            return {made: found[made.table].get(made.id) for made in rows}

        def complete(found: Mapping[Made, Record | None]) -> bool:
            return all(found.values())

        found = await eventually(look, complete, seconds=seconds, what=f"{len(rows)} records in Marketo")
        return [record for record in found.values() if record]

    async def changed(self, made: Made, **fields: Any) -> Record:
        """Wait until Marketo's record of a row has these values, and return it."""

        def is_right(record: Record | None) -> bool:
            return record is not None and all(record.get(name) == value for name, value in fields.items())

        found = await eventually(lambda: self.record(made), is_right, what=f"{made.table} {fields}")
        return found or {}

    async def roles(self, deal: Made) -> list[Record]:
        """Marketo's roles of an opportunity."""
        return [role for role in await self.marketo(f"/records/{ROLES}") if role["externalOpportunityId"] == deal.id]

    async def has_roles(self, deal: Made, *expected: tuple[Made, str], seconds: float = 20.0) -> list[Record]:
        """Wait until an opportunity has exactly these roles (person, role)."""

        async def look() -> list[tuple[str | None, str]]:
            persons = {row["id"]: row.get("externalPersonId") for row in await self.marketo(f"/records/{LEADS}")}
            return sorted((persons.get(role["leadId"]), role["role"]) for role in await self.roles(deal))

        wanted = sorted((person.id, role) for person, role in expected)
        await eventually(look, lambda seen: seen == wanted, seconds=seconds, what=f"roles {wanted}")
        return await self.roles(deal)

    async def received(self, table: str) -> int:
        """How many records Marketo was sent for what a table feeds, since the start."""
        stats = await self.marketo("/stats")
        return int(stats["records"].get(OBJECTS[table][0], {}).get("received", 0))

    async def dead_letters(self) -> list[DeadLetter]:
        """Everything that has come to dead-letters since the last `forget_dead_letters`."""
        if self._peeker is None:
            self._peeker = self._client().get_queue_receiver(self.queue("dead_letters"))
        while batch := await self._peeker.peek_messages(100, sequence_number=self._next_letter):
            self._letters += [DeadLetter(b"".join(each.body), _properties(each)) for each in batch]
            self._next_letter = (batch[-1].sequence_number or 0) + 1
        return self._letters

    async def dead_letter_of(self, record_id: str, *, seconds: float = 20.0) -> DeadLetter:
        """Wait for the dead letter of a record."""

        async def look() -> list[DeadLetter]:
            return [each for each in await self.dead_letters() if each.properties.get("record_id") == record_id]

        return (await eventually(look, seconds=seconds, what=f"a dead letter of {record_id}"))[0]

    async def forget_dead_letters(self) -> None:
        """Count only those that come from now on."""
        await self.dead_letters()
        self._letters.clear()

    async def parked(self) -> list[dict[str, Any]]:
        """The rows of the table of parked records, both kinds."""
        async with self.table() as table:
            try:
                return [dict(row) async for row in table.list_entities()]
            except ResourceNotFoundError:
                return []

    async def nothing_parked(self, *, seconds: float = 10.0) -> None:
        """Wait until the table is empty: nobody waits, and nobody is asked for."""
        await eventually(self.parked, lambda rows: not rows, seconds=seconds, what="an empty table of parked records")

    def table(self) -> TableClient:
        """A client of the table of parked records."""
        return TableClient.from_connection_string(self.endpoints["storage"]["connection_string"], PARKED_TABLE)

    async def queue_counts(self) -> dict[str, QueueCounts]:
        """The broker's counts by queue."""
        url = f"http://127.0.0.1:{self.stack.addresses.ports.service_bus}/$Resources/queues"
        token = shared_access_token(url, self.endpoints["service_bus"]["connection_string"], now=time.time())
        answer = await self.http.get(url, headers={"Authorization": token})
        answer.raise_for_status()
        return counts_in(answer.text)

    async def idle(self, *, seconds: float = 30.0) -> None:
        """Wait until no queue has anything to work on, not even later."""
        dead = self.queue("dead_letters")

        async def look() -> dict[str, int]:
            counts = await self.queue_counts()
            return {name: count.waiting for name, count in counts.items() if count.waiting and name != dead}

        await eventually(look, lambda waiting: not waiting, seconds=seconds, what="idle queues")

    async def host_stats(self, host: str = "a") -> Any:
        """The counters of a Functions host."""
        answer = await self.http.get(f"{self.hosts[host]}/admin/local/stats", headers=self._admin)
        return answer.raise_for_status().json()

    @property
    def hosts(self) -> dict[str, str]:
        """URLs of the Functions hosts by name."""
        urls: dict[str, str] = self.stack.control()["functions"]
        return urls

    @property
    def webhook_key(self) -> str:
        """The key that receive_webhook asks for."""
        return str(self.endpoints["functions"]["webhook_key"])

    def queue(self, name: str) -> str:
        """A queue's name in the broker."""
        return str(self.endpoints["service_bus"]["queues"][name])

    async def broker_dead_letters(self, queue: str) -> list[DeadLetter]:
        """Take what the broker itself has dead-lettered in a queue."""
        async with self._client().get_queue_receiver(
            self.queue(queue),
            sub_queue=ServiceBusSubQueue.DEAD_LETTER,
            receive_mode=ServiceBusReceiveMode.RECEIVE_AND_DELETE,
        ) as receiver:
            found = []
            while batch := await receiver.receive_messages(200, max_wait_time=0.3):
                found += [DeadLetter(b"".join(each.body), _properties(each)) for each in batch]
            return found

    def _client(self) -> ServiceBusClient:
        if self._bus is None:
            self._bus = ServiceBusClient.from_connection_string(self.endpoints["service_bus"]["connection_string"])
        return self._bus

    @property
    def _admin(self) -> dict[str, str]:
        return {"x-functions-key": self.endpoints["functions"]["admin_key"]}

    async def _control(self, part: str, path: str, content: Any) -> Any:
        url = self.stack.control()[part] + path
        answer = await (self.http.get(url) if content is None else self.http.post(url, json=content))
        return answer.raise_for_status().json()


def body_of(made: Made, message: str = "Update", **parts: Any) -> bytes:
    """The notification of a change of a row, as Dataverse writes it."""
    return notification_of(made, message, **parts).json().encode()


def notification_of(made: Made, message: str = "Update", **parts: Any) -> Notification:
    """The same with its properties and headers. `parts` go to `notifications.notification`."""
    origin = parts.pop("origin", None) or Origin(at=time.time())
    return notification(message, made.table, made.row(), origin, **parts)


def _properties(message: Any) -> dict[str, Any]:
    found = {}
    for name, value in (message.application_properties or {}).items():
        plain = value.decode() if isinstance(value, bytes) else value
        found[name.decode() if isinstance(name, bytes) else name] = plain
    return found


@asynccontextmanager
async def running_system(directory: Path, **options: Any) -> AsyncIterator[System]:
    """Run a stack in `directory`; `options` are Stack's."""
    async with (
        Stack(directory=directory, empty=True, **options) as stack,
        httpx.AsyncClient(trust_env=False, timeout=60) as http,
    ):
        system = System(stack, http, json.loads(stack.endpoints_file.read_text()))
        try:
            yield system
        finally:
            await system.drop_connections()
