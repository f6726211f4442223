"""Text from elsewhere, for people's eyes: one line, and nothing in it that a terminal or a log obeys.

Names in Dynamics and Marketo, and properties of messages, may hold line breaks, escape sequences of terminals and marks
that turn the direction of writing: with them a row could write lines of its own, or show another text than it has.
"""

from __future__ import annotations

import unicodedata

#: Control characters, format characters (bidi marks, zero width), halves of pairs, separators of lines and paragraphs.
_OBEYED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def plain(text: str) -> str:
    """The text on one line, each character that is not to be seen as its escape: `\\n`, `\\x1b`, `\\u202e`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(c) if unicodedata.category(c) in _OBEYED else c for c in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
