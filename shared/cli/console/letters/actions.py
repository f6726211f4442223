"""Replaying, discarding and exporting dead letters in the console, as `msisync dead-letters` does; and looking up which
were synced since.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

from ....azure.service_bus import Outgoing
from ....sync.history import What
from ....sync.routing import Refusal
from ...command import Exit
from ...context import Context
from ...dead_letters.archive import line_of, writing
from ...dead_letters.letter import DeadLetter
from ...dead_letters.look import filters, look
from ...dead_letters.move import Prepare, Tally
from ...dead_letters.replay import left_out, move_all, result
from ...dead_letters.resend import Stamp, resend
from ...dead_letters.selection import Selection
from ...dead_letters.synced import look_up
from ...dead_letters.text import cut
from ...finding import Finding, Severity, attention, counted, failed, ok
from ...remedies import OFTEN
from ..jobs import Job
from ..page import Action, Plan, Visit
from .index import Index, Note, latest
from .selection import Chosen, chosen

PATH = "/dead-letters"
#: Groups that are named before an action.
GROUPS = 8
_READING = "The dead letters are being read …"
_NOT_READ = failed("nothing was done: the dead letters are still being read", "ask again in a moment")
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


async def _meant(visit: Visit, *, anew: bool = False) -> tuple[Index, Chosen] | None:
    """What is meant, as far as is known; `anew`: of what can be read in a moment."""
    look = latest(visit)
    if anew:
        look.outdate()
    index = await look.now()
    return (index, chosen(visit.asked, index)) if index else None


def _plan_of(verb: str, count: int, details: list[str], meant: Chosen, *, is_grave: bool = False) -> Plan:
    title = f"{verb} {counted(count, 'dead letter')}"
    nothing = "" if count else meant.filter.wrong or "No dead letter is chosen, or those that were are gone."
    return Plan(title, details, meant.keep, is_grave, nothing, back=meant.filter.address(PATH))


async def _plan(visit: Visit, *, deed: Deed) -> Plan:
    meant = await _meant(visit, anew=visit.agrees)  # others act in other processes
    if meant is None:
        return Plan(f"{deed.verb} dead letters", nothing=_READING, is_looking=True)
    index, letters = meant
    found = letters.selection(is_replay=deed is REPLAYING)
    details = [*_groups(found), *_left(found, letters), *_synced(letters.notes, deed)]
    details += [f"Not looked at: {place}: {why}" for place, why in index.unseen.items()]
    return _plan_of(deed.verb, found.count, details, letters, is_grave=deed is DISCARDING)


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


async def _do(visit: Visit, job: Job, *, deed: Deed) -> Finding:
    meant = await _meant(visit)
    if meant is None:
        return _NOT_READ
    _, letters = meant
    found, tally = letters.selection(is_replay=deed is REPLAYING), Tally()
    stamp = Stamp(datetime.now(UTC), str(uuid4()))
    mover = _Moving(visit.context, job, deed, letters)
    prepare: Prepare = partial(mover.prepare, stamp)
    job.advance(0, found.count)
    try:
        await move_all(
            visit.context, found, prepare, tally, on_progress=mover.advance, what=deed.what, became=mover.became
        )
    finally:
        latest(visit).outdate()
    done = result(deed.verb.lower(), found, tally, applied=True, stamp=stamp, unseen={})
    severity = _SEVERITIES.get(done.exit, Severity.FAILED)
    why = [f"{number:,} failed and stay: {text}" for text, number in tally.failures.items()]
    text = f"{tally.went:,} of {counted(found.count, 'dead letter')} {deed.done}"
    return Finding(severity, text, (*why, *left_out(done.data)))


class _Moving:
    """Tells a job what becomes of each letter, and the index which are gone."""

    def __init__(self, context: Context, job: Job, deed: Deed, letters: Chosen) -> None:
        self._queues, self._job, self._deed = context.settings.queues, job, deed
        self._notes = {(note.place, note.number): note for note in letters.notes}

    def prepare(self, stamp: Stamp, letter: DeadLetter) -> Outgoing | Refusal | None:
        """What is sent for it: nothing for what is discarded. One that is not the one that was chosen stays."""
        if self._notes[letter.place, letter.number].since != letter.since:
            return _CHANGED
        return resend(letter, self._queues, stamp) if self._deed is REPLAYING else None

    def advance(self, number: int) -> None:
        """So many more are done."""
        self._job.advance(self._job.done + number)

    def became(self, letter: DeadLetter, why: str) -> None:
        """One was moved, or stays."""
        table, id_ = letter.ids[0] if letter.ids else ("", "")
        name = f"{letter.address}, {f'{table} {id_}' if id_ else letter.code}"
        link = f"/records?q={id_}" if id_ else ""
        if why:
            self._job.say(f"{name}: {why}", Severity.FAILED, link)
        else:
            self._notes[letter.place, letter.number].is_gone = True
            self._job.say(f"{name}: {self._deed.done}", link=link)


async def _plan_export(visit: Visit) -> Plan:
    meant = await _meant(visit)
    if meant is None:
        return Plan("Export dead letters", nothing=_READING, is_looking=True)
    _, letters = meant
    details = ["They stay where they are. The file holds personal data; msisync dead-letters import reads it."]
    return _plan_of("Export", len(letters.notes), details, letters)


async def _export(visit: Visit, job: Job) -> Finding:
    meant = await _meant(visit)
    if meant is None:
        return _NOT_READ
    wanted = {(note.place, note.number): note.since for note in meant[1].notes}
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


async def _plan_check(visit: Visit) -> Plan:
    meant = await _meant(visit)
    if meant is None:
        return Plan("Look up which dead letters were synced since", nothing=_READING, is_looking=True)
    _, letters = meant
    todo = [note for note in letters.notes if not note.synced]
    details = ["Asks the history in Table Storage, for each row and each day since. Nothing is changed."]
    nothing = "" if todo else letters.filter.wrong or "It is known of all of them."
    title = f"Look up whether {counted(len(todo), 'dead letter')} {'was' if len(todo) == 1 else 'were'} synced since"
    return Plan(title, details, letters.keep, nothing=nothing, back=letters.filter.address(PATH))


async def _check(visit: Visit, job: Job) -> Finding:
    meant = await _meant(visit)
    if meant is None:
        return _NOT_READ
    todo = [note for note in meant[1].notes if not note.synced]
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


REPLAY = Action(f"{PATH}/replay", PATH, partial(_plan, deed=REPLAYING), partial(_do, deed=REPLAYING))
DISCARD = Action(f"{PATH}/discard", PATH, partial(_plan, deed=DISCARDING), partial(_do, deed=DISCARDING))
EXPORT = Action(f"{PATH}/export", PATH, _plan_export, _export)
CHECK = Action(f"{PATH}/check", PATH, _plan_check, _check)
ACTIONS = (REPLAY, DISCARD, EXPORT, CHECK)
