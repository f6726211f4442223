"""The history as commands and the console read it: `past_of` some rows, and an event as `lines_of` text."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime

from ..azure.errors import storage_within
from ..sync import history_log
from ..sync.history import AT_LARGE, Event
from ..sync.history_log import Past
from .context import Context

#: How long an operator waits for a storage that does not answer.
ANSWER_SECONDS = 15.0


async def past_of(context: Context, ids: Collection[str]) -> Past:
    """What happened to the rows with these ids. Raises StorageUnavailableError.

    Costs a request to storage, and for each id one for each day that is kept.
    """
    async with storage_within(ANSWER_SECONDS):
        days = context.settings.storage.history_days
        return await history_log.read(context.history_tables, ids, days=days, now=datetime.now(UTC))


async def acts_at_large(context: Context) -> Past:
    """What operators did that concerns no single record: pauses and runs. Raises StorageUnavailableError."""
    return await past_of(context, [AT_LARGE])


def lines_of(event: Event) -> Iterator[str]:
    """An event for people: when it was, here and in UTC, what it was; then the ids that other logs have."""
    local, utc = event.at.astimezone(), event.at.astimezone(UTC)
    when = (
        f"{utc:%Y-%m-%d %H:%M:%S} UTC"
        if local.utcoffset() == utc.utcoffset()
        else (f"{local:%Y-%m-%d %H:%M:%S} ({utc:%Y-%m-%d %H:%M:%S} UTC)")
    )
    yield f"{when}  {event.text}{f', by {event.by}' if event.by else ''}"
    named = {"correlation": event.correlation_id, "request": event.request_id, "run": event.run}
    if ids := ", ".join(f"{name} {id_}" for name, id_ in named.items() if id_):
        yield f"    {ids}"
