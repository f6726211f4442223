"""Whether Marketo has the value that would be sent, whatever it has made of its form. Pure.

Marketo gives back other values than it was sent, and means the same (marketo.md 4.7, 5.3): null and an empty text are
one, an empty boolean is false, times lose their fractions and may come with another offset, numbers come as floats, a
text ends at its first character beyond the basic plane. A difference counts only where nothing of that explains it,
because a report with false differences is read once.
"""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import UTC, datetime
from typing import Any

from ..model.ids_and_times import as_guid

#: Floats may lose what single precision does not hold.
_PRECISION = 1e-7
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?\s?(Z|[+-]\d{2}:?\d{2})?", re.ASCII)
_ADDRESS = re.compile(r"\S+@\S+")


def same(sent: Any, stored: Any) -> bool:
    """Whether both mean the same. `sent` is of the form that the mapping gives, `stored` of that of an answer."""
    if sent == stored and type(sent) is type(stored):
        return True
    if _is_empty(sent) or _is_empty(stored):
        return _is_empty(_in_basic_plane(sent) if isinstance(sent, str) else sent) and _is_empty(stored)
    if isinstance(sent, bool) or isinstance(stored, bool):
        return _word(sent) == _word(stored)
    if isinstance(sent, int | float) or isinstance(stored, int | float):
        return _same_number(sent, stored)
    return _same_text(_text(sent), _text(stored))


def _is_empty(value: Any) -> bool:
    """No, and nothing, are the same to Marketo: it gives an empty boolean back as false."""
    return value is None or value is False or (isinstance(value, str) and not value.strip())


def _word(value: Any) -> str:
    word = str(value).strip().lower()
    return {"1": "true", "0": "false"}.get(word, word)


def _same_number(sent: Any, stored: Any) -> bool:
    try:
        return math.isclose(float(sent), float(stored), rel_tol=_PRECISION)
    except (TypeError, ValueError, OverflowError):
        return _text(sent) == _text(stored)


def _text(value: Any) -> str:
    text = str(value).encode(errors="replace").decode()
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def _same_text(sent: str, stored: str) -> bool:
    if stored in (sent, _in_basic_plane(sent)):
        return True
    if _ADDRESS.fullmatch(sent):
        return sent.casefold() == stored.casefold()
    if _DAY.fullmatch(sent):
        return stored.startswith(sent) and bool(_MOMENT.fullmatch(stored))
    if _MOMENT.fullmatch(sent):
        return (moment := _moment(sent)) is not None and moment == _moment(stored)
    guid = as_guid(sent)
    return bool(guid) and guid == as_guid(stored)


def _in_basic_plane(text: str) -> str:
    """What Marketo stores of a text with a character beyond the basic plane."""
    return next((text[:place] for place, letter in enumerate(text) if letter > "\uffff"), text).strip()


def _moment(text: str) -> datetime | None:
    """To the second, in UTC, which is also meant where no zone is given."""
    try:
        found = datetime.fromisoformat(re.sub(r"\s(?=[Z+-]|$)", "", text))
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found.replace(microsecond=0)
