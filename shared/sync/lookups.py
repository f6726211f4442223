"""Reads the rows that the rules of shared/sync/links.py need besides a record's own.

What is kept saves a request and decides nothing: an id that is not known is asked for, a notification of a user, a team
or a role makes every process forget (sync/reference_state.py), and nothing is older than a minute. A row that cannot
be seen is asked for once a minute, whoever refers to it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Generic, TypeVar

from ..config.conditions import Row
from ..config.sync_toml import SyncConfig
from ..dataverse.client import DataverseClient
from ..model.entities import ALL_TABLES, REFERENCE_TABLES, SALES_PERSON, Table
from ..model.text import is_blank
from .links import MAIL, NOBODY, ROLE_COLUMNS, Reference, Rules, User, contact_steps, lookup
from .reference_state import Versions, always_the_same

log = logging.getLogger(__name__)

T = TypeVar("T")

#: A change that nobody tells of shows within this time; also how often a row that cannot be seen is asked for.
KEEP_SECONDS = 60.0
#: The same for records that want fresh reference data: a resync of many does not ask for each of its chunks.
FRESH_SECONDS = 5.0
#: Contacts, as far as they stand between a row and its account.
_CONTACT = replace(ALL_TABLES["contact"], rule_columns=("_parentcustomerid_value",))


class _Kept(Generic[T]):
    """Values by id, each with the time at which it was read. None: the row cannot be seen."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.values: dict[str, T | None] = {}
        self._read: dict[str, float] = {}
        self._clock = clock

    def due(self, ids: Iterable[str], keep: float) -> list[str]:
        """Those of `ids` that must be read."""
        oldest = self._clock() - keep
        return sorted(id_ for id_ in set(ids) if self._read.get(id_, -math.inf) <= oldest)

    def put(self, id_: str, value: T | None) -> None:
        """Keep a value from now on."""
        self.values[id_] = value
        self._read[id_] = self._clock()

    def forget(self) -> None:
        """Ask for everything again."""
        self._read.clear()


async def nobody_told(_entity_set: str, _ids: Sequence[str]) -> None:
    """For a process whose operator sees it anyway."""


async def nothing_hidden(_table: str) -> Collection[str]:
    """Where nobody asks for column-level security."""
    return ()


