"""The sessions of a queue: who holds which, and which can be accepted next."""

import heapq
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from emulators.servicebus.deadlines import Deadlines
from emulators.servicebus.errors import SessionCannotBeLocked, SessionLockLost
from emulators.servicebus.messages import Message

_LOST = "The session lock has expired on the MessageSession. Accept a new MessageSession."


class SessionHolder(Protocol):
    """Whoever accepted a session."""

    def session_lost(self) -> None:
        """Learn that the session's lock expired."""


@dataclass(slots=True, eq=False)
class Session:
    """One session: its state, its holder, and a heap of sequence numbers of which `waiting` are ready messages."""

    id: str
    ready: list[int] = field(default_factory=list)
    waiting: int = 0
    state: bytes | None = None
    lock: "SessionLock | None" = None


@dataclass(slots=True, eq=False)
class SessionLock:
    """The exclusive hold on a session. `holder` is whoever asked for it; `messages` are locked under it by token."""

    session: Session
    holder: SessionHolder
    locked_until: float
    messages: dict[bytes, Message] = field(default_factory=dict)


class Sessions:
    """All sessions of a queue that have messages, a state or a holder."""

    def __init__(self) -> None:
        #: Locks that expired and whose holders were not told yet.
        self.lost: list[SessionLock] = []
        self._sessions: dict[str, Session] = {}
        #: Free sessions with messages, in the order in which they became so.
        self._available: OrderedDict[str, None] = OrderedDict()
        self._ends: Deadlines[SessionLock] = Deadlines()

    def push(self, message: Message) -> None:
        """Add a message that is ready to its session."""
        session = self._get(message.session_id or "")
        heapq.heappush(session.ready, message.sequence_number)
        session.waiting += 1
        self.offer(session)

    def take_ready(self, message: Message) -> None:
        """Count a message that is not ready any more: received or expired. Its number may stay in the heap."""
        session = self._get(message.session_id or "")
        session.waiting -= 1
        if not session.waiting:
            self._available.pop(session.id, None)
            self.offer(session)

    def offer(self, session: Session) -> None:
        """Make the session available to be accepted if it is free and has messages; forget it if it has nothing."""
        if session.lock is not None:
            return
        if session.waiting:
            self._available.setdefault(session.id)
        elif session.state is None:
            self._sessions.pop(session.id, None)

    def accept(self, session_id: str | None, holder: SessionHolder, locked_until: float) -> SessionLock | None:
        """Lock a session; None when the next available one was asked for and there is none."""
        if session_id is None:
            if not self._available:
                return None
            session_id = next(iter(self._available))
        session = self._get(session_id)
        if session.lock is not None:
            msg = f"The requested session '{session_id}' cannot be accepted. It may be locked by another receiver."
            raise SessionCannotBeLocked(msg)
        self._available.pop(session_id, None)
        session.lock = SessionLock(session, holder, locked_until)
        self._ends.set(session.lock, locked_until)
        return session.lock

    def held(self, session_id: str) -> SessionLock:
        """Return the lock on a session. Raises SessionLockLost when nobody holds it."""
        session = self._sessions.get(session_id)
        if session is None or session.lock is None:
            raise SessionLockLost(_LOST)
        return session.lock

    def check(self, lock: SessionLock) -> None:
        """Raise SessionLockLost unless the lock is still held."""
        if lock.session.lock is not lock:
            raise SessionLockLost(_LOST)

    def renew(self, lock: SessionLock, locked_until: float) -> None:
        """Extend a lock, and with it the messages locked under it."""
        self.check(lock)
        lock.locked_until = locked_until
        self._ends.set(lock, locked_until)
        for message in lock.messages.values():
            message.locked_until = locked_until

    def release(self, lock: SessionLock) -> bool:
        """Give a lock up. False when it was lost before."""
        if lock.session.lock is not lock:
            return False
        lock.session.lock = None
        self._ends.cancel(lock)
        return True

    def take_expired(self, now: float) -> Iterator[SessionLock]:
        """Release the locks that are due, and return them."""
        for lock in self._ends.take_due(now):
            lock.session.lock = None
            self.lost.append(lock)
            yield lock

    def unlock_message(self, message: Message) -> None:
        """Take a settled message off its session's lock."""
        session = self._sessions.get(message.session_id or "")
        if session is not None and session.lock is not None:
            session.lock.messages.pop(message.lock_token, None)

    def next_deadline(self) -> float | None:
        """Return when the next lock expires."""
        return self._ends.next()

    def with_messages_or_state(self) -> list[str]:
        """Return the ids of the sessions that a client can list, sorted."""
        return sorted(session.id for session in self._sessions.values() if session.waiting or session.state is not None)

    def set_state(self, session_id: str, state: bytes | None) -> None:
        """Keep a session's state for its next holder; None clears it."""
        session = self._get(session_id)
        session.state = state
        self.offer(session)

    def get_state(self, session_id: str) -> bytes | None:
        """Return a session's state."""
        session = self._sessions.get(session_id)
        return None if session is None else session.state

    def _get(self, session_id: str) -> Session:
        session = self._sessions.get(session_id)
        if session is None:
            session = self._sessions[session_id] = Session(session_id)
        return session
