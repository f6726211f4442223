"""Which dead letters an address means: the filters of `msisync dead-letters`, as fields of a form. Pure."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ....model.entities import ENTITIES
from ....model.ids_and_times import as_guid
from ...dead_letters.look import age, filters, fits, replays
from ..listing import address
from ..security import Form
from .index import Note

#: The fields, in the order in which they stand in an address.
FIELDS = ("entity", "queue", "code", "q", "age", "replayed", "synced")
#: What letters that tell of no entity are called: those of notifications that nobody understands.
NO_ENTITY = "notifications"
#: Ages to choose from; an address may have others.
AGES = {
    "newer-1h": "less than an hour",
    "newer-1d": "less than a day",
    "older-1h": "more than an hour",
    "older-1d": "more than a day",
    "older-7d": "more than a week",
}
REPLAYED = {"0": "never", "1+": "once or more", "3+": "three times or more"}


@dataclass(frozen=True, slots=True)
class Filter:
    """`words`: the fields that are not empty, as they were given. `wrong`: what cannot be understood; nothing fits."""

    words: Mapping[str, str] = field(default_factory=dict)
    given: Namespace = field(default_factory=filters)
    wrong: str = ""

    def of(self, notes: Iterable[Note], now: datetime) -> list[Note]:
        """Those of these letters that fit; their age is reckoned at `now`."""
        if self.wrong:
            return []
        if not self.words:
            return list(notes)
        if self.words.get("synced"):
            notes = (note for note in notes if note.synced)
        return [note for note in notes if fits(self.given, note, now)]

    def address(self, path: str, **more: str) -> str:
        """The address of a page with this filter; `more` fields replace its own, empty ones take them away."""
        return address(path, self.words, **more)


def filter_of(asked: Form) -> Filter:
    """The filter that an address or a form has."""
    words = {name: word for name in FIELDS if (word := str(asked.get(name, "")).strip())}
    given = filters()
    given.code, given.source_queue = words.get("code", ""), words.get("queue", "")
    given.id = as_guid(words.get("q", "")) or None
    given.reason = "" if given.id else words.get("q", "")
    try:
        given.entity = _entity(words.get("entity", ""))
        given.older_than, given.newer_than = _ages(words.get("age", ""))
        given.replayed = replays(words["replayed"]) if "replayed" in words else None
    except ArgumentTypeError as error:
        return Filter(words, given, f"{error}; so nothing is shown")
    return Filter(words, given)


def _entity(word: str) -> str | None:
    if word not in ("", NO_ENTITY, *ENTITIES):
        raise ArgumentTypeError(f"{word!r} is no entity")
    return None if not word else "" if word == NO_ENTITY else word


def _ages(word: str) -> tuple[object, object]:
    """(older than, newer than) of `older-2h` or `newer-3d`."""
    kind, _, text = word.partition("-")
    if not word:
        return None, None
    if kind not in ("older", "newer"):
        raise ArgumentTypeError(f"{word!r} is no age; give older-2h, newer-3d or the like")
    return (age(text), None) if kind == "older" else (None, age(text))
