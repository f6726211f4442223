"""Wires the product together, once per process and on first use: nothing here runs at import."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from functools import cache
from uuid import uuid4

import httpx

from shared import config, settings
from shared.budget import Budget, limits_of
from shared.bus import Bus
from shared.children import Children
from shared.circuit import Circuits
from shared.config import SyncConfig
from shared.counts import Counts
from shared.dataverse.auth import DataverseAuth
from shared.dataverse.client import TIMEOUT_SECONDS as DATAVERSE_TIMEOUT
from shared.dataverse.client import DataverseClient
from shared.dataverse.metadata import Metadata
from shared.entities import ENTITIES
from shared.guard import Guard
from shared.known import Known
from shared.marketo.auth import MarketoAuth
from shared.marketo.client import TIMEOUT_SECONDS as MARKETO_TIMEOUT
from shared.marketo.client import MarketoClient
from shared.marketo.pacing import Pacer
from shared.parking import Parking
from shared.pipeline import Pipeline
from shared.references import References
from shared.schema import Schema
from shared.settings import DataverseSettings, MarketoSettings
from shared.settle import Settler
from shared.state import State
from shared.store import Store
from shared.sync import Engine
from shared.telemetry import export
from shared.telemetry.gauges import Gauges
from shared.trickle import Trickle
from shared.windows import Windows

CONNECT_SECONDS = 10.0


def _now() -> datetime:
    return datetime.now(UTC)


@cache
def pipeline() -> Pipeline:
    """The one pipeline of this process. Raises ConfigurationError with every problem of settings and sync.toml."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every URL, and those with 300 ids have 14 KB
    # It logs every header of every request to storage.
    logging.getLogger("azure.core.pipeline.policies.http_logging_policy").setLevel(logging.WARNING)
    export.start()
    given = settings.load()
    rules = config.load(given.sync.config)
    clock = time.monotonic
    state = State(given.storage)
    circuits = Circuits(state, seconds=given.sync.circuit, now=_now)
    dataverse = dataverse_client(given.dataverse, circuits)
    budget = Budget(state, limits_of(given.marketo), me=uuid4().hex[:12], now=_now)
    marketo = marketo_client(given.marketo, rules, budget, circuits)
    known = Known(clock=clock)
    bus = Bus(given.bus)
    trickle = Trickle(
        budget.refresh,
        daily_calls=given.marketo.daily_calls,
        share=given.marketo.trickle_share,
        longest=given.marketo.trickle_window,
        now=_now,
    )
    windows = Windows(burst_batch=given.sync.burst_batch, seconds=given.sync.burst_window, now=_now, trickle=trickle)
    store = Store(given.storage)
    parking = Parking(
        store,
        bus,
        given.queues,
        windows,
        now=_now,
        check_after=given.sync.parent_check,
        max_wait=given.sync.parent_wait,
    )
    engine = Engine(
        dataverse=dataverse,
        marketo=marketo,
        schema=Schema(rules, Metadata(dataverse), marketo, clock=clock),
        references=References(dataverse, rules, clock=clock),
        known=known,
        windows=windows,
        circuits=circuits,
        tables=list(rules.tables),
        clock=clock,
        now=_now,
        time_budget=given.sync.time_budget,
        parent_wait=given.sync.parent_wait,
    )
    return Pipeline(
        given.queues,
        windows=windows,
        circuits=circuits,
        bus=bus,
        engine=engine,
        settler=Settler(bus, parking, given.queues, windows, now=_now, max_attempts=given.sync.max_attempts),
        parking=parking,
        marketo=marketo,
        known=known,
        children=Children(dataverse, rules.tables),
        counts=Counts(state, now=_now),
        gauges=Gauges(budget, state, store, daily_calls=given.marketo.daily_calls, now=_now),
        tables={table: rules.filter_columns(table) for table in rules.tables},
        organization_id=_Organization(given.dataverse, dataverse).id,
        now=_now,
    )


def dataverse_client(given: DataverseSettings, guard: Guard | None = None) -> DataverseClient:
    """A client of the environment, not yet connected."""
    http = httpx.AsyncClient(base_url=given.url, timeout=httpx.Timeout(DATAVERSE_TIMEOUT, connect=CONNECT_SECONDS))
    auth = DataverseAuth(given, http, clock=time.monotonic)
    return DataverseClient(http, auth, clock=time.monotonic, sleep=asyncio.sleep, guard=guard)


def marketo_client(
    given: MarketoSettings, rules: SyncConfig, budget: Budget | None = None, guard: Guard | None = None
) -> MarketoClient:
    """A client of the Marketo instance, not yet connected, that stays within the budget."""
    http = httpx.AsyncClient(base_url=given.url, timeout=httpx.Timeout(MARKETO_TIMEOUT, connect=CONNECT_SECONDS))
    clock, sleep = time.monotonic, asyncio.sleep
    auth = MarketoAuth(http, given.client_id, given.client_secret, clock=clock, sleep=sleep)
    pacer = Pacer(given.calls_per_20_seconds, given.concurrency, clock=clock, sleep=sleep, budget=budget)
    keys = {name: fields[0] for name in ENTITIES if (fields := rules.key_fields(name))}
    return MarketoClient(http, auth, pacer, clock=clock, sleep=sleep, keys=keys, guard=guard, budget=budget)


class _Organization:
    """The organisation that may post: as set, else the one that the credentials sign in to, asked once."""

    def __init__(self, given: DataverseSettings, dataverse: DataverseClient) -> None:
        self._id = given.organization_id.lower()
        self._dataverse = dataverse
        self._lock = asyncio.Lock()

    async def id(self) -> str:
        """Its id, lower case."""
        async with self._lock:
            if not self._id:
                self._id = await self._dataverse.organization_id()
            return self._id
