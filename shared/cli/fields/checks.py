"""sync.toml against both sides' schema: what is left out, what would refuse every record, what would be cut. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ...config.conditions import Condition
from ...config.sync_toml import FieldRule, SyncConfig
from ...dataverse.metadata import Column
from ...marketo.fields import MarketoField
from ...model.entities import ENTITIES, PERSON_TABLES, TABLES
from ...write_back.insight_fields import FoundBy, Reason, resolve
from ..finding import Finding, attention, failed, ok
from .rules import (
    DEFAULTS,
    LET_READ,
    RIGHT_VALUES,
    Code,
    absent_columns,
    can_be,
    nearest,
    nearest_column,
    rule_problems,
)
from .schemas import Schemas

_DEFAULT_FILTER_COLUMN = SyncConfig().filter_column
_GUID_LENGTH = 36

Columns = Mapping[str, Column]
Found = Iterator[Finding]


def check_fields(config: SyncConfig, schemas: Schemas) -> list[Finding]:
    """Everything in sync.toml that the two systems do not have, or have differently.

    What is not loaded is not checked: the tables of `schemas` should be those of sync.toml.
    """
    found = list(_refusals(schemas))
    for table in config.tables:
        sides = schemas.of(table)
        if sides:
            columns = {column.web_name: column for column in sides[0].values()}
            for name, rules in config.fields_of(table).items():
                found += _at(table, f"fields.{name}", _field(table, name, rules, columns, sides[1]))
            found += _at(table, "filter", _filter(table, config.tables[table].filter, columns))
            found += _at(table, "", _relations(table, columns))
    found += _flag(config, schemas)
    for entity, key in (("person", config.keys.person), ("company", config.keys.company)):
        if entity in schemas.fields:
            found += _at("", f"keys.{entity}", _key(entity, key, schemas.fields[entity]))
    if config.lifecycle.deleted_flag and "person" in schemas.fields:
        found += _at("", "lifecycle.deleted_flag", _deleted_flag(config, schemas.fields["person"]))
    found += dict.fromkeys(_write_back(config, schemas))  # Marketo's fields are the same for both tables
    return found


def _at(table: str, key: str, findings: Iterable[Finding]) -> Found:
    return (replace(finding, table=table, key=key) for finding in findings)


def _refusals(schemas: Schemas) -> Found:
    for name, error in schemas.refused.items():
        text = f"cannot be described, so nothing of it can be synced: {error}"
        table, key, remedy = "", name, "give the role of Marketo's API user the permissions for this object"
        if name in TABLES:
            remedy = f"remove [{name}.fields]; leads, opportunities and their roles come with Dynamics 365 Sales"
            table, key = name, "fields"
        yield from _at(table, key, [failed(text, remedy, code=Code.NOT_DESCRIBED)])


def _field(
    table: str, name: str, rules: Sequence[FieldRule], columns: Columns, fields: Mapping[str, MarketoField]
) -> Found:
    spelled = next((known for known in fields if known.lower() == name.lower()), None)
    if spelled is None:
        text = f"Marketo's {TABLES[table][0].path} have no field {name}: left out"
        yield attention(text, nearest(name, fields, table), code=Code.FIELD_MISSING)
    elif not fields[spelled].writable:
        yield attention(
            f"{spelled} cannot be written in Marketo: left out", "remove the line", code=Code.FIELD_READ_ONLY
        )
    for rule in rules:
        absent = list(absent_columns(table, rule, columns))
        yield from absent
        if spelled and not absent:
            is_default = rule in DEFAULTS.tables[table].fields.get(spelled, ())
            for problem in rule_problems(rule, columns, fields[spelled]):
                # Adobe's own default mapping cuts some names as well: to be known, but nobody has to do anything.
                yield ok(problem.text, code=problem.code) if is_default and problem.code is Code.CUT else problem


def _filter(table: str, conditions: Iterable[Condition], columns: Columns) -> Found:
    for condition in conditions:
        for name, wanted in condition.items():
            if name not in columns or not columns[name].readable:
                text = f"{name} cannot be read in Dynamics: nothing of {table} is synced"
                yield failed(text, nearest_column(name, columns, table), code=Code.FILTER)
            elif columns[name].hidden:
                text = f"column-level security hides {name} from the sync user: nothing of {table} is synced"
                yield failed(text, LET_READ, code=Code.FILTER)
            elif not isinstance(wanted, str) and not can_be(columns[name], wanted):
                yield failed(f"{name} never has one of these values: no row can pass", RIGHT_VALUES, code=Code.FILTER)


def _relations(table: str, columns: Columns) -> Found:
    for name in TABLES[table][1].rule_columns:
        if name in columns and columns[name].hidden:
            text = f"column-level security hides {name} from the sync user: the link that Marketo has stays"
            yield attention(text, LET_READ, code=Code.COLUMN_HIDDEN)


def _flag(config: SyncConfig, schemas: Schemas) -> Found:
    name = config.filter_column
    tables = [table for table in config.tables if table in schemas.columns and config.filter_of(table).flag]
    # The engine knows the column by its name in queries.
    there = {t: c for t in tables for c in schemas.columns[t].values() if c.web_name == name}
    if name != _DEFAULT_FILTER_COLUMN and tables and not there:
        text = f"no table has a column {name}: everything is synced"
        remedy = f"correct the name; the guide's is {_DEFAULT_FILTER_COLUMN}"
        yield from _at("", "filter_column", [attention(text, remedy, code=Code.FILTER)])
        return
    for table in tables:
        yield from _at(table, "filter_column", _flag_of(name, there.get(table)))


def _flag_of(name: str, column: Column | None) -> Found:
    if column is None:
        yield ok(f"there is no column {name}: every row is synced", code=Code.FILTER)
    elif not column.readable:
        text = f"{name} cannot be read: every row is synced, an explicit No as well"
        yield attention(text, "let the column be read, or name another one in filter_column", code=Code.FILTER)
    elif column.hidden:
        text = f"column-level security hides {name} from the sync user, an explicit No as well: nothing is synced"
        yield failed(text, LET_READ, code=Code.FILTER)
    elif column.kind != "Boolean":
        text = f"{name} is a {column.kind} column, not Yes/No: only 0 keeps a row out"
        yield attention(text, "make it a Yes/No column, or use a filter", code=Code.FILTER)


def _key(entity: str, key: str, fields: Mapping[str, MarketoField]) -> Found:
    name = next((known for known in fields if known.lower() == key.lower()), None)
    nothing = f"no {entity} can be synced"
    if name is None:
        own = f"name a field of your own as {entity} in [keys]"
        remedy = nearest(key, fields, ENTITIES[entity].tables[0].name)
        if key == ENTITIES["person"].key:
            remedy = f"ask Marketo Support to switch MSI Non-Native on, or {own}"
        yield failed(f"Marketo has no field {key}: {nothing}", remedy, code=Code.KEY)
        return
    if name != key:
        yield failed(f"Marketo spells {key} as {name}: {nothing}", f"write {name} in [keys]", code=Code.KEY)
        return
    field = fields[name]
    if field.data_type not in {"string", "text"} or (field.length or _GUID_LENGTH) < _GUID_LENGTH:
        length = f" of {field.length} characters" if field.length else ""
        text = f"{name} is a {field.data_type} field{length} and cannot hold a GUID: {nothing}"
        yield failed(text, f"name a string field of {_GUID_LENGTH} characters or more", code=Code.KEY)
    elif not field.writable:
        yield failed(f"{name} cannot be written: {nothing}", "name another field", code=Code.KEY)
    elif entity == "person" and not field.searchable:
        text = f"Marketo does not find persons by {name}: {nothing}"
        yield failed(text, "name a custom field of type string; msisync fields list lead shows them", code=Code.KEY)


def _deleted_flag(config: SyncConfig, fields: Mapping[str, MarketoField]) -> Found:
    name = next((known for known in fields if known.lower() == config.lifecycle.deleted_flag.lower()), None)
    if name is None:
        text = f"Marketo's leads have no field {config.lifecycle.deleted_flag}: deleted persons cannot be flagged"
        yield attention(text, nearest(config.lifecycle.deleted_flag, fields, "lead"), code=Code.FIELD_MISSING)
    elif not fields[name].writable:
        text = f"{name} cannot be written in Marketo: deleted persons cannot be flagged"
        yield attention(text, "name another field", code=Code.FIELD_READ_ONLY)
    elif fields[name].data_type != "boolean":
        text = f"{name} is a {fields[name].data_type} field, which is not true or false"
        yield failed(text, "name a boolean field", code=Code.WRONG_TYPE)


def _write_back(config: SyncConfig, schemas: Schemas) -> Found:
    for table in PERSON_TABLES:
        if table not in config.tables or schemas.of(table) is None:
            continue
        for pair in resolve(config.write_back, schemas.columns[table], schemas.fields["person"]):
            for obstacle in pair.obstacles:
                finding = attention(f"{obstacle.text}: not written back", obstacle.remedy, code=Code.WRITE_BACK)
                where = "" if obstacle.reason is Reason.NO_FIELD else table
                yield from _at(where, f"write_back.{pair.name}", [finding])
            if pair.usable and pair.column and pair.found_by is FoundBy.GUIDE_NAME:
                text = f"{pair.column.name} is taken for it, by {pair.found_by.value}"
                remedy = "name it in [write_back] to be sure; msisync fields suggest prints the lines"
                yield from _at(table, f"write_back.{pair.name}", [ok(text, remedy, code=Code.WRITE_BACK)])