@dataclass
class References:
    """Users, teams and role names, kept for a minute at most; contacts' parents, read for each batch.

    `versions`: what the processes share of the data's versions, None when storage does not answer. `hidden`: is told,
    once a minute, the set and the ids of rows that cannot be seen. `hidden_columns`: those of a table that column-level
    security hides at this moment. `unseen`: notes the set and the ids of all that nobody knows, to be looked for again;
    raises MsiSyncError where it cannot.
    """

    dataverse: DataverseClient
    config: SyncConfig
    _: KW_ONLY
    clock: Callable[[], float]
    versions: Callable[[], Awaitable[Versions | None]] = always_the_same
    hidden: Callable[[str, Sequence[str]], Awaitable[None]] = nobody_told
    hidden_columns: Callable[[str], Awaitable[Collection[str]]] = nothing_hidden
    unseen: Callable[[str, Sequence[str]], Awaitable[None]] = nobody_told
    _told: dict[str, float] = field(default_factory=dict, init=False)
    _version: int | None = field(default=None, init=False)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    def __post_init__(self) -> None:
        self._users: _Kept[User] = _Kept(self.clock)
        self._administrators: _Kept[str] = _Kept(self.clock)
        self._roles: _Kept[str] = _Kept(self.clock)

    async def rules_for(self, table: str, rows: Collection[Row], deadline: float, *, fresh: bool = False) -> Rules:
        """The rules, with everything that they need for these rows of one table, which have just been read.

        `fresh`: what was kept before these records were sent on their way does not count. Raises as DataverseClient
        does.
        """
        keep = FRESH_SECONDS if fresh else KEEP_SECONDS
        async with self._lock:  # chunks of one batch mostly have the same owners: read them once
            await self._compare_versions()
            await self._load_owners(rows, deadline, keep)
            if table in ROLE_COLUMNS:
                await self._load_roles(table, rows, deadline, keep)
        return Rules(
            policy=self.config.owner,
            default_role=self.config.roles.default,
            users=self._users.values,
            administrators=self._administrators.values,
            roles=self._roles.values,
            contact_parents=await self._contact_parents(table, rows, deadline),
        )

    async def _compare_versions(self) -> None:
        """Forget what another process has been told a change of. Looked at after the rows were read, so that a row
        either is among the children that the change sends again, or meets the new version here.
        """
        shared = await self.versions()
        if shared is None or shared.rows != self._version:
            for kept in (self._users, self._administrators, self._roles):
                kept.forget()
        self._version = shared.rows if shared else None

    async def _load_owners(self, rows: Collection[Row], deadline: float, keep: float) -> None:
        owners = {owner for row in rows if (owner := lookup(row, "_ownerid_value"))}
        users = {id_ for kind, id_ in owners if kind == "systemuser"}
        if self.config.owner.team == "administrator":
            teams = [id_ for kind, id_ in owners if kind == "team"]
            due = self._administrators.due(teams, keep)
            for id_, row in (await self._read(REFERENCE_TABLES["team"], due, deadline)).items():
                leader = lookup(row, "_administratorid_value") if row else None
                self._administrators.put(id_, (leader[1] if leader else NOBODY) if row else None)
            users.update(admin for team in teams if (admin := self._administrators.values[team]))
        due = self._users.due(users - {NOBODY}, keep)
        found = await self._read(SALES_PERSON.tables[0], due, deadline)
        # An address that is hidden from our user is null as well: nobody knows such a user.
        nameless = {id_ for id_, row in found.items() if row and is_blank(row.get(MAIL))}
        unknown = nameless if nameless and MAIL in await self.hidden_columns("systemuser") else set()
        if unknown:
            await self.unseen("systemusers", sorted(unknown))
        for id_, row in found.items():
            self._users.put(id_, user_of(row) if row and id_ not in unknown else None)

    async def _load_roles(self, table: str, rows: Collection[Row], deadline: float, keep: float) -> None:
        names = REFERENCE_TABLES["connectionrole" if table == "connection" else "relationshiprole"]
        wanted = {ref[1] for row in rows for column in ROLE_COLUMNS[table] if (ref := lookup(row, column))}
        found = await self._read(names, self._roles.due(wanted, keep), deadline)
        for id_, row in found.items():
            self._roles.put(id_, str(row.get("name") or "") if row else None)

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
            found = await self._read(_CONTACT, sorted(ahead), deadline)
            parents |= {id_: lookup(row, "_parentcustomerid_value") if row else None for id_, row in found.items()}
            ahead = {ref[1] for ref in parents.values() if ref and ref[0] == "contact" and ref[1] not in parents}
        return parents

    async def _read(self, table: Table, ids: list[str], deadline: float) -> dict[str, Row | None]:
        """Rows by id, with the table's rule columns; a row that does not exist is None."""
        found: dict[str, Row | None] = dict.fromkeys(ids)
        if ids:
            found |= await self.dataverse.rows(table, ids, table.rule_columns, deadline=deadline)
        absent = [id_ for id_, row in found.items() if row is None]
        if absent:
            await self.unseen(table.entity_set, absent)
            await self._tell(table.entity_set, absent)
        return found

    async def _tell(self, entity_set: str, hidden: list[str]) -> None:
        """Report rows that cannot be seen, once a minute."""
        if self.clock() < self._told.get(entity_set, -math.inf) + KEEP_SECONDS:
            return
        self._told[entity_set] = self.clock()
        log.warning(
            "reference_hidden set=%s rows=%d first=%s: not there, or hidden from the sync user; see msisync doctor",
            entity_set, len(hidden), hidden[0],
        )  # fmt: skip
        await self.hidden(entity_set, hidden)


def user_of(row: Row) -> User:
    """What the owner rules ask of a user, from a row with the rule columns."""
    return User(
        has_mail=not is_blank(row.get("internalemailaddress")) and not row.get("applicationid"),
        disabled=bool(row.get("isdisabled")),
        interactive=row.get("accessmode") in (None, 0, 1, 2),
    )
