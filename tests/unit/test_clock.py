"""The time of day of an instance whose clock is wrong: storage's clock puts it right."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.clock import TOLERATED, Clock

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


class Machine:
    def __init__(self, ahead: timedelta) -> None:
        self.true = NOW
        self.ahead = ahead

    def now(self) -> datetime:
        return self.true + self.ahead


@given(st.integers(-100_000, 100_000))
def test_after_one_answer_the_time_is_right_however_wrong_the_machine_is(seconds: int) -> None:
    machine = Machine(timedelta(seconds=seconds))
    clock = Clock(machine.now)
    clock.heard(machine.true)
    assert abs(clock.now() - machine.true) <= TOLERATED


def test_a_right_clock_is_left_alone_though_answers_are_late_and_have_no_fractions() -> None:
    machine = Machine(timedelta())
    clock = Clock(machine.now)
    for late in (0, 1, 10, 59):
        clock.heard(machine.true - timedelta(seconds=late))
        assert clock.now() == machine.true


@pytest.mark.parametrize("seconds", [2, 10, 59, 86_400])
def test_a_clock_that_is_behind_never_schedules_for_the_past(seconds: int, caplog: pytest.LogCaptureFixture) -> None:
    """Scheduled copies would come at once, again and again, and use up a record's attempts in a second."""
    machine = Machine(timedelta(seconds=-seconds))
    clock = Clock(machine.now)
    for fraction in (0.9, 0.4, 0.0, 0.7):
        machine.true += timedelta(seconds=1)
        clock.heard(machine.true - timedelta(seconds=fraction))
    assert clock.now() == machine.true
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_clock_that_is_set_right_counts_again(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine(timedelta(hours=2))
    clock = Clock(machine.now)
    for _ in range(3):
        clock.heard(machine.true)
    machine.ahead = timedelta()
    clock.heard(machine.true)
    assert clock.now() == machine.true
    assert clock.ahead == timedelta()
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
