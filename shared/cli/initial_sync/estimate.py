"""What a long run is expected to need: a fair sample of its rows, Marketo calls, and when it ends. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from ...config.settings import MarketoSettings
from ...marketo.batching import MAX_PER_CALL
from ...marketo.day import day_of
from ...marketo.quota_ledger import WINDOW_SECONDS
from ...sync.preview import Fate
from ..resync import marketo_calls

#: Records a second that a run sends where nothing else limits it: an assumption, below what docs/figures.md measured.
RECORDS_PER_SECOND = 100.0
#: What is not sent at all.
LEFT_ALONE = frozenset({Fate.FILTERED, Fate.QUALIFIED, Fate.MERGED})

T = TypeVar("T")


@dataclass
class Sample(Generic[T]):
    """At most `size` of all items that it has seen, each with the same chance (Vitter's algorithm R).

    The same items in the same order give the same sample.
    """

    size: int
    chosen: list[T] = field(default_factory=list, init=False)
    seen: int = field(default=0, init=False)
    _random: random.Random = field(default_factory=lambda: random.Random(0), init=False)  # noqa: S311  (no secret)

    def add(self, items: Iterable[T]) -> None:
        """See these, one after the other."""
        for item in items:
            self.seen += 1
            if len(self.chosen) < self.size:
                self.chosen.append(item)
            elif (place := self._random.randrange(self.seen)) < self.size:
                self.chosen[place] = item


def scaled(counts: Mapping[Fate, int], rows: int) -> dict[Fate, int]:
    """How many of so many rows would have each fate, if those that were asked about are like all of them."""
    asked = sum(counts.values())
    return {fate: round(count * rows / asked) for fate, count in counts.items()} if asked else {}


def run_calls(rows: Mapping[str, int], fates: Mapping[str, Mapping[Fate, int]]) -> tuple[int, int]:
    """The least and the most Marketo calls for so many rows of each table; `fates`: of the rows of person tables.

    The most: if Marketo must be asked for every parent, and for the company of every lead.
    """
    sent = {
        table: number - sum(fates.get(table, {}).get(fate, 0) for fate in LEFT_ALONE) for table, number in rows.items()
    }
    least, most = marketo_calls(sent)
    more = sum(_person_calls(each) - _full(_sent(each)) for each in fates.values())
    return least + more, most + more + _full(sent.get("lead", 0))


def _person_calls(fates: Mapping[Fate, int]) -> int:
    """The calls that write persons, and those that look for them first (shared/sync/newcomers.py).

    Calls hold persons of all fates in the same mixture. Where most are new, persons are looked for before anything is
    sent; else all are updated first, and the ones that Marketo does not have are looked for.
    """
    sent = _sent(fates)
    created, nameless = fates.get(Fate.CREATED, 0), fates.get(Fate.CREATED_WITHOUT_EMAIL, 0)
    adopted, continued = fates.get(Fate.ADOPTED, 0), fates.get(Fate.CONTINUED, 0)
    updated = fates.get(Fate.UPDATED, 0)
    addressed = created + adopted + fates.get(Fate.AMBIGUOUS, 0)
    mostly_new = (sent - updated) * 2 >= sent
    upserted = created + nameless + (updated if mostly_new else 0)
    return (
        _touched(adopted if mostly_new else sent, sent)
        + _touched(continued, sent)
        + _touched(addressed + updated if mostly_new else addressed, sent)
        + _touched(upserted, sent)
        + _touched(adopted + continued, sent)
    )


def _sent(fates: Mapping[Fate, int]) -> int:
    return sum(number for fate, number in fates.items() if fate not in LEFT_ALONE)


def _full(records: int) -> int:
    """Full calls for so many records."""
    return -(-records // MAX_PER_CALL)


def _touched(some: int, of: int) -> int:
    """How many full calls of `of` records have at least one of `some` in them, if these are spread evenly."""
    if not some:
        return 0
    calls = _full(of)
    return min(some, max(1, round(calls * (1 - (1 - some / of) ** MAX_PER_CALL))))


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a run goes: Marketo calls a second, and a day; of today's, `left_today` are left."""

    calls_per_second: float
    calls_per_day: int
    left_today: int
    records_per_second: float = RECORDS_PER_SECOND

    @classmethod
    def of(
        cls,
        given: MarketoSettings,
        used_today: int,
        *,
        run_share: float,
        app_share: float,
        used_by_runs: float = 0.0,
    ) -> Pace:
        """The pace of a run with this share of Marketo's day, in an app with that share, of which so much is used."""
        allowed = int(given.daily_calls * app_share)
        mine = min(int(given.daily_calls * run_share), allowed)
        left = max(0, min(mine - int(used_by_runs), allowed - used_today))
        return cls(given.calls_per_20_seconds / WINDOW_SECONDS, max(1, mine), left)


def end_of(now: datetime, records: int, calls: int, pace: Pace) -> datetime:
    """When a run ends that starts now. It works evenly; when the calls of a day are used, it waits for midnight."""
    work = max(records / pace.records_per_second, calls / pace.calls_per_second)
    if not calls:
        return now + timedelta(seconds=work)
    at, to_do, left = now, float(calls), float(pace.left_today)
    while to_do > left or at + timedelta(seconds=to_do / calls * work) > day_of(at).end:
        end_of_day = day_of(at).end
        to_do -= min(left, calls * (end_of_day - at).total_seconds() / work)
        at, left = end_of_day, float(pace.calls_per_day)
    return at + timedelta(seconds=max(0.0, to_do) / calls * work)
