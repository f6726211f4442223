"""A write-back made of its parts: the app's, or an operator's."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from uuid import uuid4

from ..azure.service_bus import Outgoing
from ..azure.shared_state import State
from ..config.settings import Settings
from ..dataverse.client import DataverseClient
from ..marketo.client import MarketoClient
from ..marketo.quota import limits_of
from ..sync.history_log import History, nothing_kept
from ..sync.schema import Schema
from ..sync.sole_run import SoleRun
from ..write_back import due
from ..write_back.by_hand import ByHand
from ..write_back.drift import DriftCount
from ..write_back.persons import Feed, Persons
from ..write_back.plan import KIND as WRITE_BACK
from ..write_back.plan import Plans
from ..write_back.results import Run
from ..write_back.rows import Rows
from ..write_back.run import WriteBack
from ..write_back.sweep import Sweeps


def write_back_of(
    given: Settings,
    *,
    state: State,
    plans: Plans,
    dataverse: DataverseClient,
    marketo: MarketoClient,
    send: Callable[[Sequence[Outgoing]], Awaitable[None]],
    turn: Callable[[], AbstractAsyncContextManager[object]],
    now: Callable[[], datetime],
    time_budget: float,
    history: History | None = None,
    dry_run: bool = False,
    on_progress: Callable[[Run], None] = lambda _: None,
) -> WriteBack:
    """A write-back with these clients. `time_budget`: seconds of a run; `send`: to the queue of dead letters.

    `history`: keeps which rows were written; None: nobody does.
    """
    history = history or nothing_kept()
    clock = time.monotonic
    rows = Rows(dataverse)
    share = limits_of(given.marketo).allowed * given.sync.sweep_share
    return WriteBack(
        state=state,
        plans=plans,
        persons=Persons(marketo),
        feed=Feed(marketo, state, now=now),
        rows=rows,
        dataverse=dataverse,
        due=due.DueRows(state, send, given.queues, now=now, max_attempts=given.sync.max_attempts),
        by_hand=ByHand(
            state,
            rows,
            send,
            given.queues,
            tables=plans.tables,
            creates=plans.config.lifecycle.deleted_in_marketo == "create",
            history=history,
            now=now,
        ),
        drift=DriftCount(
            dataverse, Schema(plans.config, plans.metadata, plans, clock=clock), tables=plans.config.tables
        ),
        sweeps=Sweeps(state, hour=given.sync.sweep_hour, calls=int(share), now=now),
        lease=SoleRun(state, instance_id=uuid4().hex[:12], clock=clock, kind=WRITE_BACK),
        turn=turn,
        clock=clock,
        now=now,
        time_budget=time_budget,
        dry_run=dry_run,
        history=history,
        on_progress=on_progress,
    )
