"""A settler with a bus and a store that may be away."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

from shared.azure.service_bus import Outgoing
from shared.model.entities import ENTITIES, Entity
from shared.model.outcome import Outcome, Parent, WillNotCome
from shared.model.record import Record
from shared.sync.scheduling import AT_ONCE, Windows
from shared.sync.settlement import Settler
from tests.support.queues import QUEUES
from tests.support.values import NOON, guid

SEEN = NOON - timedelta(minutes=5)
IN_A_BURST = NOON + timedelta(seconds=40)
PERSON = ENTITIES["person"]
COMPANY = Parent("company", "account", guid(1))


def record(number: int = 10, **facts: Any) -> Record:
    return Record("contact", guid(number), SEEN, **facts)


class World:
    """Bus and parking at once; parts of them may fail: `away` is the error of each."""

    def __init__(self, max_attempts: int = 3, chance: float = 0.0) -> None:
        self.sent: list[Outgoing] = []
        self.parked: list[tuple[Record, tuple[Parent, ...]]] = []
        self.released: list[Record] = []
        self.linked_later: list[tuple[Record, tuple[Parent, ...]]] = []
        self.given_up: list[tuple[Record, WillNotCome]] = []
        self.known: dict[Parent, WillNotCome] = {}
        self.away: dict[str, Exception] = {}
        itself: Any = self
        self.windows = AT_ONCE
        self.settler = Settler(
            itself, itself, QUEUES, now=lambda: NOON, max_attempts=max_attempts, chance=lambda: chance
        )

    def _reach(self, part: str) -> None:
        if part in self.away:
            raise self.away[part]

    async def send(self, messages: Sequence[Outgoing]) -> None:
        self._reach("bus")
        self.sent += messages

    async def park(self, _entity: Entity, deferred: Sequence[tuple[Record, tuple[Parent, ...]]], _: Windows) -> None:
        self._reach("park")
        self.parked += deferred

    async def release(self, _entity: Entity, synced: Sequence[Record], _: Windows) -> int:
        self._reach("release")
        self.released += synced
        return 0

    async def link_later(
        self, _entity: Entity, sent: Sequence[tuple[Record, tuple[Parent, ...]]], _windows: Windows
    ) -> None:
        self._reach("link_later")
        self.linked_later += sent

    async def give_up(self, _entity: Entity, lost: Sequence[tuple[Record, WillNotCome]], _windows: Windows) -> None:
        self._reach("give_up")
        self.given_up += lost

    async def noted(self, parents: Collection[Parent]) -> dict[Parent, WillNotCome]:
        self._reach("noted")
        return {parent: self.known[parent] for parent in parents if parent in self.known}

    async def settle(self, *outcomes: tuple[Record, Outcome]) -> list[Outgoing]:
        await self.settler.settle(PERSON, outcomes, self.windows)
        return self.sent
