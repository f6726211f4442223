"""Carries outcomes out. Everything is durable before it returns; only then may the broker's messages be completed.

Synced, Removed and Skipped need nothing more, except that children of a synced record that was asked for are released.
The others become parked rows, scheduled copies or dead letters.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from datetime import datetime

from ..azure.service_bus import Bus, Outgoing, Properties
from ..config.settings import QueueSettings
from ..model.dead_letter import Explanation
from ..model.entities import Entity
from ..model.errors import StorageUnavailableError
from ..model.outcome import FILTERED, Deferred, Failed, Outcome, Parent, Removed, Retry, Skipped, Synced, WillNotCome
from ..model.record import MAX_RECORDS, Record, encode
from ..telemetry import spans
from .incoming import MAX_BODY_BYTES, Incoming
from .parking import Parking
from .routing import Refusal, chunked
from .scheduling import AT_ONCE, Again, Windows, comes_again

log = logging.getLogger(__name__)

STORAGE_AWAY = Retry(60, "StorageAway", "Table Storage did not answer")
#: The record is a dead letter already, for the same reason: its change and a child's request came one after the other.
REPEATED = Skipped("DeadLetterAlready")
#: Why a record is skipped that others wait for, for people.
SKIPPED_BECAUSE = {
    "RowGone": "its row is not in Dynamics (any more)",
    "Deleted": "its row was deleted in Dynamics",
    "UserWithoutMail": "the user has no e-mail address in Dynamics",
    "MailHidden": "column-level security hides the user's e-mail address from the sync user",
    "Merged": "its row was merged into another one, which is synced in its place",
    "Qualified": "the lead was qualified: its contact stands for it in Marketo",
    "ApplicationUser": "the user is an application user",
}
#: A privilege that the sync user lacks (dataverse.md 5.3): tried again for ever, but its children do not wait for it.
NO_PRIVILEGE = "0x80040220"

_Outcomes = Sequence[tuple[Record, Outcome]]


@dataclass
class Settler:
    """Makes outcomes durable. `chance`: for jitter, from 0 to 1."""

    bus: Bus
    parking: Parking
    queues: QueueSettings
    _: KW_ONLY
    now: Callable[[], datetime]
    max_attempts: int
    chance: Callable[[], float] = random.random

    async def settle(
        self, entity: Entity, decided: Sequence[tuple[Record, Outcome]], windows: Windows = AT_ONCE
    ) -> list[tuple[Record, Outcome]]:
        """Park, release, send again and dead-letter, as each outcome says. Raises when the broker fails.

        When storage fails, what needed it is tried again later: as a message, which the broker keeps. Gives the
        outcomes as they were carried out: a last try has failed.
        """
        outcomes = [(record, self._final(record, outcome)) for record, outcome in decided]
        for step in (self._park, self._link_later, self._release):
            outcomes = tried_again(outcomes, await step(entity, outcomes, windows))
        outcomes = await self._without_repeated(entity, outcomes)
        await self.bus.send([*self._again(entity, outcomes, windows), *self._dead_letters(entity, outcomes)])
        if again := await self._give_up(entity, outcomes, windows):  # after the dead letters, which a note stands for
            await self.bus.send(self._again(entity, [(record, STORAGE_AWAY) for record in again], windows))
            outcomes = tried_again(outcomes, again)
        counts = Counter(type(outcome).__name__.lower() for _, outcome in outcomes)
        log.info("settled entity=%s %s", entity.name, " ".join(f"{name}={n}" for name, n in sorted(counts.items())))
        return outcomes

    async def _park(self, entity: Entity, outcomes: _Outcomes, windows: Windows) -> list[Record]:
        """Gives, as its neighbours do, the records that must come again because storage did not answer."""
        deferred = [(record, outcome.parents) for record, outcome in outcomes if isinstance(outcome, Deferred)]
        failed = deferred and await storage_fails(self.parking.park(entity, deferred, windows))
        return [record for record, _ in deferred] if failed else []

    async def _link_later(self, entity: Entity, outcomes: _Outcomes, windows: Windows) -> list[Record]:
        sent = [(r, outcome.without) for r, outcome in outcomes if isinstance(outcome, Synced) and outcome.without]
        failed = sent and await storage_fails(self.parking.link_later(entity, sent, windows))
        return [record for record, _ in sent] if failed else []

    async def _release(self, entity: Entity, outcomes: _Outcomes, windows: Windows) -> list[Record]:
        """Records that others are known to wait for come again; for the rest the timer stands in."""
        synced = [r for r, outcome in outcomes if isinstance(outcome, Synced) or outcome == FILTERED]
        synced = synced if entity.is_parent else []
        failed = synced and await storage_fails(self.parking.release(entity, synced, windows))
        return [record for record in synced if record.requested] if failed else []

    async def _without_repeated(self, entity: Entity, outcomes: _Outcomes) -> list[tuple[Record, Outcome]]:
        """One dead letter for each record and reason: a change that was seen before the last one was written is in it.

        That a parent will not come is noted when its dead letter has been sent.
        """
        failed = [Parent(entity.name, r.table, r.id) for r, outcome in outcomes if isinstance(outcome, Failed)]
        noted: dict[Parent, WillNotCome] = {}

        async def look() -> None:
            noted.update(await self.parking.noted(failed))

        if failed and entity.is_parent and await storage_fails(look()):
            return tried_again(outcomes, [r for r, outcome in outcomes if r.requested and isinstance(outcome, Failed)])
        return [
            (r, REPEATED if _is_repeated(r, outcome, noted.get(Parent(entity.name, r.table, r.id))) else outcome)
            for r, outcome in outcomes
        ]

    async def _give_up(self, entity: Entity, outcomes: _Outcomes, windows: Windows) -> list[Record]:
        """Note which parents will not come, so that their children go without them."""
        causes = [(record, will_not_come(record, outcome, self.now())) for record, outcome in outcomes]
        lost = [(record, cause) for record, cause in causes if cause] if entity.is_parent else []
        failed = lost and await storage_fails(self.parking.give_up(entity, lost, windows))
        return [record for record, _ in lost if record.requested] if failed else []

    def _again(self, entity: Entity, outcomes: _Outcomes, windows: Windows) -> list[Outgoing]:
        """Copies of the records that come again: those that come at the same time share messages."""
        groups: dict[Again, list[Record]] = {}
        for record, outcome in outcomes:
            again = comes_again(record, outcome)
            if again:
                counted = isinstance(outcome, Retry) and outcome.counted
                groups.setdefault(again, []).append(replace(record, attempt=record.attempt + counted))
        return [
            Outgoing(
                self.queues.of(entity.name),
                encode(entity.name, group, windows.burst),
                session=entity.name,
                at=again.at(entity.name, windows, self.now(), self.chance),
            )
            for again, records in groups.items()
            for group in chunked(records, MAX_RECORDS)
        ]

    def _final(self, record: Record, outcome: Outcome) -> Outcome:
        if isinstance(outcome, Retry) and outcome.counted and record.attempt + 1 >= self.max_attempts:
            return Failed(outcome.code, f"{outcome.message} (after {self.max_attempts} tries)", "marketo")
        return outcome

    def _dead_letters(self, entity: Entity, outcomes: Sequence[tuple[Record, Outcome]]) -> list[Outgoing]:
        return [self._dead_letter(entity, record, found) for record, found in outcomes if isinstance(found, Failed)]

    def _dead_letter(self, entity: Entity, record: Record, failed: Failed) -> Outgoing:
        log.warning(
            "dead_letter entity=%s table=%s id=%s code=%s message=%s correlation=%s",
            entity.name, record.table, record.id, failed.code, failed.message, record.correlation_id,
        )  # fmt: skip
        return dead_record(self.queues, entity.name, record, failed, attempts=record.attempt + 1)


def will_not_come(record: Record, outcome: Outcome, now: datetime) -> WillNotCome | None:
    """Why this record will not be in Marketo until somebody acts, if so. One that the filter keeps out is let go."""
    match outcome:
        case Failed():
            return WillNotCome(outcome.code, outcome.message, now)
        case Skipped() if outcome not in (FILTERED, REPEATED):
            return WillNotCome(outcome.reason, SKIPPED_BECAUSE.get(outcome.reason, "it is not synced"), now, True)
        case Removed():
            return WillNotCome(outcome.reason, SKIPPED_BECAUSE[outcome.reason], now, True)
        case Retry() if record.requested and outcome.code == NO_PRIVILEGE:
            return WillNotCome(outcome.code, outcome.message, now)
        case _:
            return None


def _is_repeated(record: Record, outcome: Outcome, noted: WillNotCome | None) -> bool:
    if noted is None or not isinstance(outcome, Failed) or record.wants_fresh:
        return False
    return outcome.code == noted.code and record.first_seen <= noted.since


def tried_again(outcomes: _Outcomes, records: Sequence[Record]) -> list[tuple[Record, Outcome]]:
    """The outcomes, with another try for these records, because storage did not answer."""
    keys = {record.key for record in records}
    return [(record, STORAGE_AWAY if record.key in keys else outcome) for record, outcome in outcomes]


async def storage_fails(work: Awaitable[object]) -> bool:
    """Whether storage did not do it. Raises what else goes wrong: without the broker, nothing is durable."""
    try:
        await work
    except StorageUnavailableError as error:
        log.warning("storage_away error=%s", error.cause)
        return True
    return False


def dead_record(
    queues: QueueSettings, entity: str, record: Record, why: Failed, *, attempts: int, write_back: bool = False
) -> Outgoing:
    """The dead letter of a record, after so many tries. `write_back`: of Sales Insight's fields."""
    explained = Explanation(
        why.code, why.message, why.source, queues.of(entity), record.first_seen, entity, record.table, record.id,
        attempts, record.replays, write_back,
    )  # fmt: skip
    return dead_letter(queues, encode(entity, [record]), explained, correlation_id=record.correlation_id)


def dead_letter(
    queues: QueueSettings,
    body: bytes,
    why: Explanation,
    *,
    correlation_id: str = "",
    properties: Properties | None = None,
) -> Outgoing:
    """A message for dead-letters: the body as it was, and what an operator asks as application properties."""
    return Outgoing(
        queues.dead_letters,
        body,
        correlation_id=correlation_id or None,
        properties={**why.as_properties(), **(properties or {})},
    )


def refused(queues: QueueSettings, message: Incoming, refusal: Refusal, queue: str) -> Outgoing:
    """The body as it was; of one that fills a message by itself, the beginning: its neighbours must go on."""
    cut: Properties = {"truncated_from_bytes": len(message.body)} if len(message.body) > MAX_BODY_BYTES else {}
    return dead_letter(
        queues,
        message.body[:MAX_BODY_BYTES],
        Explanation(refusal.code, refusal.message, "msisync", queue, message.first_seen, replays=message.replays),
        properties={**spans.passed_on(message.properties), **cut},
    )
