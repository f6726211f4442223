"""Cutting records into Marketo calls: at most 300 records and at most 1 MB of body, as few calls as that allows."""

from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from shared.marketo.batching import chunks

LIMIT_RECORDS = 300
LIMIT_BYTES = 1_000_000
LONGEST_ENVELOPE = len(b'{"action": "createOrUpdate", "lookupField": "externalPersonId","input":[]}')


@dataclass(frozen=True)
class Item:
    number: int
    length: int

    @property
    def body(self) -> bytes:
        return b"x" * self.length


def cut(lengths: list[int]) -> list[list[Item]]:
    return list(chunks([Item(number, length) for number, length in enumerate(lengths)]))


def body_size(items: list[Item]) -> int:
    return LONGEST_ENVELOPE + sum(item.length for item in items) + len(items) - 1


lengths = st.lists(
    st.one_of(st.integers(2, 2_000), st.integers(20_000, 400_000), st.just(1_100_000)), max_size=40
) | st.builds(lambda count, length: [length] * count, st.integers(0, 1_000), st.integers(2, 8_000))


@given(lengths)
def test_nothing_is_lost_doubled_or_moved(sizes: list[int]) -> None:
    assert [item.number for chunk in cut(sizes) for item in chunk] == list(range(len(sizes)))


@given(lengths)
def test_every_call_is_within_both_limits_unless_one_record_alone_is_not(sizes: list[int]) -> None:
    for chunk in cut(sizes):
        assert 1 <= len(chunk) <= LIMIT_RECORDS
        assert len(chunk) == 1 or body_size(chunk) <= LIMIT_BYTES


@given(lengths)
def test_a_new_call_begins_only_where_the_next_record_would_not_have_fitted(sizes: list[int]) -> None:
    cuts = cut(sizes)
    for before, after in pairwise(cuts):
        slack = 1_100  # room that is kept for the envelope
        assert len(before) == LIMIT_RECORDS or body_size([*before, after[0]]) > LIMIT_BYTES - slack
