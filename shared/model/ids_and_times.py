"""Identifiers and times, in every form in which Dataverse, messages and files have them.

In notifications (dataverse.md 1.3) a date is ``/Date(milliseconds)/``, and an absent identifier is null or all zeros:
they are made by .NET's DataContractJsonSerializer.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

#: An identifier in the form that the product uses, as part of a pattern.
GUID: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_GUID: Final = re.compile(GUID)
# The milliseconds are UTC, and the offset is for display: so Microsoft's rule. Not every writer keeps to it, so such a
# moment may be hours off: nothing may be ordered by it, or fresh or stale because of it.
_DATE: Final = re.compile(r"/Date\((-?[0-9]{1,18})(?:[+-][0-9]{4})?\)/")
#: Years of times that anybody can mean. Who reckons with those near the ends of the calendar leaves it.
_YEARS: Final = range(1900, 3000)


def guid(value: object) -> str | None:
    """The identifier in lower case without braces; None when there is none (null, empty, all zeros).

    Raises ValueError when there is something else than an identifier.
    """
    if not isinstance(value, str):
        value = _unboxed(value)
    if value is None or value == "":
        return None
    if isinstance(value, str) and (found := as_guid(value)):
        return found if found.strip("0-") else None
    raise ValueError("not a GUID")


def as_guid(text: str) -> str:
    """The identifier in lower case without braces; empty when the text is not one."""
    found = text if is_guid(text) else text.strip().removeprefix("{").removesuffix("}").lower()
    return found if is_guid(found) else ""


def is_guid(text: str) -> bool:
    """Whether this is an identifier in lower case without braces."""
    return _GUID.fullmatch(text) is not None


def moment(value: object, *, zoned: bool = False) -> datetime | None:
    """The point in time in UTC, from ``/Date(ms)/``, ``/Date(ms+0100)/`` or ISO 8601; None when it is none of these.

    None as well outside of the years 1900 to 2999, and, if `zoned`, without a time zone.
    """
    if not isinstance(value, str):
        value = _unboxed(value)
    if not isinstance(value, str):
        return None
    try:
        if match := _DATE.fullmatch(value):
            found = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=int(match[1]))
        else:
            found = datetime.fromisoformat(value)
        if found.tzinfo is None:
            if zoned:
                return None
            found = found.replace(tzinfo=UTC)
        found = found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found if found.year in _YEARS else None


def http_date(text: str) -> datetime | None:
    """The point in time in UTC, from one of HTTP's three forms of a date; None when it is none of these.

    All of them are in UTC, and that of asctime does not say so.
    """
    try:
        found = parsedate_to_datetime(text.strip())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def _unboxed(value: object) -> object:
    """The content of ``{"__type": "Guid:#System", "__value": …}``, .NET's form for a value declared as ``object``."""
    return value.get("__value", value) if isinstance(value, dict) else value
