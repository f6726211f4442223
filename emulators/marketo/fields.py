"""Typed fields: what a value must look like to be stored."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

Coerce = Callable[[Any], Any]

# Text areas are measured in bytes, everything else in characters.
TEXT_BYTES = 30_000
_EMAIL = re.compile(r"[!-~]+@[!-?A-~]+\.[!-?A-~]+\Z", re.ASCII)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}\Z", re.ASCII)
_DATETIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?\Z", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+\Z", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\Z", re.ASCII)
_INTEGER_RANGE = range(-(2**31), 2**31)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an object.

    `updateable` is what describe reports; `writable` is whether an API call may set it. They differ: keys may be set
    but not changed later, and the calculated Sales Insight fields are described as updateable although they are not.
    `holds_email` marks a string that is an e-mail address all the same.
    """

    name: str
    data_type: str
    length: int | None = None
    updateable: bool = True
    writable: bool = True
    searchable: bool = False
    required: bool = False
    of_company: bool = False
    display_name: str = ""
    custom: bool = False
    holds_email: bool = False

    @property
    def label(self) -> str:
        """Return the friendly label: the name in words unless one is given."""
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", self.name)
        return self.display_name or words[:1].upper() + words[1:]


@dataclass(frozen=True, slots=True)
class Strictness:
    """How undocumented cases are handled: over-long strings, web addresses without a protocol, strange characters.

    `cuts`: a text is stored up to its first character outside the basic plane, and the call succeeds (Sanford Whiteman,
    "Surrogate pairs (emoji) are truncated", blog.teknkl.com and Marketo Nation ba-p/341110).
    """

    truncate: bool = False
    url_needs_protocol: bool = False
    cuts: bool = False
    checks_emails: bool = True


def coercion(field: Field, strictness: Strictness) -> Coerce:
    """Return the function that turns a JSON value into the stored one; it raises ValueError for a wrong one.

    Marketo skips the whole record then. Numbers may come as strings ("1604.47" in Adobe's own samples); nothing else is
    converted.
    """
    if field.data_type == "text":
        return _text(strictness.truncate)
    plain = _PLAIN.get(field.data_type)
    if plain is not None:
        return plain
    return _string(field, strictness)


def plain_length(field: Field) -> int:
    """Return the length up to which any string is a value of the field as it is; -1 if its content matters."""
    if field.data_type == "text":
        return TEXT_BYTES // 4  # a character takes four bytes at most
    if field.data_type in {"string", "phone"} and not field.holds_email:
        return field.length if field.length is not None else 255
    return -1


def in_basic_plane(text: str) -> str:
    """Return the text up to its first character outside the basic plane."""
    if text.isascii():
        return text
    return next((text[:place] for place, character in enumerate(text) if character > "\uffff"), text)


def _text(truncate: bool) -> Coerce:
    def coerce(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError
        if len(value.encode()) > TEXT_BYTES:
            if not truncate:
                raise ValueError
            return value.encode()[:TEXT_BYTES].decode(errors="ignore")
        return value

    return coerce


def _string(field: Field, strictness: Strictness) -> Coerce:
    limit = field.length if field.length is not None else 255
    is_email = field.data_type == "email" or (field.holds_email and strictness.checks_emails)
    needs_protocol = field.data_type == "url" and strictness.url_needs_protocol

    def coerce(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError
        if len(value) > limit and not strictness.truncate:
            raise ValueError
        text = value[:limit]
        if is_email and not _EMAIL.match(text):
            raise ValueError
        if needs_protocol and "://" not in text:
            raise ValueError
        return text

    return coerce


def _integer(value: Any) -> int:
    if type(value) is str and _INTEGER.match(value):
        value = int(value)
    if type(value) is not int or value not in _INTEGER_RANGE:  # a bool is not a number to Marketo
        raise ValueError
    return value


def _float(value: Any) -> float:
    if type(value) not in (int, float) and not (type(value) is str and _NUMBER.match(value)):
        raise ValueError
    number = float(value)
    if number - number != 0:  # infinities and not-a-number have no place in JSON
        raise ValueError
    return number


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        return value.lower() == "true"
    raise ValueError


def _date(value: Any) -> str:
    if type(value) is not str or not _DATE.match(value):
        raise ValueError
    return date.fromisoformat(value).isoformat()


def _datetime(value: Any) -> str:
    if type(value) is not str or not _DATETIME.match(value):
        raise ValueError
    moment = datetime.fromisoformat(value)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


_PLAIN: dict[str, Coerce] = {
    "integer": _integer,
    "score": _integer,
    "percent": _integer,
    "reference": _integer,
    "float": _float,
    "currency": _float,
    "boolean": _boolean,
    "date": _date,
    "datetime": _datetime,
}
DATA_TYPES = frozenset({"string", "text", "email", "phone", "url", *_PLAIN})
