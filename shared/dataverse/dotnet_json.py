"""Dictionaries as .NET's JSON serializer writes them: arrays of ``{"key": …, "value": …}`` (dataverse.md 1.3)."""

from __future__ import annotations

from collections.abc import Iterator


def pairs(dictionary: object) -> Iterator[tuple[str, object]]:
    """The keys and values of a dictionary in either of its JSON forms; what is no pair is left out."""
    if isinstance(dictionary, dict):
        yield from dictionary.items()
    for pair in dictionary if isinstance(dictionary, list) else ():
        if isinstance(pair, dict) and isinstance(pair.get("key"), str):
            yield pair["key"], pair.get("value")


def lookup(pairs: object, key: str) -> object:
    """The value under a key of a dictionary in either of its JSON forms; None when it is not there."""
    if isinstance(pairs, list):
        for pair in pairs:
            if isinstance(pair, dict) and pair.get("key") == key:
                return pair.get("value")
    elif isinstance(pairs, dict):
        return pairs.get(key)
    return None


def keys(pairs: object) -> frozenset[str] | None:
    """The keys of a dictionary in either of its JSON forms, lower case; None when it has none or is no dictionary."""
    if not pairs or not isinstance(pairs, list | dict):
        return None
    try:
        names = pairs if isinstance(pairs, dict) else [pair["key"] for pair in pairs]
        return frozenset([name.lower() for name in names])
    except (TypeError, KeyError, AttributeError):
        return None
