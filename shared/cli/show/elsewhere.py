"""Rows without a record of their own in Marketo: those that give opportunity roles, and whether Marketo has these."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ...model.entities import OPPORTUNITY, OPPORTUNITY_ROLE, PERSON, TABLES
from ...model.outcome import Parent, Skipped
from ...sync.links import role_ends
from ..context import Context
from .dynamics import Dynamics
from .roles import HIDDEN


@dataclass(frozen=True, slots=True)
class Found:
    """A row of Dynamics. `name`: of the role that it gives; `ends`: the opportunity and the person that it joins.

    `in_marketo`: whether Marketo has that role; None where the row gives none, and `why` says why.
    """

    table: str
    id: str
    name: str
    ends: tuple[Parent, ...] = ()
    in_marketo: bool | None = None
    why: str = ""


async def find(context: Context, id_: str) -> list[Found]:
    """The rows with this id in the tables of roles that sync.toml maps. Raises as both clients do.

    Costs some requests of Dynamics for each table, and two Marketo calls where one has the row.
    """
    dynamics = Dynamics(context.dataverse, context.metadata, context.config)
    tables = [table.name for table in OPPORTUNITY_ROLE.tables if table.name in context.config.tables]
    found = await asyncio.gather(*(_find(context, dynamics, table, id_) for table in tables))
    return [each for each in found if each]


async def _find(context: Context, dynamics: Dynamics, table: str, id_: str) -> Found | None:
    row = (await dynamics.rows_of(table, [id_], TABLES[table][1].rule_columns)).get(id_)
    if row is None:
        return None
    ends = role_ends(table, row)
    if isinstance(ends, Skipped):
        return Found(table, id_, "", why=ends.reason)
    name = (await dynamics.rules_for(table, [row])).role(table, row)
    both = tuple(end for end in ends.values() if end)
    if name is None:
        return Found(table, id_, HIDDEN, both)
    return Found(table, id_, name, both, await _in_marketo(context, name, both))


async def _in_marketo(context: Context, name: str, ends: tuple[Parent, ...]) -> bool:
    deal, person = (next(end.id for end in ends if end.entity == entity.name) for entity in (OPPORTUNITY, PERSON))
    lead = (await context.marketo.find(PERSON, [person])).get(person)
    if lead is None:
        return False
    rows = await context.marketo.read(OPPORTUNITY_ROLE, OPPORTUNITY.key, [deal], OPPORTUNITY_ROLE.dedupe_fields)
    return any(row.get("leadId") == lead and row.get("role") == name for row in rows)
