"""The search for the records that spoil a call: it finds them, sends each other one once, and costs few calls."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.sync.isolation import Search, search


class Calls:
    """A vendor that refuses calls with these items in them, by the first one's name."""

    def __init__(self, culprits: set[int]) -> None:
        self.culprits = culprits
        self.calls = 0
        self.stored: list[int] = []

    async def __call__(self, items: list[int]) -> str | None:
        self.calls += 1
        found = [item for item in items if item in self.culprits]
        if found:
            return f"for {found[0]}"
        self.stored += items
        return None

    def find(self, count: int, *, confirm: bool = False, most: int = 1_000) -> Search[int, str]:
        items = list(range(count))
        error = f"for {min(self.culprits)}"
        return asyncio.run(search(items, error, self, goes_on=lambda: self.calls < most, confirm=confirm))


@pytest.mark.parametrize("confirm", [False, True])
@pytest.mark.parametrize(("count", "most"), [(300, 10), (12, 6), (2, 2)])
def test_one_culprit_costs_few_calls_wherever_it_is(count: int, most: int, confirm: bool) -> None:
    for culprit in range(count):
        calls = Calls({culprit})
        found = calls.find(count, confirm=confirm)
        assert found.culprits == [(culprit, f"for {culprit}")]
        assert sorted(calls.stored) == sorted(found.stored) == [n for n in range(count) if n != culprit]
        assert found.unsent == []
        assert calls.calls <= most + confirm


def test_where_nothing_can_be_stored_it_ends_soon() -> None:
    calls = Calls(set(range(300)))
    found = calls.find(300)
    assert found.stored == []
    assert calls.calls <= 20


def test_who_was_suspected_by_elimination_only_is_not_accused_when_it_goes_well_after_all() -> None:
    """The reason was gone meanwhile."""
    calls = Calls({11})

    async def refusal(items: list[int]) -> str | None:
        if len(items) == 1:
            calls.culprits = set()
        return await calls(items)

    found = asyncio.run(search(list(range(12)), "for 11", refusal, confirm=True))
    assert found.culprits == []
    assert sorted(found.stored) == list(range(12))


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), min_size=1))))
def test_each_item_is_in_one_place_no_innocent_is_accused_and_progress_is_made(case: tuple[int, set[int]]) -> None:
    count, culprits = case
    for confirm in (False, True):
        calls = Calls(culprits)
        found = calls.find(count, confirm=confirm)
        accused = [item for item, _ in found.culprits]
        assert sorted(found.stored + accused + found.unsent) == list(range(count))
        assert set(accused) <= culprits
        assert accused
        assert all(reason == f"for {item}" for item, reason in found.culprits)
        assert sorted(calls.stored) == sorted(found.stored)


@given(st.integers(2, 40), st.integers(1, 10))
def test_it_ends_when_time_is_over_and_forgets_nobody(count: int, most: int) -> None:
    calls = Calls({0, count - 1})
    found = calls.find(count, most=most)
    assert calls.calls <= most + 1
    assert sorted(found.stored + [item for item, _ in found.culprits] + found.unsent) == list(range(count))
