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


def lookup(dictionary: object, key: str) -> object:
    """The value under a key; None when it is not there."""
    return next((value for name, value in pairs(dictionary) if name == key), None)


def keys(dictionary: object) -> frozenset[str] | None:
    """The keys in lower case; None when there is none, or one cannot be read."""
    names = [name.lower() for name, _ in pairs(dictionary)]
    return frozenset(names) if isinstance(dictionary, list | dict) and 0 < len(dictionary) == len(names) else None
