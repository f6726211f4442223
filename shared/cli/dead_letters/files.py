"""`msisync dead-letters export` and `import`: dead letters into a file, and from it to where they belong."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from uuid import uuid4

from rich.console import Console

from ...azure.service_bus import Bus, Outgoing
from ...sync.routing import Refusal
from ..command import Exit, Result
from ..context import Context
from .archive import letters_in, line_of, writing
from .filters import given_filters
from .letter import DeadLetter
from .move import Tally
from .replay import counting, result
from .resend import Stamp, resend
from .selection import Selection
from .sending import send
from .survey import look
from .text import say, show_unseen

#: Messages of an import that are on their way at once.
_AT_ONCE = 500


async def export(context: Context, given: Namespace, progress: Console) -> Result:
    """Write dead letters to a new file; they stay where they are. Raises ArchiveError, and QueueUnavailable."""
    count = size = 0
    with writing(given.file) as file, progress.status("Writing the dead letters"):

        def write(letter: DeadLetter) -> None:
            nonlocal count, size
            size += file.write(line_of(letter))
            count += 1

        unseen = await look(context, given_filters(given), write)
    data = {"file": str(given.file), "written": count, "characters": size, "not_looked_at": unseen}

    def show(console: Console) -> None:
        say(console, f"{count} dead letters written to {given.file}; they are still in their queues.", "green")
        say(console, f"To remove them there: msisync dead-letters discard --exported {given.file} --max 0 --apply")
        show_unseen(console, unseen)

    return Result(Exit.ATTENTION if unseen else Exit.OK, data, show)


async def import_(context: Context, given: Namespace, progress: Console) -> Result:
    """Send the dead letters of a file to where they belong. Raises ArchiveError before anything is sent."""
    now, found, tally = datetime.now(UTC), Selection(again=given.again), Tally()
    stamp = Stamp(now, str(uuid4()))
    for _ in _outgoing(context, given, stamp, now, found):
        pass
    if given.apply:
        bus = Bus(context.settings.bus)
        try:
            bar = counting(progress, "import", found.count)
            with bar as report:
                messages = _outgoing(context, given, stamp, now, Selection(again=given.again))
                while batch := list(islice(messages, _AT_ONCE)):
                    sent = await send(bus, batch)
                    tally.failures.update(filter(None, sent.failures))
                    tally.went += sum(not why for why in sent.failures)
                    report(len(batch))
                    if sent.hopeless:
                        break
            tally.seconds = bar.seconds
        finally:
            await bus.close()
    return result("import", found, tally, applied=given.apply, stamp=stamp, unseen={})


def _outgoing(context: Context, given: Namespace, stamp: Stamp, now: datetime, found: Selection) -> Iterator[Outgoing]:
    """What is to be sent, one by one; `found` takes the rest."""
    queues, filters = context.settings.queues, given_filters(given)
    for letter in letters_in(given.file, queues):
        if filters.fit(letter, now):
            prepared = resend(letter, queues, stamp)
            refusal = prepared if isinstance(prepared, Refusal) else None
            if found.offer(letter, refusal) and isinstance(prepared, Outgoing):
                yield prepared
