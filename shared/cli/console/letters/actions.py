"""Replaying, discarding and exporting dead letters in the console, as `msisync dead-letters` does; and looking up which
were synced since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

from ....azure.service_bus import Outgoing
from ....sync.history import What
from ....sync.routing import Refusal
from ...command import Exit
from ...dead_letters.archive import line_of, writing
from ...dead_letters.letter import DeadLetter
from ...dead_letters.look import filters, look
from ...dead_letters.move import Tally
from ...dead_letters.replay import left_out, move_all, result
from ...dead_letters.resend import Stamp, resend
from ...dead_letters.selection import Selection
from ...dead_letters.synced import look_up
from ...dead_letters.text import cut
from ...finding import Finding, Severity, attention, counted, ok
from ...remedies import OFTEN
from ..jobs import Job
from ..page import Action, Plan, Visit
from .index import Index, Note, latest
from .selection import Chosen, chosen

PATH = "/dead-letters"
#: Groups that are named before an action.
GROUPS = 8
_CHANGED = Refusal("NotThere", "another message is at its address by now")
_SEVERITIES = {Exit.OK: Severity.OK, Exit.ATTENTION: Severity.ATTENTION}


@dataclass(frozen=True, slots=True)
class Deed:
    """What is done with dead letters: `verb` and `done` as in "Replay 3 dead letters" and "3 replayed"."""

    verb: str
    done: str
    what: What


REPLAYING = Deed("Replay", "replayed", What.REPLAY)
DISCARDING = Deed("Discard", "discarded", What.DISCARD)


def _action(name: str, title: str, plan_of: Callable[[Visit, Index, Chosen], Plan], *, moves: bool = False) -> Action:
    """An action on the letters that a form means. `title`: how it is called until these are known.

    `moves`: who agrees to it agrees to what can be read in a moment, because others act in other processes.
    """

    async def plan(visit: Visit) -> Plan:
        look = latest(visit)
        if moves and visit.agrees:
            look.outdate()
        index = await look.now()
        if index is None:
            return Plan(title, nothing="The dead letters are being read …", is_looking=True)
        return plan_of(visit, index, chosen(visit.asked, index))

    return Action(f"{PATH}/{name}", PATH, plan)


def _plan_move(visit: Visit, index: Index, letters: Chosen, *, deed: Deed) -> Plan:
    found = letters.selection(is_replay=deed is REPLAYING)
    details = [*_groups(found), *_left(found, letters), *_synced(letters.notes, deed)]
    details += [f"Not looked at: {place}: {why}" for place, why in index.unseen.items()]
    title, do = f"{deed.verb} {counted(found.count, 'dead letter')}", partial(_move, visit, deed, letters, found)
    return Plan(
        title, do, details, letters.keep,
        is_grave=deed is DISCARDING, nothing=_nothing(found.count, letters), back=letters.filter.address(PATH),
    )  # fmt: skip


def _nothing(count: int, letters: Chosen) -> str:
    return "" if count else letters.filter.wrong or "No dead letter is chosen, or those that were are gone."


def _groups(found: Selection) -> Iterator[str]:
    groups = found.groups.largest_first()
    for group in groups[:GROUPS]:
        what = group.entity or "notifications"
        yield f"{group.count:,} with {group.code}, {what} from {group.source_queue}: {cut(group.reason)}"
    if len(groups) > GROUPS:
        yield f"and {counted(len(groups) - GROUPS, 'other group')}"


def _left(found: Selection, letters: Chosen) -> Iterator[str]:
    if found.often:
        again = "Tick “also those that were replayed three times” to take them as well."
        yield f"{found.often:,} stay: they were replayed {OFTEN} times or more, and came back. {again}"
    if refused := found.refused.total():
        why = "; ".join(f"{where}: {text}" for where, text in found.named[:3])
        yield f"{refused:,} stay, because nobody would understand them: {why}"
    if letters.gone:
        yield f"{letters.gone:,} of those chosen are gone meanwhile."


def _synced(notes: Sequence[Note], deed: Deed) -> Iterator[str]:
    known = sum(1 for note in notes if note.synced)
    if deed is REPLAYING and known:
        yield f"{known:,} of them were synced since: to send those once more changes nothing."
    elif deed is DISCARDING and notes:
        yield f"They are removed for good. {known:,} of them are known to have been synced since."


async def _move(visit: Visit, deed: Deed, letters: Chosen, found: Selection, job: Job) -> Finding:
    tally, stamp = Tally(), Stamp(datetime.now(UTC), str(uuid4()))
    notes = {(note.place, note.number): note for note in letters.notes}

    def prepare(letter: DeadLetter) -> Outgoing | Refusal | None:
        """What is sent for it: nothing for what is discarded. One that is not the one that was chosen stays."""
        if notes[letter.place, letter.number].since != letter.since:
            return _CHANGED
        return resend(letter, visit.context.settings.queues, stamp) if deed is REPLAYING else None

    def advance(number: int) -> None:
        job.advance(job.done + number)

    def became(letter: DeadLetter, why: str) -> None:
        table, id_ = letter.ids[0] if letter.ids else ("", "")
        name = f"{letter.address}, {f'{table} {id_}' if id_ else letter.code}"
        link = f"/records?q={id_}" if id_ else ""
        if why:
            job.say(f"{name}: {why}", Severity.FAILED, link)
        else:
            notes[letter.place, letter.number].is_gone = True
            job.say(f"{name}: {deed.done}", link=link)

    job.advance(0, found.count)
    try:
        await move_all(visit.context, found, prepare, tally, on_progress=advance, what=deed.what, became=became)
    finally:
        latest(visit).outdate()
    done = result(deed.verb.lower(), found, tally, applied=True, stamp=stamp, unseen={})
    severity = _SEVERITIES.get(done.exit, Severity.FAILED)
    why = [f"{number:,} failed and stay: {text}" for text, number in tally.failures.items()]
    text = f"{tally.went:,} of {counted(found.count, 'dead letter')} {deed.done}"
    return Finding(severity, text, (*why, *left_out(done.data)))


def _plan_export(visit: Visit, _: Index, letters: Chosen) -> Plan:
    count = len(letters.notes)
    title, do = f"Export {counted(count, 'dead letter')}", partial(_export, visit, letters.notes)
    details = ["They stay where they are. The file holds personal data; msisync dead-letters import reads it."]
    return Plan(title, do, details, letters.keep, nothing=_nothing(count, letters), back=letters.filter.address(PATH))


async def _export(visit: Visit, notes: Sequence[Note], job: Job) -> Finding:
    wanted = {(note.place, note.number): note.since for note in notes}
    job.advance(0, len(wanted))
    path = visit.jobs.new_file(job, f"dead-letters-{datetime.now(UTC):%Y%m%d-%H%M%S}.jsonl")
    with writing(path) as file:

        def write(letter: DeadLetter) -> None:
            if wanted.get((letter.place, letter.number), _CHANGED) == letter.since:
                file.write(line_of(letter))
                job.advance(job.done + 1)

        unseen = await look(visit.context, filters(), write)
    job.file = path
    text = f"{counted(job.done, 'dead letter')} written to {path.name}"
    missing = [f"not looked at: {place}: {why}" for place, why in unseen.items()]
    if job.done < len(wanted):
        return attention(f"{text}; {len(wanted) - job.done:,} are gone meanwhile", "", missing)
    return ok(f"{text}; they are still in their queues")


def _plan_check(visit: Visit, _: Index, letters: Chosen) -> Plan:
    todo = [note for note in letters.notes if not note.synced]
    details = ["Asks the history in Table Storage, for each row and each day since. Nothing is changed."]
    nothing = "" if todo else letters.filter.wrong or "It is known of all of them."
    title = f"Look up whether {counted(len(todo), 'dead letter')} {'was' if len(todo) == 1 else 'were'} synced since"
    do = partial(_check, visit, todo)
    return Plan(title, do, details, letters.keep, nothing=nothing, back=letters.filter.address(PATH))


async def _check(visit: Visit, todo: Sequence[Note], job: Job) -> Finding:
    job.advance(0, len(todo))

    def found(note: Note, synced: datetime | None) -> None:
        mark(note, synced)
        job.advance(job.done + 1)

    await look_up(visit.context, todo, found)
    known = sum(1 for note in todo if note.synced)
    return ok(f"{known:,} of {counted(len(todo), 'dead letter')} were synced since; the page marks them")


def mark(note: Note, synced: datetime | None) -> None:
    """Keep what was looked up of a letter."""
    note.synced = synced


REPLAY = _action("replay", "Replay dead letters", partial(_plan_move, deed=REPLAYING), moves=True)
DISCARD = _action("discard", "Discard dead letters", partial(_plan_move, deed=DISCARDING), moves=True)
EXPORT = _action("export", "Export dead letters", _plan_export)
CHECK = _action("check", "Look up which dead letters were synced since", _plan_check)
ACTIONS = (REPLAY, DISCARD, EXPORT, CHECK)
