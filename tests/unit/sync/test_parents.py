"""Calls that look parents up: room in them is used for those that will be forgotten soon."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from local.virtual import leases
from shared.model.entities import ENTITIES
from shared.model.outcome import Parent
from shared.model.record import Record
from shared.sync.batch import Batch, Candidate
from shared.sync.marketo_cache import PRESENT_SECONDS, Known
from shared.sync.parents import Parents
from tests.support.values import NOON, guid

PERSON = ENTITIES["person"]


@dataclass
class World:
    """Marketo has the companies of even numbers."""

    now: float = 0.0
    asked: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        itself: Any = self
        self.known = Known(clock=lambda: self.now)
        self.parents = Parents(itself, itself, itself, self.known, tables={"account"})

    async def find(self, _entity: Any, keys: Collection[str]) -> dict[str, int]:
        assert len(set(keys)) == len(keys) <= 300
        self.asked.append(list(keys))
        return {key: 0 for key in keys if UUID(key).int % 2 == 0}

    async def find_for(self, *companies: int) -> None:
        candidates = [
            Candidate([Record("contact", guid(10_000 + n), NOON)], {}, {"x": Parent("company", "account", guid(n))})
            for n in companies
        ]
        batch = Batch(
            PERSON,
            1_000_000.0,
            {c.records[0].key: c.records[0] for c in candidates},
            leases(lambda: self.now).of("person"),
        )
        await self.parents.find(batch, candidates)


async def test_a_look_up_asks_again_for_what_will_be_forgotten_soon_and_so_spares_a_call_for_each(world: World) -> None:
    await world.find_for(*range(0, 200, 2))
    world.now = PRESENT_SECONDS * 0.6
    await world.find_for(1000)
    assert world.asked[1] == [guid(1000), *(guid(n) for n in range(0, 200, 2))]
    world.now = PRESENT_SECONDS * 1.5
    await world.find_for(*range(0, 200, 2))
    assert len(world.asked) == 2


async def test_a_look_up_that_is_full_asks_for_nothing_more(world: World) -> None:
    await world.find_for(*range(0, 200, 2))
    world.now = PRESENT_SECONDS * 0.6
    await world.find_for(*range(1000, 1600, 2))
    assert len(world.asked[1]) == 300


async def test_a_parent_that_has_left_marketo_is_not_known_any_more(world: World) -> None:
    world.known.add("company", guid(1), 0)
    world.now = PRESENT_SECONDS * 0.6
    await world.find_for(2)
    assert world.known.id_of("company", guid(1)) is None
    assert world.known.is_absent("company", guid(1))
