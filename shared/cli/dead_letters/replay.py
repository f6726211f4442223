"""`msisync dead-letters replay`, `import` and `discard`: what lies there is sent to where it belongs, or removed."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any
from uuid import uuid4

from rich.console import Console

from ...azure.service_bus import Outgoing
from ...sync.history import What
from ...sync.routing import Refusal
from ..command import Exit, Result
from ..context import Context
from ..invocation import again
from ..operator import did
from ..output import say
from ..progress import progress_bar, steps
from ..remedies import OFTEN
from .archive import letters_in
from .letter import DeadLetter
from .look import fits, look
from .move import MAX_HELD, Mover, Prepare, Tally, send
from .resend import Stamp, refusal, resend
from .selection import Selection
from .text import group_json, show_groups, show_unseen

#: Messages of an import that are on their way at once.
_AT_ONCE = 500
_DONE = {"replay": "sent again", "discard": "removed", "import": "sent again"}


async def replay(context: Context, given: Namespace, progress: Console, *, confirms: bool = False) -> Result:
    """Send dead letters to where they came from. Raises MsiSyncError when Service Bus does not answer.

    `confirms`: deletions among them pass the brake (shared/sync/delete_brake.py).
    """
    queues, stamp = context.settings.queues, Stamp(datetime.now(UTC), str(uuid4()), confirms)
    found, tally = Selection(given.max, given.again), Tally()
    with progress.status("Looking at the dead letters"):
        unseen = await look(context, given, lambda letter: found.offer(letter, refusal(letter, queues)))
    if given.apply:
        with counting(progress, "replay", found.count, tally) as on_progress:
            prepare = partial(resend, queues=queues, stamp=stamp)
            what = What.LET_GO if confirms else What.REPLAY
            await move_all(context, found, prepare, tally, on_progress=on_progress, what=what)
    return result("replay", found, tally, applied=given.apply, stamp=stamp, unseen=unseen)


async def discard(context: Context, given: Namespace, progress: Console) -> Result:
    """Remove dead letters. Raises as `replay`, and ArchiveError."""
    found, tally = Selection(given.max, again=True), Tally()
    only = None
    if given.exported:
        only = frozenset(letter.identity for letter in letters_in(given.exported, context.settings.queues))
    with progress.status("Looking at the dead letters"):
        unseen = await look(context, given, lambda letter: found.offer(letter, None), only=only)
    if given.apply:
        with counting(progress, "discard", found.count, tally) as on_progress:
            await move_all(context, found, lambda _: None, tally, on_progress=on_progress, what=What.DISCARD)
    return result("discard", found, tally, applied=given.apply, stamp=None, unseen=unseen)


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
                sent = await send(context.outgoing, [message for _, message in batch])
                tally.failures.update(filter(None, sent.failures))
                tally.went += sent.failures.count("")
                for (letter, _), why in zip(batch, sent.failures, strict=True):
                    if not why:
                        did(context, What.REPLAY, letter.ids, code=letter.code)
                on_progress(len(batch))
                if sent.hopeless:
                    break
    return result("import", found, tally, applied=given.apply, stamp=stamp, unseen={})


def _outgoing(
    context: Context, given: Namespace, stamp: Stamp, found: Selection
) -> Iterator[tuple[DeadLetter, Outgoing]]:
    """What is to be sent, one by one, each with its dead letter; `found` takes the rest."""
    queues = context.settings.queues
    for letter in letters_in(given.file, queues):
        if fits(given, letter, stamp.at):
            prepared = resend(letter, queues, stamp)
            refusal = prepared if isinstance(prepared, Refusal) else None
            if found.offer(letter, refusal) and isinstance(prepared, Outgoing):
                yield letter, prepared


async def move_all(
    context: Context,
    found: Selection,
    prepare: Prepare,
    tally: Tally,
    *,
    on_progress: Callable[[int], None],
    what: What,
    became: Callable[[DeadLetter, str], None] = lambda *_: None,
) -> None:
    """Move what was chosen; `what` that is, for the history. `became`: as of Mover."""

    def noted(letter: DeadLetter, why: str) -> None:
        if not why:
            did(context, what, letter.ids, code=letter.code)
        became(letter, why)

    for place, numbers in found.chosen.items():
        await Mover(context, place, numbers, prepare, tally, on_progress, noted).run()


@contextmanager
def counting(console: Console, action: str, total: int, tally: Tally) -> Iterator[Callable[[int], None]]:
    """A progress bar; gives the function that takes what is newly done. Notes in `tally` how long it took."""
    began = time.monotonic()
    gone = steps(console, _DONE[action], total)
    with progress_bar(console) as bar:
        task = bar.add_task(action, total=total, done="")  # it advances by what has failed, too

        def on_progress(done: int) -> None:
            gone.count = tally.went
            bar.advance(task, done)

        yield on_progress
    tally.seconds = time.monotonic() - began


def result(
    action: str, found: Selection, tally: Tally, *, applied: bool, stamp: Stamp | None, unseen: dict[str, str]
) -> Result:
    """What was done, or would be, with the exit code that tells whether all went."""
    failures = sum(tally.failures.values())
    left = found.count - tally.went - tally.doubtful - failures if applied else 0
    data: dict[str, Any] = {
        "action": action,
        "applied": applied,
        "replay_id": stamp.id if stamp and applied else None,
        "selected": found.count,
        "groups": [group_json(group) for group in found.groups.largest_first()],
        "went": tally.went,
        "seconds": round(tally.seconds, 1),
        "not_confirmed": tally.doubtful,
        "failed": dict(tally.failures),
        "not_given_out": max(left, 0),
        "too_many_before_them": tally.blocked,
        "beyond_max": found.beyond,
        "replayed_often": found.often,
        "refused": dict(found.refused),
        "refused_examples": [{"address": where, "why": why} for where, why in found.named],
        "not_looked_at": unseen,
    }
    return Result(_exit(data), data, lambda console: _show(console, data))


def _exit(data: dict[str, Any]) -> Exit:
    if data["failed"] or data["not_confirmed"] or data["too_many_before_them"]:
        return Exit.FAILED
    kept = ("beyond_max", "replayed_often", "refused", "not_given_out", "not_looked_at")
    todo = data["selected"] and not data["applied"]
    return Exit.ATTENTION if todo or any(data[name] for name in kept) else Exit.OK


def _show(console: Console, data: dict[str, Any]) -> None:
    action, count = data["action"], data["selected"]
    if not data["applied"]:
        show_groups(console, data["groups"], remedies=False)
        if count:
            these = "this one" if count == 1 else f"these {count}"
            say(console, f"Nothing has been changed. To {action} {these}: {again('--apply')}")
    elif count:
        style = "green" if data["went"] == count else "yellow"
        say(console, f"{data['went']} of {count} {_DONE[action]} in {data['seconds']:.0f} s.", style)
    if not count:
        say(console, f"Nothing to {action}.", "green")
    for text in left_out(data):
        say(console, f"! {text}", "yellow")
    for refused in data["refused_examples"]:
        say(console, f"    {refused['address']}: {refused['why']}")
    for why, number in data["failed"].items():
        say(console, f"! {number} failed and stay: {why}", "red")
    show_unseen(console, data["not_looked_at"])


def left_out(data: Mapping[str, Any]) -> list[str]:
    """A sentence for each reason why some did not go, or would not."""
    refused, often, doubtful = sum(data["refused"].values()), data["replayed_often"], data["not_confirmed"]
    beyond, left, blocked = data["beyond_max"], data["not_given_out"], data["too_many_before_them"]
    told = {
        f"{beyond} more fit: run it again for them, or raise --max (0 is all)": beyond,
        f"{often} were replayed {OFTEN} times or more already and are skipped: see why they come back "
        "(msisync dead-letters list --replayed 3+), then use --again": often,
        f"{refused} stay, because nobody would understand them; see them with show, then discard them": refused,
        f"{doubtful} may still be there though they went: run it again, which does no harm": doubtful,
        f"{MAX_HELD} other messages are ahead of the rest, and Service Bus gives them in order only: replay those as "
        "well (fewer filters), or export them to a file, discard them and import the file later": blocked,
        f"{left} were not tried because of that failure: run it again when it is fixed": left and data["failed"],
        f"{left} were not given out: another receiver has locked them, or a run that was killed. They come back within "
        "5 minutes: run it again then": left and not data["failed"] and not blocked,
    }
    return [text for text, applies in told.items() if applies]
