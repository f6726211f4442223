"""What `msisync show person` takes from the history: where a person comes from, and what happened last."""

from __future__ import annotations

from collections.abc import Iterator

from ...sync.history import Event, What
from ..context import Context
from ..past import lines_of, past_of
from .facts import Person, Search

#: Events that are shown at most, beside those of the lineage.
LAST = 5
#: Who became whom.
LINEAGE = frozenset({
    What.ADOPTED, What.CONTINUED, What.LEFT_BEHIND, What.MERGED, What.TOOK_OVER, What.MERGED_IN_MARKETO, What.LINK,
})  # fmt: skip


async def look(context: Context, search: Search) -> None:
    """Fill in what happened to the persons. Raises StorageUnavailableError."""
    of_persons = [person for person in search.persons if person.subject.id]
    search.past = past = await past_of(context, [person.subject.id for person in of_persons])
    for person in of_persons:
        events = [event for event in past.events if event.id == person.subject.id]
        person.history = chosen(events)
        person.no_history = "" if events else past.why_nothing or "Nothing is known of it."


def chosen(events: list[Event]) -> list[Event]:
    """Those of the lineage, and the last ones."""
    return [event for place, event in enumerate(events) if event.what in LINEAGE or place >= len(events) - LAST]


def lines(person: Person) -> Iterator[str]:
    """For people, with the command that shows all of it."""
    for event in person.history:
        yield next(lines_of(event))
    if person.history:
        yield f"all of it: msisync history {person.subject.id}"
    elif person.no_history:
        yield person.no_history
