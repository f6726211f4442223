"""Live changes beside a simulated run, one after another, and how long each of them takes."""

import asyncio
import json
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from local.bench.day import ORGANIZATION, WRITTEN
from local.bench.many_rows import LIVE, id_of
from local.bench.small_world import Queues
from local.virtual import Time
from local.wiring import QUEUES
from shared.model.outcome import Outcome, Synced
from shared.model.record import Record

#: Between a live change that has arrived and the next one; none waits to save calls.
PAUSE_SECONDS = (3.0, 6.0)


@dataclass
class LiveChanges:
    """The changes, and their `latencies` by entity, in seconds from the notification to Marketo's answer.

    `tables`: by entity, those whose rows change. `entity`: of which entity the next change is to be, None for any.
    """

    time: Time
    queues: Queues
    tables: Mapping[str, str]
    entity: Callable[[], str | None]
    latencies: dict[str, list[float]] = field(default_factory=dict)
    is_over: bool = False
    _pending: dict[str, tuple[str, float]] = field(default_factory=dict)

    async def happen(self) -> None:
        """Make one change after another: the next one some time after the last one is in Marketo."""
        chance, number = random.Random(2), LIVE  # noqa: S311  (the same each time)
        while not self.is_over:
            await asyncio.sleep(chance.uniform(*PAUSE_SECONDS))
            name = self.entity()
            if name is None:
                name = chance.choice(list(self.tables))
            if self.is_over or name not in self.tables:
                continue
            number += 1
            self._pending[id_of(number)] = name, self.time.passed
            self.queues.put(QUEUES.changes, _notification(self.tables[name], id_of(number)))
            while self._pending:  # noqa: ASYNC110  (time is virtual)
                await asyncio.sleep(0.01)
        await asyncio.Event().wait()

    def arrived(self, outcomes: Iterable[tuple[Record, Outcome]]) -> None:
        """Note which of them are in Marketo."""
        for record, outcome in outcomes:
            if record.id in self._pending and isinstance(outcome, Synced) and record.table in self.tables.values():
                name, at = self._pending.pop(record.id)
                self.latencies.setdefault(name, []).append(self.time.passed - at)

    async def until(self, number: int) -> None:
        """Wait until so many have arrived."""
        while sum(map(len, self.latencies.values())) < number:  # noqa: ASYNC110  (time is virtual)
            await asyncio.sleep(1.0)


def _notification(table: str, id_: str) -> bytes:
    written = [{"key": WRITTEN[table], "value": None}]
    target = {"key": "Target", "value": {"Attributes": written, "Id": id_, "LogicalName": table}}
    about = {"PrimaryEntityName": table, "PrimaryEntityId": id_, "OrganizationId": ORGANIZATION, "CorrelationId": id_}
    return json.dumps({"MessageName": "Update", **about, "InputParameters": [target]}).encode()
