"""Both schemas, what is mapped, what is wrong with that, and what could be: as `msisync fields` finds it."""

from __future__ import annotations

from functools import partial
from typing import Any

from ...model.entities import ENTITIES, PERSON_TABLES, TABLES
from ..context import Context
from ..fields.checks import check_fields
from ..fields.command import columns_of, fields_of, kept, usual_tables
from ..fields.schemas import Schemas, load_schemas
from ..fields.suggestions import suggest_fields, suggest_write_back, toml_of
from ..finding import Finding, Severity
from .page import Lead, Page, View, Visit, leads

PATH = "/mapping"
#: Seconds in which the schemas are not read again: that takes some 30 requests of Dynamics and 5 Marketo calls.
FRESH_SECONDS = 600.0


async def show(visit: Visit) -> View:
    """One table with both sides. Raises ConfigurationError when sync.toml cannot be used, and as both clients do."""
    config = visit.context.config
    tables = usual_tables(config)
    table = next((name for name in tables if name == visit.word("table")), tables[0])
    entity = TABLES[table][0].name
    latest = visit.looks.of("mapping", partial(_load, visit.context, tables), fresh=FRESH_SECONDS)
    if visit.word("again"):
        latest.outdate()
    schemas = await latest.now()
    values: dict[str, Any] = {
        "tables": tables,
        "mapped": list(config.tables),
        "table": table,
        "find": visit.word("find"),
        "only": visit.word("only"),
        "path": ENTITIES[entity].path,
        "schemas": schemas,
        "is_looking": schemas is None,
    }
    if schemas:
        text, only_mapped = visit.word("find").casefold(), visit.word("only") == "mapped"
        columns = kept(columns_of(config, schemas, table), text) if table in schemas.columns else []
        fields = kept(fields_of(config, schemas, entity), text) if entity in schemas.fields else []
        values |= {
            "columns": [row for row in columns if row["mapped_to"] or not only_mapped],
            "fields": [row for row in fields if row["mapped_from"] or not only_mapped],
            "findings": _findings(check_fields(config, schemas.only(config.tables))),
            "toml": _suggested(visit.context, schemas, table),
            "refused": schemas.refused,
        }
    return View("mapping.html", values)


async def _load(context: Context, tables: list[str]) -> Schemas:
    return await load_schemas(context.metadata, context.marketo, tables, context.config.language)


def _findings(findings: list[Finding]) -> list[Finding]:
    """The gravest first, and nothing that is well."""
    order = list(Severity)
    wrong = [finding for finding in findings if finding.severity is not Severity.OK]
    return sorted(wrong, key=lambda finding: order.index(finding.severity), reverse=True)


def _suggested(context: Context, schemas: Schemas, table: str) -> str:
    """Lines for sync.toml about a table, and for persons about the write-back."""
    insight = suggest_write_back(context.config, schemas) if table in PERSON_TABLES else []
    return toml_of({table: suggest_fields(context.config, schemas, table)}, insight)


PAGE = Page(PATH, "Mapping", show, lead=leads(Lead(PATH, "Mapping"), "msisync fields"))
