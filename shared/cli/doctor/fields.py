"""Checks of sync.toml against both sides' schema, by the rules of `msisync fields check`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ...dataverse.metadata import Column
from ...model.entities import ENTITIES, TABLES
from ..fields.checks import check_fields
from ..fields.rules import Code
from ..fields.schemas import Schemas
from ..finding import Finding, Severity, attention, failed, ok, worst
from .marketo import READ_IDS, described
from .runner import Check, Subject, counted

GROUP = "Fields"

_COLUMNS = frozenset({Code.COLUMN_MISSING, Code.COLUMN_UNREADABLE, Code.COLUMN_HIDDEN})
_FIELDS = frozenset({Code.FIELD_MISSING, Code.FIELD_READ_ONLY})
#: Findings that have checks of their own.
_ELSEWHERE = _COLUMNS | _FIELDS | {Code.KEY, Code.WRITE_BACK}


async def columns(subject: Subject, table: str) -> dict[str, Column]:
    """The columns of a table, asked for once. Raises as Metadata does."""
    context = subject.context
    return await subject.once(f"columns {table}", lambda: context.metadata.columns(table, context.config.language))


async def columns_of(subject: Subject, tables: Sequence[str]) -> dict[str, dict[str, Column]]:
    """The columns of these tables, asked for at the same time."""
    found = await asyncio.gather(*(columns(subject, table) for table in tables))
    return dict(zip(tables, found, strict=True))


async def findings(subject: Subject, *, marketo: bool) -> list[Finding]:
    """What `fields check` says that must be fixed. Without `marketo`, its side is not asked for."""
    config = subject.context.config
    entities = dict.fromkeys(TABLES[table][0].name for table in config.tables)
    schemas = Schemas(
        await columns_of(subject, list(config.tables)),
        {name: await described(subject, ENTITIES[name]) if marketo else {} for name in entities},
        {},
    )
    return [found for found in check_fields(config, schemas) if found.severity is not Severity.OK]


def judged(subject: Subject, wrong: list[Finding], effect: str) -> Finding:
    """One finding for all of them."""
    lines = [f"{f.where}: {f.text} ({f.remedy})" for f in wrong]
    remedy = f"correct {subject.context.settings.sync.config}; msisync fields check shows everything"
    grade = failed if worst(wrong) is Severity.FAILED else attention
    return grade(f"{counted(len(wrong), 'finding')}{effect}", remedy, lines)


async def _columns(subject: Subject) -> Finding:
    wrong = [found for found in await findings(subject, marketo=False) if found.code in _COLUMNS]
    if wrong:
        return judged(subject, wrong, ": the fields that they feed keep their value in Marketo")
    return ok("all that sync.toml names can be read")


async def _fields(subject: Subject) -> Finding:
    wrong = [found for found in await findings(subject, marketo=True) if found.code in _FIELDS]
    if wrong:
        return judged(subject, wrong, ": these fields are left out")
    return ok("all that sync.toml names can be written")


async def _mapping(subject: Subject) -> Finding:
    wrong = [found for found in await findings(subject, marketo=True) if found.code not in _ELSEWHERE]
    return judged(subject, wrong, "") if wrong else ok("columns fit their fields")


CHECKS = (
    Check("mapped-columns", GROUP, "Mapped columns in Dynamics", _columns, needs=("dynamics-read",)),
    Check("mapped-fields", GROUP, "Mapped fields in Marketo", _fields, needs=("dynamics-read", *READ_IDS)),
    Check("mapping", GROUP, "Types, lengths, filter", _mapping, needs=("dynamics-read", *READ_IDS)),
)
