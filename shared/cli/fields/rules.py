"""What can be wrong with a mapping of sync.toml, and what is wrong with one rule of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum

from ...config import validation
from ...config.sync_toml import FieldRule
from ...dataverse.metadata import LOOKUP_KINDS, Column
from ...sync.conversions import Source
from ...sync.mapping import MarketoField
from ..finding import Finding, attention, failed
from .types import can_be, conversion_of, has_labels, is_measure, is_unbroken, lengths

#: What to do about a column that is hidden from our user.
LET_READ = "add the sync user to a column security profile that may read it, or map another column"
_IS = 'use convert = "is" with values, or map a Yes/No column'
#: What to do about values that a column never has.
RIGHT_VALUES = "name the values as the column has them: a choice has numbers, a Yes/No column true and false"


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
    cut = lengths(rule, [columns[each] for each in rule.columns], field)
    if cut:
        end = "longer values are left out" if is_unbroken(field) else "the rest is cut off"
        text = f"{' + '.join(rule.columns)} can have {cut[0]} characters, Marketo takes {cut[1]}: {end}"
        yield attention(text, "nothing, if that is all right; else map a field that takes more", code=Code.CUT)


def _conversion(rule: FieldRule, columns: Mapping[str, Column], field: MarketoField) -> Iterator[Finding]:
    """What the table of conversions says of the rule's values in a field of this type."""
    source, cell = conversion_of(rule, columns, field)
    name = columns[rule.columns[0]].web_name
    if cell.convert is None or cell.rare:
        text = f"{name} gives {source}, which a field of type {field.data_type} does not take"
        remedy = _IS if field.data_type == "boolean" else "map a column or a field of a fitting type"
        yield failed(f"{text}: {cell.note}", remedy, code=Code.WRONG_TYPE)
    elif cell.note:
        text = f"{name} gives {source}, and the field is of type {field.data_type}: {cell.note}"
        if is_measure(source):
            yield attention(text, "nothing, if that is all right; else map a field of a fitting type", code=Code.LOSSY)
        else:
            yield attention(text, _IS if field.data_type == "boolean" else _better(source), code=Code.DOUBTFUL)


def _better(source: Source) -> str:
    choice = source in {Source.CHOICE, Source.CHOICES}
    return 'use convert = "label"' if choice else "map a column or a field of a fitting type"


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
