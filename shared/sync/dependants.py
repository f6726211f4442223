"""The rows that must be synced again because of another one: what refers to it, what is linked through it, and what
was synced by what a user, a team or a role was before.

Most edits of users mean nothing: a phone number must not send ten thousand records again. So what was last acted upon
is kept in the shared state, and compared by what follows from it under the policies of sync.toml. When something does:
every process forgets what it keeps, then the rows are found and sent, then the new facts are noted. So a row that
another process reads meanwhile either is among those that are found, or is read with the new facts; and a crash in
between has the notification come again.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..config.sync_toml import OwnerPolicy, SyncConfig
from ..dataverse.client import API, MAX_IDS, DataverseClient, Row
from ..model.entities import ALL_TABLES, BELOW_CONTACT, CHILDREN, OF_PRIMARY_CONTACT, REFERENCE_TABLES, SALES_PERSON
from ..model.record import Record
from ..model.text import is_blank
from .links import MAIL, MAX_CONTACT_STEPS, NOBODY, User, effects, lookup
from .lookups import nothing_hidden, user_of
from .reference_state import ReferenceState
from .routing import chunked

log = logging.getLogger(__name__)

#: Parents in one query: with a GUID of 36 characters and its column, far below the 32 KB of a URL.
PARENTS = 50
#: A contact's company is no matter of its own roles, nor is the primary contact of an opportunity one of the others'.
_DECIDING_THEMSELVES = ("contact", "opportunity")
Facts = Mapping[str, Any]
#: The tables whose rows decide by their rule columns.
_DECIDING = {table.name: table for table in (*SALES_PERSON.tables, *REFERENCE_TABLES.values())}


@dataclass
class Dependants:
    """Finds the rows that must be synced again because of changed rows, of any table.

    `hidden_columns`: those of a table that column-level security hides at this moment.
    """

    dataverse: DataverseClient
    state: ReferenceState
    config: SyncConfig
    hidden_columns: Callable[[str], Awaitable[Collection[str]]] = nothing_hidden

    async def of(self, records: Sequence[Record]) -> AsyncIterator[list[Record]]:
        """These rows, by pages. Whoever takes a page must have made it durable before asking for the next.

        Raises MsiSyncError when Dataverse or storage does not answer: then the records are to be tried again.
        """
        async for page in self._children([record for record in records if record.table not in _DECIDING]):
            yield page
        for table in _DECIDING:
            changed = [record for record in records if record.table == table]
            for part in chunked(changed, MAX_IDS):
                async for page in self._of_reference(table, part):
                    yield page

    async def visible(self, table: str, ids: Sequence[str]) -> list[str]:
        """Those of these rows of one table that can be seen now. One request for 300; raises as DataverseClient does.

        Of a user it is the address that counts: column-level security may hide it alone.
        """
        columns = _DECIDING[table].rule_columns if table in _DECIDING else ()
        rows = await self.dataverse.rows(ALL_TABLES[table], list(ids), columns)
        nameless = {id_ for id_, row in rows.items() if table == "systemuser" and is_blank(row.get(MAIL))}
        if nameless and MAIL in await self.hidden_columns(table):
            return [id_ for id_ in ids if id_ in rows and id_ not in nameless]
        return [id_ for id_ in ids if id_ in rows]

    async def of_appeared(self, table: str, records: Sequence[Record]) -> AsyncIterator[list[Record]]:
        """The rows to be synced again because of rows of one table that could not be seen before, by pages, and users
        themselves. Raises as `of`.
        """
        if table == "systemuser" and table in self.config.tables:
            yield list(records)
        await self.state.renew("rows")
        async for page in self._children([*records, *await self._teams(table, list(records))]):
            yield page

    async def _of_reference(self, table: str, records: list[Record]) -> AsyncIterator[list[Record]]:
        """Of one table. A row that cannot be seen says nothing."""
        source = _DECIDING[table]
        rows = await self.dataverse.rows(source, [record.id for record in records], source.rule_columns)
        facts = {id_: _facts(table, row) for id_, row in rows.items()}
        seen = [record for record in records if record.id in facts]
        before = {record.id: await self.state.facts(table, record.id) for record in seen}
        changed = [r for r in seen if self._differs(table, before[r.id], facts[r.id])]
        if changed:
            log.info("reference_changed table=%s rows=%d", table, len(changed))
            await self.state.renew("rows")
            async for page in self._children([*changed, *await self._teams(table, changed)]):
                yield page
        for id_, values in facts.items():
            await self.state.acted(table, id_, values)

    async def _children(self, records: Sequence[Record]) -> AsyncIterator[list[Record]]:
        """The children of these records, by pages. Raises as DataverseClient does.

        The company of a contact or an opportunity may be found through a contact: what is below a contact follows it.
        """
        contacts = [record for record in records if record.table == "contact" and record.deciding]
        by_table: dict[str, list[Record]] = {}
        for record in records:
            if record.table not in _DECIDING_THEMSELVES or record.filter_changed:
                by_table.setdefault(record.table, []).append(record)
        for table, parents in by_table.items():
            for child, column in CHILDREN.get(table, ()):
                async for page in self._referring(child, column, parents):
                    yield page
                    contacts += page if (table, child) == ("account", "contact") else ()
            for child, column in (
                OF_PRIMARY_CONTACT if table == "contact" and self.config.roles.customer_contact else ()
            ):
                async for page in self._referring(child, column, parents):
                    yield [replace(record, deciding=True) for record in page]
        async for page in self._below(contacts):
            yield page

    async def _below(self, contacts: list[Record]) -> AsyncIterator[list[Record]]:
        """The rows that have their company through these contacts, some steps down; contacts may form a circle."""
        seen = {contact.id for contact in contacts}
        for step in range(MAX_CONTACT_STEPS + 1):
            next_ones: list[Record] = []
            for child, column in BELOW_CONTACT:
                if child == "contact" and step == MAX_CONTACT_STEPS:
                    continue
                async for page in self._referring(child, column, contacts):
                    fresh = [record for record in page if child != "contact" or record.id not in seen]
                    if fresh:
                        yield fresh
                    next_ones += fresh if child == "contact" else ()
                    seen.update(record.id for record in fresh)
            contacts = next_ones

    async def _referring(self, table: str, column: str, parents: list[Record]) -> AsyncIterator[list[Record]]:
        if table not in self.config.tables:
            return
        source = ALL_TABLES[table]
        for part in chunked(parents, PARENTS):
            chosen = " or ".join(f"{column} eq {parent.id}" for parent in part)
            url = f"{API}/{source.entity_set}?$select={source.key}&$filter={chosen}"
            seen = min(parent.first_seen for parent in part)
            async for page in self.dataverse.pages(url):
                yield [Record(table, str(row[source.key]).lower(), seen) for row in page]

    def _differs(self, table: str, before: Facts, now: Facts) -> bool:
        """Whether something else follows for other rows. What was never acted upon may have been anything."""
        if not before:
            return True
        if table == "systemuser":
            return _effects(self.config.owner, before) != _effects(self.config.owner, now)
        return before != now

    async def _teams(self, table: str, changed: list[Record]) -> list[Record]:
        """The teams that these users administer: their records have the administrator as sales person."""
        if table != "systemuser" or self.config.owner.team != "administrator":
            return []
        teams = []
        for part in chunked(changed, PARENTS):
            chosen = " or ".join(f"_administratorid_value eq {record.id}" for record in part)
            seen = min(record.first_seen for record in part)
            async for page in self.dataverse.pages(f"{API}/teams?$select=teamid&$filter={chosen}"):
                teams += [Record("team", str(row["teamid"]).lower(), seen) for row in page]
        return teams


def deciding_tables(config: SyncConfig) -> list[str]:
    """The tables that are not synced themselves, but decide what is sent of rows of mapped ones."""
    return [
        name
        for name in REFERENCE_TABLES
        if any(table in config.tables for table, _ in CHILDREN[name])
        and (name != "team" or config.owner.team == "administrator")
    ]


def _facts(table: str, row: Row) -> dict[str, Any]:
    """What of a row decides about others. Never empty: that stands for a row that was never acted upon."""
    if table == "systemuser":
        user = user_of(row)
        return {"mail": user.has_mail, "disabled": user.disabled, "interactive": user.interactive}
    if table == "team":
        leader = lookup(row, "_administratorid_value")
        return {"administrator": leader[1] if leader else NOBODY}
    return {"name": row.get("name") or ""}


def _effects(policy: OwnerPolicy, facts: Facts) -> tuple[str, bool]:
    return effects(policy, User(bool(facts.get("mail")), bool(facts.get("disabled")), bool(facts.get("interactive"))))
