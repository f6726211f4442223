"""What can be wrong with a mapping of sync.toml, and what is wrong with one rule of it. Pure.

What becomes of a value is in the table of shared/sync/conversions.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path

from ...config import validation
from ...config.sync_toml import FieldRule, SyncConfig, load
from ...dataverse.metadata import LOOKUP_KINDS, Column
from ...marketo.fields import MarketoField
from ...sync.conversions import Source, cell_of, family_of, source_of
from ...sync.converters import STRING_LENGTH, TEXT_BYTES, Family
from ...sync.mapping import source_for
from ..finding import Finding, attention, failed

#: The mapping that Adobe's own connector begins with.
DEFAULTS: SyncConfig = load(Path(__file__).with_name("default_mapping.toml"))

#: What to do about a column that is hidden from our user.
LET_READ = "add the sync user to a column security profile that may read it, or map another column"
_IS = 'use convert = "is" with values, or map a Yes/No column'
_OTHER_TYPE = "map a column or a field of a fitting type"
#: What to do about values that a column never has.
RIGHT_VALUES = "name the values as the column has them: a choice has numbers, a Yes/No column true and false"
_LABELLED = frozenset({Source.CHOICE, Source.CHOICES, Source.YES_NO})
_NUMBERS = frozenset({Source.WHOLE, Source.DECIMAL, Source.CHOICE, Source.YES_NO})
#: Values of these are what they are: what a conversion loses of them is precision, not sense.
_MEASURES = frozenset({Source.DECIMAL, Source.MOMENT, Source.DAY, Source.LOCAL_DAY, Source.CLOCK, Source.CLOCK_DAY})
#: What is too long is left out of such fields, because its beginning would be another address.
_ADDRESSES = frozenset({Family.EMAIL, Family.PHONE, Family.URL})


class Code(StrEnum):
    """What a finding is about."""

    NOT_DESCRIBED = "NotDescribed"
    COLUMN_MISSING = "ColumnMissing"
    COLUMN_UNREADABLE = "ColumnUnreadable"
    COLUMN_HIDDEN = "ColumnHidden"
    FIELD_MISSING = "FieldMissing"
    FIELD_READ_ONLY = "FieldReadOnly"
    WRONG_TYPE = "WrongType"
    DOUBTFUL = "Doubtful"
    LOSSY = "Lossy"
    NEVER = "Never"
    CUT = "Cut"
    FILTER = "Filter"
    KEY = "Key"
    WRITE_BACK = "WriteBack"


def absent_columns(table: str, rule: FieldRule, columns: Mapping[str, Column]) -> Iterator[Finding]:
    """Why a rule cannot be used. `columns` are by their name in queries, here and below."""
    for name in rule.needed_columns:
        if name not in columns:
            text = f"{table} has no column {name} in Dynamics: left out"
            yield attention(text, nearest_column(name, columns, table), code=Code.COLUMN_MISSING)
        elif not columns[name].readable:
            yield attention(
                f"{name} cannot be read in Dynamics: left out", "map another one", code=Code.COLUMN_UNREADABLE
            )
        elif columns[name].hidden:
            text = f"column-level security hides {name} from the sync user: the field keeps its value in Marketo"
            yield attention(text, LET_READ, code=Code.COLUMN_HIDDEN)


def rule_problems(rule: FieldRule, columns: Mapping[str, Column], field: MarketoField) -> Iterator[Finding]:
    """What is wrong with a rule for this field, when all its columns are there."""
    column = columns[rule.columns[0]]
    name = column.web_name
    yield from _conversion(rule, columns, field)
    if rule.convert == "label" and not has_labels(column):
        yield attention(
            f"{name} is no choice and has no labels: never sent", "take the conversion away", code=Code.NEVER
        )
    if rule.convert == "true_only" and column.kind != "Boolean":
        text = f"{name} is no Yes/No column: never sent"
        yield attention(text, 'use convert = "is" with values', code=Code.NEVER)
    if rule.convert == "is" and not can_be(column, rule.values):
        yield attention(f"{name} never has one of these values: always false", RIGHT_VALUES, code=Code.NEVER)
    for other, wanted in rule.when.items():
        if not isinstance(wanted, str) and not can_be(columns[other], wanted):
            yield attention(f"{other} never has one of the values of when: never used", RIGHT_VALUES, code=Code.NEVER)
    yield from _too_long(rule, columns, field)


def _conversion(rule: FieldRule, columns: Mapping[str, Column], field: MarketoField) -> Iterator[Finding]:
    """What the table of conversions says of the rule's values in a field of this type."""
    source = source_for(rule, columns)
    cell = cell_of(source, family_of(field))
    name = columns[rule.columns[0]].web_name
    if cell.convert is None or cell.rare:
        text = f"{name} gives {source}, which a field of type {field.data_type} does not take"
        remedy = _IS if field.data_type == "boolean" else _OTHER_TYPE
        yield failed(f"{text}: {cell.note}", remedy, code=Code.WRONG_TYPE)
    elif cell.note:
        text = f"{name} gives {source}, and the field is of type {field.data_type}: {cell.note}"
        if source in _MEASURES:
            yield attention(text, "nothing, if that is all right; else map a field of a fitting type", code=Code.LOSSY)
        else:
            remedy = 'use convert = "label"' if source in {Source.CHOICE, Source.CHOICES} else _OTHER_TYPE
            yield attention(text, _IS if field.data_type == "boolean" else remedy, code=Code.DOUBTFUL)


def _too_long(rule: FieldRule, columns: Mapping[str, Column], field: MarketoField) -> Iterator[Finding]:
    """Whether the rule's text can be longer than what the field takes of it."""
    family = family_of(field)
    if rule.convert not in {"plain", "lines"} or family not in {Family.STRING, Family.AREA, *_ADDRESSES}:
        return
    parts = [columns[name].max_length or 0 for name in rule.columns]
    given = sum(parts) + len(parts) - 1
    limit = TEXT_BYTES if family is Family.AREA else field.length or STRING_LENGTH
    if given > limit:
        end = "longer values are left out" if family in _ADDRESSES else "the rest is cut off"
        text = f"{' + '.join(rule.columns)} can have {given} characters, Marketo takes {limit}: {end}"
        yield attention(text, "nothing, if that is all right; else map a field that takes more", code=Code.CUT)


def has_labels(column: Column) -> bool:
    """Whether the column's values have labels."""
    return source_of(column) in _LABELLED


def can_be(column: Column, values: Iterable[object]) -> bool:
    """Whether the column can have one of these values at all: a choice has numbers, never its labels."""
    expected = int if source_of(column) in _NUMBERS else str
    return any(isinstance(value, expected) for value in values)


def nearest(name: str, known: Iterable[str], table: str) -> str:
    """A remedy for a name that is not known: the name that may be meant, or where to look."""
    meant = validation.nearest(name, list(known))
    if meant:
        return f"is {meant} meant?"
    return f"correct or remove it; msisync fields list {table} shows what there is"


def nearest_column(name: str, columns: Mapping[str, Column], table: str) -> str:
    """The same for a column; Dataverse reads a lookup by another name than its own."""
    lookup = next((c for c in columns.values() if c.kind in LOOKUP_KINDS and c.name == name), None)
    return f"a lookup is read as {lookup.web_name}" if lookup else nearest(name, columns, table)
