"""What a run is expected to need: a sample that is fair, calls of each kind of person, and waiting for midnight."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.cli.initial_sync.estimate import Pace, Sample, end_of, run_calls, scaled
from shared.marketo.day import day_of
from shared.sync.preview import Fate
from tests.support.run_commands import MARKETO

NOON = datetime(2026, 3, 3, 18, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@given(st.integers(1, 50), st.lists(st.integers(1, 20), max_size=20))
def test_a_sample_is_as_large_as_it_may_be_and_holds_nothing_twice(size: int, pages: list[int]) -> None:
    sample, number = Sample[int](size), 0
    for page in pages:
        sample.add(range(number, number + page))
        number += page
    assert len(sample.chosen) == min(size, number) == len(set(sample.chosen))
    assert set(sample.chosen) <= set(range(number))
    assert sample.seen == number


def test_a_sample_takes_early_and_late_rows_alike() -> None:
    sample = Sample[int](1000)
    sample.add(range(100_000))
    tenths = Counter(item // 10_000 for item in sample.chosen)
    assert all(60 <= tenths[tenth] <= 140 for tenth in range(10)), tenths


def test_a_sample_stands_for_all_rows() -> None:
    assert scaled({Fate.CREATED: 30, Fate.ADOPTED: 10}, 4000) == {Fate.CREATED: 3000, Fate.ADOPTED: 1000}
    assert scaled({}, 4000) == {}


@pytest.mark.parametrize(
    ("fates", "calls"),
    [
        ({Fate.UPDATED: 3000}, 10),  # one update each
        ({Fate.CREATED: 3000}, 20),  # looked for, then created
        ({Fate.CREATED_WITHOUT_EMAIL: 3000}, 10),  # nobody can be looked for
        ({Fate.ADOPTED: 3000}, 30),  # looked for, updated in vain, updated by Marketo's id
        ({Fate.CONTINUED: 3000}, 20),
        ({Fate.AMBIGUOUS: 3000}, 10),
        ({Fate.UPDATED: 2999, Fate.CREATED: 1}, 12),
        ({Fate.CREATED: 2999, Fate.UPDATED: 1}, 20),
        ({Fate.QUALIFIED: 3000, Fate.MERGED: 50, Fate.UPDATED: 300}, 1),
        ({}, 0),
    ],
)
def test_the_calls_of_persons_depend_on_what_becomes_of_them(fates: dict[Fate, int], calls: int) -> None:
    least, most = run_calls({"contact": sum(fates.values())}, {"contact": fates})
    assert least == calls
    assert most >= least


def test_other_tables_need_a_call_for_300_rows_and_perhaps_one_for_their_parents() -> None:
    assert run_calls({"account": 3000}, {}) == (10, 20)
    assert run_calls({}, {}) == (0, 0)


def test_leads_may_be_asked_for_their_companies() -> None:
    fates = {Fate.UPDATED: 300}
    contacts, leads = (run_calls({table: 300}, {table: fates}) for table in ("contact", "lead"))
    assert leads == (contacts[0], contacts[1] + 1)


@given(st.dictionaries(st.sampled_from(list(Fate)), st.integers(0, 10_000)))
def test_least_is_never_more_than_most(fates: dict[Fate, int]) -> None:
    least, most = run_calls({"lead": sum(fates.values())}, {"lead": fates})
    assert 0 <= least <= most


def test_the_slower_of_records_and_calls_says_how_long_it_takes() -> None:
    pace = Pace(calls_per_second=2.0, calls_per_day=25_000, left_today=25_000, records_per_second=100.0)
    assert end_of(NOON, 60_000, 10, pace) == NOON + 600 * SECOND
    assert end_of(NOON, 100, 600, pace) == NOON + 300 * SECOND
    assert end_of(NOON, 0, 0, pace) == NOON
    assert end_of(NOON, 100, 0, pace) == NOON + SECOND


def test_it_waits_for_midnight_when_the_days_calls_are_used() -> None:
    pace = Pace(calls_per_second=10.0, calls_per_day=1000, left_today=500, records_per_second=1e9)
    midnight = day_of(NOON).end
    assert end_of(NOON, 1, 500, pace) == NOON + 50 * SECOND
    assert end_of(NOON, 1, 600, pace) == midnight + 10 * SECOND
    assert end_of(NOON, 1, 1501, pace) == day_of(midnight).end + 0.1 * SECOND
    assert end_of(NOON, 1, 100, Pace(10.0, 1000, 0)) == midnight + 10 * SECOND


def test_work_that_lasts_over_midnight_uses_the_calls_of_both_days() -> None:
    evening = day_of(NOON).end - 100 * SECOND
    pace = Pace(calls_per_second=1.0, calls_per_day=150, left_today=150, records_per_second=1e9)
    assert end_of(evening, 1, 200, pace) == evening + 200 * SECOND


@given(st.integers(0, 100_000), st.integers(0, 100_000), st.integers(0, 5000), st.integers(0, 10_000))
def test_more_calls_never_end_earlier(calls: int, more: int, left: int, records: int) -> None:
    pace = Pace(2.5, 5000, left)
    first, second = (end_of(NOON, records, number, pace) for number in (calls, calls + more))
    assert NOON <= first <= second + timedelta(milliseconds=1)


def test_a_run_has_a_share_of_the_day_and_never_more_than_the_app() -> None:
    assert Pace.of(MARKETO, 0, run_share=0.5, app_share=0.6) == Pace(2.5, 25_000, 25_000)
    assert Pace.of(MARKETO, 10_000, run_share=0.5, app_share=0.6).left_today == 20_000
    assert Pace.of(MARKETO, 40_000, run_share=0.5, app_share=0.6).left_today == 0
    assert Pace.of(MARKETO, 0, run_share=1, app_share=0.6).calls_per_day == 30_000
