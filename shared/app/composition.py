"""Wires the product together, once per process and on first use: nothing here runs at import."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from datetime import timedelta
from functools import cache, partial
from uuid import uuid4

from .. import monitoring
from ..azure.history_tables import HistoryTables
from ..azure.parked_table import Store
from ..azure.service_bus import Bus
from ..azure.shared_state import State
from ..azure.table import Account
from ..config import settings, sync_toml
from ..dataverse.metadata import Metadata
from ..marketo.quota import Budget
from ..model.clock import Clock
from ..model.entities import OPPORTUNITY
from ..sync.circuit_breaker import Circuits
from ..sync.delete_brake import DeleteBrake
from ..sync.dependants import Dependants
from ..sync.engine import Engine
from ..sync.extra_persons import ExtraPersons
from ..sync.handlers import Pipeline
from ..sync.heartbeat import Heartbeat
from ..sync.history_log import History
from ..sync.lease import Leases
from ..sync.left_out_rows import LeftOutRows
from ..sync.lookups import References
from ..sync.marketo_cache import Known
from ..sync.missed_changes import MissedChanges, sources_of
from ..sync.parking import Parking
from ..sync.reconciliation import Reconciliation
from ..sync.redelivery import Redelivery
from ..sync.reference_state import ReferenceState
from ..sync.renamed_labels import RenamedLabels
from ..sync.role_requests import RoleRequests
from ..sync.runs import events
from ..sync.runs.carrier import Carrier
from ..sync.runs.comparing import Comparing
from ..sync.runs.reporting import Reporter
from ..sync.runs.store import RUNS, Runs
from ..sync.runs.synced_fields import SyncedFields
from ..sync.scheduling import Bursts, Trickle
from ..sync.schema import Schema
from ..sync.settlement import Settler
from ..sync.sole_run import SoleRun
from ..sync.statistics import Counts
from ..sync.synced_versions import SyncedVersions
from ..sync.unseen import Unseen
from ..telemetry import export, spans
from ..telemetry.redaction import set_up_lines
from ..write_back import due
from ..write_back.drift import DriftCount
from ..write_back.echo import Echoes
from ..write_back.plan import Plans
from ..write_back.run import CIRCUIT, WriteBack
from .clients import dataverse_client, marketo_client

_clock = Clock()
_now = _clock.now


@cache
def _telemetry() -> None:
    """Once per process, also where settings are refused at each invocation."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every URL, and those with 300 ids have 14 KB
    # It logs every header of every request to storage.
    logging.getLogger("azure.core.pipeline.policies.http_logging_policy").setLevel(logging.WARNING)
    set_up_lines()
    export.start()


class _Shared:
    """What the triggers of a process have in common: above all the clients, with their sign-ins and limits."""

    def __init__(self) -> None:
        _telemetry()
        self.settings = given = settings.load()
        self.rules = sync_toml.load(given.sync.config)
        self.account = Account(given.storage, heard=_clock.heard)
        self.state = State(self.account.table(given.storage.state_table))
        self.runs = Runs(self.state.table, now=_now)
        self.circuits = Circuits(self.state, seconds=given.sync.circuit, now=_now)
        self.dataverse = dataverse_client(given.dataverse, self.circuits)
        self.budget = Budget(self.state, given.marketo, instance_id=uuid4().hex[:12], now=_now)
        self.marketo = marketo_client(given.marketo, self.rules, self.budget, self.circuits)
        self.plans = Plans(self.rules, Metadata(self.dataverse), self.marketo, self.state, now=_now)
        self.bus = Bus(given.bus, context=spans.carried)
        days = given.storage.history_days
        self.history = History(HistoryTables(self.account), days=days, now=_now, clock=time.monotonic)


_shared = cache(_Shared)


