"""The cache of what Marketo has: bounded, and never believed for long."""

import pytest

from shared.sync.marketo_cache import ABSENT_SECONDS, LOOK_SECONDS, PRESENT_SECONDS, Known
from tests.support.clocks import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock(1_000.0)


@pytest.fixture
def known(clock: Clock) -> Known:
    return Known(clock=clock)


def test_a_record_is_known_by_entity_and_key_with_its_marketo_id(known: Known) -> None:
    known.add("person", "a", 17)
    assert known.id_of("person", "a") == 17
    assert known.id_of("person", "b") is None
    assert known.id_of("company", "a") is None


def test_a_record_of_an_object_without_numbers_is_known_as_well(known: Known) -> None:
    known.add("company", "a", 0)
    assert known.id_of("company", "a") == 0


def test_a_later_answer_without_id_does_not_take_the_id_away(known: Known) -> None:
    known.add("person", "a", 17)
    known.add("person", "a", 0)
    assert known.id_of("person", "a") == 17


def test_a_record_is_forgotten_after_hours_and_each_sight_renews_it(known: Known, clock: Clock) -> None:
    known.add("person", "a", 17)
    clock.now += PRESENT_SECONDS - 1
    known.add("person", "a", 17)
    clock.now += PRESENT_SECONDS - 1
    assert known.id_of("person", "a") == 17
    clock.now += 1
    assert known.id_of("person", "a") is None


def test_absence_is_believed_for_seconds_only(known: Known, clock: Clock) -> None:
    known.add_absent("company", "a")
    assert known.is_absent("company", "a")
    clock.now += ABSENT_SECONDS
    assert not known.is_absent("company", "a")


def test_a_record_that_was_just_synced_is_no_longer_absent(known: Known) -> None:
    known.add_absent("company", "a")
    known.add("company", "a", 5)
    assert not known.is_absent("company", "a")
    assert known.id_of("company", "a") == 5


def test_what_marketo_contradicts_is_forgotten_at_once(known: Known) -> None:
    known.add("company", "a", 5)
    known.add_absent("company", "b")
    known.forget("company", "a")
    known.forget("company", "b")
    known.forget("company", "never seen")
    assert known.id_of("company", "a") is None
    assert not known.is_absent("company", "b")


def test_the_number_is_bounded_and_the_longest_unseen_goes_first(clock: Clock) -> None:
    known = Known(clock=clock, max_entries=3)
    for key in "abc":
        known.add("person", key, 1)
        known.add_absent("company", key)
    known.add("person", "a", 1)
    known.add("person", "d", 1)
    known.add_absent("company", "d")
    assert [key for key in "abcd" if known.id_of("person", key) is not None] == ["a", "c", "d"]
    assert [key for key in "abcd" if known.is_absent("company", key)] == ["b", "c", "d"]


def test_what_is_asked_for_stays_while_a_run_leads_many_others_past(clock: Clock) -> None:
    known = Known(clock=clock, max_entries=10)
    known.add("company", "of live changes", 7)
    for number in range(100):
        known.add("company", f"of the run {number}", 1)
        if number % 5 == 0:
            assert known.id_of("company", "of live changes") == 7
    assert known.id_of("company", "of the run 90") is None


def test_asking_for_a_record_is_no_sight_of_it(known: Known, clock: Clock) -> None:
    for key in "ab":
        known.add("company", key, 1)
        clock.now += 10
    clock.now += PRESENT_SECONDS / 2
    assert known.id_of("company", "a") == 1
    assert known.expiring("company", 300) == ["a", "b"]
    clock.now += PRESENT_SECONDS / 2 - 20
    assert known.id_of("company", "a") is None


def test_what_is_seen_after_nothing_was_expiring_expires_in_its_turn(known: Known, clock: Clock) -> None:
    assert known.expiring("company", 300) == []
    known.add("company", "a", 1)
    clock.now += PRESENT_SECONDS / 2 - 1
    assert known.expiring("company", 300) == []
    clock.now += LOOK_SECONDS
    assert known.expiring("company", 300) == ["a"]


def test_what_was_renewed_or_forgotten_is_not_named_again_nor_is_its_place_taken(known: Known, clock: Clock) -> None:
    for key in "abcd":
        known.add("company", key, 1)
    clock.now += PRESENT_SECONDS / 2
    assert known.expiring("company", 2) == ["a", "b"]
    known.add("company", "b", 1)
    known.forget("company", "a")
    assert known.expiring("company", 2) == ["c", "d"]
    for key in "bcd":
        known.forget("company", key)
    assert known.expiring("company", 2) == []


def test_many_records_of_one_entity_leave_those_of_another_their_room(clock: Clock) -> None:
    known = Known(clock=clock, max_entries=3)
    known.add("company", "a", 1)
    for key in "bcdef":
        known.add("person", key, 1)
    assert known.id_of("company", "a") == 1


def test_what_will_be_forgotten_first_is_named_first_and_only_in_the_second_half_of_its_time(
    known: Known, clock: Clock
) -> None:
    for entity, key in (("company", "a"), ("person", "p"), ("company", "b"), ("company", "c")):
        known.add(entity, key, 1)
        clock.now += 10
    assert known.expiring("company", 300) == []
    clock.now += PRESENT_SECONDS / 2 - 20
    assert known.expiring("company", 300) == ["a", "b"]
    assert known.expiring("company", 1) == ["a"]
    known.add("company", "a", 1)
    assert known.expiring("company", 300) == ["b"]
    clock.now += PRESENT_SECONDS / 2
    assert known.expiring("company", 300) == ["c", "a", "b"], "b has just expired: it comes after the others"
    assert known.expiring("company", 2) == ["c", "a"]
    clock.now += PRESENT_SECONDS / 2 + 10
    assert known.expiring("company", 300) == ["a"], "nobody has asked for the others in all the time"
