"""Mapping: from a Dataverse row to a Marketo record. Pure; compiled once per table, then run per row.

Values follow marketo.md 5.3: null clears, what is left out stays as it is, a wrong type would refuse the whole record,
text is cut to the length that describe gives (30,000 bytes for text areas).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from shared.conditions import Row, holds
from shared.config import FieldRule

Labels = Mapping[str, Mapping[int, str]]
TEXT_BYTES = 30_000


@dataclass(frozen=True, slots=True)
class MarketoField:
    """What describe says of a field: its data type, and its length where it has one."""

    data_type: str
    length: int | None = None
    label: str = ""
    writable: bool = True
    searchable: bool = False


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
    _steps: tuple[tuple[str, tuple[_Step, ...], Callable[[Any], Any]], ...]

    def map(self, row: Row, labels: Labels) -> dict[str, Any]:
        """The Marketo fields of one row. `labels` are the choice labels of its table by column and value."""
        record: dict[str, Any] = {}
        for name, steps, fit in self._steps:
            for step in steps:
                if step.when and not holds(row, step.when):
                    continue
                value = step.read(row, labels)
                if value is _LEAVE or (value is None and not self.clears):
                    continue
                record[name] = fit(value) if value is not None else None
                if value is not None:
                    break
        return record


class _Step:
    """One alternative of a field: when it applies and how it reads the row."""

    __slots__ = ("read", "when")

    def __init__(self, rule: FieldRule) -> None:
        self.when = rule.when
        self.read = _reader(rule)


_LEAVE = object()


def compile_table(
    fields: Mapping[str, tuple[FieldRule, ...]],
    marketo_fields: Mapping[str, MarketoField],
    *,
    columns: Collection[str] | None = None,
    clears: bool = True,
) -> FieldMap:
    """Prepare the mapping of a table for the fields that this Marketo instance has (names as describe spells them).

    A field that Marketo does not know, or a column that Dynamics does not have (`columns` are those that it has, None
    when nobody knows), is left out: one unknown name would refuse every record (1006), every row (0x80060888).
    """
    known = {name.lower(): (name, field) for name, field in marketo_fields.items() if field.writable}
    read: set[str] = set()
    missing: set[str] = set()
    steps = []
    dropped = []
    for name, rules in fields.items():
        if name.lower() not in known:
            dropped.append(name)
            continue
        spelled, field = known[name.lower()]
        usable = []
        for rule in rules:
            absent = [c for c in rule.needed_columns if columns is not None and c not in columns]
            missing.update(absent)
            if not absent:
                usable.append(rule)
                read.update(rule.needed_columns)
        if usable:
            steps.append((spelled, tuple(_Step(rule) for rule in usable), fitter(field)))
    return FieldMap(frozenset(read), tuple(dropped), tuple(sorted(missing)), clears, tuple(steps))


def label_columns(fields: Mapping[str, tuple[FieldRule, ...]]) -> frozenset[str]:
    """The choice columns whose labels the mapping needs."""
    return frozenset(rule.columns[0] for rules in fields.values() for rule in rules if rule.convert == "label")


def _reader(rule: FieldRule) -> Callable[[Row, Labels], Any]:
    column = rule.columns[0]
    if rule.convert == "label":
        return lambda row, labels: _label(row.get(column), labels[column]) if column in labels else _LEAVE
    if rule.convert == "lines":
        return lambda row, _: "\n".join(str(row[c]) for c in rule.columns if row.get(c)) or None
    if rule.convert == "is":
        return lambda row, _: None if row.get(column) is None else row[column] in rule.values
    if rule.convert == "true_only":
        return lambda row, _: True if row.get(column) is True else _LEAVE
    return lambda row, _: _plain(row.get(column))


def _plain(value: Any) -> Any:
    return None if value == "" else value


def has_unknown_choice(row: Row, labels: Labels) -> bool:
    """Whether a choice of the row has no label here: an option that was added, or taken away, since they were read."""
    return any(choice not in known for column, known in labels.items() for choice in _choices(row.get(column)))


def _label(value: Any, labels: Mapping[int, str]) -> Any:
    """A choice without a known label is not sent: the one that Marketo has is nearer to the truth than none."""
    if value is None or value == "":
        return None
    found = [labels.get(choice) for choice in _choices(value if isinstance(value, str) else int(value))]
    return ";".join(label for label in found if label) or None if found and None not in found else _LEAVE


def _choices(value: Any) -> list[int]:
    """Several choices come as "1,3"."""
    if isinstance(value, str):
        return [int(part) for part in value.split(",") if part.strip().lstrip("-").isdecimal()]
    return [int(value)] if isinstance(value, int) else []


def fitter(field: MarketoField) -> Callable[[Any], Any]:
    """How a value becomes one that Marketo accepts in a field of this type."""
    fit = _FIT.get(field.data_type)
    if fit:
        return fit
    text = _address if field.data_type == "url" else _string
    return lambda value: text(value)[: field.length]


def _string(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def _address(value: Any) -> str:
    """Dynamics takes an address without its protocol; Marketo may refuse the whole record for it."""
    text = _string(value)
    return text if "://" in text else f"https://{text}"


def _text(value: Any) -> str:
    text = _string(value)
    if len(text) <= TEXT_BYTES // 4:
        return text
    return text.encode(errors="replace")[:TEXT_BYTES].decode(errors="ignore")


def _integer(value: Any) -> Any:
    return round(value) if isinstance(value, float) else value


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, bool) else value


def _datetime(value: Any) -> str:
    text = str(value)
    return f"{text}T00:00:00Z" if len(text) == len("2025-03-04") else text


_FIT: dict[str, Callable[[Any], Any]] = {
    "integer": _integer,
    "score": _integer,
    "percent": _integer,
    "float": _number,
    "currency": _number,
    "boolean": bool,
    "date": lambda value: str(value)[:10],
    "datetime": _datetime,
    "text": _text,
}
