"""Circuits: while a vendor is away, no calls are spent on it, and the records wait in their queues.

One circuit for each entity at Marketo, and one for Dataverse. A call that fails after its own tries opens it; the time
until the next probe doubles, up to five times its first length. A probe is, at Marketo, a write without any record, and
at Dataverse one chunk of records. A write of records to Marketo that fails opens nothing by itself: it may fail for
what it holds (shared/sync/upserts.py).

Every change is written to the shared state (`circuit`, name). An instance takes a probe by moving the row's `until`,
and only the first one succeeds. Without storage each instance goes by what it has seen itself.
"""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from ..azure.errors import best_effort
from ..azure.shared_state import State, dumped, parsed
from ..marketo.usage import SHARE_SPENT
from ..model.errors import VendorError
from ..model.record import timestamp
from ..transport.client import UNLIMITED
from .circuit import ANSWERS, OF_RECORDS, OUTAGES, Outage

log = logging.getLogger(__name__)

T = TypeVar("T")

#: The kind of the rows of the shared state.
KIND = "circuit"
DATAVERSE = "dataverse"
#: Marketo's circuit of the timer, which works on all entities; it is this process's own business.
TIMER = "release_deferred"
#: How often an instance looks what others have found out, and how long it waits for that.
REFRESH = timedelta(seconds=60)
STATE_SECONDS = 3.0


@dataclass(slots=True)
class Circuit:
    """One circuit as this process knows it. `shared`: the state says the same. `waiting`: records wait for its end."""

    outage: Outage | None = None
    shared: bool = False
    waiting: int = 0

    def set(self, outage: Outage | None, *, shared: bool) -> None:
        """Open it, or close it."""
        self.outage, self.shared, self.waiting = outage, shared, 0

    def is_open(self, now: datetime) -> bool:
        """Whether nobody may call; not while a probe is due."""
        return self.outage is not None and self.outage.is_open(now)

    def delay(self, now: datetime) -> float:
        """Seconds until the next one of the records that wait may come; 0 when it is closed."""
        if self.outage is None or not self.outage.is_open(now):
            return 0.0
        self.waiting += 1
        return self.outage.wait(self.waiting - 1, now)


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
        """Records of its probe."""
        return min(outage.probe for outage in self.probes.values())


_TURN: ContextVar[Turn | None] = ContextVar("turn", default=None)


