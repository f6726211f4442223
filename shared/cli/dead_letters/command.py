"""`msisync dead-letters`: its commands, and those of them that only look."""

from __future__ import annotations

import heapq
from argparse import Namespace
from contextlib import aclosing
from pathlib import Path
from typing import Any

from rich.console import Console

from ...model.errors import MsiSyncError
from ..command import Command, Exit, Result, number, option, options, positive_number
from ..context import Context
from ..peek import peek
from .archive import export
from .letter import DeadLetter, place_of, read
from .look import add_filters, look
from .replay import discard, import_, replay
from .selection import Groups
from .text import brief, full, group_json, show_brief, show_count, show_full, show_groups

MAX = 1000
LIMIT = 50


async def summary(context: Context, given: Namespace, progress: Console) -> Result:
    """Count all dead letters by what they have in common. Raises QueueUnavailable when Service Bus does not answer."""
    groups = Groups()
    with progress.status("Looking at the dead letters"):
        unseen = await look(context, given, groups.add)
    found = [group_json(group) for group in groups.largest_first()]
    count = sum(group["count"] for group in found)
    data = {"count": count, "groups": found, "not_looked_at": unseen}

    def show(console: Console) -> None:
        show_groups(console, found, remedies=True)
        show_count(console, count, unseen)

    return Result(Exit.ATTENTION if count or unseen else Exit.OK, data, show)


async def list_(context: Context, given: Namespace, progress: Console) -> Result:
    """The newest dead letters, or the oldest. Raises as `summary`."""
    best: list[tuple[float, int, dict[str, Any]]] = []
    count = 0

    def take(letter: DeadLetter) -> None:
        nonlocal count
        count += 1
        since = letter.message.enqueued.timestamp() if letter.message.enqueued else 0.0
        rank = (-since, -count) if given.oldest else (since, count)
        if len(best) < given.limit:
            heapq.heappush(best, (*rank, brief(letter)))
        elif rank > best[0][:2]:
            heapq.heapreplace(best, (*rank, brief(letter)))

    with progress.status("Looking at the dead letters"):
        unseen = await look(context, given, take)
    found = [letter for *_, letter in sorted(best, key=lambda each: each[:2], reverse=True)]
    data = {"count": count, "dead_letters": found, "not_looked_at": unseen}

    def show(console: Console) -> None:
        for letter in found:
            show_brief(console, letter)
        show_count(console, count, unseen, f", {len(found)} shown (see --limit)" if len(found) < count else "")

    return Result(Exit.ATTENTION if count or unseen else Exit.OK, data, show)


async def show_one(context: Context, given: Namespace, _: Console) -> Result:
    """Everything of one dead letter. Raises as `one`."""
    data = full(await one(context, given.place))
    return Result(Exit.OK, data, lambda console: show_full(console, data))


async def one(context: Context, address: str) -> DeadLetter:
    """The dead letter at an address. Raises MsiSyncError when it is not there, and QueueUnavailable."""
    queues = context.settings.queues
    found = place_of(address, queues)
    if found is None:
        raise MsiSyncError("NoAddress", f"{address} is no address as msisync dead-letters list prints it")
    place, number = found
    async with aclosing(peek(context.bus, place, start=number, page=1)) as pages:
        page = await anext(pages, None)
    if not page or page[0].sequence_number != number:
        raise MsiSyncError("NotThere", f"{address} is not there any more; see msisync dead-letters list")
    return read(place, page[0], queues)


#: Whether it is done at all, and for how many.
APPLYING = options(
    option("--apply", action="store_true", help="do it; without it nothing is changed"),
    option("--max", type=number, default=MAX, metavar="N", help=f"at most N, 0 for all; default {MAX}"),
)
_AGAIN = option("--again", action="store_true", help="also what was replayed three times already")
_WHERE = "The queue of dead letters and every queue's own dead-letter sub-queue are one list.\n"
_CODES = "Exit codes: 0 all went; 1 a dry run with something to do, or some were left out; 2 some failed."

COMMANDS = (
    Command(
        "dead-letters summary",
        "count the dead letters by entity, queue and code, with what to do about each group",
        f"{_WHERE}Exit codes: 0 there are none; 1 there are some.\nNext: msisync dead-letters list --code CODE",
        summary,
        add_filters,
    ),
    Command(
        "dead-letters list",
        "list dead letters, the newest first",
        f"{_WHERE}Exit codes: 0 there are none; 1 there are some.\nNext: msisync dead-letters show ADDRESS",
        list_,
        options(
            option("--limit", type=positive_number, default=LIMIT, metavar="N", help=f"how many; default {LIMIT}"),
            option("--oldest", action="store_true", help="the oldest ones instead of the newest"),
            add_filters,
        ),
    ),
    Command(
        "dead-letters show",
        "show everything of one dead letter, and what to do next",
        "Shows personal data. Exit codes: 0 shown; 2 not there.",
        show_one,
        option("place", help="address of a dead letter as list prints it, such as dead-letters/17"),
    ),
    Command(
        "dead-letters export",
        "write dead letters to a file, which import can send again",
        f"{_WHERE}The file holds personal data. Nothing is removed.\n"
        "Next: msisync dead-letters discard --exported FILE removes what the file has.",
        export,
        options(option("file", type=Path, help="a new file; one JSON object a line"), add_filters),
    ),
    Command(
        "dead-letters import",
        "send the dead letters of a file to where they belong",
        f"Nothing is sent until --apply. Doing it twice does no harm: rows are read again.\n{_CODES}",
        import_,
        options(
            option("file", type=Path, help="a file that export has written"),
            option("--apply", action="store_true", help="send them; without it nothing is changed"),
            _AGAIN,
            add_filters,
        ),
    ),
    Command(
        "dead-letters replay",
        "send dead letters to where they belong, and remove them here",
        f"{_WHERE}Nothing is sent until --apply. What comes back meanwhile is left alone. It can be stopped at any\n"
        f"point: nothing is lost, and what goes twice does no harm.\n{_CODES}\n"
        "Next: msisync dead-letters summary",
        replay,
        options(APPLYING, _AGAIN, add_filters),
    ),
    Command(
        "dead-letters discard",
        "remove dead letters for good",
        f"{_WHERE}Nothing is removed until --apply. Export them first: msisync dead-letters export FILE\n{_CODES}",
        discard,
        options(
            APPLYING,
            option("--exported", type=Path, metavar="FILE", help="only what an export has written to FILE"),
            add_filters,
        ),
    ),
)
