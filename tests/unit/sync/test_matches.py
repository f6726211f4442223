"""Which person of Marketo a row is, as far as e-mail addresses tell."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.model.outcome import Failed
from shared.sync.matches import Ambiguous, Match, choose, match_of, normal
from tests.support.values import guid

OWN = guid(1)
FREE = Match(7, created="2020-01-02", updated="2024-01-01")
FREE_TOO = Match(8, created="2020-01-01", updated="2023-01-01")
OTHERS = Match(9, key=guid(2))


def chosen(*matches: Match, taken: frozenset[int] = frozenset(), ambiguous: Ambiguous = "dead-letter") -> Any:
    return choose(matches, OWN, taken, ambiguous=ambiguous, row=f"contact {OWN}")


@pytest.mark.parametrize(
    ("matches", "adopted"),
    [
        ([], None), ([FREE], FREE), ([OTHERS], None), ([FREE, OTHERS], FREE), ([FREE, Match(10, key=OWN)], None),
    ],
    ids=["nobody", "one without an id", "another row's", "one beside another row's", "there already"],
)  # fmt: skip
def test_only_a_person_without_a_dynamics_id_is_adopted(matches: list[Match], adopted: Match | None) -> None:
    assert chosen(*matches) == adopted


def test_of_several_the_policy_says_which() -> None:
    assert chosen(FREE, FREE_TOO, ambiguous="oldest") == FREE_TOO
    assert chosen(FREE, FREE_TOO, ambiguous="latest") == FREE
    assert chosen(FREE, FREE_TOO, ambiguous="create") is None


def test_by_default_somebody_must_choose_and_is_told_how() -> None:
    failed = chosen(FREE_TOO, FREE)
    assert failed.code == "AmbiguousPerson"
    assert "2 persons" in failed.message
    assert ": 7, 8;" in failed.message
    assert f"`msisync link contact {OWN} MARKETO_ID`" in failed.message


def test_a_dead_letter_names_ten_of_many() -> None:
    failed = chosen(*(Match(number) for number in range(100, 130)))
    assert "109 and 20 more" in failed.message
    assert "110" not in failed.message


def test_who_is_adopted_by_another_row_at_this_moment_is_not_free() -> None:
    assert chosen(FREE, taken=frozenset({7})) is None
    assert chosen(FREE, FREE_TOO, taken=frozenset({7})) == FREE_TOO


@given(st.lists(st.builds(Match, st.integers(1, 20), st.sampled_from(["", OWN, guid(2)])), unique_by=lambda m: m.id))
def test_nobody_elses_person_is_ever_taken(matches: list[Match]) -> None:
    found = chosen(*matches)
    assert found is None or isinstance(found, Failed) or (found in matches and not found.key)


@pytest.mark.parametrize(
    ("given", "compared"),
    [(" Ann@X.com ", "ann@x.com"), ("a,b@x.com", ""), ("a b@x.com", ""), ("", ""), (None, ""), (5, "")],
)
def test_addresses_are_compared_without_case_and_only_where_marketo_can_be_asked(given: object, compared: str) -> None:
    assert normal(given) == compared


def test_an_answer_without_a_number_is_nobody() -> None:
    assert match_of({"id": "7"}, "externalPersonId") is None
    row = {"id": 7, "externalPersonId": guid(10).upper(), "createdAt": "c", "updatedAt": "u"}
    assert match_of(row, "externalPersonId") == Match(7, guid(10), "c", "u")
