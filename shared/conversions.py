"""From a Dynamics column to a Marketo field: one table for every pair of types. Pure.

Dynamics' side is the column's type with its format and behaviour (dataverse.md 4.2 and 8), Marketo's the data type of
describe (marketo.md 4.7, 5.3). A pair is converted, converted with a loss that `fields check` tells, or not allowed.
A value that does not convert raises UnfitError, whatever it is: that one field is left out, its record is sent.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Any, Final
from zoneinfo import ZoneInfo

from shared.dataverse.metadata import LOOKUP_KINDS, Column
from shared.marketo.fields import MarketoField
from shared.text import BeyondBmp, clean, cut, cut_bytes, without_invisible
from shared.words import answer

#: Marketo's limit of a text area, in bytes, and of a string whose length describe does not give (marketo.md 4.7).
TEXT_BYTES = 30_000
STRING_LENGTH = 255
_INT32 = 2**31
#: Midnight somewhere on earth, as UTC: zones from -10:45 to +13.
_NOON_OF_ZONES = timedelta(hours=11)


class UnfitError(ValueError):
    """A value that the field does not take: `code` for programs, `reason` for people, never the value."""

    def __init__(self, code: str, reason: str, value_class: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.value_class = value_class


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


class Family(StrEnum):
    """Marketo's data types that take the same values."""

    STRING = "string"
    AREA = "text"
    EMAIL = "email"
    PHONE = "phone"
    URL = "url"
    WHOLE = "integer"
    NUMBER = "float"
    FLAG = "boolean"
    DAY = "date"
    MOMENT = "datetime"


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


@dataclass(frozen=True, slots=True)
class Policy:
    """What sync.toml says of values: the LCID of labels and words, and how days and rare characters are read."""

    language: int = 1033
    beyond_bmp: BeyondBmp = "drop"
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Target:
    """The field that a value is for. `length` is in characters; None for a text area and for types not known."""

    family: Family
    length: int | None
    policy: Policy
    zone: ZoneInfo | timezone
    #: An address that Marketo keeps in a string (a sales person's) is cleaned like one, and taken as it then is.
    is_address: bool = False
    #: The field asks "may we not?" (doNotCall, unsubscribed).
    is_negative: bool = False


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

# -- values as text --------------------------------------------------------------------------------------------------


def _text(value: Any, target: Target) -> str | None:
    """Text as it is, cleaned, and cut to what the field takes."""
    text = clean(str(value), target.policy.beyond_bmp)
    if target.family is Family.AREA:
        return cut_bytes(text, TEXT_BYTES) or None
    return (text if target.length is None else cut(text, target.length)) or None


def _labels(value: Any, target: Target) -> str | None:
    """As many whole labels as the field takes: half a label is another one."""
    text = clean(str(value), target.policy.beyond_bmp)
    limit = TEXT_BYTES if target.family is Family.AREA else target.length
    while limit is not None and _size(text, target) > limit and ";" in text:
        text = text.rpartition(";")[0]
    return _text(text, target)


def _size(text: str, target: Target) -> int:
    if target.family is Family.AREA:
        return len(text.encode(errors="replace"))
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _unbroken(text: str, target: Target) -> str | None:
    """What means something else when it is cut: a number, an id, an address."""
    if target.length is not None and len(text) > target.length:
        raise UnfitError("TooLong", f"{len(text)} characters, and the field takes {target.length}")
    return text or None


def _number_text(value: Any, target: Target) -> str | None:
    return _unbroken(f"{_finite(value):f}" if isinstance(value, int) else _plain(_finite(value)), target)


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _yes_no_text(value: Any, target: Target) -> str | None:
    return _unbroken("true" if value else "false", target)


def _as_written(value: Any, target: Target) -> str | None:
    return _unbroken(clean(str(value)), target)


# -- addresses -------------------------------------------------------------------------------------------------------

_ADDRESS = re.compile(r"[!#-'*+\-/-9=?A-Z^-~.]+@[A-Za-z0-9_.-]+\.[A-Za-z0-9-]+")
_NAMED = re.compile(r"[^<>]*<\s*([^<>]*?)\s*>\s*")


