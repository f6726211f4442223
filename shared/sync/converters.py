"""How one value becomes what a Marketo field takes: the conversions of the table in shared/sync/conversions.py. Pure.

Each takes a value that shows something, and the field; gives the value for Marketo, None when nothing is left of it, or
raises UnfitError.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from ..model.text import BeyondBmp, clean, cut, cut_bytes, without_invisible
from .words import answer

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


# -- values as text --------------------------------------------------------------------------------------------------


def as_text(value: Any, target: Target) -> str | None:
    """Text as it is, cleaned, and cut to what the field takes."""
    text = clean(str(value), target.policy.beyond_bmp)
    if target.family is Family.AREA:
        return cut_bytes(text, TEXT_BYTES) or None
    return (text if target.length is None else cut(text, target.length)) or None


def as_labels(value: Any, target: Target) -> str | None:
    """As many whole labels as the field takes: half a label is another one."""
    text = clean(str(value), target.policy.beyond_bmp)
    while ";" in text and len(as_text(text, target) or "") < len(text):
        text = text.rpartition(";")[0]
    return as_text(text, target)


def _unbroken(text: str, target: Target) -> str | None:
    """What means something else when it is cut: a number, an id, an address."""
    if target.length is not None and len(text) > target.length:
        raise UnfitError("TooLong", f"{len(text)} characters, and the field takes {target.length}")
    return text or None


def number_as_text(value: Any, target: Target) -> str | None:
    """With all its decimals and without an exponent."""
    text = f"{_finite(value):f}"
    return _unbroken(text.rstrip("0").rstrip(".") if "." in text else text, target)


def flag_as_text(value: Any, target: Target) -> str | None:
    """ "true" or "false"."""
    return _unbroken("true" if value else "false", target)


def as_written(value: Any, target: Target) -> str | None:
    """What Dynamics writes, if the field takes it whole."""
    return _unbroken(clean(str(value)), target)


# -- addresses -------------------------------------------------------------------------------------------------------

_ADDRESS = re.compile(r"[!#-'*+\-/-9=?A-Z^-~.]+@[A-Za-z0-9_.-]+\.[A-Za-z0-9-]+")
_NAMED = re.compile(r"[^<>]*<\s*([^<>]*?)\s*>\s*")


def as_address(value: Any, target: Target) -> str | None:
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


def as_string(value: Any, target: Target) -> str | None:
    """Text; of an e-mail address that Marketo keeps as a string, the address."""
    return as_address(value, target) if target.is_address else as_text(value, target)


def as_phone(value: Any, target: Target) -> str | None:
    """Without anything invisible, and never cut."""
    return _unbroken(clean(without_invisible(str(value)), target.policy.beyond_bmp), target)


_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.ASCII | re.IGNORECASE)
_PORT = re.compile(r":\d{1,5}(?=[/?#]|$)", re.ASCII)
_WEB = re.compile(r"https?://[^/?#]", re.ASCII | re.IGNORECASE)
#: Schemes whose content may look like a port.
_NO_HOSTS = frozenset({"callto", "fax", "sms", "tel", "whatsapp"})


def as_url(value: Any, target: Target) -> str | None:
    """Dynamics takes an address without its protocol; Marketo may refuse the whole record for it.

    Whatever has another protocol (`javascript:`, `mailto:`) is no address of a web page. `host:8080` has none.
    """
    text = clean(without_invisible(str(value)), target.policy.beyond_bmp)
    if not text:
        return None
    scheme = _scheme_of(text)
    if scheme and not _WEB.match(text):
        is_web = scheme in ("http", "https")
        reason = "a web address without a host" if is_web else "a protocol other than http and https"
        raise UnfitError("NotAWebAddress", reason, "text")
    return _unbroken(text if scheme else f"https://{text.removeprefix('//')}", target)


def _scheme_of(text: str) -> str:
    """What stands before the first colon, if that is a protocol and no host with its port."""
    found = _SCHEME.match(text)
    if found is None:
        return ""
    scheme = found.group(1).lower()
    return "" if scheme not in _NO_HOSTS and _PORT.match(text, found.end() - 1) else scheme


# -- numbers ---------------------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})", re.ASCII)


def _finite(value: Any) -> Decimal:
    """A number exactly; text must be a plain one. Raises UnfitError."""
    if isinstance(value, str):
        text = without_invisible(clean(value))
        if not _NUMBER.fullmatch(text):
            raise UnfitError("NotANumber", "text that is not a plain number", "text")
        return Decimal(text)
    number = Decimal(repr(value) if isinstance(value, float) else value)
    if not number.is_finite():
        raise UnfitError("NotANumber", "not a number, or infinite", "a number")
    return number


def as_whole(value: Any, _: Target) -> int:
    """Rounded, if the 32 bits of a whole number take it."""
    number = _finite(value)
    whole = int(number.to_integral_value(ROUND_HALF_UP)) if abs(number) <= _INT32 else _INT32
    if not -_INT32 <= whole < _INT32:
        raise UnfitError("OutOfRange", "a number beyond the 32 bits of Marketo's whole numbers")
    return whole


def as_number(value: Any, _: Target) -> float | int:
    """A number, also out of text that is a plain one."""
    number = _finite(value)
    found = float(number)
    if not math.isfinite(found):
        raise UnfitError("OutOfRange", "a number that is too large")
    return value if isinstance(value, int) and not isinstance(value, bool) else found


# -- yes and no ------------------------------------------------------------------------------------------------------


def number_as_flag(value: Any, _: Target) -> bool:
    """1 is yes and 0 is no."""
    number = _finite(value)
    if number not in (0, 1):
        raise UnfitError("NotYesOrNo", "a number other than 0 and 1")
    return bool(number)


def word_as_flag(value: Any, target: Target) -> bool:
    """Words of yes and no (shared/sync/words.py)."""
    found = answer(clean(str(value)), target.policy.language, of_permission=not target.is_negative)
    if found is None:
        raise UnfitError("NotYesOrNo", "a word that says neither yes nor no in the language of sync.toml")
    return found


# -- dates -----------------------------------------------------------------------------------------------------------

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})?", re.ASCII)


@contextmanager
def _calendar() -> Iterator[None]:
    try:
        yield
    except (ValueError, OverflowError):
        raise UnfitError("NotADate", "a date beyond the calendar") from None


def _read_moment(value: Any) -> datetime:
    text = clean(str(value)).replace(" ", "T", 1)
    if not (_DAY.fullmatch(text) or _MOMENT.fullmatch(text)):
        raise UnfitError("NotADate", "not a date")
    with _calendar():
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def as_written_day(value: Any, _: Target) -> str:
    """The day that is written, whatever the time behind it."""
    text = clean(str(value))
    if not (_DAY.fullmatch(text[:10]) and (len(text) == len("2025-03-04") or text[10] in "T ")):
        raise UnfitError("NotADate", "not a date")
    with _calendar():
        return date.fromisoformat(text[:10]).isoformat()


def as_day(value: Any, target: Target) -> str:
    """The day of a moment in the time zone of sync.toml."""
    text = clean(str(value))
    if _DAY.fullmatch(text):
        return as_written_day(text, target)
    moment = _read_moment(text)
    with _calendar():
        return moment.astimezone(target.zone).date().isoformat()


def as_local_day(value: Any, target: Target) -> str:
    """The day that its user chose: Dataverse keeps it as midnight in that user's time zone, and gives it in UTC.

    Nobody knows the user any more, but zones end at -11 and +13 hours: a midnight up to 11:00 UTC is west of it or
    there, a later one is east, so its day is the next. What is no midnight anywhere is read as a moment.
    """
    text = clean(str(value))
    if _DAY.fullmatch(text):
        return as_written_day(text, target)
    moment = _read_moment(text)
    if moment.minute % 15 or moment.second or moment.microsecond:
        return as_day(text, target)
    since_midnight = timedelta(hours=moment.hour, minutes=moment.minute)
    with _calendar():
        return (moment.date() + timedelta(days=since_midnight >= _NOON_OF_ZONES)).isoformat()


def as_moment(value: Any, _: Target) -> str:
    """A moment in UTC, to the second."""
    return _read_moment(value).replace(microsecond=0, tzinfo=None).isoformat() + "Z"
