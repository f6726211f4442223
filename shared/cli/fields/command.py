"""`msisync fields`: both sides' schema, proposals for sync.toml, and sync.toml checked against them. Reads only."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...config.sync_toml import SyncConfig
from ...model.entities import ENTITIES, PERSON_TABLES, TABLES
from ...write_back.insight_fields import resolve
from ..command import Command, Exit, Result, option, options
from ..context import Context, not_told, renew
from ..entity_words import as_table
from ..finding import Finding, Severity, worst
from . import unsynced
from .checks import check_fields
from .schemas import Schemas, load_schemas
from .suggestions import as_toml, suggest_fields, suggest_write_back, toml_of

#: Characters of a line when nobody's terminal limits it.
_UNLIMITED = 240
#: The legacy roles are proposed only to those who ask for them.
_USUAL_TABLES = tuple(table for table in TABLES if table != "customeropportunityrole")

#: What of a finding is in JSON.
_OF_FINDING = ("severity", "code", "table", "key", "text", "remedy")

Json = dict[str, Any]


async def list_fields(context: Context, given: Namespace, progress: Console) -> Result:
    """Both sides' schema of one table or of all that are mapped."""
    config = context.config
    tables = [given.table] if given.table else list(config.tables)
    schemas = await _load(context, tables, progress)
    text = (given.find or "").casefold()
    data: Json = {
        "tables": {table: kept(columns_of(config, schemas, table), text) for table in tables if schemas.of(table)},
        "objects": {entity: kept(fields_of(config, schemas, entity), text) for entity in schemas.fields},
        "refused": schemas.refused,
    }
    return Result(Exit.ATTENTION if schemas.refused else Exit.OK, data, lambda console: _show_list(console, data))


async def suggest(context: Context, given: Namespace, progress: Console) -> Result:
    """Lines for sync.toml, as TOML."""
    config = context.config
    tables = [given.table] if given.table else usual_tables(config)
    # [write_back] is for both tables of persons, and a lead's fields tell from its company's by the company's.
    more = PERSON_TABLES if given.table in PERSON_TABLES else ()
    schemas = await _load(context, list(dict.fromkeys([*tables, *more])), progress, ("company",) if more else ())
    proposals = {table: suggest_fields(config, schemas, table) for table in tables}
    insight = suggest_write_back(config, schemas)
    toml = toml_of(proposals, insight)
    data: Json = {
        "tables": {
            table: [
                {"field": p.field, "rule": as_toml(p.rules), "why": p.why, "confidence": p.confidence} for p in found
            ]
            for table, found in proposals.items()
        },
        "write_back": {pair.field: list(pair.names) for pair in insight},
        "toml": toml,
        "refused": schemas.refused,
    }
    return Result(Exit.OK, data, lambda console: _show_toml(console, toml, schemas.refused))


def usual_tables(config: SyncConfig) -> list[str]:
    """The tables of sync.toml, and those that are usually synced."""
    return list(dict.fromkeys([*config.tables, *_USUAL_TABLES]))


async def check(context: Context, _: Namespace, progress: Console) -> Result:
    """Every mapping of sync.toml against both sides."""
    config = context.config
    schemas = await _load(context, list(config.tables), progress)
    findings = check_fields(config, schemas)
    count = sum(len(config.fields_of(table)) for table in config.tables)
    why_not = await renew(context, "schema")  # what is green here is sent with the next change
    new = [] if why_not else await unsynced.look(context)
    data: Json = {
        "tables": list(config.tables),
        "fields": count,
        "announced": not why_not,
        "not_synced_yet": unsynced.as_json(new),
        "findings": [{name: str(getattr(finding, name)) for name in _OF_FINDING} for finding in findings],
    }

    def show(console: Console) -> None:
        _show_findings(console, findings, count, why_not)
        unsynced.show(console, new)

    return Result(worst(findings).exit, data, show)


async def _load(
    context: Context, tables: Collection[str], progress: Console, entities: Collection[str] = ()
) -> Schemas:
    language = context.config.language
    with progress.status("Reading the schema of Dynamics and Marketo"):
        return await load_schemas(context.metadata, context.marketo, tables, language, entities)


def columns_of(config: SyncConfig, schemas: Schemas, table: str) -> list[Json]:
    """The columns of a table that could be described, and what each is mapped to."""
    uses: dict[str, list[str]] = {}
    for name, rules in config.fields_of(table).items():
        for column in dict.fromkeys(column for rule in rules for column in rule.columns):
            uses.setdefault(column, []).append(name)
    if table in PERSON_TABLES and schemas.of(table):
        for pair in resolve(config.write_back, schemas.columns[table], schemas.fields["person"]):
            if pair.usable and pair.column:
                uses.setdefault(pair.column.web_name, []).append(f"← {pair.field}")
    return [
        {
            "name": column.web_name,
            "logical_name": column.name,
            "type": column.kind,
            "length": column.max_length,
            "label": column.label,
            "readable": column.readable,
            "mapped_to": uses.get(column.web_name, []),
        }
        for column in sorted(schemas.columns[table].values(), key=lambda column: column.name)
    ]