def _address(value: Any, target: Target) -> str | None:
    """An e-mail address, also out of "Display Name <address>" and "mailto:address", when there is exactly one."""
    text = clean(without_invisible(str(value)), target.policy.beyond_bmp).rstrip(";, ")
    named = _NAMED.fullmatch(text)
    text = named.group(1) if named else text
    text = text[len("mailto:") :] if text.lower().startswith("mailto:") else text
    if not text:
        return None
    if target.family is Family.EMAIL and not _ADDRESS.fullmatch(text):
        many = text.count("@") > 1
        reason = "more than one e-mail address" if many else "not an e-mail address that Marketo takes"
        raise UnfitError("NotAnAddress", reason, "text")
    return _unbroken(text, target)


def _string(value: Any, target: Target) -> str | None:
    return _address(value, target) if target.is_address else _text(value, target)


def _phone(value: Any, target: Target) -> str | None:
    return _unbroken(clean(without_invisible(str(value)), target.policy.beyond_bmp), target)


def _url(value: Any, target: Target) -> str | None:
    """Dynamics takes an address without its protocol; Marketo may refuse the whole record for it."""
    text = clean(without_invisible(str(value)), target.policy.beyond_bmp)
    return _unbroken(text if "://" in text or not text else f"https://{text}", target)


# -- numbers ---------------------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})", re.ASCII)


def _finite(value: Any) -> Decimal:
    """A number exactly; text must be a plain one. Raises UnfitError."""
    if isinstance(value, str):
        text = without_invisible(clean(value))
        if not _NUMBER.fullmatch(text):
            raise UnfitError("NotANumber", "text that is not a plain number", "text")
        return Decimal(text)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UnfitError("NotANumber", "not a number, or infinite", "a number")
        return Decimal(repr(value))
    number = Decimal(value)
    if not number.is_finite():
        raise UnfitError("NotANumber", "not a number, or infinite", "a number")
    return number


def _whole(value: Any, _: Target) -> int | None:
    if _is_empty(value):
        return None
    number = _finite(value)
    if abs(number) > _INT32:
        raise UnfitError("OutOfRange", "a number beyond the 32 bits of Marketo's whole numbers")
    whole = int(number.to_integral_value(ROUND_HALF_UP))
    if not -_INT32 <= whole < _INT32:
        raise UnfitError("OutOfRange", "a number beyond the 32 bits of Marketo's whole numbers")
    return whole


def _number(value: Any, _: Target) -> float | int | None:
    if _is_empty(value):
        return None
    number = _finite(value)
    found = float(number)
    if not math.isfinite(found):
        raise UnfitError("OutOfRange", "a number that is too large")
    return value if isinstance(value, int) and not isinstance(value, bool) else found


def _is_empty(value: Any) -> bool:
    return isinstance(value, str) and not clean(value)


def _one_or_zero(value: Any, _: Target) -> int:
    return int(value)


def _one_or_zero_point(value: Any, _: Target) -> float:
    return float(value)


# -- yes and no ------------------------------------------------------------------------------------------------------


def _flag(value: Any, _: Target) -> bool:
    return bool(value)


def _flag_of_number(value: Any, _: Target) -> bool:
    number = _finite(value)
    if number not in (0, 1):
        raise UnfitError("NotYesOrNo", "a number other than 0 and 1")
    return bool(number)


def _flag_of_word(value: Any, target: Target) -> bool | None:
    text = clean(str(value))
    if not text:
        return None
    found = answer(text, target.policy.language, of_permission=not target.is_negative)
    if found is None:
        raise UnfitError("NotYesOrNo", "a word that says neither yes nor no in the language of sync.toml")
    return found


# -- dates -----------------------------------------------------------------------------------------------------------

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})?", re.ASCII)


def _read_moment(value: Any) -> datetime:
    text = clean(str(value)).replace(" ", "T", 1)
    if _DAY.fullmatch(text):
        text += "T00:00:00Z"
    if not _MOMENT.fullmatch(text):
        raise UnfitError("NotADate", "not a date")
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UnfitError("NotADate", "a date beyond the calendar") from None


def _first_day(value: Any, _: Target) -> str | None:
    """The day that is written, whatever the time behind it."""
    text = clean(str(value))
    if not text:
        return None
    if not (_DAY.fullmatch(text[:10]) and (len(text) == len("2025-03-04") or text[10] in "T ")):
        raise UnfitError("NotADate", "not a date")
    try:
        return date.fromisoformat(text[:10]).isoformat()
    except ValueError:
        raise UnfitError("NotADate", "a date beyond the calendar") from None


