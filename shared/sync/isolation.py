"""The search for those that spoil a call which holds many. Pure: the caller sends, and says why a part was refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
E = TypeVar("E")

#: How many culprits are looked for before the rest is left to another time.
ROUNDS = 3
#: So few that may hold several culprits are sent one by one, and so often is tried to have anything stored at all.
FEW = 8
#: How many pieces of growing size are sent at most.
PIECES = 12


@dataclass(slots=True)
class Search(Generic[T, E]):
    """What a search has found: who was stored, who spoils a call and why, and who was not sent or not decided."""

    stored: list[T] = field(default_factory=list)
    culprits: list[tuple[T, E]] = field(default_factory=list)
    unsent: list[T] = field(default_factory=list)


async def search(
    items: list[T],
    error: E,
    refusal: Callable[[list[T]], Awaitable[E | None]],
    *,
    goes_on: Callable[[], bool] = lambda: True,
    confirm: bool = False,
) -> Search[T, E]:
    """Find the items for which a call with all of them was refused with `error`, and send the others on the way.

    `refusal` sends some of them: None when they are stored. Of two halves only the first is sent: the other one holds
    a culprit if that goes well, so one culprit among 300 costs at most 10 calls. `confirm`: a culprit that was found by
    elimination is sent once more alone. Where the first round stores nothing, small pieces from all over are tried;
    where none of those is stored either, nobody can tell: the search ends with the culprits that were refused alone.
    It ends early when `goes_on` says so.
    """
    work = _Work(refusal, goes_on, confirm)
    found, suspects = work.found, items
    for rounds in range(ROUNDS):
        if rounds and len(suspects) <= FEW:
            await work.one_by_one(suspects)
            return found
        rest = await work.halve(suspects, error)
        if not rest or not goes_on():
            found.unsent += rest
            return found
        refused = await work.send(rest)
        if refused is None:
            return found
        suspects, error = rest, refused
        if not found.stored and len(suspects) > FEW:
            suspects = await work.in_pieces(suspects)
            if not suspects or not found.stored or not goes_on():
                break
    found.unsent += suspects
    return found


@dataclass(slots=True)
class _Work(Generic[T, E]):
    refusal: Callable[[list[T]], Awaitable[E | None]]
    goes_on: Callable[[], bool]
    confirm: bool
    found: Search[T, E] = field(default_factory=Search)

    async def send(self, items: list[T]) -> E | None:
        refused = await self.refusal(items)
        if refused is None:
            self.found.stored += items
        return refused

    async def halve(self, suspects: list[T], error: E) -> list[T]:
        """Find one culprit. Gives those that have not been sent: another may be among them."""
        rest: list[T] = []
        alone = len(suspects) == 1
        while len(suspects) > 1 or (self.confirm and not alone):
            if not self.goes_on():
                return suspects + rest
            first = suspects[: max(1, len(suspects) // 2)]
            refused = await self.send(first)
            if refused is None:
                suspects = suspects[len(first) :]
                if not suspects:
                    return rest
                alone = False
            else:
                error, rest, suspects = refused, rest + suspects[len(first) :], first
                alone = len(suspects) == 1
        self.found.culprits.append((suspects[0], error))
        return rest

    async def in_pieces(self, suspects: list[T]) -> list[T]:
        """Send pieces that double as long as they are stored, one at a time where they are not.

        They come from all over, so culprits that stand together do not spoil all of them. Gives what is left: a call
        with that would be refused, or holds what has not been sent.
        """
        apart = len(suspects) // FEW
        waiting = [item for start in range(apart) for item in suspects[start::apart]]
        refused: list[T] = []
        size = 1
        for sent in range(PIECES):
            if not waiting or not self.goes_on() or (sent >= FEW and not self.found.stored):
                break
            piece, waiting = waiting[:size], waiting[size:]
            error = await self.send(piece)
            size = size * 2 if error is None else 1
            if error is not None and len(piece) == 1:
                self.found.culprits.append((piece[0], error))
            elif error is not None:
                refused += piece
        if not refused and waiting and self.found.stored and self.goes_on() and await self.send(waiting) is None:
            return []
        return refused + waiting

    async def one_by_one(self, suspects: list[T]) -> None:
        for n, suspect in enumerate(suspects):
            if not self.goes_on():
                self.found.unsent += suspects[n:]
                return
            refused = await self.send([suspect])
            if refused is not None:
                self.found.culprits.append((suspect, refused))
