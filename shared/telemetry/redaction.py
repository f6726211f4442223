"""Takes personal data and secrets out of text on its way to Application Insights.

Vendors quote values in what they say: "Invalid value for field 'email' and value 'ann@contoso.com'". In the dead
letter itself the text stays as it is.
"""

from __future__ import annotations

import re

#: What Application Insights keeps of a message.
LONGEST = 32_768
#: A part of an address. No pattern may give back what it has taken (++): a long text must not take seconds.
_PART = r"[^\s@%'\"<>(),;:=&?/|]"
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(rf"(?<!{_PART}){_PART}++(?:@|%40){_PART}++"), "<e-mail>"),
    (re.compile(r"(?i)(\b(?:value|literal|string|text):? )(?:'.*'|\".*\")"), r"\1'…'"),
    (re.compile(r"\b[Bb]earer\s+[^\s'\"]+"), "Bearer …"),
    (re.compile(r"\beyJ[\w-]++\.[\w.-]+"), "<token>"),
    (re.compile(r"(?i)\b((?:access_token|client_secret|password|sharedaccesskey|accountkey|sig)=)[^\s&;'\"]+"), r"\1…"),
    (re.compile(r"((?<![\w/])https?://[^\s?'\"]++)\?[^\s'\"]*"), r"\1?…"),
)


def redacted(text: str) -> str:
    """The text without e-mail addresses, quoted values, tokens, secrets and queries of URLs."""
    text = text[:LONGEST]
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text
