"""A run: what it covers, where it is, and which changes of its state there are. Pure.

A run goes through tables of Dynamics, parents first, and sends their rows to the queues, as notifications would; a
comparison compares them first (comparing.py), and sends those that differ, or none. It is
one row of the shared state, and each page of up to 300 records is another (page.py). So it survives every process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from ...model.entities import CREATED_ON, MODIFIED_ON, TABLES
from ...model.errors import MsiSyncError
from ...model.record import Stamp, timestamp


class RunKind(StrEnum):
    """What a run is for."""

    INITIAL_SYNC = "initial-sync"
    QUICK_SYNC = "quick-sync"
    RECONCILE = "reconcile"


class RunState(StrEnum):
    """Whether it goes on. The last three are final."""

    RUNNING = "running"
    PAUSED = "paused"
    COMPLETE = "complete"
    CANCELLED = "cancelled"
    FAILED = "failed"


#: The states that a run does not leave any more.
FINAL = frozenset({RunState.COMPLETE, RunState.CANCELLED, RunState.FAILED})


class RunRefusedError(MsiSyncError):
    """A run cannot be started or changed like that. `run_id`: the run that is in the way, if one is."""

    def __init__(self, message: str, run_id: str = "") -> None:
        super().__init__("RunRefused", message)
        self.run_id = run_id


@dataclass(frozen=True, slots=True)
class Scope:
    """The rows of a run: those of `tables` that `filter`, in OData, lets through, and that are as new as it says.

    `fields`: only these fields of Marketo are sent, and only to records that it has; empty: all that sync.toml maps.
    The sync filter of sync.toml decides as well. Of a comparison, `sends`: what differs is sent; `extra`: persons whose
    row is gone are looked for.
    """

    tables: tuple[str, ...]
    filter: str = ""
    created_since: Stamp | None = None
    changed_since: Stamp | None = None
    fields: tuple[str, ...] = ()
    sends: bool = True
    extra: bool = False

    @property
    def conditions(self) -> list[str]:
        """What its rows fulfil, in OData; none: all rows of its tables are meant."""
        since = ((CREATED_ON, self.created_since), (MODIFIED_ON, self.changed_since))
        times = [f"{column} ge {timestamp(at)}" for column, at in since if at]
        return [f"({self.filter})", *times] if self.filter else times


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is in a table: the next page is read by `link`, or from rows created at `since` on.

    `pages` and `rows` are stored so far. `expected`: rows, as the plan counted them; None: nobody has. `all_read`: no
    page follows. `complete`: that was announced, with nothing of the table left to do.
    """

    since: str = ""
    link: str = ""
    pages: int = 0
    rows: int = 0
    expected: int | None = None
    all_read: bool = False
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it is stored. `started_by` names a person or a function, for people.

    `reason`: why it failed, or was stopped. `carried_at`: when the app last worked on it. `waits_for` and
    `waits_until`: why it sends nothing at present, and until when, if that is known. `told`: the last state that was
    reported as an event. Of a comparison, `calls`: of Marketo, for comparing; `persons`: Marketo's lowest and highest
    id of those that were compared.
    """

    id: str
    kind: RunKind
    scope: Scope
    started_at: Stamp
    started_by: str = ""
    state: RunState = RunState.RUNNING
    tables: dict[str, Progress] = field(default_factory=dict)
    told: RunState | None = None
    ended_at: Stamp | None = None
    reason: str = ""
    carried_at: Stamp | None = None
    waits_for: str = ""
    waits_until: Stamp | None = None
    calls: int = 0
    persons: tuple[int, int] | None = None
    etag: Annotated[str, Field(exclude=True)] = field(default="", compare=False)

    @property
    def is_over(self) -> bool:
        """Whether its state is final."""
        return self.state in FINAL

    @property
    def in_order(self) -> list[str]:
        """Its tables, parents first."""
        return in_order(self.scope.tables)

    def table(self, name: str, **changes: Any) -> Run:
        """The run with these changes of a table's progress."""
        return replace(self, tables={**self.tables, name: replace(self.tables[name], **changes)})

    def to(self, state: RunState, now: datetime, reason: str = "") -> Run:
        """The run in another state. Raises RunRefusedError where that makes no sense; the same state is left as it is.

        A run that was paused, resumed or cancelled before may be so again: a command that got no answer is repeated.
        """
        if state is self.state:
            return self
        if self.is_over:
            raise RunRefusedError(f"run {self.id} is over ({self.state}); start another one", self.id)
        ended = now if state in FINAL else None
        changed = replace(self, state=state, ended_at=ended, reason=reason)
        return replace(changed, waits_for="", waits_until=None)


def in_order(tables: Sequence[str]) -> list[str]:
    """These tables by the tiers of their entities, parents first, and by name within a tier."""
    return sorted(tables, key=lambda table: (TABLES[table][0].tier, table))


def new_run(
    kind: RunKind,
    scope: Scope,
    now: datetime,
    *,
    unique: str,
    started_by: str = "",
    expected: Mapping[str, int] | None = None,
) -> Run:
    """A run that has not begun. `unique`: some hexadecimal digits by which its id differs from those of this second.

    `expected`: rows by table, as a plan counted them. Raises RunRefusedError for a scope that has no sense.
    """
    if not scope.tables or len(set(scope.tables)) != len(scope.tables):
        raise RunRefusedError("name the tables of the run, each of them once")
    if unknown := sorted(set(scope.tables) - TABLES.keys()):
        raise RunRefusedError(f"no tables that are synced: {', '.join(unknown)}")
    tables = {name: Progress(expected=(expected or {}).get(name)) for name in scope.tables}
    id_ = f"{now:%Y%m%d-%H%M%S}-{unique[:4]}"
    return Run(id_, kind, scope, now, started_by, tables=tables)
