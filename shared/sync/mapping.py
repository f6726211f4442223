"""Mapping: from a Dataverse row to a Marketo record. Pure; compiled once per table, then run per row.

Null clears a field, what is left out stays as it is, a wrong type would refuse the whole record (marketo.md 5.3). So a
field is null only when every rule that applies was really read and is empty; a value that Marketo would not take
(shared/sync/conversions.py) is left out, with its reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..config.conditions import Row, Wanted, matches
from ..config.sync_toml import FieldRule
from ..dataverse.metadata import Column
from ..marketo.fields import MarketoField
from ..model.outcome import LeftOut
from ..model.text import clean, is_blank
from .conversions import Source, convert, source_of, target_of
from .converters import Policy, Target, UnfitError

Labels = Mapping[str, Mapping[int, str]]

_CHOICE = re.compile(r"\s*(-?\d+)\s*", re.ASCII)


class Mapped(NamedTuple):
    """What a row becomes: the record's fields, and what of the row is left out of them."""

    record: dict[str, Any]
    left_out: list[LeftOut]


@dataclass(frozen=True, slots=True)
class FieldMap:
    """A compiled table: the columns to read, and the function that maps a row.

    `dropped` fields are not in Marketo or cannot be written there; of `dropped_columns`, one is missing in Dynamics.
    An empty column clears its field only where `clears` says so.
    """

    columns: frozenset[str]
    dropped: tuple[str, ...]
    dropped_columns: tuple[str, ...]
    clears: bool
    policy: Policy
    _fields: tuple[_Field, ...]

    def map(self, row: Row, labels: Labels) -> Mapped:
        """The Marketo fields of one row. `labels` are the choice labels of its table by column and value."""
        record: dict[str, Any] = {}
        left_out: list[LeftOut] = []
        for field in self._fields:
            value = field.of(row, labels)
            if isinstance(value, UnfitError):
                left_out.append(LeftOut(field.name, value.code, value.reason, value.value_class))
            elif value is not _LEAVE and (value is not None or self.clears):
                record[field.name] = value
        return Mapped(record, left_out)

    @property
    def names(self) -> frozenset[str]:
        """The Marketo fields that a row may become, as describe spells them."""
        return frozenset(field.name for field in self._fields)

    def text(self, value: str) -> str:
        """A text that does not come from a rule, cleaned like those that do."""
        return clean(value, self.policy.beyond_bmp)


_LEAVE = object()
#: The result of a rule: a value for Marketo, None for an empty column, _LEAVE, or why the value cannot be sent.
Read = Callable[[Row, Labels], Any]


class _Field:
    """A Marketo field and its rules."""

    __slots__ = ("_steps", "name")

    def __init__(self, name: str, steps: tuple[_Step, ...]) -> None:
        self.name = name
        self._steps = steps

    def of(self, row: Row, labels: Labels) -> Any:
        """The first value that a rule has. Without one: None where all that apply are empty, else why it is left.

        Behind a rule that may have a value which our user may not read, no other one counts.
        """
        found: Any = _LEAVE
        is_empty = True
        for step in self._steps:
            value = step.of(row, labels)
            if value is _HIDDEN:
                return found if isinstance(found, UnfitError) else _LEAVE
            if value is None:
                found = None if found is _LEAVE and is_empty else found
            elif isinstance(value, UnfitError):
                found = found if isinstance(found, UnfitError) else value
            elif value is _LEAVE:
                is_empty = False
                found = found if isinstance(found, UnfitError) else _LEAVE
            elif value is not _SKIP:
                return value
        return found


_SKIP = object()
_HIDDEN = object()


class _Step:
    """One alternative of a field: when it applies and how it reads the row.

    A column that is not there, or that our user may not read and that is null, tells nothing: neither that a condition
    holds, nor that it does not, nor that the field is to be cleared (dataverse.md: queries give null for such columns).
    """

    __slots__ = ("_blind", "_hidden", "_read", "_when")

    def __init__(self, rule: FieldRule, read: Read, *, absent: Collection[str], hidden: Collection[str]) -> None:
        self._when = tuple(rule.when.items())
        self._read = read
        self._hidden = tuple(column for column in rule.needed_columns if column in hidden)
        self._blind = frozenset(column for column in rule.needed_columns if column in absent)

    def of(self, row: Row, labels: Labels) -> Any:
        """The rule's result for a row; _SKIP where it does not apply, _HIDDEN where nobody may see whether it does."""
        hidden = {column for column in self._hidden if row.get(column) is None}
        unknown = self._blind | hidden
        if self._when and not _may_hold(row, self._when, unknown):
            return _SKIP
        if self._blind:
            return _LEAVE
        return _HIDDEN if hidden else self._read(row, labels)


def _may_hold(row: Row, conditions: tuple[tuple[str, Wanted], ...], unknown: Collection[str]) -> bool:
    return all(column in unknown or matches(row.get(column), wanted) for column, wanted in conditions)


