"""Keys of records whose last call to Marketo got no answer: it may still be at work there, for a known time.

Who sends such a key again too early may double a record, or be overtaken by the older values of the first call. Pure;
kept in the row of the entity's lease (shared/sync/lease.py), as digests: keys of roles hold names.
"""

from __future__ import annotations

import hashlib
import math
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from typing import Any

#: Characters of a key's digest. Should two keys have the same, one of them waits a little for nothing.
LENGTH = 8
#: So many digests fit into a column of 64 KB in UTF-16. Beyond, all keys of the entity wait.
MOST = 3_000
ALL = "*" * LENGTH


class InFlight:
    """Digests of keys, each with the time until which its call may be at work."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock`: seconds, of this process."""
        self._clock = clock
        self._until: dict[str, float] = {}

    def add(self, keys: Iterable[str], until: float) -> None:
        """A call with these keys has begun, which must have ended by then."""
        self._until.update(dict.fromkeys(map(_digest, keys), until))

    def remove(self, keys: Iterable[str]) -> None:
        """The call with these keys has ended."""
        for key in keys:
            self._until.pop(_digest(key), None)

    def seconds(self, key: str) -> int:
        """How long this key must not be sent, in whole seconds; 0 when it may be."""
        until = max(self._until.get(_digest(key), 0.0), self._until.get(ALL, 0.0))
        return max(0, math.ceil(until - self._clock()))

    def as_json(self) -> list[list[Any]]:
        """[seconds from now, digests side by side], and so on, for the row; without those whose time is over."""
        now = self._clock()
        self._until = {digest: until for digest, until in self._until.items() if until > now}
        if len(self._until) > MOST:
            self._until = {ALL: max(self._until.values())}
        groups: dict[float, list[str]] = {}
        for digest, until in self._until.items():
            groups.setdefault(math.ceil((until - now) * 10) / 10, []).append(digest)
        return [[seconds, "".join(digests)] for seconds, digests in groups.items()]

    def merge(self, row: Mapping[str, Any], age: float) -> None:
        """Take over what another process has written so many seconds ago."""
        written = self._clock() - age
        for seconds, digests in row.get("in_flight") or ():
            for start in range(0, len(digests), LENGTH):
                digest = digests[start : start + LENGTH]
                self._until[digest] = max(self._until.get(digest, 0.0), written + float(seconds))


def _digest(key: str) -> str:
    return urlsafe_b64encode(hashlib.blake2b(key.encode(errors="replace"), digest_size=6).digest()).decode()
