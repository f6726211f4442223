"""What follows from each kind of error, as a table: for all records of a call, for a skipped one, for circuits."""

import pytest

from shared.model.codes import MARKETO, Kind
from shared.model.errors import ConfigurationError, DataverseError, MarketoError, SignInError
from shared.model.outcome import Failed, Outcome, Retry, of_error, of_skip
from shared.sync.circuit import ANSWERS, OUTAGES


def later(seconds: float) -> Retry:
    """Tried again, as often as it takes."""
    return Retry(seconds, "x", "text")


def counted(seconds: float) -> Retry:
    """Tried again, a bounded number of times."""
    return Retry(seconds, "x", "text", counted=True)


FINAL = Failed("x", "text", "marketo")

#: Kind: what becomes of each record of a call that Marketo refuses, and whether the entity's circuit opens.
OF_CALLS: dict[Kind, tuple[Outcome, bool]] = {
    Kind.TOKEN: (later(60), True),
    Kind.THROTTLED: (later(20), False),
    Kind.DAILY: (later(900), True),
    Kind.TRANSIENT: (later(60), True),
    Kind.CONFIGURATION: (later(300), True),
    Kind.SPLIT: (FINAL, False),  # of a record that is too large alone; 611 is below
    Kind.MISSING_PARENT: (counted(5), False),
    Kind.UNKNOWN: (counted(60), False),
    Kind.FIELD: (FINAL, False),
    Kind.AMBIGUOUS: (FINAL, False),
    Kind.PERMANENT: (FINAL, False),
    Kind.GONE: (FINAL, False),
}


def test_every_kind_of_error_has_its_place_in_the_table() -> None:
    assert OF_CALLS.keys() == set(Kind) - {Kind.OK}


@pytest.mark.parametrize(("kind", "expected"), OF_CALLS.items(), ids=lambda value: getattr(value, "value", ""))
def test_what_becomes_of_the_records_of_a_refused_call(kind: Kind, expected: tuple[Outcome, bool]) -> None:
    assert of_error(MarketoError("x", "text", kind=kind)) == expected[0]
    assert (kind in OUTAGES["marketo"]) is expected[1]


def test_a_system_error_is_tried_again_soon_and_a_bounded_number_of_times() -> None:
    error = of_error(MarketoError("611", "text", kind=Kind.SPLIT))
    assert error == Retry(5, "611", "text", counted=True)


@pytest.mark.parametrize("kind", [Kind.DAILY, Kind.THROTTLED, Kind.TRANSIENT])
def test_a_wait_that_is_named_is_kept_when_it_is_longer(kind: Kind) -> None:
    outcome = of_error(MarketoError("x", "text", kind=kind, retry_after=30_000.0))
    assert outcome == Retry(30_000.0, "x", "text")


@pytest.mark.parametrize("error", [SignInError("x", "text"), ConfigurationError("x", "text")])
def test_what_an_operator_must_mend_waits_without_an_end(error: SignInError | ConfigurationError) -> None:
    assert of_error(error) == later(300)


def test_nothing_that_uses_up_attempts_opens_a_circuit_and_an_outage_uses_up_none() -> None:
    for outcome, opens in OF_CALLS.values():
        assert not (opens and (isinstance(outcome, Failed) or (isinstance(outcome, Retry) and outcome.counted)))


@pytest.mark.parametrize("system", ["marketo", "dataverse"])
def test_an_answer_is_no_outage(system: str) -> None:
    assert not OUTAGES[system] & ANSWERS[system]


def test_dataverse_is_away_only_when_it_does_not_answer_and_its_refusals_concern_one_table() -> None:
    assert OUTAGES["dataverse"] == {Kind.TRANSIENT, Kind.TOKEN}
    error = of_error(DataverseError("0x80040220", "text", kind=Kind.CONFIGURATION))
    assert error == Retry(300, "0x80040220", "text")


@pytest.mark.parametrize("code", sorted({*MARKETO, "699", "1999"}))
def test_every_code_of_a_skipped_record_is_final_or_tried_again_and_no_code_is_tried_without_an_end_or_an_alarm(
    code: str, caplog: pytest.LogCaptureFixture
) -> None:
    outcome = of_skip(code, "text")
    assert isinstance(outcome, Retry | Failed)
    assert (outcome.code, outcome.message) == (code, "text")
    if isinstance(outcome, Retry) and not outcome.counted:
        assert "ERROR" in caplog.text