def compile_table(
    fields: Mapping[str, tuple[FieldRule, ...]],
    marketo_fields: Mapping[str, MarketoField],
    *,
    columns: Mapping[str, Column] | Collection[str] | None = None,
    clears: bool = True,
    policy: Policy = Policy(),  # noqa: B008  (frozen)
) -> FieldMap:
    """Prepare the mapping of a table for the fields that this Marketo instance has (names as describe spells them).

    `columns` are those that Dynamics has, by their names in queries and with their types where these are known; None
    when nobody knows. A field that Marketo does not know, or all of whose columns Dynamics does not have, is left out:
    one unknown name would refuse every record (1006), every row (0x80060888).
    """
    known = {name.lower(): (name, field) for name, field in marketo_fields.items() if field.writable}
    types = columns if isinstance(columns, Mapping) else {}
    hidden = frozenset(name for name, column in types.items() if column.hidden)
    read: set[str] = set()
    missing: set[str] = set()
    compiled = []
    dropped = []
    for name, rules in fields.items():
        if name.lower() not in known:
            dropped.append(name)
            continue
        needed = {column for rule in rules for column in rule.needed_columns}
        absent = needed - set(columns) if columns is not None else set()
        missing |= absent
        if all(absent.intersection(rule.needed_columns) for rule in rules):
            continue
        read |= needed - absent
        spelled, field = known[name.lower()]
        target = target_of(spelled, field, policy)
        steps = tuple(_Step(rule, _reader(rule, types, target), absent=absent, hidden=hidden) for rule in rules)
        compiled.append(_Field(spelled, steps))
    return FieldMap(frozenset(read), tuple(dropped), tuple(sorted(missing)), clears, policy, tuple(compiled))


def label_columns(fields: Mapping[str, tuple[FieldRule, ...]]) -> frozenset[str]:
    """The choice columns whose labels the mapping needs."""
    return frozenset(rule.columns[0] for rules in fields.values() for rule in rules if rule.convert == "label")


def source_for(rule: FieldRule, types: Mapping[str, Column]) -> Source:
    """What a rule gives to the field: its (first) column's type, or that of what it makes of it."""
    column = types.get(rule.columns[0])
    own = source_of(column) if column else Source.ANY
    if rule.convert == "label":
        return Source.LABELS if own is Source.CHOICES else Source.LABEL
    if rule.convert == "lines":
        return Source.TEXT
    return Source.YES_NO if rule.convert in ("is", "true_only") else own


def _reader(rule: FieldRule, types: Mapping[str, Column], target: Target) -> Read:
    source = source_for(rule, types)
    raw = _raw(rule, types, target)

    def read(row: Row, labels: Labels) -> Any:
        try:
            value = raw(row, labels)
            return value if value is None or value is _LEAVE else convert(source, value, target)
        except UnfitError as unfit:
            return unfit
        except (ArithmeticError, TypeError, ValueError):  # whatever the row holds: it is about this one field
            return UnfitError("NotConverted", f"{source} that cannot be compared or converted", str(source))

    return read


def _raw(rule: FieldRule, types: Mapping[str, Column], target: Target) -> Read:
    """What a rule takes from the row, before the field's type matters. The function raises UnfitError."""
    column = rule.columns[0]
    if rule.convert == "label":
        return lambda row, labels: _label(row.get(column), labels.get(column, {}))
    if rule.convert == "lines":
        return _lines(rule.columns, types, target)
    if rule.convert == "is":
        return lambda row, _: None if row.get(column) is None else row[column] in rule.values
    if rule.convert == "true_only":
        return lambda row, _: True if row.get(column) is True else _LEAVE
    return lambda row, _: None if is_blank(value := row.get(column)) else value


def _lines(columns: tuple[str, ...], types: Mapping[str, Column], target: Target) -> Read:
    """The columns that are not empty, one a line, each as text."""
    area = target_of("", MarketoField("text"), target.policy)
    sources = {name: source_of(types[name]) if name in types else Source.ANY for name in columns}

    def read(row: Row, _: Labels) -> Any:
        values = [(name, row[name]) for name in columns if not is_blank(row.get(name))]
        lines = [convert(sources[name], value, area) for name, value in values]
        return "\n".join(line for line in lines if line) or None

    return read


def has_unknown_choice(row: Row, labels: Labels) -> bool:
    """Whether a choice of the row has no label here: an option that was added, or taken away, since they were read."""
    return any(choice not in known for column, known in labels.items() for choice in _choices(row.get(column)))


def _label(value: Any, labels: Mapping[int, str]) -> str | None:
    """A choice without a known label is not sent: the one that Marketo has is nearer to the truth than none."""
    if is_blank(value):
        return None
    choices = _choices(value)
    if not choices or not all(labels.get(choice) for choice in choices):
        raise UnfitError("UnknownLabel", "a choice that has no label here", "a choice")
    return ";".join(labels[choice] for choice in choices)


def _choices(value: Any) -> list[int]:
    """Several choices come as "1,3". Empty where any part is no number."""
    if isinstance(value, int):
        return [int(value)]
    if not isinstance(value, str):
        return []
    found = [_CHOICE.fullmatch(part) for part in value.split(",") if part.strip()]
    return [int(match.group(1)) for match in found if match] if all(found) else []
