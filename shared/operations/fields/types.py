"""Whether what a rule of sync.toml gives is a value that a Marketo field takes. Pure.

A value of a wrong type refuses the whole record (marketo.md 5.3): a mapping that gives one fails for every row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum

from shared.config import FieldRule
from shared.dataverse.metadata import LOOKUP_KINDS, Column
from shared.fields import TEXT_BYTES, MarketoField


class Shape(Enum):
    """What a value looks like, in words for people."""

    TEXT = "text"
    NUMBER = "a number"
    BOOLEAN = "yes or no"
    DATE = "a date"
    CHOICE = "the number of a choice"
    CHOICES = "the numbers of choices"
    ID = "an id"


#: A column's shape by its AttributeType; all others are text. A multi-select choice is Virtual (dataverse.md 8).
_SHAPES: Mapping[str, Shape] = {
    **dict.fromkeys(("Integer", "BigInt", "Decimal", "Double", "Money"), Shape.NUMBER),
    **dict.fromkeys(("Picklist", "State", "Status"), Shape.CHOICE),
    **dict.fromkeys(("Uniqueidentifier", *LOOKUP_KINDS), Shape.ID),
    "Virtual": Shape.CHOICES,
    "Boolean": Shape.BOOLEAN,
    "DateTime": Shape.DATE,
}
_NUMBERS = frozenset({Shape.NUMBER, Shape.CHOICE})
#: What a field's data type takes; what is not here is text, which takes everything.
_TAKES: Mapping[str, frozenset[Shape]] = {
    **dict.fromkeys(("integer", "score", "percent", "reference"), _NUMBERS),
    **dict.fromkeys(("float", "currency"), _NUMBERS | {Shape.BOOLEAN}),
    **dict.fromkeys(("date", "datetime"), frozenset({Shape.DATE})),
    "email": frozenset({Shape.TEXT}),
    "boolean": frozenset(Shape),  # anything is made a yes or a no, see `is_guess`
}
_LABELLED = frozenset({Shape.CHOICE, Shape.CHOICES, Shape.BOOLEAN})


def shape_of(column: Column) -> Shape:
    """What the column's values look like."""
    return _SHAPES.get(column.kind, Shape.TEXT)


def given_by(rule: FieldRule, column: Column) -> Shape:
    """What a rule makes of its (first) column's values."""
    if rule.convert in {"label", "lines"}:
        return Shape.TEXT
    return Shape.BOOLEAN if rule.convert in {"is", "true_only"} else shape_of(column)


def takes(field: MarketoField, shape: Shape) -> bool:
    """Whether Marketo accepts values of this shape in the field."""
    return shape in _TAKES.get(field.data_type, frozenset(Shape))


def is_guess(field: MarketoField, shape: Shape) -> bool:
    """Whether the value is accepted but hardly what is meant: a number of a choice as text, text as yes or no."""
    if field.data_type == "boolean":
        return shape is not Shape.BOOLEAN
    return shape in {Shape.CHOICE, Shape.CHOICES} and field.data_type not in _TAKES


def has_labels(column: Column) -> bool:
    """Whether the column's values have labels."""
    return shape_of(column) in _LABELLED


def lengths(rule: FieldRule, columns: Iterable[Column], field: MarketoField) -> tuple[int, int] | None:
    """How long the rule's text can be and how much of it the field takes, where text may be cut; else None."""
    if rule.convert not in {"plain", "lines"} or field.data_type in _TAKES.keys() - {"email"}:
        return None
    parts = [column.max_length or 0 for column in columns]
    given = sum(parts) + len(parts) - 1
    limit = TEXT_BYTES if field.data_type == "text" else field.length
    return (given, limit) if limit is not None and given > limit else None


def can_be(column: Column, values: Iterable[object]) -> bool:
    """Whether the column can have one of these values at all: a choice has numbers, never its labels."""
    shape = shape_of(column)
    if shape in {Shape.NUMBER, Shape.CHOICE, Shape.BOOLEAN}:
        return any(isinstance(value, int) for value in values)
    return any(isinstance(value, str) for value in values)
