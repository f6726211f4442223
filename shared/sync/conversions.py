"""From a Dynamics column to a Marketo field: one table for every pair of types. Pure.

Dynamics' side is the column's type with its format and behaviour (dataverse.md 4.2 and 8), Marketo's the data type of
describe (marketo.md 4.7, 5.3). A pair is converted, converted with a loss that `fields check` tells, or not allowed.
A value that does not convert raises UnfitError, whatever it is: that one field is left out, its record is sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final
from zoneinfo import ZoneInfo

from ..dataverse.metadata import LOOKUP_KINDS, Column
from ..marketo.fields import MarketoField
from ..model.text import clean
from . import converters as to
from .converters import STRING_LENGTH, Family, Policy, Target, UnfitError


class Source(StrEnum):
    """What a rule gives: the type of its column, or of what it makes of it. The words are for people."""

    TEXT = "text"
    LABEL = "the label of a choice"
    LABELS = "labels of choices"
    WHOLE = "a whole number"
    DECIMAL = "a number with decimals"
    YES_NO = "yes or no"
    CHOICE = "the number of a choice"
    CHOICES = "the numbers of choices"
    MOMENT = "a date and time"
    DAY = "a date"
    LOCAL_DAY = "a date in the user's time zone"
    CLOCK = "a date and time without a time zone"
    CLOCK_DAY = "a date without a time zone"
    ID = "an id"
    OTHER = "a file, an image or a list"
    ANY = "something"


_KINDS: Final[Mapping[str, Source]] = {
    **dict.fromkeys(("String", "Memo", "EntityName"), Source.TEXT),
    **dict.fromkeys(("Integer", "BigInt"), Source.WHOLE),
    **dict.fromkeys(("Decimal", "Double", "Money"), Source.DECIMAL),
    **dict.fromkeys(("Picklist", "State", "Status"), Source.CHOICE),
    **dict.fromkeys(("Uniqueidentifier", *LOOKUP_KINDS), Source.ID),
    **dict.fromkeys(("PartyList", "CalendarRules", "ManagedProperty"), Source.OTHER),
    "Boolean": Source.YES_NO,
    "MultiSelectPicklist": Source.CHOICES,
}
_DATES: Final[Mapping[tuple[str, str], Source]] = {
    ("UserLocal", "DateOnly"): Source.LOCAL_DAY,
    ("TimeZoneIndependent", "DateOnly"): Source.CLOCK_DAY,
    ("TimeZoneIndependent", "DateAndTime"): Source.CLOCK,
    ("DateOnly", "DateOnly"): Source.DAY,
    ("DateOnly", "DateAndTime"): Source.DAY,
}
_FAMILIES: Final[Mapping[str, Family]] = {
    **{str(family): family for family in Family},
    **dict.fromkeys(("score", "percent", "reference"), Family.WHOLE),
    "currency": Family.NUMBER,
}


def source_of(column: Column) -> Source:
    """What the values of a column are."""
    if column.kind == "DateTime":
        return _DATES.get((column.behavior, column.format), Source.MOMENT)
    if column.kind == "Virtual":  # a multi-select choice is one, and so are files and images
        return Source.CHOICES if column.type_name in ("", "MultiSelectPicklistType") else Source.OTHER
    return _KINDS.get(column.kind, Source.TEXT)


def family_of(field: MarketoField) -> Family:
    """What values a field takes; a data type that is not known is like a string."""
    return _FAMILIES.get(field.data_type, Family.STRING)


_NEGATIVE = re.compile(r"(?i:do_?not|dont|unsubscr|opt_?out|suspend|black_?list|block|exclu|invalid|declin)|^no[A-Z_]")


def target_of(name: str, field: MarketoField, policy: Policy) -> Target:
    """The field `name` as conversions see it."""
    family = family_of(field)
    known = field.data_type in _FAMILIES and family is not Family.AREA
    return Target(
        family,
        field.length or (STRING_LENGTH if known else None),
        policy,
        UTC if policy.time_zone == "UTC" else ZoneInfo(policy.time_zone),
        is_address=name.lower() == "email" or family is Family.EMAIL,
        is_negative=bool(_NEGATIVE.search(name)),
    )


Convert = Callable[[Any, Target], Any]


@dataclass(frozen=True, slots=True)
class Conversion:
    """One cell of the table. `note`: what may be lost, or why the pair is not allowed (then `convert` is None).

    Of a `rare` one few values convert: what does is sent, but hardly anybody means the pair.
    """

    convert: Convert | None
    note: str = ""
    rare: bool = False


def convert(source: Source, value: Any, target: Target) -> Any:
    """The value as Marketo takes it; None when nothing is left of it. Raises UnfitError."""
    found = _seen(source, value)
    cell = TABLE[found][target.family]
    if cell.convert is None:
        raise UnfitError("NotAllowed", f"{found} does not become {_TAKES[target.family]}", found)
    if isinstance(value, str) and not clean(value, target.policy.beyond_bmp):
        return None
    try:
        return cell.convert(value, target)
    except UnfitError as unfit:
        unfit.value_class = unfit.value_class or str(found)
        raise
    except (ValueError, ArithmeticError, TypeError):  # whatever the row holds: it is about this one field
        raise UnfitError("NotConverted", f"{found} that does not become {_TAKES[target.family]}", found) from None


def cell_of(source: Source, family: Family) -> Conversion:
    """The table's word on a pair of types."""
    return TABLE[source][family]