def fields_of(config: SyncConfig, schemas: Schemas, entity: str) -> list[Json]:
    """The fields of an object of Marketo that could be described, and what each is mapped from."""
    sources: dict[str, list[str]] = {}
    for table in ENTITIES[entity].tables:
        if table.name not in config.tables:
            continue
        for field in config.key_fields(entity):
            sources.setdefault(field.lower(), []).append(f"{table.name}.{table.key}")
        for name, rules in config.fields_of(table.name).items():
            names = dict.fromkeys(column for rule in rules for column in rule.columns)
            sources.setdefault(name.lower(), []).extend(f"{table.name}.{column}" for column in names)
    for link in ENTITIES[entity].links:
        sources.setdefault(link.field.lower(), []).append(f"id of the {link.parent.replace('_', ' ')}")
    return [
        {
            "name": name,
            "type": field.data_type,
            "length": field.length,
            "label": field.label,
            "writable": field.writable,
            "searchable": field.searchable,
            "mapped_from": sources.get(name.lower(), []),
        }
        for name, field in sorted(schemas.fields[entity].items(), key=lambda item: item[0].lower())
    ]


def kept(rows: list[Json], text: str) -> list[Json]:
    """The rows that have the text in a name, in the label, or in what they are mapped to or from."""
    names = ("name", "label", "mapped_to", "mapped_from")
    return [row for row in rows if any(text in _cell(row.get(name)).casefold() for name in names)]


def _show_list(console: Console, data: Mapping[str, Any]) -> None:
    shown = {"Type": "type", "Length": "length", "Label": "label"}
    for table, rows in data["tables"].items():
        unreadable = {"mapped_to": ["(not readable)"]}
        told = [row if row["readable"] or row["mapped_to"] else row | unreadable for row in rows]
        _show_table(console, f"Dynamics: {table}", {"Column": "name", **shown, "Mapped to": "mapped_to"}, told)
    for entity, rows in data["objects"].items():
        columns = {"Field": "name", **shown, "Writable": "writable", "Mapped from": "mapped_from"}
        _show_table(console, f"Marketo: {ENTITIES[entity].path}", columns, rows)
    for name, error in data["refused"].items():
        console.print(f"{name} cannot be described: {error}", style="yellow", markup=False)
    console.print("Next: msisync fields suggest for proposals, msisync fields check for what is mapped", style="dim")


def _show_table(console: Console, title: str, columns: Mapping[str, str], rows: Sequence[Json]) -> None:
    """Rows as a table. `columns`: the key in a row by the heading."""
    if not console.is_terminal:
        console.width = _UNLIMITED
    table = Table(title=title, title_justify="left", title_style="bold", box=None, header_style="bold", pad_edge=False)
    for heading in columns:
        table.add_column(heading, overflow="fold", justify="right" if heading == "Length" else "left")
    for row in rows:
        table.add_row(*(Text(_cell(row[key])) for key in columns.values()))
    console.print(table if rows else Text(f"{title}: nothing found", style="bold"))
    console.print()


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(value)
    return "" if value is None else str(value)


def _show_toml(console: Console, toml: str, refused: Mapping[str, str]) -> None:
    lines = [f"# {name} cannot be described: {' '.join(error.split())}" for name, error in refused.items()]
    if toml:
        lines.append(
            "# Put each line below the heading of the same name in sync.toml. What begins with # is less sure:"
        )
        lines.append("# remove the # if it is right. Then: msisync fields check")
    else:
        lines.append("# Nothing to propose: whatever has the same or a similar name is mapped, or of another type.")
    for line in "\n".join([*lines, "", toml]).strip().split("\n"):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _show_findings(console: Console, findings: Sequence[Finding], count: int, why_not: str) -> None:
    for finding in sorted(findings, key=lambda f: list(Severity).index(f.severity), reverse=True):
        line = Text(f"{finding.severity:<9} ", style=finding.severity.colour)
        remedy = f". To do: {finding.remedy}" if finding.remedy else ""
        console.print(line.append(f"{finding.where}: {finding.text}{remedy}", style="default"))
    counts = [sum(f.severity is severity for f in findings) for severity in (Severity.FAILED, Severity.ATTENTION)]
    if any(counts):
        console.print(f"{count} fields checked: {counts[0]} findings stop records, {counts[1]} need attention")
    else:
        console.print(f"{count} fields checked: all of them can be synced", style="green")
    if why_not:
        console.print(not_told(why_not), style="yellow")


_TABLE = option(
    "table", nargs="?", type=as_table, choices=tuple(TABLES), metavar="table", help=f"one of {', '.join(TABLES)}"
)
COMMANDS = (
    Command(
        "fields list",
        "show the columns of Dynamics and the fields of Marketo, and what is mapped",
        "Without a table: all that sync.toml maps.\n"
        "Next: msisync fields suggest proposes what could be mapped.\n"
        "Example: msisync fields list contact --find phone",
        list_fields,
        options(_TABLE, option("--find", metavar="TEXT", help="only what has TEXT in its name, label or mapping")),
    ),
    Command(
        "fields suggest",
        "propose lines for sync.toml",
        "Adobe's default mapping first, then equal names and labels, then similar ones as comments.\n"
        "Nothing is written: put what you want into sync.toml, then run msisync fields check.\n"
        "Example: msisync fields suggest contact",
        suggest,
        _TABLE,
    ),
    Command(
        "fields check",
        "check sync.toml against both sides' schema",
        "Exit code 0: all fields can be synced; 1: something is left out or cut; 2: records would be refused.\n"
        "The running app looks at both schemas again with its next change, so a new field is sent at once.\n"
        "What was mapped or filtered otherwise since the last run over all rows is named, with the command that\n"
        "brings it to the rows that do not change.\n"
        "Next: fix what is named, then msisync register, so that Dynamics reports changes of the mapped columns.",
        check,
    ),
)
