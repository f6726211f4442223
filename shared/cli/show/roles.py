"""The opportunity roles that a person has in Dynamics, by the engine's own rules."""

from __future__ import annotations

from dataclasses import replace

from ...config.conditions import Row
from ...config.sync_toml import SyncConfig
from ...model.entities import CONTACT_COLUMNS, OPPORTUNITY
from ...model.outcome import Skipped
from ...sync.links import Rules, primary_contact, role_ends
from .dynamics import Dynamics
from .facts import Person, Role

#: What is shown for a role whose row cannot be read: the engine does not send it.
HIDDEN = "(the role's row cannot be read)"
#: Lookups that may name the person, by the table of its roles.
_ENDS = {
    "connection": ("_record1id_value", "_record2id_value"),
    "customeropportunityrole": ("_customerid_value",),
}


async def look(dynamics: Dynamics, config: SyncConfig, persons: list[Person]) -> None:
    """Fill in the persons' roles as Dynamics has them. Raises as DataverseClient does."""
    for person in persons:
        if person.subject.exists:
            for table in _ENDS.keys() & config.tables.keys():
                rows = await dynamics.referring(table, _ENDS[table], person.subject.id)
                rules = await dynamics.rules_for(table, rows)
                person.roles += roles_of(person.subject.id, table, rows, rules)
            person.roles += await _as_primary_contact(dynamics, config, person.subject.id)
            person.roles = list({(role.opportunity, role.role): role for role in person.roles}.values())
    deals = {role.opportunity for person in persons for role in person.roles}
    found = await dynamics.rows_of("opportunity", deals, ("name",))
    for person in persons:
        person.roles = [await _named(dynamics, role, found.get(role.opportunity)) for role in person.roles]


def roles_of(person: str, table: str, rows: list[dict[str, object]], rules: Rules) -> list[Role]:
    """The roles that rows of a table give this person; a connection's mirrored row gives the same one again."""
    found = {}
    for row in rows:
        ends = role_ends(table, row)
        if isinstance(ends, Skipped):
            continue
        deal, who = ends["externalOpportunityId"], ends["leadId"]
        if deal and who and who.id == person:
            name = rules.role(table, row) or HIDDEN
            found[deal.id, name] = Role(deal.id, name, expected=True, actual=False)
    return list(found.values())


async def _as_primary_contact(dynamics: Dynamics, config: SyncConfig, person: str) -> list[Role]:
    name, source = config.roles.customer_contact, OPPORTUNITY.tables[0]
    if not name or source.name not in config.tables:
        return []
    rows = await dynamics.referring(source.name, CONTACT_COLUMNS, person, active=False)
    own = [str(row[source.key]).lower() for row in rows if primary_contact(row) == person]
    return [Role(opportunity, name, expected=True, actual=False) for opportunity in own]


async def _named(dynamics: Dynamics, role: Role, row: Row | None) -> Role:
    """With the opportunity's name; not expected in Marketo where the opportunity is excluded from the sync."""
    if row is None:
        return replace(role, expected=False, why="the opportunity is not in Dynamics")
    kept_out = await dynamics.kept_out("opportunity", row)
    return replace(role, expected=not kept_out, name=str(row.get("name") or ""), why=kept_out)
