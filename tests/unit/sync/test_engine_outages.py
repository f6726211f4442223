"""The engine with its circuits while a vendor is away: few calls, nothing lost, and a backlog that waits quietly."""

import heapq
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from local.wiring import engine_between
from shared.azure.service_bus import Outgoing
from shared.config.settings import QueueSettings
from shared.config.sync_toml import SyncConfig
from shared.marketo.answers import Result
from shared.model.codes import Kind
from shared.model.entities import ENTITIES, Entity, Table
from shared.model.errors import DataverseError, MarketoError, VendorError
from shared.model.outcome import Failed, Outcome, Retry, Synced
from shared.model.record import MAX_RECORDS, Record, decode, encode
from shared.sync.circuit_breaker import Circuits
from shared.sync.routing import chunked
from shared.sync.settlement import Settler
from tests.support.values import NOON, guid
from tests.support.vendors import Vendors

HOUR = 3600.0
CONFIG = SyncConfig.model_validate({"account": {"fields": {"company": "name"}}})
COMPANY = ENTITIES["company"]
QUEUE = "companies"
#: host.json: maxMessageBatchSize.
BATCH = 32
CALL_SECONDS = 0.5


class World(Vendors):
    """Both vendors behind the circuits, the companies' queue, and one consumer of it, in simulated time."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.error: VendorError | None = None
        self.dataverse_error: VendorError | None = None
        self.calls: list[tuple[float, int]] = []
        self.reads: list[float] = []
        self.stored: set[str] = set()
        self.queue: list[tuple[float, int, bytes]] = []
        self.sent = 0
        self.dead = 0
        self.too_slow_from = 1_000
        itself: Any = self
        self.circuits = Circuits(None, seconds=60.0, now=self.now)
        self.engine = engine_between(
            self, self, CONFIG, clock=self.clock, now=self.now, circuits=self.circuits, tables=["account"]
        )
        queues = QueueSettings.model_construct(None, company=QUEUE, dead_letters="dead-letters")
        self.settler = Settler(itself, itself, queues, now=self.now, max_attempts=8)

    def clock(self) -> float:
        return self.passed

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.passed)

    # -- Dataverse, Marketo, parking, bus ------------------------------------------------------------------------

    async def rows(self, _table: Table, ids: Sequence[str], *_: Any, **__: Any) -> dict[str, Any]:
        async with self.circuits.call("dataverse"):
            self.reads.append(self.passed)
            if self.dataverse_error:
                raise self.dataverse_error
        return {id_: {"name": f"Company {id_}"} for id_ in ids}

    async def probe_write(self, _entity: Entity) -> None:
        async with self.circuits.call("marketo"):
            self.calls.append((self.passed, 0))
            if self.error:
                raise self.error

    async def write(self, _entity: Entity, bodies: Sequence[bytes], *_: Any, **__: Any) -> list[Result]:
        async with self.circuits.call("marketo", of_records=True) as tries:
            self.calls += [(self.passed, len(bodies))] * min(tries, 3)
            self.passed += CALL_SECONDS
            if self.error:
                raise self.error
            if len(bodies) >= self.too_slow_from:
                raise MarketoError("604", "request time-out", kind=Kind.TRANSIENT, at_work=True)
        self.stored |= {json.loads(body)["externalCompanyId"] for body in bodies}
        return [Result("created")] * len(bodies)

    async def release(self, *_: Any) -> int:
        return 0

    async def give_up(self, *_: Any) -> None: ...

    async def noted(self, *_: Any) -> dict[Any, Any]:
        return {}

    async def send(self, messages: Sequence[Outgoing]) -> None:
        for message in messages:
            self.sent += 1
            self.dead += message.queue != QUEUE
            at = round((message.at - NOON).total_seconds(), 3) if message.at else self.passed
            heapq.heappush(self.queue, (at, self.sent, message.body))

    # -- what tests do -------------------------------------------------------------------------------------------

    async def sync(self, count: int, **facts: Any) -> dict[str, Outcome]:
        records = [Record("account", guid(n), NOON, **facts) for n in range(count)]
        return {record.id: outcome for record, outcome in await self.engine.sync(COMPANY, records)}

    def backlog(self, count: int) -> None:
        records = [Record("account", guid(n), NOON) for n in range(count)]
        for group in chunked(records, MAX_RECORDS):
            heapq.heappush(self.queue, (self.passed, 0, encode("company", group)))

    async def consume(self, until: float) -> None:
        """Be the trigger: batches of what can be seen, until then or until nothing is left."""
        while self.queue and (moment := max(self.queue[0][0], self.passed)) < until:
            self.passed = moment
            records: list[Record] = []
            for _ in range(BATCH):
                if self.queue and self.queue[0][0] <= self.passed:
                    records += decode(heapq.heappop(self.queue)[2], "company")
            await self.settler.settle(COMPANY, await self.engine.sync(COMPANY, records))
        self.passed = until if self.queue else self.passed


def away(kind: Kind = Kind.TRANSIENT, code: str = "502", **facts: Any) -> MarketoError:
    return MarketoError(code, "away", kind=kind, **facts)


async def test_an_hour_without_marketo_with_a_large_backlog_costs_a_probe_at_a_time_and_few_messages(
    world: World,
) -> None:
    world.backlog(3_000)
    world.error = away()
    await world.consume(HOUR)
    probes = sorted({moment for moment, _ in world.calls if moment > 30})
    assert all(after - before >= 60 for before, after in pairwise(probes))
    assert len(world.calls) <= 3 * 5 + len(probes), "at first each of five calls is tried three times"
    assert len(probes) <= 16
    assert world.sent <= 16 * 3_000 / 50
    assert world.stored == set()
    world.error = None
    back = world.passed
    await world.consume(3 * HOUR)
    assert len(world.stored) == 3_000
    assert world.passed - back <= 600, "nobody had to help"
    assert world.dead == 0


async def test_an_outage_uses_up_no_attempt(world: World) -> None:
    world.error = away()
    outcomes = await world.sync(1000, attempt=3)
    assert all(isinstance(outcome, Retry) and not outcome.counted for outcome in outcomes.values())
    assert min(outcome.after for outcome in outcomes.values() if isinstance(outcome, Retry)) >= 60


async def test_what_waits_is_spread_in_order_over_seconds_and_shares_messages(world: World) -> None:
    world.error = away()
    await world.sync(10)
    world.error = None
    outcomes = await world.sync(3200)
    waits = [outcome.after for outcome in outcomes.values() if isinstance(outcome, Retry)]
    assert waits == sorted(waits)
    assert 9 <= waits[-1] - waits[0] <= 12
    assert len(set(waits)) <= 12
    assert {getattr(outcome, "code", "") for outcome in outcomes.values()} == {"CircuitOpen"}


async def test_a_call_without_records_probes_and_the_whole_batch_follows_when_it_goes_well(world: World) -> None:
    world.error = away()
    await world.sync(300)
    world.error = None
    world.passed += 60
    world.calls.clear()
    outcomes = await world.sync(1000)
    assert set(outcomes.values()) == {Synced("created")}
    assert list(dict.fromkeys(records for _, records in world.calls)) == [0, 300, 100]


async def test_dataverse_away_costs_no_call_of_marketo_and_one_read_a_probe(world: World) -> None:
    world.dataverse_error = DataverseError("503", "away", kind=Kind.TRANSIENT)
    world.backlog(1_000)
    await world.consume(HOUR)
    assert world.calls == []
    assert len(world.reads) <= 5 + 60
    world.dataverse_error = None
    await world.consume(3 * HOUR)
    assert len(world.stored) == 1_000


async def test_a_day_that_is_used_up_is_waited_for_in_the_queue_without_further_calls(world: World) -> None:
    world.backlog(5_000)
    world.error = away(Kind.DAILY, "607", retry_after=6 * HOUR)
    await world.consume(5 * HOUR)
    asked = len(world.calls)
    assert asked <= 15
    assert world.sent <= 150, "each record was sent once, for after midnight"
    world.error = None
    await world.consume(10 * HOUR)
    assert len(world.stored) == 5_000
    assert world.passed >= 6 * HOUR
    assert world.dead == 0


@pytest.mark.parametrize(
    ("kind", "code", "most"),
    [(Kind.CONFIGURATION, "603", 75), (Kind.SPLIT, "611", 150), (Kind.UNKNOWN, "799", 150)],
    ids=["no permission", "a system error", "a code that nobody knows"],
)
async def test_a_refusal_of_everything_is_an_outage_too(world: World, kind: Kind, code: str, most: int) -> None:
    world.backlog(2_000)
    world.error = away(kind, code)
    await world.consume(HOUR)
    assert len(world.calls) <= most, "the culprit is looked for at first, then there are probes"
    assert world.dead == 0
    world.error = None
    await world.consume(5 * HOUR)
    assert len(world.stored) == 2_000


async def test_calls_that_take_marketo_too_long_are_halved_until_they_go_through(world: World) -> None:
    world.too_slow_from = 100
    world.backlog(1_000)
    await world.consume(HOUR)
    assert len(world.stored) == 1_000
    assert world.dead == 0


async def test_a_record_that_marketo_refuses_during_a_probe_is_refused_and_the_others_follow(world: World) -> None:
    world.error = away()
    await world.sync(5)
    world.passed += 60
    world.error = MarketoError("701", "name cannot be blank", kind=Kind.PERMANENT)
    outcomes = await world.sync(1)
    assert outcomes == {guid(0): Failed("701", "name cannot be blank", "marketo")}
    world.error = None
    assert set((await world.sync(500)).values()) == {Synced("created")}
