"""Records that wait for their parents: parked durably, the parent requested once, released when it is in Marketo.

A record that waits for a parent is in Marketo only when the parent is. One that Marketo has already, or whose parent
will not come, goes at once without the link, and is parked as "linked later": sent again when the parent comes.

The order of steps makes it safe without locks, whatever process does them and wherever it is killed:

* A child first parks, which leaves a note of its parent as well; then it looks what the note says. If nobody has asked
  for the parent, it notes that it asks, requests it, then notes that it has. If the parent will not come, it is sent
  on, and goes without.
* A parent that is in Marketo first takes its note away, then looks for children, then sends them on, then takes their
  rows away.
* A parent that will not come first notes that, then looks for children, then sends on those that can do without it,
  then takes their rows away.

So a child that found a note parked before the parent looked for children, a child that found none parked before the
parent took it away, and one whose parent nobody has asked for requests it. Whoever changes a note changes the one that
it has read, so "asked" never replaces what the parent has noted since. A crash in between leaves the broker's message,
and so the whole again; should that find the parent there and the child go at once, its row has a note still. What slips
through, the timer finds (`check`): it asks Marketo for the parents that are noted, less and less often, and gives
children that have waited too long their last look, and requests what was about to be asked for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from ..azure.parked_rows import Note, NoteState, Parked
from ..azure.parked_table import Store
from ..azure.service_bus import Bus
from ..config.settings import QueueSettings
from ..marketo.client import MAX_FILTER_VALUES, MarketoClient
from ..model.entities import ENTITIES, Entity
from ..model.errors import StorageUnavailableError
from ..model.outcome import Parent, WillNotCome
from ..model.record import Record
from ..telemetry import spans
from .marketo_cache import Known
from .releases import Releases, waits_since
from .routing import chunked
from .scheduling import AT_ONCE, Windows

log = logging.getLogger(__name__)

#: Longest time between two looks for a parent that was asked for, and for one that will not come without a repair.
MAX_CHECK = timedelta(hours=1)
MAX_CHECK_OF_LOST = timedelta(days=1)
#: How long it is remembered that a parent will not come when nothing is parked under it.
REMEMBERED = timedelta(days=30)
#: How often a note is read again that others keep changing.
NOTE_TRIES = 3

Waits = Sequence[tuple[Record, tuple[Parent, ...]]]


class Parking:
    """Parks, requests and releases."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        queues: QueueSettings,
        *,
        now: Callable[[], datetime],
        check_after: float,
        max_wait: float,
    ) -> None:
        """`check_after`: seconds until the timer looks for a parent; `max_wait`: how long a record waits for one."""
        self._store = store
        self._now = now
        self._check_after = timedelta(seconds=check_after)
        self._max_wait = timedelta(seconds=max_wait)
        self._releases = Releases(store, bus, queues, now=now)

    async def park(self, entity: Entity, deferred: Waits, windows: Windows = AT_ONCE) -> None:
        """Keep these records until their last parent comes, and request all parents that nobody has requested.

        Where the last parent will not come, a record that can do without it is sent on at once.
        """
        now, here = self._now(), spans.here()
        waiting = [
            Parked(parents[-1], entity.name, replace(record, parked_since=record.parked_since or now), trace=here)
            for record, parents in deferred
        ]
        notes = await self._keep(waiting, deferred, windows)
        lost = [note for parent in {child.parent for child in waiting} if (note := notes.get(parent)) and note.cause]
        await asyncio.gather(*(self._releases.of(note.parent, windows, _can_do_without(note.cause)) for note in lost))

    async def link_later(self, entity: Entity, sent: Waits, windows: Windows = AT_ONCE) -> None:
        """Have these records, which are in Marketo without links to these parents, sent again when one comes."""
        now, here = self._now(), spans.here()
        kept = [
            Parked(parent, entity.name, _for_the_link(record, now), trace=here, linked_later=True)
            for record, parents in sent
            for parent in parents
        ]
        await self._keep(kept, sent, windows)

    async def release(self, entity: Entity, synced: Sequence[Record], windows: Windows = AT_ONCE) -> int:
        """Send on everything that waits for these records of `entity`, page by page. Gives the number sent.

        Records that were asked for say so themselves. Others are looked up among those that are waited for: so a
        parent that failed and was fixed in Dynamics releases its children at once as well.
        """
        waited = await self._store.waited_for(entity.name, {record.id for record in synced})
        asked_for = [Parent(entity.name, record.table, record.id) for record in synced if record.requested]
        await self._store.unmark(asked_for)  # after a crash, their message comes again
        others = [waited[record.id] for record in synced if record.id in waited and not record.requested]
        released = await asyncio.gather(*(self._releases.of(parent, windows) for parent in asked_for))
        let_go = await asyncio.gather(*(self._let_go(note, windows) for note in others))
        return sum(let_go) + sum(left.count for left in released)

    async def links_to(self, parents: Sequence[Parent]) -> list[Parked]:
        """What is in Marketo without the link to one of these parents, as it is parked now.

        For who is about to send it on anyway, with the parent in Marketo: see `linked`. While storage is away: nothing,
        so it is sent twice.
        """
        found: list[Parked] = []
        try:
            for parent in parents:
                async for page in self._store.children(parent):
                    found += [child for child in page if child.linked_later]
        except StorageUnavailableError as error:
            log.warning("storage_away error=%s", error.cause)
            return []
        return found

    async def linked(self, children: Sequence[Parked]) -> None:
        """These were sent on after they were read; one that has been parked again since then is still released."""
        await self._store.remove(children)

    async def give_up(
        self, entity: Entity, lost: Sequence[tuple[Record, WillNotCome]], windows: Windows = AT_ONCE
    ) -> None:
        """Note that these records of `entity` will not come, and send on their children that can do without them.

        That a record is a dead letter is noted even where nobody waits for it, so that its children need not ask for
        it, which would be a second dead letter.
        """
        waited = await self._store.waited_for(entity.name, {record.id for record, _ in lost})
        now = self._now()
        notes = [
            Note(
                Parent(entity.name, record.table, record.id),
                waited[record.id].since if record.id in waited else now,
                now + self._check_after,
                state=NoteState.WILL_NOT_COME,
                cause=cause,
            )
            for record, cause in lost
            if record.requested or record.id in waited or not cause.skipped
        ]
        await self._store.put(notes)
        known = [note for note in notes if note.parent.id in waited]
        await asyncio.gather(*(self._releases.of(note.parent, windows, _can_do_without(note.cause)) for note in known))

    async def causes(self, parents: Collection[Parent]) -> Mapping[Parent, WillNotCome]:
        """Which of these parents will not come, and why. While storage is away: none."""
        try:
            return await self.noted(parents)
        except StorageUnavailableError as error:
            log.warning("storage_away error=%s", error.cause)
            return {}

    async def noted(self, parents: Collection[Parent]) -> Mapping[Parent, WillNotCome]:
        """The same. Raises StorageUnavailableError while storage is away."""
        notes = await self._store.notes(parents)
        return {parent: note.cause for parent, note in notes.items() if note.cause}

    async def check(self, marketo: MarketoClient, known: Known) -> dict[str, int]:
        """The timer's round: release children of parents that are there, and those that have waited too long.

        Costs one Marketo call per 300 parents whose next check has come. Gives counts for the log.
        """
        counts = {"checked": 0, "released": 0, "expired": 0}
        for name in ENTITIES:
            async for page in self._store.due(name, self._now()):
                for part in chunked(page, MAX_FILTER_VALUES):
                    found = await marketo.find(ENTITIES[name], [note.parent.id for note in part])
                    for key, id_ in found.items():
                        known.add(name, key, id_)
                    present = [note for note in part if note.parent.id in found]
                    absent = [note for note in part if note.parent.id not in found]
                    counts["checked"] += len(part)
                    counts["released"] += sum([await self._let_go(note) for note in present])
                    counts["expired"] += sum([await self._expire(note) for note in absent if self._is_old(note.since)])
                    young = [note for note in absent if not self._is_old(note.since)]
                    unasked = [note for note in young if note.state in (NoteState.UNASKED, NoteState.ASKING)]
                    later = [self._later(note) for note in unasked]
                    await self._ask(later, {note.parent: note.since for note in unasked}, AT_ONCE)
                    await self._look_again_later([note for note in young if note not in unasked])
        return counts

    async def _keep(self, parked: list[Parked], needed: Waits, windows: Windows) -> dict[Parent, Note]:
        """Park, then request the parents that nobody has requested. Gives the notes as they were in between."""
        now = self._now()
        since: dict[Parent, datetime] = {}
        first_seen: dict[Parent, datetime] = {}
        for record, parents in needed:
            for parent in parents:
                since[parent] = min(since.get(parent, now), record.parked_since or now)
                first_seen[parent] = min(first_seen.get(parent, now), record.first_seen)
        others = since.keys() - {child.parent for child in parked}
        await self._store.park(parked, now + self._check_after, sorted(others, key=lambda parent: parent.id))
        notes = await self._store.notes(since.keys())
        unasked = [note for note in notes.values() if note.state is NoteState.UNASKED]
        new = [replace(note, since=since[note.parent], next_check=now + self._check_after) for note in unasked]
        await self._ask(new, first_seen, windows)
        return notes

    async def _ask(self, notes: list[Note], first_seen: Mapping[Parent, datetime], windows: Windows) -> None:
        """Request the parents of these notes, unless somebody else does, or they have come or given up meanwhile."""
        mine = await self._change(notes, NoteState.ASKING)
        await self._request({note.parent: first_seen[note.parent] for note in mine}, windows)
        await self._change(mine, NoteState.ASKED)

    async def _change(self, notes: list[Note], state: NoteState) -> list[Note]:
        """Give these notes a state, as long as they have the one that was read. Gives those that were changed."""
        done: list[Note] = []
        for _ in range(NOTE_TRIES):
            if not notes:
                break
            etags = await self._store.replace([replace(note, state=state) for note in notes])
            done += [replace(note, state=state, etag=etags[note.parent]) for note in notes if note.parent in etags]
            changed = [note.parent for note in notes if note.parent not in etags]
            latest = await self._store.notes(changed) if changed else {}
            notes = [
                replace(note, etag=now.etag)
                for note in notes
                if (now := latest.get(note.parent)) and now.state is note.state
            ]
        return done

    async def _let_go(self, note: Note, windows: Windows = AT_ONCE) -> int:
        """Release the children of a parent that nobody announces: a crash leaves the note for the next round."""
        etag = await self._store.leave(replace(note, state=NoteState.UNASKED, cause=None))
        left = await self._releases.of(note.parent, windows)
        await self._store.forget(note.parent, etag)
        return left.count

    async def _expire(self, note: Note) -> int:
        """Send on the children that have waited too long: the engine reads them once more, and fails them.

        Where nothing is left under the note it goes, but that a parent will not come is remembered for a while.
        """
        etags = await self._store.replace([note])
        if not etags:
            return 0  # the next round looks at what it says now
        note = replace(note, etag=etags[note.parent])
        left = await self._releases.of(note.parent, AT_ONCE, lambda child: self._is_old(waits_since(child)))
        remembered = note.cause is not None and self._now() - note.cause.since < REMEMBERED
        if left.any or remembered:
            await self._look_again_later([replace(note, since=left.oldest or self._now())])
        else:
            await self._store.forget(note.parent, note.etag)
        if left.count:
            log.warning("parent_missing entity=%s id=%s children=%d", note.parent.entity, note.parent.id, left.count)
        return left.count

    async def _look_again_later(self, notes: list[Note]) -> None:
        """A note that was changed meanwhile is left as it is."""
        await self._store.replace([self._later(note) for note in notes])

    def _later(self, note: Note) -> Note:
        """Every check doubles the time to the next one."""
        longest = MAX_CHECK_OF_LOST if note.cause else MAX_CHECK
        pause = min(self._check_after * (1 << min(note.checks + 1, 16)), longest)
        return replace(note, checks=note.checks + 1, next_check=self._now() + pause)

    def _is_old(self, since: datetime | None) -> bool:
        return since is not None and self._now() - since >= self._max_wait

    async def _request(self, parents: dict[Parent, datetime], windows: Windows) -> None:
        """Ask for the sync of these parents: they may never change by themselves."""
        wanted: dict[str, list[Record]] = {}
        for parent, first_seen in parents.items():
            wanted.setdefault(parent.entity, []).append(Record(parent.table, parent.id, first_seen, requested=True))
        await self._releases.send(wanted, windows)


def _can_do_without(cause: WillNotCome | None) -> Callable[[Parked], bool]:
    """Which children a parent that will not come lets go: those that wait, but not a role, which is its links.

    A role whose parent is not to be synced at all is nothing to sync either: it goes, and is skipped.
    """
    skipped = cause is not None and cause.skipped
    return lambda child: not child.linked_later and (skipped or bool(ENTITIES[child.entity].key))


def _for_the_link(record: Record, now: datetime) -> Record:
    """What is sent again once a parent is there: everything else that was to be done for the record is done."""
    return Record(record.table, record.id, record.first_seen, correlation_id=record.correlation_id, parked_since=now)
