"""Circuits: while a vendor is away, no calls are spent on it, and the records wait in their queues.

One circuit for each entity at Marketo, and one for Dataverse. A call that fails after its own tries opens it. While it
is open nobody calls; the time doubles from one probe to the next, up to five times its first length. Then one probe is
made: at Marketo, a write without any record; at Dataverse, one chunk of records, each of its calls tried once. When it
goes well the circuit closes, and the rest follows. A write of records to Marketo that fails opens nothing by itself: it
may fail for what it holds (shared/sync/upserts.py).

Every change is written to the shared state (`circuit`, name), so that operators see it and other instances hold still
as well. An instance takes a probe by moving the row's `until`, and only the first one succeeds. Without storage each
instance goes by what it has seen itself.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from ..marketo.batching import MAX_RECORDS
from ..model.clock import AHEAD
from ..model.codes import Kind
from ..model.errors import DataverseError, MarketoError, VendorError
from ..model.record import timestamp
from ..transport.client import UNLIMITED
from ..transport.retry_after import LONGEST_SECONDS

if TYPE_CHECKING:
    from ..azure.shared_state import State

log = logging.getLogger(__name__)

T = TypeVar("T")

#: The kind of the rows of the shared state.
KIND = "circuit"
DATAVERSE = "dataverse"
#: Marketo's circuit of the timer, which works on all entities; it is this process's own business.
TIMER = "release_deferred"
#: The longest time to the next probe, in times of the first one.
LONGEST = 5
#: Records that come again at the same moment when a circuit may close: they fill a call. The next ones come a second
#: later for each call that has failed, up to so many: the longer the vendor has been away, the fewer meet each probe.
TOGETHER = MAX_RECORDS
SLOWEST = 4
#: The longest time over which they are spread.
SPREAD_SECONDS = 900
#: An open circuit that nobody has tried again for so long is a host's that is gone.
FORGOTTEN = timedelta(hours=1)
#: How often an instance looks what others have found out, and how long it waits for that.
REFRESH = timedelta(seconds=60)
STATE_SECONDS = 3.0
#: When the day's quota is used up and nobody knows for how long.
DAILY_SECONDS = 900.0
#: The budget says that this app's own share is used up. It knows best when that is over: a share may be raised.
OWN_SHARE = "DayShareSpent"
#: Marketo's own refusal lasts until its day ends, at most so many seconds.
QUOTA_SPENT = "607"
LONGEST_DAILY = 25 * 3600.0

#: Errors after which other calls would fail as well.
OUTAGES = {
    "marketo": frozenset({Kind.TRANSIENT, Kind.TOKEN, Kind.CONFIGURATION, Kind.DAILY}),
    "dataverse": frozenset({Kind.TRANSIENT, Kind.TOKEN}),
}
#: Those of them that a single record may cause.
OF_RECORDS = frozenset({Kind.TRANSIENT, Kind.CONFIGURATION})
#: Errors that only a vendor in good health gives.
ANSWERS = {
    "marketo": frozenset({Kind.PERMANENT, Kind.MISSING_PARENT, Kind.FIELD, Kind.AMBIGUOUS, Kind.GONE, Kind.OK}),
    "dataverse": frozenset({Kind.PERMANENT, Kind.GONE, Kind.CONFIGURATION}),
}


@dataclass(frozen=True, slots=True)
class Outage:
    """An open circuit: since when, until which moment nobody calls, why (for people), and how many probes (and the
    first call) have failed, the last one with this code.
    """

    since: datetime
    until: datetime
    reason: str
    failures: int = 1
    code: str = ""

    def as_json(self) -> dict[str, Any]:
        """The row's value."""
        return {
            "since": timestamp(self.since),
            "until": timestamp(self.until),
            "reason": self.reason,
            "failures": self.failures,
            "code": self.code,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Outage:
        """The outage of a row. Raises ValueError, TypeError or KeyError for what is none."""
        since, until = (datetime.fromisoformat(value[name]) for name in ("since", "until"))
        return cls(since, until, str(value["reason"]), int(value["failures"]), str(value.get("code", "")))


@dataclass(slots=True)
class Circuit:
    """One circuit as this process knows it. `waiting`: records that wait for its end.

    `shared`: the state says the same; `stored`: the state has a row, perhaps an older one.
    """

    outage: Outage | None = None
    shared: bool = False
    stored: bool = False
    waiting: int = 0

    def open(self, outage: Outage) -> None:
        """Let nobody call until then."""
        self.outage, self.waiting = outage, 0

    def close(self) -> None:
        """Let everybody call."""
        self.outage, self.shared, self.stored, self.waiting = None, False, False, 0

    def until(self, now: datetime) -> datetime | None:
        """When it may close; None when it is closed, or waits for a probe."""
        return self.outage.until if self.outage and self.outage.until > now else None

    def delay(self, now: datetime) -> float:
        """Seconds until the next one of the records that wait may come; 0 when the circuit is closed."""
        until = self.until(now)
        if until is None:
            return 0.0
        failures = self.outage.failures if self.outage else 1
        place = self.waiting // TOGETHER * min(failures, SLOWEST)
        self.waiting += 1
        return (until - now).total_seconds() + min(place, SPREAD_SECONDS)


@dataclass(slots=True)
class Turn:
    """One invocation's dealings with the circuits of its entity. `probes`: those that it tries out, as they were;
    `called` and `answered`: those of them whose system was called, and gave an answer.
    """

    entity: str
    probes: dict[str, Outage] = field(default_factory=dict)
    called: set[str] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)

    @property
    def names(self) -> tuple[str, str]:
        """The circuits that matter to it."""
        return DATAVERSE, self.entity

    @property
    def chunk(self) -> int:
        """Records of a probe: half as many after each that has failed, for a few of them may be the cause."""
        return min(max(1, MAX_RECORDS >> (outage.failures - 1)) for outage in self.probes.values())


