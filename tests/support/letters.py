"""Dead letters at a broker in memory, behind the console."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from shared.azure.receiver import Message
from shared.azure.service_bus import Outgoing
from shared.cli.console.security import Operator
from shared.cli.dead_letters import command, look
from shared.cli.peek import PAGE, Place, QueueUnavailable
from shared.model.dead_letter import Explanation
from shared.model.errors import BrokerUnavailableError
from shared.model.record import Record, encode
from shared.sync.history import Event, What, row_of
from tests.support.console import World
from tests.support.history import Kept
from tests.support.queues import QUEUES
from tests.support.values import NOON, guid

OURS = Place(QUEUES.dead_letters)


class Broker:
    """What lies where. `refuses`: nothing can be sent. `locked`: numbers that another receiver has."""

    def __init__(self) -> None:
        self.messages: dict[Place, list[Message]] = {}
        self.sent: list[Outgoing] = []
        self.refuses = False
        self.locked: set[int] = set()
        self.peeks = 0
        self.unreadable: dict[Place, QueueUnavailable] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self._number = 0

    def put(self, message: Message, place: Place = OURS) -> int:
        """A message comes to a place. Gives its number."""
        self._number += 1
        self.messages.setdefault(place, []).append(replace(message, sequence_number=self._number))
        return self._number

    async def peek(
        self, _: Any, place: Place, *, start: int = 1, page: int = PAGE
    ) -> AsyncGenerator[list[Message], None]:
        """Stands for shared/cli/peek.py."""
        self.peeks += place == OURS
        await self.gate.wait()
        if place in self.unreadable:
            raise self.unreadable[place]
        there = [each for each in self.messages.get(place, []) if each.sequence_number >= start]
        for first in range(0, len(there), page):
            yield there[first : first + page]

    @asynccontextmanager
    async def receiver(self, queue: str, *, dead: bool = False) -> AsyncIterator[Any]:
        """Stands for the receiver of a place."""
        left = [
            each for each in self.messages.get(Place(queue, dead=dead), []) if each.sequence_number not in self.locked
        ]

        async def receive(count: int, _: float) -> list[Message]:
            taken, left[:] = left[:count], left[count:]
            return taken

        async def remove(messages: Sequence[Message]) -> int:
            gone = {each.sequence_number for each in messages}
            there = self.messages[Place(queue, dead=dead)]
            there[:] = [each for each in there if each.sequence_number not in gone]
            return len(gone)

        async def abandon(_: Sequence[Message]) -> None:
            """They are still there."""

        yield SimpleNamespace(receive=receive, remove=remove, abandon=abandon)

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """Take messages, or refuse them."""
        if self.refuses:
            raise BrokerUnavailableError("ServiceBusError")
        self.sent += messages


class LettersWorld(World):
    """The console with a broker and a history."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *pages: Any) -> None:
        super().__init__(*([pages] if pages else []))
        self.may_act = True
        admit = self.access.admit

        def admitted(request: Request) -> Operator | Response:
            found = admit(request)
            return replace(found, may_act=self.may_act) if isinstance(found, Operator) else found

        monkeypatch.setattr(self.access, "admit", admitted)
        self.broker, self.kept = Broker(), Kept()
        self.context.bus, self.context.outgoing = self.broker, self.broker
        self.context.history, self.context.history_tables = self.kept.history, self.kept.tables
        monkeypatch.setattr(look, "peek", self.broker.peek)
        monkeypatch.setattr(command, "peek", self.broker.peek)

    def put(self, *numbers: int, since: datetime = NOON, **facts: Any) -> list[int]:
        """Persons with these numbers become dead letters."""
        return [self.broker.put(refused(number, since=since, **facts)) for number in numbers]

    def left(self) -> list[int]:
        """The numbers of the dead letters that are there."""
        return [each.sequence_number for each in self.broker.messages.get(OURS, [])]

    async def acts(self) -> list[tuple[str, str, str]]:
        """What operators did to which rows, and who, as the history has it."""
        return [(event.what, event.id, event.by) for event in await self.kept.events() if event.by]

    def synced(self, number: int, at: datetime, what: What = What.UPDATED, table: str = "contact") -> None:
        """A row was synced."""
        self.kept.tables.rows.append(row_of([Event(at, table, guid(number), what)]))


def refused(
    number: int,
    *,
    code: str = "1003",
    reason: str = "Invalid value for field 'email'",
    since: datetime = NOON,
    body: bytes = b"",
    **more: Any,
) -> Message:
    """A contact that Marketo has refused, as the app writes it."""
    record = Record("contact", guid(number), since - timedelta(minutes=1))
    given: dict[str, Any] = {"system": "marketo", "source_queue": QUEUES.person, "entity": "person"}
    given |= {"record_id": guid(number), **more}
    why = Explanation(code, reason, first_seen=record.first_seen, table="contact", attempts=3, **given)
    return Message(0, body or encode("person", [record]), since, properties=dict(why.as_properties()))  # type: ignore[arg-type]