def _day(value: Any, target: Target) -> str | None:
    """The day of a moment in the time zone of sync.toml."""
    text = clean(str(value))
    if not text or _DAY.fullmatch(text):
        return _first_day(text, target)
    try:
        return _read_moment(text).astimezone(target.zone).date().isoformat()
    except OverflowError:
        raise UnfitError("NotADate", "a date beyond the calendar") from None


def _local_day(value: Any, target: Target) -> str | None:
    """The day that its user chose: Dataverse keeps it as midnight in that user's time zone, and gives it in UTC.

    Nobody knows the user any more, but zones end at -11 and +13 hours: a midnight up to 11:00 UTC is west of it or
    there, a later one is east, so its day is the next. What is no midnight anywhere is read as a moment.
    """
    text = clean(str(value))
    if not text or _DAY.fullmatch(text):
        return _first_day(text, target)
    moment = _read_moment(text)
    if moment.minute % 15 or moment.second or moment.microsecond:
        return _day(text, target)
    since_midnight = timedelta(hours=moment.hour, minutes=moment.minute)
    try:
        return (moment.date() + timedelta(days=since_midnight >= _NOON_OF_ZONES)).isoformat()
    except OverflowError:
        raise UnfitError("NotADate", "a date beyond the calendar") from None


def _moment(value: Any, _: Target) -> str | None:
    if _is_empty(value):
        return None
    return _read_moment(value).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


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


_IF_NUMBER = "only text that is a plain number is sent"
_IF_DATE = "only text such as 2025-03-04 is sent"
_IF_WORD = "only words for yes and no in the language of sync.toml, true, false, 1 and 0 are sent"
_NUMBER_OF_CHOICE = "its number is sent"
_WHICH_IS_YES = "nobody knows which choice means yes, so it is never sent"
_MIDNIGHT = "midnight UTC is sent as its time"
_IN_ZONE = "its day in the time_zone of sync.toml is sent"

_TEXTS = _row(
    string=_string, area=_text, email=_address, phone=_phone, url=_url,
    whole=(_whole, _IF_NUMBER, True), number=(_number, _IF_NUMBER, True), flag=(_flag_of_word, _IF_WORD),
    day=(_first_day, _IF_DATE, True), moment=(_moment, _IF_DATE, True),
)  # fmt: skip
TABLE: Final[Mapping[Source, Mapping[Family, Conversion]]] = {
    Source.TEXT: _TEXTS,
    Source.LABEL: _TEXTS,
    Source.LABELS: _row(string=_labels, area=_labels),
    Source.WHOLE: _row(
        string=_number_text, area=_number_text, phone=_number_text, whole=_whole, number=_number,
        flag=(_flag_of_number, "only 0 and 1 are sent"),
    ),
    Source.DECIMAL: _row(
        string=_number_text, area=_number_text, whole=(_whole, "it is rounded"), number=_number,
        flag=(_flag_of_number, "only 0 and 1 are sent"),
    ),
    Source.YES_NO: _row(
        string=_yes_no_text, area=_yes_no_text, whole=_one_or_zero, number=_one_or_zero_point, flag=_flag
    ),
    Source.CHOICE: _row(
        string=(_number_text, _NUMBER_OF_CHOICE), area=(_number_text, _NUMBER_OF_CHOICE), whole=_whole, number=_number,
        flag=_WHICH_IS_YES,
    ),
    Source.CHOICES: _row(
        string=(_as_written, "their numbers are sent"), area=(_as_written, "their numbers are sent"), flag=_WHICH_IS_YES
    ),
    Source.MOMENT: _row(string=_as_written, area=_as_written, day=(_day, _IN_ZONE), moment=_moment),
    Source.DAY: _row(string=_as_written, area=_as_written, day=_first_day, moment=(_moment, _MIDNIGHT)),
    Source.LOCAL_DAY: _row(string=_local_day, area=_local_day, day=_local_day, moment=_moment),
    Source.CLOCK: _row(string=_as_written, area=_as_written, day=_first_day, moment=(_moment, "it is sent as UTC")),
    Source.CLOCK_DAY: _row(string=_first_day, area=_first_day, day=_first_day, moment=(_moment, _MIDNIGHT)),
    Source.ID: _row(string=_as_written, area=_as_written),
    Source.OTHER: _row(),
    Source.ANY: _TEXTS,
}  # fmt: skip
