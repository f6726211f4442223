"""One look for all who ask at about the same time: tabs and pages that poll do not each ask the broker and storage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass
class Latest(Generic[T]):
    """What `look` has found last, looked for again when that is older than `fresh` seconds and somebody asks.

    What took long is looked for more seldom, when it is older than `times` as long as it took; and nobody waits for it
    who can have what was found before.

    Nobody waits longer than `patience` seconds: a look at 100,000 parked rows takes seconds. What was found before is
    given meanwhile, and nothing the first time.
    """

    look: Callable[[], Awaitable[T]]
    _: KW_ONLY
    fresh: float = 5.0
    times: float = 0.0
    patience: float = 0.7
    clock: Callable[[], float] = time.monotonic
    _found: T | None = field(default=None, init=False)
    _error: Exception | None = field(default=None, init=False)
    _at: float = field(default=0.0, init=False)
    _began: float = field(default=0.0, init=False)
    _outdated: float = field(default=float("-inf"), init=False)
    _looking: asyncio.Task[None] | None = field(default=None, init=False)

    async def now(self) -> T | None:
        """The newest that can be had in time. Raises what `look` has raised."""
        if self._is_old:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._look())
            takes_long = self._found is not None and self._took > self.patience
            await asyncio.wait((self._looking,), timeout=0 if takes_long else self.patience)
            if self._error:
                raise self._error
        return self._found

    @property
    def _took(self) -> float:
        return self._at - self._began

    @property
    def _is_old(self) -> bool:
        lasts = max(self.fresh, self.times * self._took)
        return self._found is None or self.clock() - self._at > lasts or self._began <= self._outdated

    def outdate(self) -> None:
        """Have it looked for again when somebody asks: what was found until now is of the past."""
        self._outdated = self.clock()

    @property
    def known(self) -> T | None:
        """What was found last, however old; nothing is looked for."""
        return self._found

    @property
    def is_looking(self) -> bool:
        """Whether a look is under way."""
        return self._looking is not None and not self._looking.done()

    async def _look(self) -> None:
        began = self.clock()
        try:
            self._found, self._error, self._at = await self.look(), None, self.clock()
            self._began = began
        except Exception as error:  # noqa: BLE001  (for who asks)
            self._error = error

    async def close(self) -> None:
        """End a look that nobody waits for any more."""
        if self._looking:
            self._looking.cancel()
            await asyncio.wait((self._looking,))


@dataclass
class Looks:
    """Looks that are told apart by a key, such as what was searched for. The last ones are kept."""

    kept: int = 30
    patience: float = 0.7
    _known: dict[Hashable, Latest[Any]] = field(default_factory=dict, init=False)

    def of(
        self, key: Hashable, look: Callable[[], Awaitable[T]], *, fresh: float, times: float = 0.0, share: float = 1.0
    ) -> Latest[T]:
        """The look with this key; made if it is not among the last ones. Each key belongs to one kind of look.

        `share`: of the patience, for what a page can do without.
        """
        found: Latest[T] = self._known.pop(key) if key in self._known else Latest(look, fresh=fresh, times=times)
        found.patience = self.patience * share
        self._known[key] = found
        for old in list(self._known)[: -self.kept]:
            del self._known[old]
        return found

    def outdate(self, key: Hashable) -> None:
        """Have this looked for again."""
        if key in self._known:
            self._known[key].outdate()

    async def close(self) -> None:
        """End the looks that nobody waits for any more."""
        for each in self._known.values():
            await each.close()
