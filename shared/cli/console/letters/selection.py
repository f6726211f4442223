"""Which dead letters an action is about: those that are ticked, those of a page, or all that a filter finds. Pure.

A form says when it was made (`at`) and which was the newest letter then (`seen`). Letters that came later are not
meant, and ages stay as they were: so as long as none is gone, the same form means the same letters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ....model.ids_and_times import moment
from ...dead_letters.selection import Selection
from ..security import Form
from .filters import Filter, filter_of
from .index import Index, Note

#: How many letters are meant: the field `scope` of a form, and what people choose.
SCOPES = {"ticked": "those that are ticked", "page": "all on this page", "all": "all that match"}


@dataclass(frozen=True, slots=True)
class Chosen:
    """The letters, and what a form sends on to mean the same ones. `gone`: how many of those named are not there."""

    notes: Sequence[Note]
    filter: Filter
    keep: list[tuple[str, str]] = field(default_factory=list)
    again: bool = False
    gone: int = 0

    def selection(self, *, is_replay: bool) -> Selection:
        """As the commands count them: of a replay, without those that would come back and that nobody understands."""
        found = Selection(again=self.again or not is_replay)
        for note in self.notes:
            found.offer(note, note.refusal if is_replay else None)
        return found


def chosen(asked: Form, index: Index) -> Chosen:
    """What a form means."""
    filter_ = filter_of(asked)
    at = moment(asked.get("at"), zoned=True) or index.at
    seen = _exact(asked.get("seen")) or index.newest
    there = [note for note in index.letters if note.came <= seen]
    again = bool(asked.get("again"))
    pinned = [("at", at.isoformat()), ("seen", seen.isoformat()), *([("again", "yes")] if again else [])]
    if asked.get("scope") == "all":
        keep = [("scope", "all"), *filter_.words.items(), *pinned]
        return Chosen(filter_.of(there, at), filter_, keep, again)
    names = set(asked.getlist("shown" if asked.get("scope") == "page" else "letter"))
    notes = [note for note in there if note.address in names] if names else []
    keep = [("scope", "ticked"), *(("letter", name) for name in sorted(names)), *filter_.words.items(), *pinned]
    return Chosen(notes, filter_, keep, again, len(names) - len(notes))


def _exact(value: object) -> datetime | None:
    """A time to the microsecond."""
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo else None
