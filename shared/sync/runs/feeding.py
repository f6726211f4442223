"""What a run sends next: which tables have their turn, how much room their queues have, what is sent again. Pure.

Service Bus knows no priorities, so a live change waits behind what a run has sent. So a run has only one call's worth
of records in an entity's queue at a time, and pauses in between. Of the records that are to be tried again, which wait
apart, it has no more than some thousand: while Marketo is down, the run stops there.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby

from ...model.entities import TABLES
from .model import Run, RunKind
from .page import OPEN, PAGE, PARKED, RETRYING, UNSENT
from .store import Summary

#: Records of a run that are in an entity's queue at a time: a page, and a few that were left of the one before. Records
#: that wait for another try.
MOST_OPEN, MOST_RETRYING = PAGE + PAGE // 3, 10 * PAGE
#: Marketo's calls for a page with all that follows from it, at most; the roles of opportunities are the most.
CALLS_PER_PAGE = {"opportunity": 5.0}
OTHER_CALLS_PER_PAGE = 3.0
#: How much of the rate a run may take: the rest is left to live changes, which would have to wait for it.
RATE_SHARE = 0.8
#: After so long, news of a record is taken to be lost, and it is sent again; each time, the wait is twice as long. A
#: queue may be paused for days, retries are up to an hour apart, and who waits for a parent does so for a day.
LOST_AFTER = {OPEN: timedelta(minutes=10), RETRYING: timedelta(hours=3)}
LONGEST = timedelta(days=1)
#: How much longer than PARENT_WAIT_SECONDS a record may be parked.
PARKED_MARGIN = timedelta(hours=1)


def having_their_turn(run: Run, busy: Sequence[Summary]) -> list[str]:
    """The tables of the first tier that has rows to be read or sent: its children's parents are most likely there.

    What waits for another try, or for a parent, holds nobody up.
    """
    working = {each.table for each in busy if each.counts[UNSENT] or each.counts[OPEN]}
    for _, tables in groupby(run.in_order, key=lambda name: TABLES[name][0].tier):
        left = [name for name in tables if name in working or not run.tables[name].all_read]
        if left:
            return left
    return []


def room(table: str, busy: Sequence[Summary]) -> int:
    """How many more records of this table may be sent to its entity's queue."""
    entity = TABLES[table][0]
    same = [each for each in busy if TABLES[each.table][0] is entity]
    if sum(each.counts[RETRYING] for each in same) >= MOST_RETRYING:
        return 0
    return MOST_OPEN - sum(each.counts[OPEN] for each in same)


def must_read(run: Run, table: str, unsent: Sequence[Summary]) -> bool:
    """Whether more rows are needed before the table's next page goes. What a comparison sends fills a call."""
    if run.tables[table].all_read:
        return False
    return sum(each.counts[UNSENT] for each in unsent) < PAGE if run.kind is RunKind.RECONCILE else not unsent


def pause(table: str, calls_per_second: float) -> float:
    """Seconds from one page of this table to the next one, so that live changes find room in Marketo's rate."""
    return seconds_of(CALLS_PER_PAGE.get(TABLES[table][0].name, OTHER_CALLS_PER_PAGE), calls_per_second)


def seconds_of(calls: float, calls_per_second: float) -> float:
    """How long so many of Marketo's calls take a run."""
    return calls / (RATE_SHARE * calls_per_second)


def lost(page: Summary, now: datetime, parent_wait: timedelta) -> list[str]:
    """The states of a page's records of which there should have been news by now."""
    if page.sent_at is None:
        return []
    waits = {**LOST_AFTER, PARKED: parent_wait + PARKED_MARGIN}
    times = 1 << min(max(page.sends - 1, 0), 10)
    longest = max(LONGEST, waits[PARKED])
    return [
        state
        for state, wait in waits.items()
        if page.counts[state] and now - page.sent_at >= min(wait * times, longest)
    ]
