"""A broker with the product's queues, and dead letters in them, for `msisync dead-letters` without a whole stack."""

import os
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

from azure.servicebus import ServiceBusMessage, ServiceBusSubQueue
from azure.servicebus.aio import ServiceBusClient

from emulators.servicebus.harness import running_emulator
from emulators.servicebus.settings import QueueSettings
from local.queues import NAMES
from local.queues import QUEUES as EMULATED
from shared.model.record import Record, encode, timestamp

QUEUES = dict(NAMES.values())
#: Settings of systems that nothing asks here.
_UNUSED = {
    "DATAVERSE_URL": "https://contoso.crm4.dynamics.com",
    "DATAVERSE_AUTH": "managed_identity",
    "MARKETO_URL": "https://123-abc-456.mktorest.com",
    "MARKETO_CLIENT_ID": "unused",
    "MARKETO_CLIENT_SECRET": "unused",
    "AzureWebJobsStorage": "UseDevelopmentStorage=true",
}
_BATCH = 250
_PAGE = 250


@dataclass(frozen=True)
class Letters:
    """The broker in the hands of a test. `settings` are the app's; `pid` is the broker's process."""

    client: ServiceBusClient
    settings: dict[str, str]
    pid: int

    async def post(self, messages: Iterable[ServiceBusMessage], queue: str = "dead-letters") -> None:
        """Send messages to a queue, in this order."""
        given = iter(messages)
        async with self.client.get_queue_sender(queue) as sender:
            while batch := list(islice(given, _BATCH)):
                await sender.send_messages(batch)

    async def bury(self, queue: str, bodies: Iterable[bytes], session: str | None = None, **message: Any) -> None:
        """Let the broker itself dead-letter messages of a queue, as after too many deliveries."""
        messages = [ServiceBusMessage(body, session_id=session, **message) for body in bodies]
        await self.post(messages, queue)
        async with self.client.get_queue_receiver(queue, session_id=session) as receiver:
            left = len(messages)
            while left:
                for received in await receiver.receive_messages(left, max_wait_time=5):
                    why = {"reason": "MaxDeliveryCountExceeded", "error_description": "ten times"}
                    await receiver.dead_letter_message(received, **why)
                    left -= 1

    async def bodies(self, queue: str, *, session: str | None = None, dead: bool = False) -> list[bytes]:
        """What lies in a queue or in its dead-letter sub-queue."""
        return [b"".join(each.body) for each in await self.messages(queue, session=session, dead=dead)]

    async def messages(self, queue: str, *, session: str | None = None, dead: bool = False) -> list[Any]:
        """The same as the SDK gives them, peeked."""
        sub_queue = ServiceBusSubQueue.DEAD_LETTER if dead else None
        found: list[Any] = []
        async with self.client.get_queue_receiver(queue, session_id=session, sub_queue=sub_queue) as receiver:
            start = 1
            while page := await receiver.peek_messages(_PAGE, sequence_number=start):
                found += page
                start = (page[-1].sequence_number or 0) + 1
        return found


@asynccontextmanager
async def running_letters(directory: Path, **queue: Any) -> AsyncIterator[Letters]:
    """Run a broker with the product's queues. `queue` are more settings of the queue of dead letters."""
    queues = [
        QueueSettings(emulated.name, sessions=emulated.sessions, **(queue if emulated.name == "dead-letters" else {}))
        for emulated in EMULATED
    ]
    async with (
        running_emulator(directory, queues) as emulator,
        ServiceBusClient.from_connection_string(emulator.connection_string) as client,
    ):
        settings = {**QUEUES, **_UNUSED, "ServiceBusConnection": emulator.connection_string}
        yield Letters(client, settings, emulator.pid)


def refused(count: int = 1, *, code: str = "1003", **properties: str | int) -> Iterator[ServiceBusMessage]:
    """Dead letters as the app writes them when Marketo refuses persons; of rows that do not exist."""
    for _ in range(count):
        yield refused_contact(str(uuid4()), code=code, **properties)


def refused_contact(id_: str, *, code: str = "1003", **properties: str | int) -> ServiceBusMessage:
    """The same of one contact."""
    record = Record("contact", id_, datetime.now(UTC), correlation_id=str(uuid4()), attempt=2)
    facts: dict[Any, Any] = {
        "code": code,
        "message": "Invalid value for field 'email'",
        "system": "marketo",
        "source_queue": QUEUES["PERSON_QUEUE"],
        "first_seen": timestamp(record.first_seen),
        "entity": "person",
        "table": "contact",
        "record_id": id_,
        "attempts": 3,
        **properties,
    }
    return ServiceBusMessage(
        encode("person", [record]),
        content_type="application/json",
        correlation_id=record.correlation_id,
        application_properties=facts,
    )


def environment(settings: dict[str, str]) -> dict[str, str]:
    """This process's environment with these settings, for a command in another process."""
    return {**os.environ, **settings}
