"""A day of changes, one every second, in virtual time: what trickle windows and circuits make of it.

The app's own pipeline, its budget and its clients run against local/bench/small_world.py, with the rows of the demo's
organisation. For an hour Marketo may be away.
"""

import asyncio
import json
import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr

from local.bench.figures import Figure, Target, percentile
from local.bench.small_world import Dataverse, Marketo, Nobody, Queues
from local.stack import ROOT
from local.virtual import MemoryState, MemoryTable, Time
from local.wiring import QUEUES, engine_between, pipeline_around
from local.world.build import build
from local.world.expectations import expect
from local.world.model import Reference
from shared.config import sync_toml
from shared.config.settings import MarketoSettings, SyncSettings
from shared.config.sync_toml import SyncConfig
from shared.marketo.auth import MarketoAuth
from shared.marketo.client import MarketoClient
from shared.marketo.limiter import Pacer
from shared.marketo.quota import Budget
from shared.model.entities import ENTITIES, OPPORTUNITY_ROLE, Entity
from shared.model.outcome import Outcome, Synced
from shared.model.record import Record
from shared.sync.circuit_breaker import Circuits
from shared.sync.engine import Engine
from shared.sync.handlers import Pipeline
from shared.sync.marketo_cache import Known
from shared.sync.scheduling import Bursts, Trickle, Windows
from shared.sync.settlement import Settler

DAY_SECONDS = 86_400
HOUR = 3600.0
#: The streams by name: each entity's share of the changes.
STREAMS = {
    "mixed": {"person": 0.7, "company": 0.15, "opportunity": 0.1, "opportunity_role": 0.05},
    "persons": {"person": 1.0},
}
#: Where Marketo's day begins for the budget, on a day without a change of clocks.
START = datetime(2026, 3, 4, 6, 5, tzinfo=UTC)
ORGANIZATION = "aa55bb66-0000-4000-8000-000000000001"
NEVER = (-1.0, -1.0)
#: The hour without Marketo, in a run of its own.
AWAY = (HOUR, 2 * HOUR)
AWAY_RUN_SECONDS = 4 * int(HOUR)
DAY_SHARE = Target(limit=0.2)
LATENCY_P95 = Target(limit=30)
#: One probe a minute and entity, at most.
CALLS_AWAY = Target(limit=4 * 60)
NOTHING = Target(limit=0)
_CHANGES = "changes"
_SETTINGS = {"MARKETO_URL": "https://marketo", "MARKETO_CLIENT_ID": "id", "MARKETO_CLIENT_SECRET": "secret"}


@dataclass(kw_only=True)
class Day:
    """What one simulated day has shown. Times in seconds."""

    stream: str
    changes: int
    daily_calls: int
    calls: dict[str, int]
    latencies: list[float]
    #: The times from a change of a role, which is in Marketo by then, until it is compared with the ones before.
    comparisons: list[float]
    #: The time from Marketo's return until the last change from before was in it.
    recovery: float
    #: Calls while Marketo was away, and messages that the entities' queues were sent again then.
    refused: int
    sent_again: int
    dead_letters: int
    #: Changes that are not in Marketo an hour after the last one.
    missing: int

    @property
    def share(self) -> float:
        """The part of Marketo's day that was used."""
        return sum(self.calls.values()) / self.daily_calls


@dataclass
class _Timed:
    """The engine, with a look at when each change was done."""

    engine: Engine
    time: Time
    latencies: list[float] = field(default_factory=list)
    pending: dict[Reference, float] = field(default_factory=dict)
    #: (when it was changed, when it was done), of the slowest ones.
    late: list[tuple[float, float]] = field(default_factory=list)
    #: When each role was stored last, and how long changes that were stored by then waited to be compared.
    roles: dict[Reference, float] = field(default_factory=dict)
    comparisons: list[float] = field(default_factory=list)

    async def sync(
        self, entity: Entity, records: Sequence[Record], windows: Windows, received: datetime | None
    ) -> list[tuple[Record, Outcome]]:
        """As the engine."""
        outcomes = await self.engine.sync(entity, records, windows, received)
        for record, outcome in outcomes:
            seen = (record.first_seen - START).total_seconds()
            stored = isinstance(outcome, Synced) and not record.compared_only
            waits_since = self.pending.pop(record.key, None) if stored else None
            compared = record.compared_only or (not record.additive and self.roles.get(record.key, -1.0) >= seen)
            if compared:
                self.comparisons.append(self.time.passed - seen)
            begun = waits_since if compared else seen  # after an outage, a newer change may come with a comparison
            if stored and begun is not None:
                self.latencies.append(self.time.passed - begun)
                self.late.append((begun, self.time.passed))
            if stored and entity is OPPORTUNITY_ROLE:
                self.roles[record.key] = self.time.passed
        return outcomes