_TURN: ContextVar[Turn | None] = ContextVar("turn", default=None)


class Circuits:
    """All circuits of this process; a Guard of both clients."""

    def __init__(self, state: State | None, *, seconds: float, now: Callable[[], datetime]) -> None:
        """`seconds`: the first time that a circuit stays open."""
        self._state = state
        self._seconds = seconds
        self._now = now
        self._circuits: dict[str, Circuit] = {}
        self._refreshed = datetime.min.replace(tzinfo=UTC)

    # -- for the engine -----------------------------------------------------------------------------------------

    @asynccontextmanager
    async def turn(self, entity: str) -> AsyncIterator[Turn]:
        """Around all work of one invocation for an entity."""
        await self._refresh()
        turn = Turn(entity)
        token = _TURN.set(turn)
        try:
            yield turn
        finally:
            _TURN.reset(token)
            await self.probed(turn)

    @asynccontextmanager
    async def attempt(self, name: str) -> AsyncIterator[Turn]:
        """Around work that has no records to wait for it: when a circuit is open, it is the probe, or cannot call."""
        async with self.turn(name) as turn:
            await self.admit(turn, [name], 1)
            yield turn

    async def admit(self, turn: Turn, records: list[T], at_most: int) -> tuple[list[T], list[T]]:
        """Divide records: those that may be worked on now (none while a circuit is open), and the others.

        When it is time for a probe, and nobody else makes it, a few are chosen at random: should one of the records be
        the cause of it all, others will get through. End a probe with `probed`.
        """
        now = self._now()
        if any(self._circuit(name).until(now) and name not in turn.probes for name in turn.names):
            return [], records
        for name in turn.names:
            if not await self._take_probe(turn, name, self._circuit(name)):
                return [], records
        if not turn.probes:
            return records[:at_most], records[at_most:]
        chosen = set(random.sample(range(len(records)), min(turn.chunk, len(records))))
        return [r for n, r in enumerate(records) if n in chosen], [r for n, r in enumerate(records) if n not in chosen]

    async def probed(self, turn: Turn, *names: str) -> None:
        """The probe is over (all, or these): close what answered; what was not called is left to the next probe."""
        for name, outage in [(name, outage) for name, outage in turn.probes.items() if name in (names or turn.probes)]:
            del turn.probes[name]
            if name in turn.answered:
                await self._close(name)
            elif name not in turn.called:
                self._circuit(name).open(outage)
                await self._write(name)

    def delays(self, count: int, *names: str) -> list[float]:
        """Seconds that the next `count` records have to wait for these circuits; zeros when they are closed."""
        now = self._now()
        waiting = [circuit for circuit in map(self._circuit, names) if circuit.until(now)]
        last = max(waiting, key=lambda circuit: circuit.until(now) or now, default=Circuit())
        return [last.delay(now) for _ in range(count)]

    async def open(self, name: str, error: VendorError, turn: Turn | None = None) -> None:
        """A failure that says that further calls would fail too. Nothing new while the circuit is open."""
        turn, circuit, now = turn or _TURN.get(), self._circuit(name), self._now()
        probed = turn.probes.pop(name, None) if turn else None
        if probed is None and circuit.until(now):
            return
        before = probed or circuit.outage
        failures = before.failures + 1 if before else 1
        seconds = self._seconds * min(1 << min(failures - 1, 10), LONGEST)
        if error.kind is Kind.DAILY:
            seconds = error.retry_after or DAILY_SECONDS
        elif error.retry_after:  # the vendor knows better when a probe makes sense
            seconds = max(seconds, error.retry_after)
        until = now + timedelta(seconds=seconds)
        circuit.open(Outage(before.since if before else now, until, f"{error.system} {error}", failures, error.code))
        log.error("circuit_open name=%s until=%s failures=%d %s", name, timestamp(until), failures, error)
        await self._write(name)

    # -- for the clients ----------------------------------------------------------------------------------------

    @asynccontextmanager
    async def call(self, system: str, *, of_records: bool = False) -> AsyncIterator[int]:
        """Around a call with its tries. Raises DataverseError or MarketoError where the circuit is open.

        `of_records`: a failure may be the fault of what the call holds; the caller tries one without, and that decides.

        A call outside of a turn is a probe of its own when it is time for one.
        """
        within = _TURN.get()
        turn = within or Turn(TIMER)
        name = DATAVERSE if system == "dataverse" else turn.entity
        circuit = self._circuit(name)
        if within is None:
            await self._take_probe(turn, name, circuit)
        if circuit.outage and name not in turn.probes:
            raise _away(system, circuit.outage, self._now())
        turn.called.add(name)
        try:
            yield 1 if name in turn.probes else UNLIMITED
            turn.answered.add(name)
        except VendorError as error:
            if error.kind in ANSWERS[system]:
                turn.answered.add(name)
            if error.kind in OUTAGES[system] and not (of_records and error.kind in OF_RECORDS):
                await self.open(name, error, turn)
            raise
        finally:
            if within is None:
                await self.probed(turn)

    # -- within -------------------------------------------------------------------------------------------------

    def _circuit(self, name: str) -> Circuit:
        return self._circuits.setdefault(name, Circuit())

    async def _take_probe(self, turn: Turn, name: str, circuit: Circuit) -> bool:
        """Whether this turn may call: it makes the probe, or the circuit has closed meanwhile."""
        now, outage = self._now(), circuit.outage
        if name in turn.probes or outage is None:
            return True
        if outage.until > now:
            return False
        mine = replace(outage, until=now + timedelta(seconds=self._seconds))
        circuit.open(mine)  # at once: others of this process ask while storage is asked
        taken = await self._take_shared(name, circuit, mine, now)
        if taken and circuit.outage:
            turn.probes[name] = outage
            log.info("circuit_probe name=%s failures=%d", name, outage.failures)
        return taken

    async def _take_shared(self, name: str, circuit: Circuit, mine: Outage, now: datetime) -> bool:
        """The same among all instances, as far as storage answers."""
        if not circuit.shared:
            return True
        theirs: Outage | None = None

        def take(value: Mapping[str, Any]) -> Mapping[str, Any] | None:
            nonlocal theirs
            theirs = Outage.from_json(value) if value else None
            if theirs and self._is_from_the_future(name, theirs, now):
                theirs = replace(mine, until=now)
            return mine.as_json() if theirs and theirs.until <= now else None

        if not await self._storage(lambda state: state.change(KIND, name, take)):
            return True
        if theirs is None:
            circuit.close()
        elif theirs.until > now:
            circuit.open(theirs)
            return False
        return True

    async def _close(self, name: str) -> None:
        circuit = self._circuit(name)
        was_stored = circuit.stored
        circuit.close()
        log.warning("circuit_closed name=%s", name)
        if was_stored:
            await self._storage(lambda state: state.remove(KIND, name))

    async def _write(self, name: str) -> None:
        circuit = self._circuit(name)
        if circuit.outage and name != TIMER:
            value = circuit.outage.as_json()
            circuit.shared = await self._storage(lambda state: state.change(KIND, name, lambda _: value))
            circuit.stored |= circuit.shared

    async def _refresh(self) -> None:
        """Believe other instances: what they opened is open here, what they closed is closed."""
        now = self._now()
        if self._state is None or now - self._refreshed < REFRESH:
            return
        self._refreshed = now
        found: dict[str, Outage] = {}

        async def read(state: State) -> None:
            async for name, value in state.all(KIND):
                found[name] = Outage.from_json(value)

        if not await self._storage(read):
            return
        for name, theirs in found.items():
            circuit = self._circuit(name)
            if theirs.code == OWN_SHARE or self._is_from_the_future(name, theirs, now):
                continue
            if circuit.outage is None or theirs.until > circuit.outage.until:
                circuit.open(theirs)
                circuit.shared = True
            circuit.stored = True  # whoever closes it takes the row away, older than its own outage as it may be
        for name, circuit in self._circuits.items():
            if circuit.shared and name not in found:
                circuit.close()

    def _is_from_the_future(self, name: str, outage: Outage, now: datetime) -> bool:
        """Whether a clock that is far ahead has written it: nobody else would have it begin, or last, that late."""
        longest = LONGEST_DAILY if outage.code == QUOTA_SPENT else max(self._seconds * LONGEST, LONGEST_SECONDS)
        ahead = outage.since > now + AHEAD or outage.until > now + AHEAD + timedelta(seconds=longest)
        if ahead:
            log.error("circuit_ignored name=%s since=%s: an instance's clock is wrong", name, timestamp(outage.since))
        return ahead

    async def _storage(self, work: Callable[[State], Any]) -> bool:
        """Whether storage did it. Nothing here depends on that."""
        from azure.core.exceptions import AzureError  # noqa: PLC0415  (cold start)

        if self._state is None:
            return False
        try:
            async with asyncio.timeout(STATE_SECONDS):
                await work(self._state)
        except (AzureError, OSError, ValueError, TypeError, KeyError) as error:
            log.warning("circuit_not_shared error=%s", type(error).__name__)
            return False
        return True


def still_open(rows: Mapping[str, Mapping[str, Any]], now: datetime) -> dict[str, Outage]:
    """The open circuits of the shared state's rows."""
    found = {}
    for name, value in rows.items():
        with suppress(ValueError, TypeError, KeyError):  # written by another version
            outage = Outage.from_json(value)
            if outage.until > now - FORGOTTEN:
                found[name] = outage
    return found


def _away(system: str, outage: Outage, now: datetime) -> VendorError:
    kind = DataverseError if system == "dataverse" else MarketoError
    return kind(
        "CircuitOpen",
        f"not called since {timestamp(outage.since)}: {outage.reason}",
        kind=Kind.TRANSIENT,
        retry_after=max(0.0, (outage.until - now).total_seconds()),
    )
