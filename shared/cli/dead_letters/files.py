"""`msisync dead-letters export` and `import`: dead letters into a file, and from it to where they belong."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from uuid import uuid4

from rich.console import Console

from ...azure.service_bus import Outgoing
from ...sync.routing import Refusal
from ..command import Exit, Result
from ..context import Context
from ..output import say
from .archive import letters_in, line_of, writing
from .letter import DeadLetter
from .look import fits, look
from .move import Tally, send
from .replay import counting, result
from .resend import Stamp, resend
from .selection import Selection
from .text import show_unseen

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

        unseen = await look(context, given, write)
    data = {"file": str(given.file), "written": count, "characters": size, "not_looked_at": unseen}

    def show(console: Console) -> None:
        say(console, f"{count} dead letters written to {given.file}; they are still in their queues.", "green")
        say(console, f"To remove them there: msisync dead-letters discard --exported {given.file} --max 0 --apply")
        show_unseen(console, unseen)

    return Result(Exit.ATTENTION if unseen else Exit.OK, data, show)


async def import_(context: Context, given: Namespace, progress: Console) -> Result:
    """Send the dead letters of a file to where they belong. Raises ArchiveError before anything is sent."""
    found, tally = Selection(again=given.again), Tally()
    stamp = Stamp(datetime.now(UTC), str(uuid4()))
    for _ in _outgoing(context, given, stamp, found):
        pass
    if given.apply:
        with counting(progress, "import", found.count, tally) as on_progress:
            messages = _outgoing(context, given, stamp, Selection(again=given.again))
            while batch := list(islice(messages, _AT_ONCE)):
                sent = await send(context.outgoing, batch)
                tally.failures.update(filter(None, sent.failures))
                tally.went += sent.failures.count("")
                on_progress(len(batch))
                if sent.hopeless:
                    break
    return result("import", found, tally, applied=given.apply, stamp=stamp, unseen={})


def _outgoing(context: Context, given: Namespace, stamp: Stamp, found: Selection) -> Iterator[Outgoing]:
    """What is to be sent, one by one; `found` takes the rest."""
    queues = context.settings.queues
    for letter in letters_in(given.file, queues):
        if fits(given, letter, stamp.at):
            prepared = resend(letter, queues, stamp)
            refusal = prepared if isinstance(prepared, Refusal) else None
            if found.offer(letter, refusal) and isinstance(prepared, Outgoing):
                yield prepared