#: The column that an update of each table writes: none that decides about other rows. Half of the changes of
#: connections are new ones; the others get another role, so that Marketo is asked for the old one.
WRITTEN = {
    "systemuser": "title", "account": "telephone1", "lead": "jobtitle", "contact": "jobtitle",
    "opportunity": "estimatedvalue", "connection": "record2roleid",
}  # fmt: skip
#: The part of the changes of connections that are new ones.
NEW = 0.5


def simulate(stream: str, *, seconds: int = DAY_SECONDS, away: tuple[float, float] = NEVER) -> Day:
    """One day of a stream, as long as `seconds`; `away`: from when to when Marketo is."""
    logger = logging.getLogger("shared")
    before = logger.level
    logger.setLevel(logging.CRITICAL)  # an outage is what is simulated
    time = Time(START)
    try:
        return time.run(_day(time, stream, seconds, away))
    finally:
        logger.setLevel(before)


def day_figures(day: Day) -> Iterator[Figure]:
    """What a day has to reach: a fifth of the calls, half a minute, nothing lost."""
    hours = day.changes / HOUR
    group = f"{hours:.0f} h of a change a second, {day.stream}"

    def figure(name: str, value: float, unit: str = "", target: Target | None = None) -> Figure:
        return Figure(group=group, name=name, value=value, unit=unit, target=target)

    if day.refused:
        group += ", an hour without Marketo"
        yield figure("calls in that hour", day.refused, "", CALLS_AWAY)
        yield figure("messages sent again in that hour", day.sent_again)
        yield figure("everything in Marketo after its return", day.recovery, "s")
    else:
        yield figure("calls of Marketo's day", day.share, "of 50,000", DAY_SHARE)
        yield figure("change to upserted, p50", percentile(day.latencies, 50), "s")
        yield figure("change to upserted, p95", percentile(day.latencies, 95), "s", LATENCY_P95)
        yield figure("change to upserted, longest", max(day.latencies, default=float("nan")), "s")
        if day.comparisons:
            yield figure("change of a role to compared, longest", max(day.comparisons), "s")
    yield figure("changes that did not arrive", day.missing + day.dead_letters, "", NOTHING)


async def _day(time: Time, stream: str, seconds: int, away: tuple[float, float]) -> Day:
    chance = random.Random(1)  # noqa: S311  (the same day every time)
    world = build(1)
    rules = sync_toml.load(ROOT / "sync.toml")
    limits = MarketoSettings.model_validate(_SETTINGS)
    marketo = Marketo(time, _fields(rules), away)
    queues = Queues(time)
    around: tuple[Any, Any, Any] = marketo, Dataverse(world, time), queues
    pipeline, timed = _app(time, limits, rules, around)
    work = [asyncio.create_task(_route(queues, pipeline))]
    work += [asyncio.create_task(_sync(queues, pipeline, name)) for name in ENTITIES]
    by_entity = {
        name: [record.sources[0] for record in records.values() if record.sources]
        for name, records in expect(world).records.items()
    }
    names, weights = list(STREAMS[stream]), list(STREAMS[stream].values())
    sent_again = 0
    for _ in range(seconds):
        change = chance.choice(by_entity[chance.choices(names, weights)[0]])
        timed.pending.setdefault(change, time.passed)
        queues.put(_CHANGES, _notification(change, created=change[0] == "connection" and chance.random() < NEW))
        sent, was_away = sum(queues.sent[name] for name in ENTITIES), marketo.is_away
        await asyncio.sleep(1.0)
        sent_again += (sum(queues.sent[name] for name in ENTITIES) - sent - 1) * was_away
    end = time.passed + HOUR
    while timed.pending and time.passed < end:  # noqa: ASYNC110  (time is virtual)
        await asyncio.sleep(1.0)
    for task in work:
        task.cancel()
    failures = [
        r for r in await asyncio.gather(*work, return_exceptions=True) if not isinstance(r, asyncio.CancelledError)
    ]
    assert not failures, failures  # noqa: S101  (the app raises nothing here)
    return Day(
        stream=stream,
        changes=seconds,
        daily_calls=limits.daily_calls,
        calls=dict(marketo.calls),
        latencies=timed.latencies,
        comparisons=timed.comparisons,
        recovery=max((done - away[1] for seen, done in timed.late if seen < away[1] <= done), default=0.0),
        refused=marketo.refused,
        sent_again=sent_again,
        dead_letters=queues.sent["dead-letters"],
        missing=len(timed.pending),
    )


