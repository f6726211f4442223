"""What is written back where: the pairs of [write_back] as both systems have them, kept in the state for a day.

A process that has just started asks neither system for it: on a quiet day, what is left is two calls of Marketo a run.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from ..azure.shared_state import State, dumped, parsed
from ..config.conditions import SyncFilter
from ..config.sync_toml import SyncConfig
from ..dataverse.metadata import LOOKUP_KINDS, Column, Metadata
from ..marketo.client import MarketoClient
from ..marketo.fields import MarketoField
from ..model.entities import ENTITIES, PERSON_TABLES, Entity
from ..model.errors import MarketoError
from ..sync.table_schema import filter_for
from .insight_fields import resolve
from .values import CHOICE, MOMENT, Target

log = logging.getLogger(__name__)

#: The rows of shared/azure/shared_state.py.
KIND, ROW = "write_back", "plan"
PERSON = ENTITIES["person"]
KEPT = timedelta(days=1)
#: The activities after which Sales Insight's fields change, by name: ids differ (marketo.md 6.1).
ACTIVITIES = ("Interesting Moment", "Change Score")
#: The activity of a person that others were merged into.
MERGES = "Merge Leads"
#: The fields that change with such an activity only. The others, tiers, are looked for in the lead changes too.
WITH_MOMENTS = "msilastinterestingmoment"


@dataclass(frozen=True, slots=True)
class Plan:
    """For each table, the columns that take a field.

    `activities`: ids of ACTIVITIES; `merges`: that of MERGES, 0 where the user may not see any; `logged`: fields whose
    changes the instance may log; `flags`: by table, the native connector's column where there is one. `rules`: of what
    sync.toml it was made. `described`: the fields of persons that sync.toml names, as Marketo has them.
    """

    rules: str
    made: datetime
    tables: dict[str, tuple[Target, ...]] = field(default_factory=dict)
    flags: dict[str, str] = field(default_factory=dict)
    activities: tuple[int, ...] = ()
    logged: tuple[str, ...] = ()
    merges: int = 0
    described: dict[str, MarketoField] = field(default_factory=dict)

    @property
    def fields(self) -> tuple[str, ...]:
        """The Marketo fields to read."""
        return tuple(sorted({target.field for targets in self.tables.values() for target in targets}))

    @property
    def identity(self) -> str:
        """The same as long as the same columns are read by the same rules."""
        columns = [[table, sorted(self.columns(table)), self.flags.get(table, "")] for table in sorted(self.tables)]
        return hashlib.sha256(json.dumps([self.rules, columns]).encode()).hexdigest()[:16]

    def columns(self, table: str) -> frozenset[str]:
        """The columns that are written."""
        return frozenset(target.column for target in self.tables.get(table, ()))


@dataclass
class Plans:
    """Makes the plan, keeps it, and forgets it when one of the systems has changed.

    `reads_only`: the state is left as it is.
    """

    config: SyncConfig
    metadata: Metadata
    marketo: MarketoClient
    state: State
    _: KW_ONLY
    now: Callable[[], datetime]
    reads_only: bool = False
    _plan: Plan | None = field(default=None, init=False)

    async def current(self) -> Plan:
        """The plan. Raises as both clients and storage do."""
        plan = await self.known()
        if plan is None:
            plan = await self._make()
            await self._keep(plan)
        return plan

    async def known(self) -> Plan | None:
        """The plan, if one was made within a day: costs no call of either system."""
        if self._plan is None:
            self._plan = parsed(Plan, await self.state.read(KIND, ROW))
        if self._plan and (self._plan.rules != _rules(self.config) or self.now() - self._plan.made > KEPT):
            self._plan = None
        return self._plan

    async def targets(self) -> dict[str, tuple[Target, ...]]:
        """The columns of each table that take a field, without making a plan: for those who look at values only."""
        if plan := await self.known():
            return plan.tables
        described = await self.marketo.describe(PERSON)
        found = {name: await self.metadata.columns(name, self.config.language) for name in self.tables}
        return {name: await self._targets(name, columns, described) for name, columns in found.items()}

    async def describe(self, entity: Entity) -> dict[str, MarketoField]:
        """The fields of persons that sync.toml names, without a call while the plan lasts; all of another object."""
        return (await self.current()).described if entity is PERSON else await self.marketo.describe(entity)

    async def forget(self) -> None:
        """Make it anew at its next use."""
        self._plan = None
        if not self.reads_only:
            await self.state.remove(KIND, ROW)

    async def without_changes(self, plan: Plan) -> Plan:
        """The instance refuses lead changes of these fields: not asked again while the plan lasts."""
        plan = replace(plan, logged=())
        await self._keep(plan)
        return plan

    @property
    def tables(self) -> list[str]:
        """The tables that are written back to, as far as they have columns for it."""
        return sorted(name for name in PERSON_TABLES if name in self.config.tables)

    def filter_of(self, plan: Plan, table: str) -> SyncFilter:
        """Which rows of a table are synced, and so written back to."""
        return replace(self.config.filter_of(table), flag=plan.flags.get(table, ""))

    async def _keep(self, plan: Plan) -> None:
        self._plan = plan
        if not self.reads_only:
            await self.state.put(KIND, ROW, dumped(plan))

    async def _make(self) -> Plan:
        described = await self.marketo.describe(PERSON)
        tables: dict[str, tuple[Target, ...]] = {}
        flags: dict[str, str] = {}
        for name in self.tables:
            columns = await self.metadata.columns(name, self.config.language)
            tables[name] = await self._targets(name, columns, described)
            readable = {column.web_name for column in columns.values() if column.readable}
            flags[name] = filter_for(self.config.filter_of(name), readable, name).flag
        types = await self._activity_types() if tables else {}
        named = {name.lower() for name in _named(self.config)}
        mapped = {name: found for name, found in described.items() if name.lower() in named}
        plan = Plan(_rules(self.config), self.now(), tables, flags, merges=types.get(MERGES, 0), described=mapped)
        if not plan.fields:
            return plan
        activities = tuple(id_ for name, id_ in types.items() if name in ACTIVITIES)
        logged = tuple(name for name in plan.fields if not name.lower().startswith(WITH_MOMENTS))
        return replace(plan, activities=activities, logged=logged)

    async def _targets(
        self, table: str, columns: Mapping[str, Column], described: Mapping[str, MarketoField]
    ) -> tuple[Target, ...]:
        found: list[tuple[str, Column]] = []
        for pair in resolve(self.config.write_back, columns, described):
            if pair.obstacles:
                log.warning("not_written_back table=%s field=%s: %s", table, pair.name, pair.obstacles[0].text)
            elif pair.field and pair.column:
                found.append((pair.field, pair.column))
        choices = frozenset(column.name for _, column in found if column.kind == CHOICE)
        labels = await self.metadata.labels(table, choices, self.config.language) if choices else {}
        days = await self.metadata.days(table) if any(column.kind == MOMENT for _, column in found) else {}
        return tuple(
            Target(
                name,
                column.name,
                days.get(column.name, column.kind),
                column.max_length,
                {label.strip().casefold(): value for value, label in labels.get(column.name, {}).items()},
            )
            for name, column in found
            if column.kind not in LOOKUP_KINDS
        )

    async def _activity_types(self) -> dict[str, int]:
        """Their ids by name. None where the user's role lacks Read-Only Activity: the sweep finds most of it, later."""
        try:
            answer = await self.marketo.get("/rest/v1/activities/types.json", refusals=frozenset({"603"}))
        except MarketoError as error:
            if error.code != "603":
                raise
            log.error("activities_refused %s; give the API user's role Read-Only Activity", error)
            return {}
        return {str(entry.get("name")): int(entry["id"]) for entry in answer.get("result") or []}


def _named(config: SyncConfig) -> list[str]:
    """Marketo's fields of persons that sync.toml names."""
    fields = {name for table in PERSON_TABLES if table in config.tables for name in config.fields_of(table)}
    return sorted({*fields, *config.key_fields(PERSON.name), config.lifecycle.deleted_flag} - {""})


def _rules(config: SyncConfig) -> str:
    """A digest of what of sync.toml the plan depends on."""
    filters: Sequence[Any] = [[name, repr(config.filter_of(name))] for name in PERSON_TABLES if name in config.tables]
    text = json.dumps(
        [
            ACTIVITIES,
            MERGES,
            dict(config.write_back),
            config.language,
            config.filter_column,
            _named(config),
            filters,
        ]
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]
