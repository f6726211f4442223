"""What `msisync show` asks Dynamics: the rows, the filter, and the relations as the engine sees them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote

from ...config.conditions import Row
from ...config.sync_toml import SyncConfig
from ...dataverse.client import API, DataverseClient
from ...dataverse.metadata import Column, Metadata, hidden_in
from ...model.entities import ALL_TABLES, COMPANY, OPPORTUNITY_ROLE, PERSON, PERSON_TABLES, SALES_PERSON, TABLES, Table
from ...model.ids_and_times import as_guid
from ...model.outcome import Parent, Skipped
from ...sync.links import Rules, is_qualified, lookup, origin_of, skip_user, winner_of
from ...sync.lookups import References
from ...sync.newcomers import contacts_of
from ...sync.table_schema import filter_for
from .facts import Person, Relation, Search, Subject
from .relations import company_words, owner_words, possible_parents

#: Rows with one e-mail address that are shown; more say so.
MAX_MATCHES = 50
#: Seconds for everything that is asked of Dynamics.
TIME_SECONDS = 60.0

#: Tables whose columns are asked for at once: those of persons, and those of what they refer to.
_TABLES = ("lead", "contact", "systemuser", "account", "opportunity")
_SHOWN = ("modifiedon", "statecode")
#: The column that names a row to people, by table; of the others, `fullname`.
_NAMES = {"account": "name", "opportunity": "name"}
_USER_WORDS = {"ApplicationUser": "it is an application user", "UserWithoutMail": "the user has no e-mail address"}
_STATES = {
    "lead": ("open", "qualified", "disqualified"),
    "contact": ("active", "inactive"),
    "account": ("active", "inactive"),
    "opportunity": ("open", "won", "lost"),
}


@dataclass
class Dynamics:
    """Questions about records and their parents. Raises as DataverseClient does, and ConfigurationError.

    `also`: columns of persons, by table, that are read beside those that decide what is sent.
    """

    dataverse: DataverseClient
    metadata: Metadata
    config: SyncConfig
    _: KW_ONLY
    also: Mapping[str, Collection[str]] = field(default_factory=dict)
    _deadline: float = field(default_factory=lambda: time.monotonic() + TIME_SECONDS, init=False)
    _columns: dict[str, asyncio.Task[dict[str, Column]]] = field(default_factory=dict, init=False)

    @cached_property
    def _references(self) -> References:
        hidden = self.metadata.hidden_columns
        return References(self.dataverse, self.config, clock=time.monotonic, hidden_columns=hidden)

    async def find(self, query: str) -> list[Person]:
        """Leads and contacts with this id or e-mail address; else the row with this id of another table that is synced.

        Rows of opportunity roles are not among them: Marketo has no key for these.
        """
        known = [name for name in _TABLES if name in PERSON_TABLES or name in self.config.tables]
        await asyncio.gather(*map(self._there, known), return_exceptions=True)  # raised where it is needed
        found = await asyncio.gather(*(self._find(table, query) for table in PERSON.tables))
        if as_guid(query) and not any(found):
            others = [name for name in self.config.tables if TABLES[name][0] not in (PERSON, OPPORTUNITY_ROLE)]
            found = await asyncio.gather(*(self._find(TABLES[name][1], query) for name in others))
        return [person for persons in found for person in persons]

    async def _find(self, table: Table, query: str) -> list[Person]:
        there = frozenset(await self._there(table.name))
        mails = self.mail_columns(table.name)
        mapped = [rule for rules in self.config.fields_of(table.name).values() for rule in rules]
        columns = {column for rule in mapped for column in rule.needed_columns}
        columns |= self.config.filter_of(table.name).columns
        shown = (*_SHOWN, _name_column(table.name), *mails)
        wanted = there & columns.union(table.rule_columns, shown, self.also.get(table.name, ()))
        if guid := as_guid(query):
            rows = list((await self.dataverse.rows(table, [guid], wanted)).values())
        else:
            text = quote(query.strip().replace("'", "''"))
            chosen = " or ".join(f"{column} eq '{text}'" for column in sorted(there.intersection(mails)))
            select = ",".join(sorted({table.key, *wanted}))
            url = f"{API}/{table.entity_set}?$select={select}&$filter={chosen}&$top={MAX_MATCHES + 1}"
            rows = await self.dataverse.query(url) if chosen else []
        persons = [await self._person(table.name, table.key, row) for row in rows[:MAX_MATCHES]]
        if len(rows) > MAX_MATCHES:
            persons[-1].notes.append(f"more than {MAX_MATCHES} rows of {table.name} have this address")
        return persons

    async def relate(self, search: Search) -> None:
        """Fill in the relations of the persons."""
        await asyncio.gather(*(self._relate_to(search, person) for person in search.persons if person.row))

    async def _relate_to(self, search: Search, person: Person) -> None:
        table = person.subject.table
        if not person.subject.entity.links:
            return
        rules = await self.rules_for(table, [person.row])
        await self._relate(person, rules)
        for parent in possible_parents(rules, table, person.row):
            search.parents.setdefault(parent, Subject(parent.table, parent.id))

    async def look_up(self, search: Search) -> None:
        """Fill in the parents that the persons and their opportunities may wait for, and theirs."""
        owners = await self._look_up(search.parents.values())
        others = {parent: subject for parent, subject in owners.items() if parent not in search.parents}
        await self._look_up(others.values())
        search.parents |= others
        for person in search.persons:
            for relation in person.relations:
                if relation.parent:
                    subject = search.parents[relation.parent]
                    relation.exists, relation.kept_out = subject.exists, subject.kept_out
                    relation.name, relation.email = subject.name, subject.email

    def mail_columns(self, table: str) -> tuple[str, ...]:
        """The columns that hold a record's e-mail address: those that are mapped to Marketo's."""
        rules = self.config.fields_of(table).get("email", ())
        usual = ("emailaddress1",) if table in PERSON_TABLES else ()
        return tuple(dict.fromkeys(column for rule in rules for column in rule.columns)) or usual

    async def kept_out(self, table: str, row: Row) -> str:
        """Why a row is excluded from the sync; empty when it is to be synced."""
        if table not in self.config.tables:
            return f"table {table} is not mapped in sync.toml"
        there = await self._there(table)
        chosen = filter_for(self.config.filter_of(table), there, table)
        if chosen.excludes(row):
            if chosen.flag and row.get(chosen.flag) is not None and not row[chosen.flag]:
                return f"{chosen.flag} is No"
            return f"the filter of [{table}] in sync.toml does not let it in"
        skipped = skip_user(row, hidden_in(there)) if table == "systemuser" else None
        return _USER_WORDS[skipped.reason] if isinstance(skipped, Skipped) else ""

    async def rows_of(self, table: str, ids: Collection[str], columns: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Rows of a table by id, with the columns of its filter, as far as they are there."""
        if not ids:
            return {}
        wanted = {*columns, *self.config.filter_of(table).columns} & frozenset(await self._there(table))
        return await self.dataverse.rows(TABLES[table][1], sorted(ids), wanted)

    async def referring(self, table: str, lookups: Sequence[str], id_: str) -> Sequence[Row]:
        """Rows of a table of which one of these lookups, by their logical names, leads to `id_`."""
        source = TABLES[table][1]
        return await self.dataverse.referring(source, lookups, [id_], source.rule_columns)

    async def rules_for(self, table: str, rows: Collection[Row]) -> Rules:
        """The engine's rules for rows of a table."""
        return await self._references.rules_for(table, rows, self._deadline)

    async def _person(self, table: str, key: str, row: dict[str, Any]) -> Person:
        name = str(row.get(_name_column(table)) or "")
        subject = Subject(table, str(row[key]).lower(), name, exists=True, differences=None)
        subject.kept_out = await self.kept_out(table, row)
        details = {
            "email": next((row[column] for column in self.mail_columns(table) if row.get(column)), ""),
            "state": _state(table, row),
            "modifiedon": row.get("modifiedon"),
        }
        if winner := winner_of(table, row):
            subject.winner = f"{winner.table} {winner.id}"
        if table == "lead" and "contact" in self.config.tables:
            chosen = filter_for(self.config.filter_of("contact"), await self._there("contact"), "contact")
            if contacts := await contacts_of(self.dataverse, chosen, {subject.id: is_qualified(table, row)}):
                subject.winner = f"contact {contacts[subject.id]}"
        subject.qualified = table == "lead" and subject.winner.startswith("contact ")
        return Person(subject, row, details, origin=origin_of(row))

    async def _relate(self, person: Person, rules: Rules) -> None:
        owner = lookup(person.row, "_ownerid_value")
        team = ""
        if owner and owner[0] == "team":
            rows = await self.dataverse.rows(ALL_TABLES["team"], [owner[1]], ("name",))
            team = str(rows.get(owner[1], {}).get("name", ""))
        table, row = person.subject.table, person.row
        fields = {link.field for link in person.subject.entity.links}
        if SALES_PERSON.key in fields:
            person.relations.append(Relation(SALES_PERSON.key, rules.sales_person(row), owner_words(rules, row, team)))
        if COMPANY.key in fields:
            person.relations.append(Relation(COMPANY.key, rules.company(table, row), company_words(rules, table, row)))

    async def _look_up(self, subjects: Collection[Subject]) -> dict[Parent, Subject]:
        """Fill in what Dynamics knows of these users and accounts. Gives the sales persons of the accounts."""
        accounts, _ = await asyncio.gather(*(self._fill_in(table, subjects) for table in ("account", "systemuser")))
        rules = await self.rules_for("account", list(accounts.values()))
        owners = {id_: rules.sales_person(row) for id_, row in accounts.items()}
        for subject in subjects:
            owner = owners.get(subject.id)
            subject.parents = [owner] if owner else subject.parents
        return {owner: Subject(owner.table, owner.id) for owner in owners.values() if owner}

    async def _fill_in(self, table: str, subjects: Collection[Subject]) -> dict[str, dict[str, Any]]:
        """What Dynamics knows of those of a table. Gives their rows."""
        name = _name_column(table)
        wanted = {subject.id: subject for subject in subjects if subject.table == table}
        rows = await self.rows_of(table, wanted, (*TABLES[table][1].rule_columns, name))
        for id_, subject in wanted.items():
            row = rows.get(id_, {})
            subject.exists = id_ in rows
            subject.name = str(row.get(name) or "")
            subject.email = str(row.get("internalemailaddress") or "")
            subject.kept_out = await self.kept_out(table, row) if row else ""
        return rows

    async def _there(self, table: str) -> Mapping[str, Column]:
        """The columns of a table, asked for once."""
        if table not in self._columns:
            self._columns[table] = asyncio.ensure_future(self.metadata.readable_columns(table))
        return await self._columns[table]


def _name_column(table: str) -> str:
    return _NAMES.get(table, "fullname")


def _state(table: str, row: Row) -> str:
    """The state of a row in a word; empty where its table has none."""
    if table == SALES_PERSON.tables[0].name:
        return "disabled" if row.get("isdisabled") else "enabled"
    state, states = row.get("statecode"), _STATES.get(table, ())
    return states[state] if isinstance(state, int) and state < len(states) else str(state)
