"""What can be wrong with a mapping of sync.toml, and what is wrong with one rule of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from shared import problems
from shared.config import FieldRule
from shared.dataverse.metadata import LOOKUP_KINDS, Column
from shared.fields import MarketoField
from shared.operations.fields.types import can_be, given_by, has_labels, is_guess, lengths, takes

#: What to do about values that a column never has.
RIGHT_VALUES = "name the values as the column has them: a choice has numbers, a Yes/No column true and false"


class Severity(StrEnum):
    """How much a finding matters. `OK` is only to be known; `FAILED` stops records."""

    OK = "ok"
    ATTENTION = "attention"
    FAILED = "failed"


class Code(StrEnum):
    """What a finding is about."""

    NOT_DESCRIBED = "NotDescribed"
    COLUMN_MISSING = "ColumnMissing"
    COLUMN_UNREADABLE = "ColumnUnreadable"
    FIELD_MISSING = "FieldMissing"
    FIELD_READ_ONLY = "FieldReadOnly"
    WRONG_TYPE = "WrongType"
    DOUBTFUL = "Doubtful"
    NEVER = "Never"
    CUT = "Cut"
    FILTER = "Filter"
    KEY = "Key"
    WRITE_BACK = "WriteBack"


@dataclass(frozen=True, slots=True)
class FieldFinding:
    """Something about a key of sync.toml. `table` is empty for what belongs to none; `key` is as sync.toml has it."""

    severity: Severity
    code: Code
    text: str
    remedy: str = ""
    table: str = ""
    key: str = ""


def failed(code: Code, text: str, remedy: str) -> FieldFinding:
    """Records are stopped."""
    return FieldFinding(Severity.FAILED, code, text, remedy)


def attention(code: Code, text: str, remedy: str) -> FieldFinding:
    """Something is left out or not as it was meant."""
    return FieldFinding(Severity.ATTENTION, code, text, remedy)


def ok(code: Code, text: str, remedy: str = "") -> FieldFinding:
    """Only to be known."""
    return FieldFinding(Severity.OK, code, text, remedy)


def absent_columns(table: str, rule: FieldRule, columns: Mapping[str, Column]) -> Iterator[FieldFinding]:
    """Why a rule cannot be used. `columns` are by their name in queries, here and below."""
    for name in rule.needed_columns:
        if name not in columns:
            text = f"{table} has no column {name} in Dynamics: left out"
            yield attention(Code.COLUMN_MISSING, text, nearest_column(name, columns, table))
        elif not columns[name].readable:
            yield attention(Code.COLUMN_UNREADABLE, f"{name} cannot be read in Dynamics: left out", "map another one")


def rule_problems(rule: FieldRule, columns: Mapping[str, Column], field: MarketoField) -> Iterator[FieldFinding]:
    """What is wrong with a rule for this field, when all its columns are there."""
    column = columns[rule.columns[0]]
    name = column.web_name
    shape = given_by(rule, column)
    if not takes(field, shape):
        text = f"{name} gives {shape.value}, which a field of type {field.data_type} does not take"
        yield failed(Code.WRONG_TYPE, f"{text}: every record is refused", "map a column or a field of a fitting type")
    elif is_guess(field, shape) and field.data_type == "boolean":
        text = f"{name} gives {shape.value} where yes or no is wanted"
        yield attention(Code.DOUBTFUL, text, 'use convert = "is" with values, or map a Yes/No column')
    elif is_guess(field, shape):
        yield attention(Code.DOUBTFUL, f"{name} is a choice and its number is sent", 'use convert = "label"')
    if rule.convert == "label" and not has_labels(column):
        yield attention(Code.NEVER, f"{name} is no choice and has no labels: never sent", "take the conversion away")
    if rule.convert == "true_only" and column.kind != "Boolean":
        text = f"{name} is no Yes/No column: never sent"
        yield attention(Code.NEVER, text, 'use convert = "is" with values')
    if rule.convert == "is" and not can_be(column, rule.values):
        yield attention(Code.NEVER, f"{name} never has one of these values: always false", RIGHT_VALUES)
    for other, wanted in rule.when.items():
        if not isinstance(wanted, str) and not can_be(columns[other], wanted):
            yield attention(Code.NEVER, f"{other} never has one of the values of when: never used", RIGHT_VALUES)
    cut = lengths(rule, [columns[each] for each in rule.columns], field)
    if cut:
        text = f"{' + '.join(rule.columns)} can have {cut[0]} characters, Marketo takes {cut[1]}: the rest is cut off"
        yield attention(Code.CUT, text, "nothing, if that is all right; else map a field that takes more")


def nearest(name: str, known: Iterable[str], table: str) -> str:
    """A remedy for a name that is not known: the name that may be meant, or where to look."""
    meant = problems.nearest(name, list(known))
    if meant:
        return f"is {meant} meant?"
    return f"correct or remove it; msisync fields list {table} shows what there is"


def nearest_column(name: str, columns: Mapping[str, Column], table: str) -> str:
    """The same for a column; Dataverse reads a lookup by another name than its own."""
    lookup = next((c for c in columns.values() if c.kind in LOOKUP_KINDS and c.name == name), None)
    return f"a lookup is read as {lookup.web_name}" if lookup else nearest(name, columns, table)
