"""Builds what compares the values of both sides for the runs of the app."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from ..config.sync_toml import SyncConfig
from ..dataverse.client import DataverseClient
from ..dataverse.metadata import Metadata
from ..marketo.client import MarketoClient
from ..sync.circuit_breaker import Circuits
from ..sync.lookups import References
from ..sync.marketo_cache import Known
from ..sync.parents import Parents
from ..sync.reader import Reader
from ..sync.reconciliation import Reconciliation
from ..sync.reference_state import Versions, always_the_same
from ..sync.roles import Roles
from ..sync.schema import Schema

#: Parents that are remembered: memory must not grow with the tables.
_PARENTS = 10_000


def reconciliation_of(
    config: SyncConfig,
    dataverse: DataverseClient,
    metadata: Metadata,
    marketo: MarketoClient,
    *,
    clock: Callable[[], float],
    now: Callable[[], datetime],
    versions: Callable[[], Awaitable[Versions | None]] = always_the_same,
) -> Reconciliation:
    """A reconciliation by the rules of this sync.toml. It sends nothing, so it needs no lease, brake or circuit.

    `versions`: of what is kept in memory, by which an operator has it read anew.
    """
    schema = Schema(config, metadata, marketo, clock=clock, versions=versions)
    references = References(dataverse, config, clock=clock, versions=versions, hidden_columns=metadata.hidden_columns)
    known = Known(clock=clock, max_entries=_PARENTS)
    role = config.roles.customer_contact
    roles = Roles(
        dataverse, marketo, schema, references=references, known=known, circuits=Circuits(None, seconds=60.0, now=now),
        brake=None, tables=config.tables, policy=config.roles, deletes=False, clock=clock,
    )  # fmt: skip
    return Reconciliation(
        dataverse,
        marketo,
        schema,
        reader=Reader(dataverse, schema, references, contact_role=role, clock=clock),
        parents=Parents(dataverse, marketo, schema, known, tables=config.tables),
        known=known,
        roles=roles if config.lifecycle.role == "delete" else None,
        contact_role=role,
        tables=config.tables,
        now=now,
    )
