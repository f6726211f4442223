"""What is around the app in a simulated day: queues, Dataverse and Marketo, a few lines each, in virtual time."""

import asyncio
import heapq
import json
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from local.virtual import Time
from local.world.model import Row, World
from shared.azure.service_bus import Outgoing
from shared.model.entities import Entity, Table
from shared.model.outcome import Outcome
from shared.model.record import Record
from shared.sync.incoming import Incoming
from shared.sync.scheduling import Windows

CALL_SECONDS = 0.5
ROWS_SECONDS = 0.1
#: host.json: maxMessageBatchSize.
BATCH = 32
#: Columns whose text is different at every look, so that no change is one that Marketo has already.
_NEWS = ("telephone1", "description", "jobtitle")


@dataclass
class Queues:
    """The bus of the app, and what its triggers take from it."""

    time: Time
    sent: Counter[str] = field(default_factory=Counter)
    _waiting: dict[str, list[tuple[float, int, bytes]]] = field(default_factory=dict)
    _news: dict[str, asyncio.Event] = field(default_factory=dict)

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """Take messages as shared/azure/service_bus.py does."""
        for message in messages:
            delay = (message.at - self.time.now()).total_seconds() if message.at else 0.0
            self.put(message.queue, message.body, max(0.0, delay))

    def put(self, queue: str, body: bytes, delay: float = 0.0) -> None:
        """Let a message be seen after `delay` seconds; those of the same moment together."""
        self.sent[queue] += 1
        moment = round(self.time.passed + delay, 3)
        heapq.heappush(self._waiting.setdefault(queue, []), (moment, self.sent.total(), body))
        self._news.setdefault(queue, asyncio.Event()).set()

    async def take(self, queue: str) -> list[Incoming]:
        """The next batch, as soon as there is one."""
        waiting = self._waiting.setdefault(queue, [])
        news = self._news.setdefault(queue, asyncio.Event())
        while not waiting or waiting[0][0] > self.time.passed:
            news.clear()
            try:
                await asyncio.wait_for(news.wait(), waiting[0][0] - self.time.passed if waiting else None)
            except TimeoutError:
                continue
        batch: list[Incoming] = []
        while waiting and waiting[0][0] <= self.time.passed and len(batch) < BATCH:
            batch.append(Incoming(heapq.heappop(waiting)[2], self.time.now()))
        return batch


@dataclass
class Dataverse:
    """The organisation's rows: what the app asks of shared/dataverse/client.py and metadata.py."""

    world: World
    time: Time

    async def rows(self, table: Table, ids: Sequence[str], *_: Any, **__: Any) -> dict[str, Row]:
        """The rows of these ids."""
        await asyncio.sleep(ROWS_SECONDS)
        rows = self.world.rows[table.name]
        news = dict.fromkeys(_NEWS, str(self.time.passed))
        return {id_: {**rows[id_], **news} for id_ in ids if id_ in rows}

    async def hidden_columns(self, _table: str) -> frozenset[str]:
        """No column is secured."""
        return frozenset()

    async def readable_columns(self, table: str) -> frozenset[str]:
        """The columns that any row has."""
        return frozenset(name for row in self.world.rows[table].values() for name in row if "@" not in name)

    async def labels(self, *_: Any) -> dict[str, dict[int, str]]:
        """No labels."""
        return {}


@dataclass
class Marketo:
    """Marketo's HTTP: it has and takes everything, except from `away[0]` to `away[1]`."""

    time: Time
    fields: Collection[str]
    away: tuple[float, float]
    calls: Counter[str] = field(default_factory=Counter)
    refused: int = 0

    @property
    def is_away(self) -> bool:
        """Whether every call fails now."""
        return self.away[0] <= self.time.passed < self.away[1]

    async def post(self, url: str, **_: Any) -> httpx.Response:
        """Identity."""
        answer = {"access_token": "token", "expires_in": 3600}
        return httpx.Response(200, json=answer, request=httpx.Request("POST", f"https://marketo{url}"))

    async def request(
        self, _method: str, path: str, *, data: Any = None, content: bytes | None = None, **_: Any
    ) -> httpx.Response:
        """One call."""
        away = self.is_away
        kind, result = self._answer(path, data, content)
        self.calls[kind] += 1
        self.refused += away
        await asyncio.sleep(CALL_SECONDS)
        return httpx.Response(502) if away else httpx.Response(200, json={"success": True, "result": result})

    def _answer(self, path: str, data: Mapping[str, str] | None, content: bytes | None) -> tuple[str, list[Any]]:
        if content is not None:
            return "upsert", [{"status": "updated", "id": 1}] * len(json.loads(content)["input"])
        if data is not None:
            return "find", [{"id": 1, data["filterType"]: key} for key in data["filterValues"].split(",")]
        if path.endswith("usage.json"):
            return "usage", [{"total": self.calls.total()}]
        return "describe", [{"fields": [{"name": n, "dataType": "string", "length": 2000} for n in self.fields]}]


class Nobody:
    """Parking, children and counts where every parent is there and nobody looks."""

    async def note(self, _entity: str, _outcomes: Sequence[object]) -> None:
        """Nobody asks what was left out."""

    async def release(self, _entity: Entity, _synced: Sequence[Record], _windows: Windows) -> int:
        """Nobody waits for these."""
        return 0

    async def give_up(self, _entity: Entity, _lost: Sequence[tuple[Record, object]], _windows: Windows) -> None:
        """Nobody needs these."""

    async def links_to(self, _parents: Sequence[object]) -> list[object]:
        """Nobody was parked to be linked later."""
        return []

    async def linked(self, _children: Sequence[object]) -> None:
        """So nobody is taken away."""

    async def of(self, _records: Sequence[Record]) -> AsyncIterator[list[Record]]:
        """Nobody was synced without the link to these."""
        nothing: list[list[Record]] = []
        for page in nothing:
            yield page

    async def add(self, _entity: str, _outcomes: Sequence[tuple[Record, Outcome]]) -> None:
        """Counted nowhere."""
