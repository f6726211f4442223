"""Reads the rows that the rules of shared/relations.py need besides a record's own, and keeps them a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Generic, TypeVar

from shared.config import SyncConfig
from shared.dataverse.client import MAX_IDS, DataverseClient
from shared.relations import Reference, Row, Rules, User, contact_steps, lookup

T = TypeVar("T")

#: Users, teams and role names change rarely; a change shows within this time.
KEEP_SECONDS = 3600.0
_USER_COLUMNS = ("isdisabled", "internalemailaddress", "applicationid", "accessmode")
_ROLE_TABLES = {
    "connection": ("connectionroles", "connectionroleid"),
    "customeropportunityrole": ("relationshiproles", "relationshiproleid"),
}


class _Kept(Generic[T]):
    """Values by id, each for KEEP_SECONDS."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.values: dict[str, T] = {}
        self._until: dict[str, float] = {}
        self._clock = clock

    def due(self, ids: Iterable[str]) -> list[str]:
        """Those of `ids` that must be read."""
        now = self._clock()
        return sorted(id_ for id_ in set(ids) if self._until.get(id_, 0.0) <= now)

    def put(self, id_: str, value: T) -> None:
        """Keep a value from now on."""
        self.values[id_] = value
        self._until[id_] = self._clock() + KEEP_SECONDS


class References:
    """Users, teams and role names, kept for an hour; contacts' parents, read for each batch."""

    def __init__(self, dataverse: DataverseClient, config: SyncConfig, *, clock: Callable[[], float]) -> None:
        self._dataverse = dataverse
        self._config = config
        self._users: _Kept[User | None] = _Kept(clock)
        self._administrators: _Kept[str | None] = _Kept(clock)
        self._roles: _Kept[dict[str, str]] = _Kept(clock)
        self._lock = asyncio.Lock()

    async def rules_for(self, table: str, rows: Collection[Row], deadline: float) -> Rules:
        """The rules, with everything that they need for these rows of one table. Raises as DataverseClient does."""
        async with self._lock:  # chunks of one batch mostly have the same owners: read them once
            await self._load_owners(rows, deadline)
            if table in _ROLE_TABLES:
                await self._load_roles(table)
        return Rules(
            policy=self._config.owner,
            default_role=self._config.roles.default,
            users=self._users.values,
            administrators=self._administrators.values,
            roles=self._roles.values.get(table, {}),
            contact_parents=await self._contact_parents(table, rows, deadline),
        )

    async def _load_owners(self, rows: Collection[Row], deadline: float) -> None:
        owners = {owner for row in rows if (owner := lookup(row, "_ownerid_value"))}
        users = {id_ for kind, id_ in owners if kind == "systemuser"}
        if self._config.owner.team == "administrator":
            teams = [id_ for kind, id_ in owners if kind == "team"]
            columns = ("_administratorid_value",)
            for id_, row in (
                await self._read("teams", "teamid", self._administrators.due(teams), columns, deadline)
            ).items():
                leader = lookup(row, columns[0]) if row else None
                self._administrators.put(id_, leader[1] if leader else None)
            users.update(admin for team in teams if (admin := self._administrators.values[team]))
        due = self._users.due(users)
        for id_, row in (await self._read("systemusers", "systemuserid", due, _USER_COLUMNS, deadline)).items():
            self._users.put(id_, _user(row) if row else None)

    async def _load_roles(self, table: str) -> None:
        entity_set, key = _ROLE_TABLES[table]
        if self._roles.due([table]):
            rows = await self._dataverse.all_rows(entity_set, (key, "name"))
            self._roles.put(table, {str(row[key]).lower(): str(row["name"]) for row in rows})

    async def _contact_parents(
        self, table: str, rows: Collection[Row], deadline: float
    ) -> Mapping[str, Reference | None]:
        """Parents of the contacts that stand between a row and its account, some steps up."""
        column = {"contact": "_parentcustomerid_value", "opportunity": "_customerid_value"}.get(table, "")
        ahead = {ref[1] for row in rows if column and (ref := lookup(row, column)) and ref[0] == "contact"}
        parents: dict[str, Reference | None] = {}
        for _ in range(contact_steps(table)):
            if not ahead:
                break
            found = await self._read("contacts", "contactid", sorted(ahead), ("_parentcustomerid_value",), deadline)
            parents |= {id_: lookup(row, "_parentcustomerid_value") if row else None for id_, row in found.items()}
            ahead = {ref[1] for ref in parents.values() if ref and ref[0] == "contact" and ref[1] not in parents}
        return parents

    async def _read(
        self, entity_set: str, key: str, ids: list[str], columns: tuple[str, ...], deadline: float
    ) -> dict[str, Row | None]:
        """Rows by id; a row that does not exist is None."""
        found: dict[str, Row | None] = dict.fromkeys(ids)
        for start in range(0, len(ids), MAX_IDS):
            chunk = ids[start : start + MAX_IDS]
            found |= await self._dataverse.rows(entity_set, key, chunk, columns, deadline=deadline)
        return found


def _user(row: Row) -> User:
    return User(
        has_mail=bool(row.get("internalemailaddress")) and not row.get("applicationid"),
        disabled=bool(row.get("isdisabled")),
        interactive=row.get("accessmode") in (None, 0, 1, 2),
    )
