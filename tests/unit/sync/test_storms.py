"""A row that changes again and again: few calls, the last value soon, and never an older one in the end."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.model.outcome import Failed, Later, Retry, Skipped, Synced
from shared.model.record import Record, encode, read
from shared.sync.storms import COVERED, LONGEST_WAIT, MARGIN, Storms
from tests.support.clocks import Clock
from tests.support.values import NOON, guid

STORED = Synced("updated")


def change(number: int = 1, *, after: float = 0.0, **facts: Any) -> Record:
    """A change that reached the broker so many seconds after noon."""
    seen = NOON + timedelta(seconds=after)
    return Record("account", guid(number), seen, **{"last_seen": seen, **facts})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def storms(clock: Clock) -> Storms:
    return Storms(clock=clock)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def test_a_row_that_nobody_has_sent_is_sent(storms: Storms) -> None:
    assert storms.decide(change()) is None


def test_what_the_broker_had_before_the_row_was_read_is_covered(storms: Storms) -> None:
    storms.note([(change(), STORED)], at(10))
    assert storms.decide(change(after=10 - MARGIN.total_seconds())) == COVERED


@pytest.mark.parametrize("after", [9.0, 10.0, 11.0])
def test_what_came_about_then_or_later_waits_and_then_is_sent(storms: Storms, clock: Clock, after: float) -> None:
    storms.note([(change(), STORED)], at(10))
    assert storms.decide(change(after=after)) == Later("SentAMomentAgo", after=3.0)
    clock.now += 3
    assert storms.decide(change(after=after)) is None


ASKED = [
    {"forced": True}, {"requested": True}, {"released": True}, {"replays": 1}, {"write_back": True}, {"attempt": 1},
    {"parked_since": NOON},
]  # fmt: skip


@pytest.mark.parametrize("facts", ASKED, ids=lambda facts: next(iter(facts)))
def test_what_somebody_asks_for_is_sent_at_once_whatever_was_sent_before(storms: Storms, facts: dict[str, Any]) -> None:
    storms.note([(change(), STORED)], at(10))
    assert storms.decide(change(**facts)) is None
    assert storms.decide(change().merge(change(**facts))) is None or "attempt" in facts


def test_a_change_whose_time_at_the_broker_nobody_knows_is_sent_at_once(storms: Storms) -> None:
    storms.note([(change(), STORED)], at(10))
    assert storms.decide(change(last_seen=None)) is None
    assert storms.decide(change().merge(change(last_seen=None))) is None


def test_a_change_that_the_children_must_hear_of_waits_and_is_not_covered(storms: Storms, clock: Clock) -> None:
    storms.note([(change(filter_changed=True), STORED)], at(10))
    assert storms.decide(change(filter_changed=True)) == Later("SentAMomentAgo", after=3.0)
    clock.now += 3
    assert storms.decide(change(filter_changed=True)) is None


@pytest.mark.parametrize("outcome", [Failed("1003", "", "marketo"), Retry(60, "611", "", counted=True)])
def test_what_was_not_stored_covers_nothing_and_waits(storms: Storms, clock: Clock, outcome: Failed | Retry) -> None:
    storms.note([(change(), outcome)], at(10))
    assert isinstance(storms.decide(change()), Later)
    clock.now += LONGEST_WAIT
    assert storms.decide(change()) is None


@pytest.mark.parametrize("outcome", [Skipped("RowGone"), Retry(60, "CircuitOpen", ""), Later("FillsACall"), COVERED])
def test_what_cost_no_call_is_not_remembered(storms: Storms, outcome: Any) -> None:
    storms.note([(change(), outcome)], at(10))
    assert storms.decide(change()) is None


def test_a_role_for_which_nobody_has_looked_for_an_old_one_covers_nothing(storms: Storms, clock: Clock) -> None:
    storms.note([(change(additive=True), STORED)], at(10))
    clock.now += LONGEST_WAIT
    assert storms.decide(change()) is None
    storms.note([(change(), STORED)], at(10))
    assert storms.decide(change()) == COVERED


def test_a_batch_whose_time_at_the_broker_nobody_knows_covers_nothing(storms: Storms, clock: Clock) -> None:
    storms.note([(change(), STORED)], None)
    clock.now += LONGEST_WAIT
    assert storms.decide(change()) is None


def test_the_wait_grows_with_the_times_that_a_row_is_sent_and_ends_with_the_storm(storms: Storms, clock: Clock) -> None:
    waits = []
    for _ in range(15):
        storms.note([(change(), STORED)], None)
        waiting = storms.decide(change())
        assert isinstance(waiting, Later)
        waits.append(waiting.after)
        clock.now += waiting.after
    assert waits == [3.0] * 4 + [10.0] * 3 + [30.0] * 2 + [60.0] * 6
    clock.now += 600
    storms.note([(change(), STORED)], None)
    assert storms.decide(change()) == Later("SentAMomentAgo", after=3.0)


def test_no_more_rows_are_remembered_than_there_is_room_for(clock: Clock) -> None:
    storms = Storms(clock=clock, max_rows=3)
    storms.note([(change(number), STORED) for number in range(10)], at(10))
    assert [number for number in range(10) if storms.decide(change(number))] == [7, 8, 9]


def test_the_time_at_the_broker_travels_with_a_record_and_the_newest_counts() -> None:
    one, other = change(after=1), change(after=5)
    (merged,) = [one.merge(other)]
    assert read(encode("company", [merged]), "company").records == [merged]
    assert (merged.first_seen, merged.last_seen) == (at(1), at(5))
    assert other.merge(one).last_seen == at(5)
