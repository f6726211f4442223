"""Which opportunities have their roles synced after them: those that may have others, or may be new in Marketo.

Marketo says "updated" as well of an opportunity that another process has created which was killed before it came to the
roles. So each process has the roles of each opportunity synced once, and remembers that only as long as no other
process has sent opportunities (the lease tells), and no other invocation of this one has begun. What is being synced is
forgotten until that has ended well: the roles are rather sent twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ..model.outcome import Later, Outcome, Synced
from ..model.record import Record

#: Opportunities that are remembered; the roles of another one are sent once more.
MOST = 100_000


@dataclass(frozen=True, slots=True)
class Begun:
    """An invocation, and those of its opportunities whose roles had been sent before."""

    number: int
    sent_before: frozenset[str]


@dataclass
class RoleRequests:
    """What this process remembers. `tenure`: of the lease of opportunities; when it is another, others have sent."""

    tenure: Callable[[], int]
    most: int = MOST
    _sent: dict[str, None] = field(default_factory=dict, init=False)
    _tenure: int = field(default=-1, init=False)
    _begun: int = field(default=0, init=False)

    def begin(self, records: Iterable[Record]) -> Begun:
        """These opportunities are going to be synced."""
        if self.tenure() != self._tenure:
            self._tenure = self.tenure()
            self._sent.clear()
        self._begun += 1
        return Begun(self._begun, frozenset(r.id for r in records if self._sent.pop(r.id, r) is None))

    def of(self, begun: Begun, outcomes: Sequence[tuple[Record, Outcome]]) -> tuple[list[Record], list[Record]]:
        """The records of roles that follow: of opportunities that may have others now, and of those that have most
        likely followed before.
        """
        changed = [_roles_of(record, outcome) for record, outcome in _stored(outcomes) if _may_differ(record, outcome)]
        done = begun.sent_before if self._is_alone(begun) else frozenset()
        others = [
            _roles_of(record, outcome)
            for record, outcome in _stored(outcomes)
            if not _may_differ(record, outcome) and record.id not in done
        ]
        return changed, others

    def end(self, begun: Begun, outcomes: Sequence[tuple[Record, Outcome]]) -> None:
        """What follows has been sent. Of an opportunity that only waits, nothing has changed in Marketo."""
        if self._is_alone(begun):
            waiting = [record.id for record, outcome in outcomes if isinstance(outcome, Later)]
            self._sent.update(dict.fromkeys(id_ for id_ in waiting if id_ in begun.sent_before))
            self._sent.update((record.id, None) for record, _ in _stored(outcomes))
        while len(self._sent) > self.most:
            del self._sent[next(iter(self._sent))]

    def _is_alone(self, begun: Begun) -> bool:
        return begun.number == self._begun and self.tenure() == self._tenure


def _stored(outcomes: Iterable[tuple[Record, Outcome]]) -> Iterator[tuple[Record, Synced]]:
    return ((record, outcome) for record, outcome in outcomes if isinstance(outcome, Synced))


def _is_new(outcome: Synced) -> bool:
    return outcome.anew or outcome.status == "created"


def _may_differ(record: Record, outcome: Synced) -> bool:
    return _is_new(outcome) or record.deciding or record.forced or record.requested or record.filter_changed


def _roles_of(record: Record, outcome: Synced) -> Record:
    """An opportunity as a record of its roles. One that is new in Marketo has no old ones there."""
    asked = record.deciding or record.forced or record.filter_changed
    return Record(
        record.table,
        record.id,
        record.first_seen,
        correlation_id=record.correlation_id,
        forced=record.forced,
        last_seen=record.last_seen,
        additive=not record.forced and (_is_new(outcome) or record.additive or not asked),
        run=record.run.partition("/")[0],  # its calls are the run's, but no page waits for it
    )
