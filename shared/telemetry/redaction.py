"""Takes personal data and secrets out of text on its way to Application Insights.

Vendors quote values in what they say: "Invalid value for field 'email' and value 'ann@contoso.com'". In the dead
letter itself the text stays as it is.
"""

from __future__ import annotations

import re

_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"[^\s@'\"<>(),;:=&?/|]+(?:@|%40)[^\s@'\"<>(),;:=&?/|]+"), "<e-mail>"),
    (re.compile(r"(\b[Vv]alue:? )'.*'"), r"\1'…'"),
    (re.compile(r"\b[Bb]earer\s+[^\s'\"]+"), "Bearer …"),
    (re.compile(r"\beyJ[\w-]+\.[\w.-]+"), "<token>"),
    (re.compile(r"(?i)\b((?:access_token|client_secret|password|sharedaccesskey|accountkey|sig)=)[^\s&;'\"]+"), r"\1…"),
    (re.compile(r"(https?://[^\s?'\"]+)\?[^\s'\"]*"), r"\1?…"),
)  # fmt: skip


def redacted(text: str) -> str:
    """The text without e-mail addresses, quoted values, tokens, secrets and queries of URLs."""
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text
