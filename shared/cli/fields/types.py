"""What the table of conversions says of a rule of sync.toml and its Marketo field. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...config.sync_toml import FieldRule
from ...dataverse.metadata import Column
from ...sync.conversions import Conversion, Source, cell_of, family_of, source_of
from ...sync.converters import STRING_LENGTH, TEXT_BYTES, Family
from ...sync.mapping import MarketoField, source_for

_LABELLED = frozenset({Source.CHOICE, Source.CHOICES, Source.YES_NO})
_NUMBERS = frozenset({Source.WHOLE, Source.DECIMAL, Source.CHOICE, Source.YES_NO})
#: Values of these are what they are: what a conversion loses of them is precision, not sense.
_MEASURES = frozenset({Source.DECIMAL, Source.MOMENT, Source.DAY, Source.LOCAL_DAY, Source.CLOCK, Source.CLOCK_DAY})
_ADDRESSES = frozenset({Family.EMAIL, Family.PHONE, Family.URL})


def conversion_of(rule: FieldRule, columns: Mapping[str, Column], field: MarketoField) -> tuple[Source, Conversion]:
    """What a rule gives, and what becomes of it in the field."""
    source = source_for(rule, columns)
    return source, cell_of(source, family_of(field))


def is_measure(source: Source) -> bool:
    """Whether a conversion loses no more than precision of such values."""
    return source in _MEASURES


def has_labels(column: Column) -> bool:
    """Whether the column's values have labels."""
    return source_of(column) in _LABELLED


def is_id(column: Column) -> bool:
    """Whether the column's values are ids, which say nothing to people."""
    return source_of(column) is Source.ID


def is_unbroken(field: MarketoField) -> bool:
    """Whether a value that is too long is left out, because its beginning would be another one."""
    return family_of(field) in _ADDRESSES


def lengths(rule: FieldRule, columns: Iterable[Column], field: MarketoField) -> tuple[int, int] | None:
    """How long the rule's text can be and how much of it the field takes, where that is less; else None."""
    family = family_of(field)
    if rule.convert not in {"plain", "lines"} or family not in {Family.STRING, Family.AREA, *_ADDRESSES}:
        return None
    parts = [column.max_length or 0 for column in columns]
    given = sum(parts) + len(parts) - 1
    limit = TEXT_BYTES if family is Family.AREA else field.length or STRING_LENGTH
    return (given, limit) if given > limit else None


def can_be(column: Column, values: Iterable[object]) -> bool:
    """Whether the column can have one of these values at all: a choice has numbers, never its labels."""
    expected = int if source_of(column) in _NUMBERS else str
    return any(isinstance(value, expected) for value in values)
