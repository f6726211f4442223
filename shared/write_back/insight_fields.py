"""Sales Insight's fields on their way back: which column of a table takes which Marketo field, or why none does. Pure.

The guide names columns as Salesforce would ("Priority__c"); Dataverse's logical names are lower case behind a
publisher's prefix, and the names that the package gives are not published (dataverse.md 7.10). So a pair of
[write_back] is looked up among the columns that a table really has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from ..config.sync_toml import INSIGHT_PAIRS
from ..dataverse.metadata import TEXT_KINDS, Column
from ..marketo.fields import MarketoField

#: What a field of the guide is called by instances that know it under another name (marketo.md 7).
ALIASES: Mapping[str, tuple[str, ...]] = {"relativescoring": ("relativeScore",), "relativescore": ("relativeScoring",)}
#: The publisher of the native connector's solution. Its columns belong to another product until sync.toml names them.
NATIVE_PREFIX = "mkt"
#: The native solution's columns (dataverse.md 7.10; the documentation prints both names of the source).
NATIVE_NAMES: Mapping[str, tuple[str, ...]] = {
    "msiLastInterestingMomentType": ("mkt_lastinterestingmomenttype",),
    "msiLastInterestingMomentDate": ("mkt_lastinterestingmomentdate",),
    "msiLastInterestingMomentDesc": ("mkt_lastinterestingmomentdesc",),
    "msiLastInterestingMomentSource": ("mkt_lastinterestingmomentsource", "mkt_leadinterestingmomentsource"),
    "priority": ("mkt_priority",),
    "relativeUrgency": ("mkt_urgency",),
    "relativeScoring": ("mkt_relativescore",),
}

_NUMBER_KINDS = frozenset({"Integer", "BigInt", "Decimal", "Double", "Money"})
_HOLDS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("integer", "score", "percent", "reference"), _NUMBER_KINDS | {"Picklist", *TEXT_KINDS}),
    **dict.fromkeys(("float", "currency"), _NUMBER_KINDS.union(TEXT_KINDS)),
    **dict.fromkeys(("date", "datetime"), frozenset({"DateTime", *TEXT_KINDS})),
    "boolean": frozenset({"Boolean", *TEXT_KINDS}),
}
#: Everything else is text; a choice takes it by its label.
_HOLDS_TEXT = frozenset({*TEXT_KINDS, "Picklist"})
_PREFIXED = re.compile(r"([a-z][a-z0-9]{1,7})_(.+)")


class FoundBy(StrEnum):
    """How a column was found, the surest way first."""

    LOGICAL_NAME = "logical name"
    SCHEMA_NAME = "schema name"
    LABEL = "label"
    GUIDE_NAME = "the guide's name without a publisher's prefix"


class Reason(StrEnum):
    """Why a pair cannot be written."""

    NO_FIELD = "no field"
    NO_COLUMN = "no column"
    AMBIGUOUS = "ambiguous"
    TAKEN = "taken"
    NOT_READABLE = "not readable"
    NOT_UPDATABLE = "not updatable"
    WRONG_TYPE = "wrong type"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a pair cannot be written, in words, and how to fix it."""

    reason: Reason
    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Pair:
    """A pair of [write_back] on one table. `name` is the Marketo field as sync.toml spells it.

    `field` is Marketo's own spelling and `column` the column that takes its value; either is None where there is none.
    """

    name: str
    field: str | None
    column: Column | None
    found_by: FoundBy | None
    obstacles: tuple[Obstacle, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether the field's value can be written to the column."""
        return not self.obstacles


def resolve(
    write_back: Mapping[str, Sequence[str]], columns: Mapping[str, Column], lead_fields: Mapping[str, MarketoField]
) -> tuple[Pair, ...]:
    """The pairs of [write_back] for a table with these columns and an instance with these lead fields, in order."""
    pairs: list[Pair] = []
    for name, names in write_back.items():
        pair = _resolve(name, names, columns, lead_fields)
        other = next((p for p in pairs if p.column and pair.column and p.column.name == pair.column.name), None)
        if other and pair.column:
            text = f"{pair.column.name} already takes {other.name}"
            taken = Obstacle(Reason.TAKEN, text, "name another column in [write_back]")
            pair = replace(pair, obstacles=(*pair.obstacles, taken))
        pairs.append(pair)
    return tuple(pairs)


def lead_field(name: str, lead_fields: Collection[str]) -> str | None:
    """Marketo's spelling of a field, by its name or by another name of it; case does not matter (marketo.md 4.6)."""
    known = {known.lower(): known for known in lead_fields}
    spellings = (name, *ALIASES.get(name.lower(), ()))
    return next((known[spelling.lower()] for spelling in spellings if spelling.lower() in known), None)


def find_columns(names: Sequence[str], columns: Mapping[str, Column]) -> tuple[FoundBy | None, tuple[Column, ...]]:
    """The column that is meant, and how it was found: none, or several where the names do not say which.

    The names are tried in turn: each by logical name, by schema name, by label, all without regard to case. Only when
    all have failed, those in the guide's notation are compared with the columns' names without their prefix.
    """
    for name in names:
        wanted = name.strip().casefold()
        for found_by, text in _TEXTS.items():
            found = tuple(column for column in columns.values() if text(column).strip().casefold() == wanted)
            if found and wanted:
                return found_by, found
    for name in names:
        if name.lower().endswith("__c"):
            stem = bare(name[:-3])
            found = tuple(column for column in columns.values() if _without_prefix(column) == stem)
            if found and stem:
                return FoundBy.GUIDE_NAME, found
    return None, ()


def can_hold(data_type: str, kind: str) -> bool:
    """Whether a column of this AttributeType can hold what a Marketo field of this type has."""
    return kind in _HOLDS.get(data_type, _HOLDS_TEXT)


def native_columns(name: str, columns: Mapping[str, Column]) -> tuple[Column, ...]:
    """The native solution's columns for a Sales Insight field: only to be proposed, never written to unasked."""
    spellings = next((names for known, names in NATIVE_NAMES.items() if known.lower() == name.lower()), ())
    return tuple(columns[spelling] for spelling in spellings if spelling in columns)


def bare(name: str) -> str:
    """A name without case and without what separates its words."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _resolve(
    name: str, names: Sequence[str], columns: Mapping[str, Column], lead_fields: Mapping[str, MarketoField]
) -> Pair:
    field = lead_field(name, lead_fields)
    found_by, found = find_columns(names, columns)
    data_type = lead_fields[field].data_type if field else None
    obstacles = tuple(_obstacles(name, names, found, data_type))
    return Pair(name, field, found[0] if len(found) == 1 else None, found_by, obstacles)


def _obstacles(name: str, names: Sequence[str], found: Sequence[Column], data_type: str | None) -> Iterator[Obstacle]:
    """`found`: the columns that are meant by `names`; `data_type`: that of the field, None where there is none."""
    if data_type is None:
        remedy = "correct the name in [write_back]; msisync fields list lead shows Marketo's fields"
        if any(name.lower() == known.lower() for known in INSIGHT_PAIRS):
            remedy = "ask Marketo Support whether MSI Non-Native is switched on"
        yield Obstacle(Reason.NO_FIELD, f"Marketo has no lead field {name}", remedy)
    if not found:
        text = f"no column has the name or label {' or '.join(names)}"
        yield Obstacle(Reason.NO_COLUMN, text, "name the column in [write_back]; msisync fields suggest proposes one")
    elif len(found) > 1:
        candidates = ", ".join(sorted(column.name for column in found))
        text = f"{len(found)} columns answer to its name or label: {candidates}"
        yield Obstacle(Reason.AMBIGUOUS, text, "name one of them in [write_back] by its logical name")
    else:
        column = found[0]
        if not column.readable:
            text = f"{column.name} cannot be read, so nobody can tell what would change"
            yield Obstacle(Reason.NOT_READABLE, text, "name a column that can be read in [write_back]")
        if not column.updatable:
            text = f"{column.name} is set by Dynamics itself and cannot be written"
            yield Obstacle(Reason.NOT_UPDATABLE, text, "name a column that can be written in [write_back]")
        if data_type and not can_hold(data_type, column.kind):
            text = f"{column.name} is a {column.kind} column and cannot hold a {data_type}"
            yield Obstacle(Reason.WRONG_TYPE, text, "name a column of a fitting type in [write_back]")


def _without_prefix(column: Column) -> str:
    parts = _PREFIXED.fullmatch(column.name)
    return bare(parts[2]) if parts and parts[1] != NATIVE_PREFIX else ""


_TEXTS: Mapping[FoundBy, Callable[[Column], str]] = {
    FoundBy.LOGICAL_NAME: lambda column: column.name,
    FoundBy.SCHEMA_NAME: lambda column: column.schema_name,
    FoundBy.LABEL: lambda column: column.label,
}