def _fields(rules: SyncConfig) -> set[str]:
    keys = {name for entity in ENTITIES.values() for name in entity.dedupe_fields}
    return keys | {name for table in rules.tables for name in rules.fields_of(table)}


def _app(
    time: Time, given: MarketoSettings, rules: SyncConfig, around: tuple[Any, Any, Any]
) -> tuple[Pipeline, _Timed]:
    """The app as app/composition.py puts it together, in virtual time. `around` it: Marketo, Dataverse, queues."""
    now, clock, sleep = time.now, time.clock, asyncio.sleep
    marketo_http, rows, queues = around
    sync = SyncSettings.model_validate({})
    nobody: Any = Nobody()
    budget = Budget(MemoryState(MemoryTable()), given, instance_id="simulated", now=now)
    circuits = Circuits(None, seconds=sync.circuit, now=now)
    trickle = Trickle(
        budget.refresh, daily_calls=given.daily_calls, share=given.trickle_share, longest=given.trickle_window, now=now
    )
    bursts = Bursts(burst_batch=sync.burst_batch, seconds=sync.burst_window, now=now, trickle=trickle)
    auth = MarketoAuth(marketo_http, "id", SecretStr("secret"), clock=clock, sleep=sleep)
    pacer = Pacer(given.calls_per_20_seconds, given.concurrency, clock=clock, sleep=sleep, budget=budget)
    marketo = MarketoClient(marketo_http, auth, pacer, clock=clock, sleep=sleep, guard=circuits, budget=budget)
    known = Known(clock=clock)
    engine = engine_between(
        rows, marketo, rules, clock=clock, now=now, known=known, circuits=circuits,
        time_budget=sync.time_budget, parent_wait=sync.parent_wait,
    )  # fmt: skip
    timed = _Timed(engine, time)
    pipeline = pipeline_around(
        nobody,
        bursts=bursts,
        circuits=circuits,
        bus=queues,
        engine=timed,
        settler=Settler(queues, nobody, QUEUES, now=now, max_attempts=sync.max_attempts),
        marketo=marketo,
        known=known,
        tables={table: rules.filter_columns(table) for table in rules.tables},
        organization_id=_organization,
        is_echo=_is_echo,
        now=now,
    )
    return pipeline, timed


async def _organization() -> str:
    return ORGANIZATION


async def _is_echo(_: object) -> bool:
    return False


async def _route(queues: Queues, pipeline: Pipeline) -> None:
    while True:
        await pipeline.route(await queues.take(_CHANGES))


async def _sync(queues: Queues, pipeline: Pipeline, entity: str) -> None:
    while True:
        await pipeline.sync(entity, await queues.take(entity))


def _notification(change: Reference, *, created: bool) -> bytes:
    table, row_id = change
    written = [{"key": WRITTEN[table], "value": None}]
    target = {"key": "Target", "value": {"Attributes": written, "Id": row_id, "LogicalName": table}}
    return json.dumps(
        {
            "MessageName": "Create" if created else "Update",
            "PrimaryEntityName": table,
            "PrimaryEntityId": row_id,
            "OrganizationId": ORGANIZATION,
            "CorrelationId": row_id,
            "InputParameters": [target],
        }
    ).encode()