@cache
def pipeline() -> Pipeline:
    """The one pipeline of this process. Raises ConfigurationError with every problem of settings and sync.toml."""
    shared, clock = _shared(), time.monotonic
    given, rules, state, circuits = shared.settings, shared.rules, shared.state, shared.circuits
    dataverse, budget, marketo, bus = shared.dataverse, shared.budget, shared.marketo, shared.bus
    known = Known(clock=clock)
    synced = {table: rules.columns_of(table) for table in rules.tables}
    trickle = Trickle(
        budget.refresh,
        daily_calls=given.marketo.daily_calls,
        share=given.marketo.trickle_share,
        longest=given.marketo.trickle_window,
        now=_now,
    )
    bursts = Bursts(burst_batch=given.sync.burst_batch, seconds=given.sync.burst_window, now=_now, trickle=trickle)
    metadata = Metadata(dataverse)
    reference_state = ReferenceState(state)
    renamed_labels = RenamedLabels(state, dataverse, metadata, language=rules.language, now=_now)
    dependants = Dependants(dataverse, reference_state, rules, hidden_columns=metadata.hidden_columns)
    unseen = Unseen(state, dependants, now=_now)
    store = Store(shared.account.table(given.storage.parked_table))
    parking = Parking(
        store, bus, given.queues, now=_now, check_after=given.sync.parent_check, max_wait=given.sync.parent_wait
    )

    versions = SyncedVersions(state, now=_now)

    async def organization_id() -> str:
        return given.dataverse.organization_id.lower() or await dataverse.organization_id()

    engine = Engine(
        dataverse=dataverse,
        marketo=marketo,
        schema=Schema(
            rules, metadata, marketo, clock=clock, versions=reference_state.versions, watch=renamed_labels.seen
        ),
        references=References(
            dataverse,
            rules,
            clock=clock,
            versions=reference_state.versions,
            hidden=reference_state.hidden,
            hidden_columns=metadata.hidden_columns,
            unseen=unseen.note,
        ),
        known=known,
        persons=rules.person,
        circuits=circuits,
        leases=Leases(state, instance_id=uuid4().hex, longest_call=given.marketo.longest_call, clock=clock),
        tables=list(rules.tables),
        clock=clock,
        now=_now,
        time_budget=given.sync.time_budget,
        parent_wait=given.sync.parent_wait,
        lifecycle=rules.lifecycle,
        brake=DeleteBrake(
            state,
            limit=rules.lifecycle.delete_brake,
            count_rows=lambda entity: dataverse.count_rows([t.name for t in entity.tables if t.name in rules.tables]),
            now=_now,
        ),
        causes=parking.causes,
        roles=rules.roles,
        synced_versions=versions,
        history=shared.history,
    )
    return Pipeline(
        given.queues,
        bursts=bursts,
        circuits=circuits,
        bus=bus,
        engine=engine,
        settler=Settler(bus, parking, given.queues, now=_now, max_attempts=given.sync.max_attempts),
        parking=parking,
        marketo=marketo,
        known=known,
        dependants=dependants,
        counts=Counts(state, now=_now),
        left_out=LeftOutRows(state, now=_now),
        role_requests=RoleRequests(lambda: engine.leases.of(OPPORTUNITY.name).tenure),
        gauges=partial(
            monitoring.tell, budget, state, store, daily_calls=given.marketo.daily_calls, began=_now(), now=_now
        ),
        tables={table: rules.filter_columns(table) for table in rules.tables},
        organization_id=organization_id,
        is_echo=Echoes(shared.plans, dataverse.user_id, synced=synced, clock=clock).is_echo,
        written_again=partial(due.again, state, now=_now),
        relabel=renamed_labels.send,
        look_again=unseen.look_again,
        now=_now,
        note=Heartbeat(state, now=_now, clock=clock).beat,
        versions=versions,
        delivered=_clock.at_least,
        tell_runs=Reporter(shared.runs, budget.charge_run).tell,
        history=shared.history,
    )


@cache
def redelivery() -> Redelivery:
    """What brings back messages that the broker gave up. Raises ConfigurationError as `pipeline` does."""
    shared = _shared()
    return Redelivery(shared.bus, shared.settings.queues, shared.state, now=_now)


@cache
def carrier() -> Carrier:
    """What carries long runs on. Raises ConfigurationError as `pipeline` does."""
    shared = _shared()
    given = shared.settings
    return Carrier(
        runs=shared.runs,
        dataverse=shared.dataverse,
        send=shared.bus.send,
        queues=given.queues,
        usage=shared.budget.refresh,
        calls=given.marketo.daily_calls * min(given.marketo.run_share, given.marketo.daily_share),
        calls_per_second=given.marketo.calls_per_20_seconds / 20,
        tables=frozenset(shared.rules.tables),
        compare=_comparing(shared).step,
        synced_fields=SyncedFields(shared.state, shared.rules),
        parent_wait=timedelta(seconds=given.sync.parent_wait),
        sole=SoleRun(shared.state, instance_id=uuid4().hex[:12], clock=time.monotonic, kind=RUNS),
        tell=events.Notifier(given.notify.url).tell,
        now=_now,
        clock=time.monotonic,
    )


def _comparing(shared: _Shared) -> Comparing:
    """What compares for runs. It has a small memory of its own: a run leads whole tables past it."""
    engine = replace(pipeline().engine, known=Known(clock=time.monotonic, max_entries=10_000))
    extra = ExtraPersons(shared.dataverse, shared.marketo)
    return Comparing(shared.dataverse, Reconciliation(engine), extra, shared.budget.charge_run)


@cache
def missed_changes() -> MissedChanges:
    """What finds the changes that notifications have missed. Raises ConfigurationError as `pipeline` does."""
    shared, clock = _shared(), time.monotonic
    return MissedChanges(
        state=shared.state,
        dataverse=shared.dataverse,
        metadata=Metadata(shared.dataverse),
        versions=SyncedVersions(shared.state, now=_now),
        sources=sources_of(shared.rules),
        take_up=pipeline().take_up,
        clock=clock,
        now=_now,
        time_budget=shared.settings.sync.time_budget,
        note=Heartbeat(shared.state, now=_now, clock=clock).beat,
    )


@cache
def write_back() -> WriteBack:
    """The one write-back of this process. Raises ConfigurationError as `pipeline` does."""
    shared = _shared()
    plans = shared.plans
    schema = Schema(shared.rules, plans.metadata, plans, clock=time.monotonic)
    return WriteBack(
        settings=shared.settings,
        state=shared.state,
        plans=plans,
        dataverse=shared.dataverse,
        marketo=shared.marketo,
        send=shared.bus.send,
        turn=partial(shared.circuits.attempt, CIRCUIT),
        drift=DriftCount(shared.dataverse, schema, tables=shared.rules.tables),
        history=shared.history,
        now=_now,
        time_budget=shared.settings.sync.time_budget,
    )