def _seen(source: Source, value: Any) -> Source:
    """The type of a value; where it is not what the column's type promises, the value decides."""
    if isinstance(value, _PYTHON.get(source, ())) and (source is Source.YES_NO or not isinstance(value, bool)):
        return source
    if isinstance(value, bool):
        return Source.YES_NO
    if isinstance(value, int):
        return Source.WHOLE
    if isinstance(value, float | Decimal):
        return Source.DECIMAL
    return Source.TEXT if isinstance(value, str) else Source.OTHER


_PYTHON: Final[Mapping[Source, tuple[type, ...]]] = {
    **dict.fromkeys((Source.TEXT, Source.LABEL, Source.LABELS, Source.ID, Source.CHOICES), (str,)),
    **dict.fromkeys((Source.MOMENT, Source.DAY, Source.LOCAL_DAY, Source.CLOCK, Source.CLOCK_DAY), (str,)),
    **dict.fromkeys((Source.WHOLE, Source.DECIMAL), (int, float, Decimal)),
    Source.CHOICE: (int,),
    Source.YES_NO: (bool,),
    Source.OTHER: (object,),
}

# -- the table -------------------------------------------------------------------------------------------------------

_TAKES: Final[Mapping[Family, str]] = {
    **dict.fromkeys((Family.STRING, Family.AREA), "text"),
    Family.EMAIL: "an e-mail address",
    Family.PHONE: "a phone number",
    Family.URL: "a web address",
    Family.WHOLE: "a whole number",
    Family.NUMBER: "a number",
    Family.FLAG: "yes or no",
    Family.DAY: "a date",
    Family.MOMENT: "a date and time",
}


def _row(**cells: Convert | tuple[Convert, str] | tuple[Convert, str, bool] | str) -> dict[Family, Conversion]:
    """A row of the table: a conversion, one with what it loses, or why there is none. What is not named is none."""
    row = {}
    for family in Family:
        cell = cells.get(family.name.lower(), "it is never sent")
        if isinstance(cell, str):
            row[family] = Conversion(None, cell)
        else:
            row[family] = Conversion(*cell) if isinstance(cell, tuple) else Conversion(cell)
    return row


def _flag(of: Callable[[Any], Any]) -> Convert:
    return lambda value, _: of(value)


_IF_NUMBER = "only text that is a plain number is sent"
_IF_DATE = "only text such as 2025-03-04 is sent"
_IF_WORD = "only words for yes and no in the language of sync.toml, true, false, 1 and 0 are sent"
_NUMBER_OF_CHOICE = "its number is sent"
_WHICH_IS_YES = "nobody knows which choice means yes, so it is never sent"
_MIDNIGHT = "midnight UTC is sent as its time"
_IN_ZONE = "its day in the time_zone of sync.toml is sent"

_TEXTS = _row(
    string=to.as_string, area=to.as_text, email=to.as_address, phone=to.as_phone, url=to.as_url,
    whole=(to.as_whole, _IF_NUMBER, True), number=(to.as_number, _IF_NUMBER, True), flag=(to.word_as_flag, _IF_WORD),
    day=(to.as_written_day, _IF_DATE, True), moment=(to.as_moment, _IF_DATE, True),
)  # fmt: skip
TABLE: Final[Mapping[Source, Mapping[Family, Conversion]]] = {
    Source.TEXT: _TEXTS,
    Source.LABEL: _TEXTS,
    Source.LABELS: _row(string=to.as_labels, area=to.as_labels),
    Source.WHOLE: _row(
        string=to.number_as_text, area=to.number_as_text, phone=to.number_as_text, whole=to.as_whole,
        number=to.as_number, flag=(to.number_as_flag, "only 0 and 1 are sent"),
    ),
    Source.DECIMAL: _row(
        string=to.number_as_text, area=to.number_as_text, whole=(to.as_whole, "it is rounded"), number=to.as_number,
        flag=(to.number_as_flag, "only 0 and 1 are sent"),
    ),
    Source.YES_NO: _row(
        string=to.flag_as_text, area=to.flag_as_text, whole=_flag(int), number=_flag(float), flag=_flag(bool)
    ),
    Source.CHOICE: _row(
        string=(to.number_as_text, _NUMBER_OF_CHOICE), area=(to.number_as_text, _NUMBER_OF_CHOICE), whole=to.as_whole,
        number=to.as_number, flag=_WHICH_IS_YES,
    ),
    Source.CHOICES: _row(
        string=(to.as_written, "their numbers are sent"), area=(to.as_written, "their numbers are sent"),
        flag=_WHICH_IS_YES,
    ),
    Source.MOMENT: _row(string=to.as_written, area=to.as_written, day=(to.as_day, _IN_ZONE), moment=to.as_moment),
    Source.DAY: _row(string=to.as_written, area=to.as_written, day=to.as_written_day, moment=(to.as_moment, _MIDNIGHT)),
    Source.LOCAL_DAY: _row(string=to.as_local_day, area=to.as_local_day, day=to.as_local_day, moment=to.as_moment),
    Source.CLOCK: _row(
        string=to.as_written, area=to.as_written, day=to.as_written_day, moment=(to.as_moment, "it is sent as UTC")
    ),
    Source.CLOCK_DAY: _row(
        string=to.as_written_day, area=to.as_written_day, day=to.as_written_day, moment=(to.as_moment, _MIDNIGHT)
    ),
    Source.ID: _row(string=to.as_written, area=to.as_written),
    Source.OTHER: _row(),
    Source.ANY: _TEXTS,
}  # fmt: skip
