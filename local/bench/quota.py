"""A burst while this app's share of Marketo's day is nearly used: it stops there, and ends after midnight, complete.

The app's own engine, settling, circuits and budget, in virtual time, from eight in the evening in Chicago. Marketo
enforces its limits as the simulator does (emulators/marketo/limits.py).
"""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import nan
from typing import Any
from uuid import UUID

import httpx
from pydantic import SecretStr

from emulators.marketo.errors import CallError
from emulators.marketo.limits import Limits as Subscription
from local.bench.figures import Figure, Target
from local.bench.small_world import Dataverse, Marketo, Nobody, Queues
from local.stack import ROOT
from local.virtual import MemoryState, MemoryTable, Time
from local.wiring import QUEUES, engine_between
from local.world.build import build
from local.world.model import Row
from shared.config import sync_toml
from shared.config.settings import MarketoSettings, SyncSettings
from shared.marketo.auth import MarketoAuth
from shared.marketo.client import NOBODY, USAGE, MarketoClient
from shared.marketo.day import day_of
from shared.marketo.limiter import Pacer
from shared.marketo.quota import ROW, Budget
from shared.model.entities import ENTITIES, Table
from shared.model.record import MAX_RECORDS, Record, decode, encode
from shared.sync.circuit_breaker import Circuits
from shared.sync.routing import chunked
from shared.sync.settlement import Settler

EVENING = datetime(2026, 3, 5, 2, 0, tzinfo=UTC)
HOURS = 8
PERSON = ENTITIES["person"]
_SETTINGS = {"MARKETO_URL": "https://marketo", "MARKETO_CLIENT_ID": "id", "MARKETO_CLIENT_SECRET": "secret"}


@dataclass(kw_only=True)
class Quota:
    """What was seen. Hours since the burst began; `calls` of the app by the day's date in Chicago."""

    changes: int
    left: int
    calls: dict[str, int]
    #: Persons in Marketo when the day ended, and in the end.
    before_midnight: int
    stored: int
    #: Marketo's answers that were refusals, by code, and the most calls that it saw in 20 seconds and at a time.
    refusals: dict[str, int]
    most_in_window: int
    most_at_a_time: int
    closed_after: float
    opened_after: float
    complete_after: float
    dead_letters: int
    #: Messages that were sent again, each to be seen later.
    sent_again: int
    #: Requests to storage for each call.
    requests_per_call: float


class Persons(Dataverse):
    """As many contacts as anybody asks for, each of the same account and owner."""

    async def rows(self, table: Table, ids: Any, *_: Any, **__: Any) -> dict[str, Row]:
        """The rows of these ids."""
        rows = self.world.rows[table.name]
        if table.name != "contact":
            return {id_: rows[id_] for id_ in ids if id_ in rows}
        contact = next(
            row for row in rows.values() if row.get("_parentcustomerid_value") and row.get("_owninguser_value")
        )
        return {id_: {**contact, table.key: id_, "emailaddress1": f"{id_}@contoso.com"} for id_ in ids}


@dataclass
class Limited(Marketo):
    """Marketo with its limits; it remembers whom it has stored, and when it was called."""

    subscription: Subscription = field(kw_only=True)
    stored: set[str] = field(default_factory=set)
    refusals: Counter[str] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)

    async def request(
        self, _method: str, path: str, *, data: Any = None, content: bytes | None = None, **_: Any
    ) -> httpx.Response:
        """One call."""
        self.times.append(self.time.passed)
        try:
            slot = self.subscription.admit()
        except CallError as error:
            self.refusals[error.code] += 1
            refusal = {"success": False, "errors": [{"code": error.code, "message": str(error)}]}
            return httpx.Response(200, json=refusal)
        answer = await super().request(_method, path, data=data, content=content)
        self.subscription.release(slot, counted=True)
        if path == USAGE:
            total = self.subscription.used_today()
            return httpx.Response(200, json={"success": True, "result": [{"total": total}]})
        if content:
            sent = json.loads(content)
            self.stored.update(key for person in sent["input"] if (key := person[PERSON.key]) != NOBODY)
        return answer


def simulate(changes: int, *, left: int) -> Quota:
    """A burst of so many changed persons when so many calls of the share are left."""
    logger = logging.getLogger("shared")
    before = logger.level
    logger.setLevel(logging.CRITICAL)  # that it stops is what is simulated
    time = Time(EVENING)
    try:
        return time.run(_simulate(time, changes, left))
    finally:
        logger.setLevel(before)


