"""The opportunity roles that a person has in Dynamics, by the engine's own rules."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from ...config.conditions import Row
from ...config.sync_toml import SyncConfig
from ...model.entities import OPPORTUNITY, PERSON, TABLES
from ...model.outcome import Parent, Skipped
from ...sync.links import Rules, primary_contact, role_ends
from .dynamics import Dynamics
from .facts import Person, Role, Search, Subject

#: What is shown for a role whose row cannot be read: the engine does not send it.
HIDDEN = "(the role's row cannot be read)"
#: Lookups that may name the person, by the table of its roles, and those of an opportunity.
_ENDS = {"connection": ("record1id", "record2id"), "customeropportunityrole": ("customerid",)}
_OF_OPPORTUNITY = ("customerid", "parentcontactid")


async def look(dynamics: Dynamics, config: SyncConfig, search: Search) -> None:
    """Fill in the persons' roles as Dynamics has them, and what they depend on. Raises as DataverseClient does."""
    persons = search.persons if search.entity is PERSON else []
    await asyncio.gather(*(_of_person(dynamics, config, person) for person in persons if person.subject.exists))
    deals = {role.opportunity for person in persons for role in person.roles}
    source = OPPORTUNITY.tables[0]
    found = await dynamics.rows_of(source.name, deals, ("name", *source.rule_columns))
    rules = await dynamics.rules_for(source.name, list(found.values()))
    for person in persons:
        person.roles = [await _named(dynamics, role, found.get(role.opportunity)) for role in person.roles]
        for role in person.roles:
            if role.expected:
                _depends(search, person, role, rules, found[role.opportunity])


async def _of_person(dynamics: Dynamics, config: SyncConfig, person: Person) -> None:
    *found, own = await asyncio.gather(
        *(_of_table(dynamics, table, person.subject.id) for table in sorted(_ENDS.keys() & config.tables.keys())),
        _as_primary_contact(dynamics, config, person.subject.id),
    )
    everything = [*person.roles, *(role for roles in found for role in roles), *own]
    person.roles = list({(role.opportunity, role.role): role for role in everything}.values())


async def _of_table(dynamics: Dynamics, table: str, person: str) -> list[Role]:
    rows = await dynamics.referring(table, _ENDS[table], person)
    return roles_of(person, table, rows, await dynamics.rules_for(table, rows))


def _depends(search: Search, person: Person, role: Role, rules: Rules, row: Row) -> None:
    """Note what is to be in Marketo before the role: the opportunity, and its company and sales person."""
    name = OPPORTUNITY.name
    deal = search.deals.setdefault(role.opportunity, Subject(name, role.opportunity, role.name, exists=True))
    deal.parents = [parent for parent in (rules.sales_person(row), rules.company(name, row)) if parent]
    for parent in deal.parents:
        search.parents.setdefault(parent, Subject(parent.table, parent.id))
    ends = [Parent(name, name, role.opportunity), Parent(PERSON.name, person.subject.table, person.subject.id)]
    for table, id_ in role.rows:
        search.ties.setdefault(id_, Subject(table, id_, exists=True, parents=ends))


def roles_of(person: str, table: str, rows: Sequence[Row], rules: Rules) -> list[Role]:
    """The roles that rows of a table give this person; a connection's mirrored row gives the same one again."""
    found: dict[tuple[str, str], Role] = {}
    for row in rows:
        ends = role_ends(table, row)
        if isinstance(ends, Skipped):
            continue
        deal, who = ends["externalOpportunityId"], ends["leadId"]
        if deal and who and who.id == person:
            name = rules.role(table, row) or HIDDEN
            own = (table, str(row.get(TABLES[table][1].key, "")).lower())
            before = found.get((deal.id, name))
            rows_of_it = (*(before.rows if before else ()), own)
            found[deal.id, name] = Role(deal.id, name, expected=True, actual=False, rows=rows_of_it)
    return list(found.values())


async def _as_primary_contact(dynamics: Dynamics, config: SyncConfig, person: str) -> list[Role]:
    name, source = config.roles.customer_contact, OPPORTUNITY.tables[0]
    if not name or source.name not in config.tables:
        return []
    rows = await dynamics.referring(source.name, _OF_OPPORTUNITY, person)
    own = [str(row[source.key]).lower() for row in rows if primary_contact(row) == person]
    return [Role(opportunity, name, expected=True, actual=False) for opportunity in own]


async def _named(dynamics: Dynamics, role: Role, row: Row | None) -> Role:
    """With the opportunity's name; not expected in Marketo where the opportunity is excluded from the sync."""
    if row is None:
        return replace(role, expected=False, why="the opportunity is not in Dynamics")
    kept_out = await dynamics.kept_out("opportunity", row)
    return replace(role, expected=not kept_out, name=str(row.get("name") or ""), why=kept_out)
