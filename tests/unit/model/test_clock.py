"""The time of day of an instance whose clock is wrong: storage's and the broker's clocks put it right."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.model.clock import TOLERATED, WAITED, Clock

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


class Machine:
    def __init__(self, ahead: timedelta) -> None:
        self.true = NOW
        self.ahead = ahead

    def now(self) -> datetime:
        return self.true + self.ahead

    def clock(self) -> Clock:
        return Clock(self.now, self.seconds)

    def seconds(self) -> float:
        return (self.true - NOW).total_seconds()


@given(st.integers(-100_000, 100_000))
def test_after_one_answer_the_time_is_right_however_wrong_the_machine_is(seconds: int) -> None:
    machine = Machine(timedelta(seconds=seconds))
    clock = machine.clock()
    clock.heard(machine.true)
    assert abs(clock.now() - machine.true) <= TOLERATED


def test_a_right_clock_is_left_alone_though_answers_are_late_and_have_no_fractions() -> None:
    machine = Machine(timedelta())
    clock = machine.clock()
    for late in (0, 1, 10, 59):
        clock.heard(machine.true - timedelta(seconds=late))
        assert clock.now() == machine.true


@pytest.mark.parametrize("seconds", [2, 10, 59, 86_400])
def test_a_clock_that_is_behind_never_schedules_for_the_past(seconds: int, caplog: pytest.LogCaptureFixture) -> None:
    """Scheduled copies would come at once, again and again, and use up a record's attempts in a second."""
    machine = Machine(timedelta(seconds=-seconds))
    clock = machine.clock()
    for fraction in (0.9, 0.4, 0.0, 0.7):
        machine.true += timedelta(seconds=1)
        clock.heard(machine.true - timedelta(seconds=fraction))
    assert clock.now() == machine.true
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_clock_that_is_set_right_counts_again(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine(timedelta(hours=2))
    clock = machine.clock()
    for _ in range(3):
        clock.heard(machine.true)
    machine.ahead = timedelta()
    clock.heard(machine.true)
    assert clock.now() == machine.true
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_a_clock_that_is_set_wrong_while_storage_is_away_is_noticed() -> None:
    machine = Machine(timedelta())
    clock = machine.clock()
    clock.heard(machine.true)
    machine.true += timedelta(hours=3)
    machine.ahead = timedelta(hours=2)
    assert clock.now() == machine.true


@pytest.mark.parametrize("hours", [-3, 2, 30])
def test_before_storage_is_heard_a_message_that_has_just_come_tells_the_time(hours: int) -> None:
    machine = Machine(timedelta(hours=hours))
    clock = machine.clock()
    clock.at_least(machine.true - timedelta(seconds=2))
    machine.true += timedelta(seconds=30)
    assert clock.now() == machine.true - timedelta(seconds=2)


@given(st.lists(st.integers(0, 100_000), min_size=1), st.integers(-100_000, 100_000))
def test_messages_that_have_waited_never_make_it_late(waited: list[int], ahead: int) -> None:
    """What is scheduled comes too early at worst, by what the freshest message had waited."""
    machine = Machine(timedelta(seconds=ahead))
    clock = machine.clock()
    for seconds in waited:
        clock.at_least(machine.true - timedelta(seconds=seconds))
        machine.true += timedelta(seconds=1)
    assert machine.true - timedelta(seconds=min(waited)) - timedelta(seconds=1) <= clock.now()
    assert clock.now() <= machine.true + WAITED


def test_a_right_clock_is_believed_though_messages_have_waited_for_minutes() -> None:
    machine = Machine(timedelta())
    clock = machine.clock()
    clock.at_least(machine.true - WAITED)
    assert clock.now() == machine.true


def test_storage_knows_better_than_messages_that_have_waited(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine(timedelta())
    clock = machine.clock()
    clock.at_least(machine.true - timedelta(hours=5))
    clock.heard(machine.true)
    clock.at_least(machine.true - timedelta(hours=4))
    assert clock.now() == machine.true
    assert not caplog.records


def test_the_broker_is_a_moment_ahead_of_storage() -> None:
    machine = Machine(timedelta())
    clock = machine.clock()
    for ahead in (2, 1):
        clock.heard(machine.true)
        clock.at_least(machine.true + timedelta(seconds=ahead))
        assert machine.true <= clock.now() <= machine.true + timedelta(seconds=2)
    clock.heard(machine.true)
    assert clock.now() == machine.true
