"""Which tables have their turn, how much room their queues have, and what is taken to be lost."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from shared.sync.runs.feeding import MOST_OPEN, MOST_RETRYING, having_their_turn, lost, pause, room
from shared.sync.runs.model import Run, RunKind, Scope, new_run
from shared.sync.runs.page import PAGE
from shared.sync.runs.store import Summary
from tests.support.values import NOON

DAY = timedelta(days=1)


def run_of(*tables: str, read: tuple[str, ...] = ()) -> Run:
    run = new_run(RunKind.INITIAL_SYNC, Scope(tables), NOON, unique="abcd")
    for name in read:
        run = run.table(name, all_read=True)
    return run


def page(table: str, **counts: int) -> Summary:
    return Summary(table, 0, Counter(counts), NOON, 1)


@pytest.mark.parametrize(
    ("read", "busy", "turn"),
    [
        ((), [], ["systemuser"]),
        (("systemuser",), [page("systemuser", open=1)], ["systemuser"]),
        (("systemuser",), [], ["contact", "lead"]),
        (("systemuser", "lead"), [], ["contact"]),
        (("systemuser", "lead", "contact"), [page("lead", unsent=300)], ["lead"]),
        (("systemuser", "lead", "contact"), [page("lead", parked=7, retrying=9)], ["opportunity"]),
        (("systemuser", "lead", "contact", "opportunity"), [page("lead", parked=7)], []),
    ],
)
def test_children_begin_when_their_parents_are_through(read: Any, busy: list[Summary], turn: list[str]) -> None:
    assert having_their_turn(run_of("opportunity", "contact", "lead", "systemuser", read=read), busy) == turn


def test_tables_of_one_entity_share_the_room_in_its_queue() -> None:
    busy = [page("contact", open=250), page("lead", open=50, created=250), page("account", open=300)]
    assert room("contact", busy) == room("lead", busy) == MOST_OPEN - 300
    assert room("account", busy) == MOST_OPEN - 300
    assert room("opportunity", busy) == MOST_OPEN


def test_a_page_waits_for_the_one_before_and_not_for_a_few_records_that_were_left_of_it() -> None:
    assert room("contact", [page("contact", open=PAGE)]) < PAGE
    assert room("contact", [page("contact", open=PAGE // 3)]) >= PAGE


def test_at_twice_the_rate_a_run_pauses_half_as_long_and_longest_for_opportunities() -> None:
    assert pause("contact", 5.0) == pause("contact", 2.5) / 2
    assert pause("contact", 2.5) == pause("account", 2.5) < pause("opportunity", 2.5)


def test_while_too_many_are_to_be_tried_again_nothing_more_is_sent() -> None:
    busy = [page("contact", retrying=MOST_RETRYING - 300), page("lead", retrying=299)]
    assert room("contact", busy) == MOST_OPEN
    assert room("contact", [*busy, page("lead", retrying=1)]) == 0


@pytest.mark.parametrize(
    ("sends", "minutes", "states"),
    [
        (1, 9, []),
        (1, 10, ["open"]),
        (2, 19, []),
        (2, 20, ["open"]),
        (1, 180, ["open", "retrying"]),
        (1, 24 * 60, ["open", "retrying"]),
        (1, 25 * 60, ["open", "retrying", "parked"]),
        (11, 25 * 60, ["open", "retrying", "parked"]),
    ],
)
def test_what_was_sent_long_ago_is_sent_again_less_and_less_often(sends: int, minutes: int, states: list[str]) -> None:
    of = Summary("contact", 0, Counter(open=1, retrying=1, parked=1, created=1), NOON, sends)
    assert lost(of, NOON + timedelta(minutes=minutes), DAY) == states


def test_a_page_that_was_never_sent_or_is_done_is_not_lost() -> None:
    later = NOON + 30 * DAY
    assert lost(Summary("contact", 0, Counter(unsent=300)), later, DAY) == []
    assert lost(page("contact", created=300), later, DAY) == []