def quota_figures(quota: Quota) -> Iterator[Figure]:
    """The figures of a simulation."""
    group = f"{quota.changes:,} changes, {quota.left:,} calls left"
    today, tomorrow = sorted(quota.calls)
    refused = sum(quota.refusals.values())

    def figure(name: str, value: float, unit: str = "", limit: float | None = None) -> Figure:
        target = None if limit is None else Target(limit=limit)
        return Figure(group=group, name=name, value=value, unit=unit, target=target)

    yield figure("calls until midnight", quota.calls[today], "calls", quota.left)
    yield figure("  stored by then", quota.before_midnight, "records")
    yield figure("calls after midnight", quota.calls[tomorrow], "calls")
    yield figure("  complete after the first of them", (quota.complete_after - quota.opened_after) * 60, "min")
    yield figure("not stored in the end", quota.changes - quota.stored, "records", 0)
    yield figure("dead letters", quota.dead_letters, "messages", 0)
    yield figure("calls that Marketo refused", refused, "calls", 0)
    yield figure("requests to storage for each call", quota.requests_per_call, "requests", 1)


async def _simulate(time: Time, changes: int, left: int) -> Quota:
    limits = MarketoSettings.model_validate(_SETTINGS)
    table = MemoryTable()
    await _spend(table, limits.allowed - left, time)
    budget = Budget(MemoryState(table), limits, instance_id="simulated", now=time.now)
    subscription = Subscription(
        lambda: time.now().timestamp(), calls_per_window=100, concurrency=10, daily=limits.daily_calls
    )
    subscription.use_today(limits.allowed - left)
    marketo = Limited(time, set(), (-1.0, -1.0), subscription=subscription)
    queues = Queues(time)
    ids = {str(UUID(int=number)) for number in range(1, changes + 1)}
    for part in chunked(sorted(ids), MAX_RECORDS):
        queues.put(PERSON.name, encode(PERSON.name, [Record("contact", id_, EVENING) for id_ in part]))
    sent = queues.sent[PERSON.name]
    work = asyncio.create_task(_sync(time, queues, budget, marketo, limits))
    before_midnight, midnight = 0, day_of(EVENING).end
    while not ids <= marketo.stored and time.passed < HOURS * 3600:
        await asyncio.wait({work}, timeout=1.0)
        if work.done():
            work.result()
        if time.now() < midnight:
            before_midnight = len(marketo.stored)
    work.cancel()
    await asyncio.wait({work})
    begun = (midnight - EVENING).total_seconds()
    by_day = {day.isoformat(): calls for day, calls in subscription.used_by_day().items()}
    first = day_of(EVENING).date.isoformat()
    return Quota(
        changes=changes,
        left=left,
        calls=by_day | {first: by_day[first] - (limits.allowed - left)},
        before_midnight=before_midnight,
        stored=len(marketo.stored),
        refusals=dict(marketo.refusals),
        most_in_window=subscription.peak_in_window,
        most_at_a_time=subscription.peak_executing,
        closed_after=max((at for at in marketo.times if at < begun), default=nan) / 3600,
        opened_after=min((at for at in marketo.times if at >= begun), default=nan) / 3600,
        complete_after=marketo.times[-1] / 3600,
        dead_letters=queues.sent["dead-letters"],
        sent_again=queues.sent[PERSON.name] - sent,
        requests_per_call=table.requests / len(marketo.times),
    )


async def _spend(table: MemoryTable, calls: int, time: Time) -> None:
    """So many calls of the day were made before."""
    day = day_of(time.now()).date
    value = {"day": day.isoformat(), "used": calls, "measured": {"at": time.now().timestamp(), "taken": calls}}
    await MemoryState(table).change(*ROW, lambda _: value)


async def _sync(time: Time, queues: Queues, budget: Budget, marketo_http: Limited, given: MarketoSettings) -> None:
    """The trigger of the persons' queue."""
    now, clock, sleep = time.now, time.clock, asyncio.sleep
    rules, sync = sync_toml.load(ROOT / "sync.toml"), SyncSettings.model_validate({})
    marketo_http.fields = {name for table in rules.tables for name in rules.fields_of(table)} | {
        name for entity in ENTITIES.values() for name in entity.dedupe_fields
    }
    http: Any = marketo_http
    rows: Any = Persons(build(1), time)
    nobody: Any = Nobody()
    bus: Any = queues
    circuits = Circuits(None, seconds=sync.circuit, now=now)
    pacer = Pacer(given.calls_per_20_seconds, given.concurrency, clock=clock, sleep=sleep, budget=budget)
    auth = MarketoAuth(http, "id", SecretStr("secret"), clock=clock, sleep=sleep)
    marketo = MarketoClient(http, auth, pacer, clock=clock, sleep=sleep, guard=circuits, budget=budget)
    settler = Settler(bus, nobody, QUEUES, now=now, max_attempts=sync.max_attempts)
    engine = engine_between(
        rows, marketo, rules, clock=clock, now=now, circuits=circuits,
        time_budget=sync.time_budget, parent_wait=sync.parent_wait,
    )  # fmt: skip
    while True:
        messages = await queues.take(PERSON.name)
        records = [record for message in messages for record in decode(message.body, PERSON.name)]
        await settler.settle(PERSON, await engine.sync(PERSON, records))
