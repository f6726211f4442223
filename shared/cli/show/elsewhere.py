"""Rows without a record of their own in Marketo: those that give opportunity roles, and whether Marketo has these."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ...model.entities import OPPORTUNITY, OPPORTUNITY_ROLE, PERSON, TABLES
from ...model.outcome import Parent, Skipped
from ...sync.links import role_ends
from ..context import Context
from .dynamics import Dynamics
from .facts import Subject
from .roles import HIDDEN


async def find(context: Context, id_: str) -> list[Subject]:
    """The rows with this id in the tables of roles that sync.toml maps. Raises as both clients do.

    Their name is that of the role; `parents` are the opportunity and the person that it joins, and `in_marketo` says
    whether Marketo has that role. `kept_out` says why a row gives none. Costs some requests of Dynamics for each table,
    and two Marketo calls where one has the row.
    """
    dynamics = Dynamics(context.dataverse, context.metadata, context.config)
    tables = [table.name for table in OPPORTUNITY_ROLE.tables if table.name in context.config.tables]
    found = await asyncio.gather(*(_find(context, dynamics, table, id_) for table in tables))
    return [each for each in found if each]


async def _find(context: Context, dynamics: Dynamics, table: str, id_: str) -> Subject | None:
    row = (await dynamics.rows_of(table, [id_], TABLES[table][1].rule_columns)).get(id_)
    if row is None:
        return None
    found, ends = Subject(table, id_, exists=True), role_ends(table, row)
    if isinstance(ends, Skipped):
        found.kept_out = ends.reason
        return found
    found.parents = [end for end in ends.values() if end]
    name = (await dynamics.rules_for(table, [row])).role(table, row)
    found.name = name or HIDDEN
    if name is not None:
        found.in_marketo = await _in_marketo(context, name, found.parents)
    return found


async def _in_marketo(context: Context, name: str, ends: Sequence[Parent]) -> bool:
    deal, person = (next(end.id for end in ends if end.entity == entity.name) for entity in (OPPORTUNITY, PERSON))
    lead = (await context.marketo.find(PERSON, [person])).get(person)
    if lead is None:
        return False
    rows = await context.marketo.read(OPPORTUNITY_ROLE, OPPORTUNITY.key, [deal], OPPORTUNITY_ROLE.dedupe_fields)
    return any(row.get("leadId") == lead and row.get("role") == name for row in rows)