@dataclass
class Circuits:
    """All circuits of this process; a Guard of both clients. `seconds`: the first time that a circuit stays open."""

    state: State | None
    _: KW_ONLY
    seconds: float
    now: Callable[[], datetime]
    _circuits: dict[str, Circuit] = field(default_factory=dict, init=False)
    _refreshed: datetime = field(default=datetime.min.replace(tzinfo=UTC), init=False)

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
        now = self.now()
        if any(self._circuit(name).is_open(now) and name not in turn.probes for name in turn.names):
            return [], records
        for name in turn.names:
            if not await self._take_probe(turn, name):
                return [], records
        if not turn.probes:
            return records[:at_most], records[at_most:]
        chosen = set(random.sample(range(len(records)), min(turn.chunk, len(records))))
        return [r for n, r in enumerate(records) if n in chosen], [r for n, r in enumerate(records) if n not in chosen]

    async def probed(self, turn: Turn, *names: str) -> None:
        """The probe is over (all, or these): close what answered; what was not called is left to the next probe."""
        for name in names or tuple(turn.probes):
            outage = turn.probes.pop(name, None)
            if outage is None:
                continue
            if name in turn.answered:
                await self._close(name)
            elif name not in turn.called:
                await self._open(name, outage)

    def delays(self, count: int, *names: str) -> list[float]:
        """Seconds that the next `count` records have to wait for these circuits; zeros when they are closed."""
        now = self.now()
        last = max(map(self._circuit, names), key=lambda circuit: circuit.outage.until if circuit.outage else now)
        return [last.delay(now) for _ in range(count)]

    async def open(self, name: str, error: VendorError, turn: Turn | None = None) -> None:
        """A failure that says that further calls would fail too. Nothing new while the circuit is open."""
        turn, circuit, now = turn or _TURN.get(), self._circuit(name), self.now()
        probed = turn.probes.pop(name, None) if turn else None
        if probed is None and circuit.is_open(now):
            return
        outage = Outage.after(probed or circuit.outage, error, now, self.seconds)
        until = timestamp(outage.until)
        log.error("circuit_open name=%s until=%s failures=%d %s", name, until, outage.failures, error)
        await self._open(name, outage)

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
            await self._take_probe(turn, name)
        if circuit.outage and name not in turn.probes:
            raise circuit.outage.refusal(system, self.now())
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

    def _circuit(self, name: str) -> Circuit:
        return self._circuits.setdefault(name, Circuit())

    async def _take_probe(self, turn: Turn, name: str) -> bool:
        """Whether this turn may call: it makes the probe, or the circuit has closed meanwhile."""
        now, circuit = self.now(), self._circuit(name)
        outage, shared = circuit.outage, circuit.shared
        if name in turn.probes or outage is None:
            return True
        if outage.is_open(now):
            return False
        mine = replace(outage, until=now + timedelta(seconds=self.seconds))  # nobody else makes a probe before that
        circuit.set(mine, shared=shared)  # at once: others of this process ask while storage is asked
        if shared and not await self._take_shared(name, circuit, mine, now):
            return False
        if circuit.outage:
            turn.probes[name] = outage
            log.info("circuit_probe name=%s failures=%d", name, outage.failures)
        return True

    async def _take_shared(self, name: str, circuit: Circuit, mine: Outage, now: datetime) -> bool:
        """The same among all instances, as far as storage answers."""
        theirs: Outage | None = None

        def take(value: Mapping[str, Any]) -> Mapping[str, Any] | None:
            nonlocal theirs
            theirs = parsed(Outage, value)
            if theirs and self._is_from_the_future(name, theirs, now):
                theirs = replace(mine, until=now)
            return dumped(mine) if theirs and not theirs.is_open(now) else None

        if not await self._storage(lambda state: state.change(KIND, name, take)):
            return True
        if theirs is None:
            circuit.set(None, shared=False)
        elif theirs.is_open(now):
            circuit.set(theirs, shared=True)
            return False
        return True

    async def _open(self, name: str, outage: Outage) -> None:
        circuit = self._circuit(name)
        circuit.set(outage, shared=circuit.shared)
        if name != TIMER:
            value = dumped(outage)
            circuit.shared = await self._storage(lambda state: state.change(KIND, name, lambda _: value))

    async def _close(self, name: str) -> None:
        """The row goes as well, be it older than what is known here."""
        self._circuit(name).set(None, shared=False)
        log.warning("circuit_closed name=%s", name)
        await self._storage(lambda state: state.remove(KIND, name))

    async def _refresh(self) -> None:
        """Believe other instances: what they opened is open here, what they closed is closed."""
        now = self.now()
        if self.state is None or now - self._refreshed < REFRESH:
            return
        self._refreshed = now
        found: dict[str, Outage] = {}

        async def read(state: State) -> None:
            rows = {name: parsed(Outage, value) async for name, value in state.all(KIND)}
            found.update({name: outage for name, outage in rows.items() if outage})

        if not await self._storage(read):
            return
        for name, theirs in found.items():
            circuit = self._circuit(name)
            # Whether this app's share is used up, the budget knows best: a share may be raised.
            if theirs.code == SHARE_SPENT or self._is_from_the_future(name, theirs, now):
                continue
            if circuit.outage is None or theirs.until > circuit.outage.until:
                circuit.set(theirs, shared=True)
        for name, circuit in self._circuits.items():
            if circuit.shared and name not in found:
                circuit.set(None, shared=False)

    def _is_from_the_future(self, name: str, outage: Outage, now: datetime) -> bool:
        ahead = outage.is_from_the_future(now, self.seconds)
        if ahead:
            log.error("circuit_ignored name=%s since=%s: an instance's clock is wrong", name, timestamp(outage.since))
        return ahead

    async def _storage(self, work: Callable[[State], Awaitable[object]]) -> bool:
        """Whether storage did it. Nothing here depends on that."""
        if self.state is None:
            return False
        async with best_effort(STATE_SECONDS, log, "circuit_not_shared"):
            await work(self.state)
            return True
        return False
