"""The app's engine and its handlers, wired to what a simulation or a test gives them in place of the two systems."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from local.virtual import leases
from shared.config.settings import QueueSettings
from shared.config.sync_toml import SyncConfig
from shared.model.entities import ENTITIES
from shared.sync.circuit_breaker import Circuits
from shared.sync.engine import Engine
from shared.sync.handlers import Pipeline
from shared.sync.lookups import References
from shared.sync.marketo_cache import Known
from shared.sync.role_requests import RoleRequests
from shared.sync.schema import Schema

#: Queues that are named as their entities.
QUEUES = QueueSettings.model_construct(
    None, changes="changes", dead_letters="dead-letters", **{name: name for name in ENTITIES}
)


def engine_between(
    dataverse: Any,
    marketo: Any,
    config: SyncConfig,
    *,
    clock: Callable[[], float],
    now: Callable[[], datetime],
    **parts: Any,
) -> Engine:
    """Return an engine between these two. `parts`: what takes the place of the parts and values below."""
    return Engine(
        **{
            "dataverse": dataverse,
            "marketo": marketo,
            "schema": parts.get("schema") or Schema(config, dataverse, marketo, clock=clock),
            "references": References(dataverse, config, clock=clock),
            "known": Known(clock=clock),
            "circuits": Circuits(None, seconds=60.0, now=now),
            "leases": leases(clock),
            "tables": list(config.tables),
            "clock": clock,
            "now": now,
            "time_budget": 180.0,
            "parent_wait": 86_400.0,
            "lifecycle": config.lifecycle,
            "persons": config.person,
            "roles": config.roles,
            **parts,
        }
    )


def pipeline_around(others: Any, **parts: Any) -> Pipeline:
    """Return the handlers of all triggers. `others` takes the place of every part that `parts` does not name."""
    names = (
        *("engine", "settler", "bus", "parking", "marketo", "known", "dependants", "counts", "left_out", "gauges"),
        *("organization_id", "is_echo", "written_again", "relabel", "look_again"),
    )
    alone = RoleRequests(lambda: 1)
    return Pipeline(**{"queues": QUEUES, "role_requests": alone, **dict.fromkeys(names, others), **parts})
