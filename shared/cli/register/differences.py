"""What differs between a registered row and a wanted one, and how that is said. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from .wanted import QUEUE, Values

_MEANINGS: Mapping[tuple[str, Any], str] = {
    ("contract", 5): "a topic",
    ("contract", QUEUE): "a queue",
    ("messageformat", 1): "binary XML",
    ("messageformat", 2): "JSON",
    ("messageformat", 3): "text XML",
    ("stage", 10): "before validation",
    ("stage", 20): "before the operation",
    ("stage", 40): "after the operation",
    ("mode", 0): "synchronous",
    ("mode", 1): "asynchronous",
}
_LISTS = ("filteringattributes", "attributes")


def different(present: Values, wanted: Values) -> dict[str, Any]:
    """The wanted columns that are not so."""
    return {
        column: value
        for column, value in wanted.items()
        if _plain(column, present.get(column)) != _plain(column, value)
    }


def _plain(column: str, value: Any) -> Any:
    """A value in the form that counts: lists of columns have no order, addresses no case and no last slash."""
    if column in _LISTS:
        return frozenset(_names(value))
    if column == "namespaceaddress":
        return urlsplit(str(value or "")).netloc.lower()
    if column == "path":
        return str(value or "").lower()
    return value


def _names(value: Any) -> list[str]:
    return [name.strip() for name in str(value or "").split(",") if name.strip()]


def said(column: str, present: Any, wanted: Any) -> str:
    """One difference in words."""
    if column in _LISTS:
        return _said_list(set(_names(present)), set(_names(wanted)))
    return f"{column} is {_meaning(column, present)}, not {_meaning(column, wanted)}"


def _said_list(present: set[str], wanted: set[str]) -> str:
    if not present:
        return "it asks for every column, the ones that Marketo fills included"
    less, more = ", ".join(sorted(wanted - present)), ", ".join(sorted(present - wanted))
    return "; ".join(filter(None, (less and f"it misses {less}", more and f"it needs no {more}")))


def _meaning(column: str, value: Any) -> str:
    return _MEANINGS.get((column, value)) or ("empty" if value is None else str(value))
