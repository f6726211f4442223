"""Text on its way to Marketo: cleaned of what nobody sees, and cut where a character ends. Pure.

Marketo refuses a whole record for a blank behind an e-mail address, and cuts a stored value at the first character
beyond Unicode's basic plane (an emoji, a rare ideograph).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

BeyondBmp = Literal["drop", "replace", "keep"]

#: Characters that show nothing: soft hyphen, Hangul and Braille blanks, zero-width and direction marks, byte order
#: mark, interlinear marks. A zero-width joiner inside a text means something (emoji, Indic and Persian script).
_INVISIBLE = (
    "\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufeff\uffa0\ufff9-\ufffb"
)
#: Characters that show nothing either, but may change the one before them: grapheme joiner, Khmer's inherent vowels,
#: selectors of a form (Unicode's Default_Ignorable_Code_Point). Without a character before them they are nothing.
_SELECTORS = "\u034f\u17b4\u17b5\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0000-\U000e0fff"
_CONTROLS = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
_BLANKS = rf"\s{_CONTROLS}{_INVISIBLE}"
_START = re.compile(rf"^[{_BLANKS}{_SELECTORS}]+")
_END = re.compile(rf"[{_BLANKS}]+$")
_ANY_INVISIBLE = re.compile(rf"[{_INVISIBLE}{_SELECTORS}]+")
_ANY_CONTROL = re.compile(rf"[{_CONTROLS}]+")
#: Characters beyond the basic plane, and halves of them, with what joins them to one picture.
_BEYOND = re.compile("\u200d?[\U00010000-\U0010ffff\ud800-\udfff][\U00010000-\U0010ffff\ud800-\udfff\u200d\ufe0f]*")
_HALVES = re.compile("[\ud800-\udfff]")
#: Those that show nothing and count as printable all the same.
_PRINTABLE = frozenset(
    " \u115f\u1160\u2800\u3164\uffa0\u034f\u17b4\u17b5\u180b\u180c\u180d\u180f"
    + "".join(map(chr, range(0xFE00, 0xFE10)))
)
_FIRST_BEYOND = "\U00010000"
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
#: Zero-width joiner, variation selectors, keycap: they belong to the character before them.
_EXTENDS = re.compile("[\u200d\ufe00-\ufe0f\u20e3\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]")
#: A character has few marks; who has more is cut all the same.
_MAX_MARKS = 32


def clean(text: str, beyond_bmp: BeyondBmp = "drop") -> str:
    """The text without white space and invisible characters at its ends, and without control characters.

    `beyond_bmp` says what becomes of characters beyond the basic plane; halves of such are replaced in any case.
    """
    if _is_clean(text):
        return text
    text = _ANY_CONTROL.sub("", text)
    if beyond_bmp == "keep":
        text = _HALVES.sub(_REPLACEMENT, text)
    else:
        text = _BEYOND.sub("" if beyond_bmp == "drop" else _REPLACEMENT, text)
    return _END.sub("", _START.sub("", text))


def _is_clean(text: str) -> bool:
    """Whether there is nothing to clean: most text."""
    return text.isprintable() and (
        not text or (text[0] not in _PRINTABLE and text[-1] not in _PRINTABLE and max(text) < _FIRST_BEYOND)
    )


def is_blank(value: object) -> bool:
    """Whether there is nothing to be seen: no value, or text of white space and invisible characters alone."""
    if not isinstance(value, str):
        return value is None
    return not (value and _is_clean(value)) and not _START.sub("", value)


def without_invisible(text: str) -> str:
    """The text without any invisible character, for addresses and numbers, in which none has a meaning."""
    return _ANY_INVISIBLE.sub("", text)


def cut(text: str, length: int) -> str:
    """The beginning of a text, at most `length` UTF-16 units long, without half a character or a blank at its end."""
    if len(text) <= length // 2 or (len(text) <= length and text.isascii()):
        return text
    units = text.encode("utf-16-le", "surrogatepass")
    return text if len(units) <= 2 * length else _whole(text, len(units[: 2 * length].decode("utf-16-le", "ignore")))


def cut_bytes(text: str, length: int) -> str:
    """The same by the length in bytes of UTF-8."""
    if len(text) <= length // 4:
        return text
    encoded = text.encode(errors="replace")
    return text if len(encoded) <= length else _whole(text, len(encoded[:length].decode(errors="ignore")))


def _whole(text: str, end: int) -> str:
    """The first `end` characters, less those that are the beginning of what is seen as one."""
    start = end
    while start > max(0, end - _MAX_MARKS) and start < len(text) and _belongs(text, start):
        start -= 1
    return _END.sub("", text[: end if start == 0 or _belongs(text, start) else start])


def _belongs(text: str, at: int) -> bool:
    """Whether the character at this place is seen as one with the one before it."""
    if not 0 < at < len(text):
        return False
    return bool(unicodedata.combining(text[at]) or _EXTENDS.match(text[at]) or text[at - 1] == "\u200d")
