"""Formatted values and lookup annotations, as a client asks for them with `Prefer: odata.include-annotations`."""

import fnmatch
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from emulators.dataverse.columns import LOOKUP_TABLE, NUMBERS, Column, Kind, Option
from emulators.dataverse.store import Row, Store

FORMATTED: Final = "@OData.Community.Display.V1.FormattedValue"
NAVIGATION: Final = "@Microsoft.Dynamics.CRM.associatednavigationproperty"
ENGLISH, GERMAN = 1033, 1031

# Adds the annotations of one value to the row being written out.
Annotate = Callable[[Row, Any, Row], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which annotations a request asked for."""

    formatted: bool = False
    table: bool = False
    navigation: bool = False

    @classmethod
    def from_prefer(cls, patterns: str) -> "Wanted":
        """Read the value of odata.include-annotations, such as `*` or a list of names."""
        names = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]

        def asked(annotation: str) -> bool:
            return any(fnmatch.fnmatchcase(annotation.removeprefix("@"), name) for name in names)

        return cls(asked(FORMATTED), asked(LOOKUP_TABLE), asked(NAVIGATION))


def label(option: Option, language: int) -> str:
    """An option's label in the user's language."""
    return option.german if language == GERMAN else option.label


def formatted_value(column: Column, value: Any, language: int) -> str | None:
    """A value as the user's forms show it; None where no formatted value exists (texts, ids)."""
    if column.labels and column.kind != Kind.CHOICES:
        return label(column.labels[int(value)], language)
    if column.kind == Kind.CHOICES:
        return "; ".join(label(column.labels[int(part)], language) for part in value.split(","))
    return _formatted_number(column, value) if column.kind in NUMBERS else _formatted_date(column, value)


def _formatted_number(column: Column, value: Any) -> str:
    if column.kind == Kind.MONEY:
        return f"€{value:,.2f}"
    if column.kind in {Kind.INTEGER, Kind.BIGINT}:
        return f"{value:,}"
    return f"{value:,.5f}".rstrip("0").rstrip(".")


def _formatted_date(column: Column, value: Any) -> str | None:
    if column.kind not in {Kind.DATE, Kind.DATETIME}:
        return None
    moment = datetime.fromisoformat(value)
    day = f"{moment.month}/{moment.day}/{moment.year}"
    return day if column.kind == Kind.DATE else f"{day} {moment.hour % 12 or 12}:{moment:%M %p}"


def annotator(column: Column, wanted: Wanted, store: Store, language: int) -> Annotate | None:
    """How to annotate the values of a column, or None when there is nothing to add."""
    if column.is_lookup:
        return _lookup_annotator(column, wanted, store)
    if not wanted.formatted or column.kind in {Kind.TEXT, Kind.MEMO, Kind.ID}:
        return None
    key = column.name + FORMATTED
    cache: dict[Any, str | None] = {}

    def annotate(_row: Row, value: Any, out: Row) -> None:
        if value not in cache:
            cache[value] = formatted_value(column, value, language)
        out[key] = cache[value]

    return annotate


def _lookup_annotator(column: Column, wanted: Wanted, store: Store) -> Annotate | None:
    if not (wanted.formatted or wanted.table or wanted.navigation):
        return None
    table_key, name_key, navigation_key = column.key + LOOKUP_TABLE, column.key + FORMATTED, column.key + NAVIGATION

    def annotate(row: Row, value: Any, out: Row) -> None:
        table = row[table_key]
        if wanted.navigation:
            out[navigation_key] = column.navigation.get(table, column.name)
        if wanted.table:
            out[table_key] = table
        if wanted.formatted:
            name = store.name_of(table, value)
            if name is not None:
                out[name_key] = name

    return annotate
