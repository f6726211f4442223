"""What is known of a run: its numbers by table, its rate, its end, and what needs attention."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.cli.command import Exit
from shared.cli.initial_sync.facts import RunFacts, facts_of
from shared.marketo.day import day_of
from shared.marketo.usage import Usage
from shared.sync.runs.model import Progress, Run, RunKind, RunState, Scope, new_run
from shared.sync.runs.store import Summary
from tests.support.run_commands import MARKETO, USAGE
from tests.support.values import NOON

MINUTE = timedelta(minutes=1)


def a_run(**changes: Any) -> Run:
    """A run of contacts and accounts that the app has just worked on."""
    scope, expected = Scope(("contact", "account")), {"contact": 10_000, "account": 0}
    run = new_run(RunKind.INITIAL_SYNC, scope, NOON - 10 * MINUTE, unique="abcd", expected=expected)
    return replace(run, **{"carried_at": NOON, **changes})


def page(number: int = 0, *, minutes: float = 1, **counts: int) -> Summary:
    states = Counter({name.replace("__", ":"): count for name, count in counts.items()})
    return Summary("contact", number, states, NOON - minutes * MINUTE, 1)


def facts(*pages: Summary, usage: Usage = USAGE, **changes: Any) -> RunFacts:
    return facts_of(a_run(**changes), pages, NOON, MARKETO, usage)


def test_a_row_is_done_when_the_run_has_nothing_left_to_do_with_it() -> None:
    first = page(created=100, skipped__Filtered=50, failed__1003=2, parked=3, open=145)
    account, contact = facts(first, page(1, unsent=300)).tables
    assert (account.table, contact.table) == ("account", "contact")
    assert (contact.done, contact.unfinished, contact.remaining) == (152, 448, 9848)
    assert contact.as_json() == {
        "total": 10_000, "read": 600, "done": 152, "complete": False, "unsent": 300, "open": 145, "retrying": 0,
        "parked": 3, "unchanged": 0, "updated": 0, "adopted": 0, "created": 100,
        "skipped": {"Filtered": 50}, "differs": {}, "failed": {"1003": 2},
    }  # fmt: skip


def test_a_table_that_is_read_whole_has_as_many_rows_as_were_read() -> None:
    run = a_run(tables={"contact": Progress(expected=10_000, all_read=True), "account": Progress()})
    account, contact = facts_of(run, [page(created=290, open=10)], NOON, MARKETO, USAGE).tables
    assert (contact.total, contact.remaining) == (300, 10)
    assert account.total is None
    assert facts(page(created=11_000)).tables[1].total == 11_000, "rows that came after the plan"


def test_the_rate_is_that_of_the_last_ten_minutes() -> None:
    assert facts(page(0, minutes=5, created=6000), page(1, minutes=1, open=6000)).rate == 40
    assert facts(page(0, minutes=500, created=6000), page(1, minutes=1, open=600)).rate == 10
    assert facts(page(0, minutes=0.1, open=600)).rate is None, "too short to tell"
    assert facts().rate is None


def test_the_end_follows_from_the_rate_and_the_remaining_rows() -> None:
    ends = facts(page(0, minutes=5, created=3000)).expected_end
    assert ends == NOON + timedelta(seconds=700), "3,000 in five minutes, 7,000 to go"


def test_the_end_is_not_before_the_calls_of_the_day_suffice() -> None:
    used = replace(USAGE, used_today=20_000, used_by_runs=20_000)
    ends = facts(page(0, minutes=5, created=3000), usage=used).expected_end
    midnight = day_of(NOON).end
    assert ends == midnight + timedelta(seconds=700)
    waiting = facts(page(0, minutes=5, created=3000), usage=used, waits_for="the quota", waits_until=midnight)
    assert waiting.expected_end == ends


def test_nobody_knows_when_a_run_ends_whose_records_are_stuck_in_a_queue() -> None:
    assert facts(page(0, minutes=5, created=3000), page(1, minutes=4, open=300)).expected_end
    assert facts(page(0, minutes=5, created=3000), page(1, minutes=6, open=300)).expected_end is None


@pytest.mark.parametrize("state", [RunState.PAUSED, RunState.COMPLETE, RunState.CANCELLED, RunState.FAILED])
def test_a_run_that_does_not_go_on_has_no_expected_end(state: RunState) -> None:
    assert facts(page(created=300), state=state).expected_end is None


@pytest.mark.parametrize(
    ("pages", "changes", "exit_", "says"),
    [
        ([page(created=300)], {}, Exit.OK, ""),
        ([page(created=300)], {"state": RunState.COMPLETE}, Exit.OK, ""),
        ([page(skipped__Filtered=300)], {}, Exit.OK, ""),
        ([page(failed__1003=1)], {}, Exit.ATTENTION, "1 record could not be synced"),
        ([], {"state": RunState.PAUSED}, Exit.ATTENTION, "paused"),
        ([], {"state": RunState.FAILED, "reason": "Dynamics refuses"}, Exit.FAILED, "Dynamics refuses"),
        ([page(open=300, minutes=4)], {}, Exit.OK, ""),
        ([page(open=300, minutes=6)], {}, Exit.ATTENTION, "300 records of it have waited in their queues"),
        ([replace(page(open=30), sends=2)], {}, Exit.ATTENTION, "30 records of it have waited in their queues"),
        ([page(retrying=300, minutes=60)], {}, Exit.OK, ""),
        ([page(open=300, minutes=6)], {"state": RunState.CANCELLED}, Exit.OK, ""),
        ([], {"carried_at": NOON - 6 * MINUTE}, Exit.ATTENTION, "initial-sync 20260304-115000-abcd for 6 min"),
        ([], {"carried_at": NOON - 6 * MINUTE, "state": RunState.COMPLETE}, Exit.OK, ""),
    ],
)
def test_what_needs_attention(pages: list[Summary], changes: dict[str, Any], exit_: Exit, says: str) -> None:
    found = facts(*pages, **changes)
    assert found.exit is exit_
    assert says in " ".join(each.text for each in found.findings)
    assert bool(found.findings) is bool(says)


def test_all_of_it_is_json() -> None:
    data = facts(page(0, minutes=5, created=3000)).as_json()
    assert (data["state"], data["kind"], data["records_per_second"]) == ("running", "initial-sync", 10.0)
    assert data["tables"]["contact"]["created"] == 3000
    assert data["expected_end"].endswith("Z")
