"""Text from elsewhere, for people's eyes: one line, and nothing in it that a terminal or a log obeys.

Names in Dynamics and Marketo, and properties of messages, may hold line breaks, escape sequences of terminals and marks
that turn the direction of writing: with them a row could write lines of its own, or show another text than it has.

What comes from a vendor is restated where it is received (model/vendor_text.py). `redacted` is a last net under that,
not what keeps a value out.
"""

from __future__ import annotations

import re
from unicodedata import category

#: Control characters, format characters (bidi marks, zero width), halves of pairs, separators of lines and paragraphs.
_OBEYED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

#: What Application Insights keeps of a message.
LONGEST = 32_768
#: A part of an address. No pattern may give back what it has taken (++): a long text must not take seconds.
_PART = r"[^\s@%'\"<>(),;:=&?/|]"
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(rf"(?<!{_PART}){_PART}++(?:@|%40){_PART}++"), "<e-mail>"),
    (re.compile(r"(?is)(\b(?:value|literal|string|text):? )(?:'.*'|\".*\")"), r"\1'…'"),
    (re.compile(r"\b[Bb]earer\s+[^\s'\"]+"), "Bearer …"),
    (re.compile(r"\beyJ[\w-]++\.[\w.-]+"), "<token>"),
    (re.compile(r"(?i)(\b(?:access_token|client_secret|password|sharedaccesskey|accountkey|sig)=)[^\s&;'\"]+"), r"\1…"),
    (re.compile(r"((?<![\w/])https?://[^\s?'\"]++)\?[^\s'\"]*"), r"\1?…"),
)


def plain(text: str) -> str:
    """The text on one line, each character that is not to be seen as its escape: `\\n`, `\\x1b`, `\\u202e`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c.encode("unicode_escape", "surrogatepass").decode() if category(c) in _OBEYED else c for c in text)


def redacted(text: str) -> str:
    """The text without e-mail addresses, quoted values, tokens, secrets and queries of URLs."""
    text = text[:LONGEST]
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text
