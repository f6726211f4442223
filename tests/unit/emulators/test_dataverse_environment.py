"""Service protection by an injected clock, and planned faults."""

import contextlib

import pytest

from emulators.dataverse.environment import Environment, Fault
from emulators.dataverse.errors import ApiError
from tests.support.clocks import Clock

USER = "somebody"


@pytest.fixture
def clock() -> Clock:
    return Clock(1_000_000.0)


@pytest.fixture
def environment(clock: Clock) -> Environment:
    return Environment(clock)


def ask(environment: Environment, user: str = USER) -> None:
    with environment.admitted(user):
        pass


def refused(environment: Environment) -> ApiError:
    with pytest.raises(ApiError) as caught:
        ask(environment)
    return caught.value


def test_the_6001st_request_within_five_minutes_is_refused(environment: Environment, clock: Clock) -> None:
    for _ in range(6000):
        ask(environment)
        clock.now += 0.01
    error = refused(environment)
    assert (error.status, error.code) == (429, "0x80072322")
    assert 240 <= int(error.headers["Retry-After"]) <= 241
    assert environment.stats.throttled == 1
    ask(environment, "somebody else")


def test_waiting_as_told_lets_in_again(environment: Environment, clock: Clock) -> None:
    for _ in range(6000):
        ask(environment)
    clock.now += float(refused(environment).headers["Retry-After"])
    ask(environment)


def test_going_on_while_limited_makes_the_wait_longer(environment: Environment, clock: Clock) -> None:
    for _ in range(6000):
        ask(environment)
        clock.now += 0.04
    first = float(refused(environment).headers["Retry-After"])
    for _ in range(500):
        refused(environment)
    assert float(refused(environment).headers["Retry-After"]) > first


def test_the_53rd_concurrent_request_is_refused(environment: Environment) -> None:
    with contextlib.ExitStack() as running:
        for _ in range(52):
            running.enter_context(environment.admitted(USER))
        assert refused(environment).code == "0x80072326"
    ask(environment)


def test_twenty_minutes_of_execution_are_the_limit(environment: Environment, clock: Clock) -> None:
    with contextlib.ExitStack() as running:
        for _ in range(6):
            running.enter_context(environment.admitted(USER))
        clock.now += 250
    assert refused(environment).code == "0x80072321"
    clock.now += 60
    ask(environment)


def test_answers_tell_what_is_left(environment: Environment) -> None:
    with environment.admitted(USER) as remaining:
        assert remaining["x-ms-ratelimit-burst-remaining-xrm-requests"] == "5999"


def test_a_fault_hits_as_often_as_planned_and_only_what_matches(environment: Environment) -> None:
    environment.faults.append(Fault(match=r"/contacts\b", method="PATCH", status=503, times=2))
    hits = [environment.fault_for("PATCH", "/api/data/v9.2/contacts(1)") is not None for _ in range(3)]
    assert hits == [True, True, False]
    environment.faults.append(Fault(match=r"/contacts\b", method="PATCH"))
    assert environment.fault_for("GET", "/api/data/v9.2/contacts(1)") is None
    assert environment.fault_for("PATCH", "/api/data/v9.2/leads(1)") is None
