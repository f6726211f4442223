"""Runs hear of their records when the outcomes are durable, and only then."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from local.wiring import pipeline_around
from shared.model.entities import Entity
from shared.model.errors import BrokerUnavailableError
from shared.model.outcome import Outcome, Synced
from shared.model.record import Record, encode
from shared.sync.circuit_breaker import Circuits
from shared.sync.incoming import Incoming
from shared.sync.scheduling import Bursts
from shared.transport import call_count
from tests.support.values import NOON, guid

OF_RUN = Record("contact", guid(1), NOON, run="20260304-120000-abcd/contact/0")

Outcomes = Sequence[tuple[Record, Outcome]]


class World:
    """What is around the pipeline, and in which order it is used."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.broker_away = False
        self.pipeline = pipeline_around(
            self,
            bursts=Bursts(burst_batch=3, seconds=20.0, now=lambda: NOON),
            circuits=Circuits(None, seconds=60.0, now=lambda: NOON),
            tables={},
            now=lambda: NOON,
            tell_runs=self.tell_runs,
        )

    async def send(self, messages: Sequence[Any]) -> None:
        assert not messages

    async def sync(self, _: Entity, records: Sequence[Record], __: Any, ___: Any) -> Outcomes:
        await asyncio.sleep(0)
        call_count.count("marketo")
        return [(record, Synced("created")) for record in records]

    async def settle(self, _: Entity, outcomes: Outcomes, __: Any) -> Outcomes:
        if self.broker_away:
            raise BrokerUnavailableError("ServiceBusConnectionError")
        self.done.append("settled")
        return outcomes

    async def of(self, parents: Sequence[Record]) -> AsyncIterator[list[Record]]:
        for _ in parents:
            yield []

    async def add(self, *_: Any) -> None:
        """Counts."""

    async def note(self, *_: Any) -> None:
        """Fields that were left out."""

    async def tell_runs(self, outcomes: Outcomes, calls: int) -> None:
        self.done.append(([record.run for record, _ in outcomes], calls))

    async def deliver(self, *records: Record) -> None:
        await self.pipeline.sync("person", [Incoming(encode("person", records), NOON)])


async def test_runs_hear_of_a_batch_when_it_is_durable_and_what_it_has_cost() -> None:
    world = World()
    await world.deliver(OF_RUN, Record("contact", guid(2), NOON))
    assert world.done == ["settled", ([OF_RUN.run, ""], 1)]


async def test_runs_hear_nothing_of_a_batch_that_comes_again() -> None:
    world = World()
    world.broker_away = True
    with pytest.raises(BrokerUnavailableError):
        await world.deliver(OF_RUN)
    assert world.done == []
