"""No fragment of a value is told: whatever a vendor says of it, in whatever words, at whatever level."""

import asyncio
import json
import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from local.harness.telemetry import in_memory
from shared.azure.service_bus import Outgoing
from shared.dataverse.batch import Answer, Part
from shared.dataverse.client import error_of, names_of
from shared.model import vendor_text
from shared.model.codes import MARKETO, Kind
from shared.model.entities import PERSON
from shared.model.errors import DefectError, MarketoError, MsiSyncError
from shared.model.outcome import LeftOut, Synced, of_error, of_skip
from shared.model.record import Record
from shared.model.safe_text import plain
from shared.sync.batch import Candidate
from shared.sync.history import row_of
from shared.sync.history_steps import settled
from shared.sync.incoming import Incoming
from shared.telemetry.redaction import Lines, described, set_up_lines, without_values
from shared.write_back.rows import Update
from tests.support.values import NOON, guid
from tests.support.whole_app import SEEN, World

#: What makes a value known again, wherever a piece of it comes out.
MARK = "Zażółć-qx7"
PIECES = ("Zażó", "łć-q", "qx7", "Za\\u017c")
#: A value between and around the marks: anything, above all what looks like the end of a quotation, or a field.
AROUND = st.one_of(
    st.sampled_from(["", " ", "\n", "\r\n", "'", "\"", "' and value '", "'\nfield '", "\u2028", "\u202e", "\x1b[31m"]),
    st.sampled_from(["@x.example", "<a@b.example>", "'.", "{value}", "%s"]),
    st.text(max_size=12),
)  # fmt: skip
VALUES = st.tuples(AROUND, AROUND, AROUND).map(lambda t: f"{t[0]}{MARK}{t[1]}{MARK}{t[2]}")
TEXTS = st.sampled_from(
    [
        "Invalid value for field 'email' and value '{}'",
        "Invalid value for field '{}' and value 'x'",
        "Invalid value for email: {}",
        "Invalid value '{}'. Required of type 'integer'",
        "Missing value for required parameter '{}'",
        "Lookup field '{}' not found",
        "Field '{}' not found",
        "{} cannot be blank",
        "{}",
        "Lead not found\n{}",
        "Cannot convert the literal '{}' to the expected type 'Edm.Int32'.",
        "A validation error occurred. The value {} of 'statuscode' on record of type 'lead' is outside the range.",
        "The plug-in says: {}, prvReadContact",
        "Principal user (Id={}) is missing prvRead{} privilege",
        "Could not find a property named '{}' on type 'Microsoft.Dynamics.CRM.lead'.",
        "Entity 'lead' With Id = {} Does Not Exist",
    ]
)
#: Without those that a call waits for until its time is over.
CODES = sorted({*MARKETO, "9999", MARK} - {"606", "615"})


def assert_untold(value: str, *told: object) -> None:
    for each in told:
        for piece in (*PIECES, value):
            assert piece not in str(each), (piece, each)
            assert piece not in repr(each), (piece, each)


@given(TEXTS, VALUES, st.sampled_from(CODES))
@example("Invalid value for field 'email' and value '{}'", f"O'Brien\n{MARK}' and field '{MARK}", "1003")
def test_a_text_of_marketo_is_told_without_the_value(text: str, value: str, code: str) -> None:
    names = ["email", "firstName"]
    assert_untold(value, vendor_text.marketo(code, text.replace("{}", value), names))
    assert_untold(value, vendor_text.marketo_code(value), vendor_text.request_id(value))


@given(TEXTS, VALUES, st.sampled_from(["0x80040265", "-2147220960", "", MARK]), st.sampled_from([400, 403, 500]))
def test_a_text_of_dataverse_is_told_without_the_value(text: str, value: str, code: str, status: int) -> None:
    content = {"error": {"code": code, "message": text.replace("{}", value)}}
    names = names_of(f"/api/data/v9.2/leads?$select=statuscode&$filter=x eq '{MARK}'", {"subject": value})
    error = error_of(status, {"x-ms-service-request-id": value}, json.dumps(content).encode(), names)
    assert_untold(value, error, error.message, error.code, error.request_id)


@given(TEXTS, VALUES, st.sampled_from(CODES))
def test_the_history_keeps_codes_and_names_and_nothing_of_a_text(text: str, value: str, code: str) -> None:
    said = vendor_text.marketo(code, text.replace("{}", value), ["email"])
    known, request = vendor_text.marketo_code(code), vendor_text.request_id(value)
    row = Record("contact", guid(1), NOON)
    outcomes = [
        of_skip(known, said, request),
        of_error(MarketoError(known, said, kind=Kind.PERMANENT, request_id=request)),
        Synced("updated", left_out=(LeftOut("email", known, said, value),), request_id=request),
    ]
    assert_untold(value, *(row_of(line).text for line in settled(PERSON, [(row, each) for each in outcomes], NOON)))


INVALID = "Invalid value for field 'email' and value '{}'"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("bad e", "text of 5 characters"),
        ("a@b.example ", "an e-mail address of 12 characters, blanks around it"),
        ("A <a@b.example>", "a name with an e-mail address of 15 characters"),
        ("a\u200bb\nc", "text of 5 characters, several lines, invisible characters"),
        ("Ł", "text of 1 character, not only ASCII"),
        ("", "empty"),
        ("-12", "a whole number of 3 characters"),
        ("1.5", "a number of 3 characters"),
        ("2026-03-04", "a date of 10 characters"),
    ],
)
def test_the_operator_is_told_the_field_and_the_kind_of_value(value: str, told: str) -> None:
    text = INVALID.format(value)
    assert vendor_text.marketo("1003", text, ["email"]) == f"Invalid value for field 'email': {told}"


MORE = "(Marketo says more, which may quote values and is not kept)"


@pytest.mark.parametrize(
    ("code", "text", "told"),
    [
        (
            "1003",
            "Invalid value for field 'nobody' and value '1'",
            "Invalid value for a field: a whole number of 1 character",
        ),
        (
            "1001",
            "Invalid value 'x'. Required of type 'date'",
            "Invalid value, required of type 'date': text of 1 character",
        ),
        ("1006", "Field 'email' not found", "Field 'email' not found"),
        ("1002", "Missing value for required parameter 'email'", "Missing value for required parameter field 'email'"),
        ("1007", "Multiple lead match lookup criteria", "Multiple lead match lookup criteria"),
        ("8888", "Merge of 'email' failed: Ann", f"Marketo gives no known reason: field 'email' {MORE}"),
        ("1004", "", "Lead not found"),
        ("9999", "", "Marketo gives no reason"),
    ],
)
def test_other_reasons_are_told_by_field_and_code(code: str, text: str, told: str) -> None:
    assert vendor_text.marketo(code, text, ["email"]) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "Principal user (Id=7, type=8, roleCount=1) is missing prvReadContact privilege on OTC=2.",
            "The user is missing the privilege prvReadContact; add it to the security role",
        ),
        (
            "Could not find a property named 'jobtitle' on type 'Microsoft.Dynamics.CRM.contact'.",
            "Could not find a property named field 'jobtitle'",
        ),
        ("Ann Smith says no", "The user lacks a privilege; see its security role (Dataverse says more, which may quote "
         "values and is not kept)"),
    ],
)  # fmt: skip
def test_what_a_role_lacks_and_what_a_query_names_is_told(text: str, told: str) -> None:
    assert vendor_text.dataverse("0x80040220", text, ["jobtitle"]) == told


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(TEXTS, VALUES, st.sampled_from(CODES), st.booleans())
@example("Invalid value for field 'email' and value '{}'", f"first line\n{MARK}", "1003", True)
@example("Invalid value for field 'email' and value '{}'", f"first line\n{MARK}", "1077", True)
def test_a_change_that_is_refused_tells_nothing_of_its_values(
    caplog: pytest.LogCaptureFixture, text: str, value: str, code: str, of_record: bool
) -> None:
    """Log records, spans, metrics and dead letters of a run through the whole app."""
    caplog.clear()
    caplog.set_level(logging.DEBUG)
    reason = {"code": code, "message": text.replace("{}", value)}
    world = World()
    world.row = {**world.row, "firstname": value}
    skipped = {"result": [{"status": "skipped", "reasons": [reason]}]}
    world.upsert = skipped if of_record else {"success": False, "errors": [reason], "requestId": value}
    with in_memory().listening() as told:
        letters, later = asyncio.run(_run(world))
        spans = [f"{s.name} {dict(s.attributes or {})} {s.events} {s.status.description}" for s in told.spans]
        points, exported = told.points(), told.lines
    lines = [(record.getMessage(), record.exc_text, record.args) for record in caplog.records]
    assert min(len(spans), len(exported), len(points)) >= 2
    assert_untold(value, *spans, *points, *exported, *lines)
    assert_untold(value, *(letter.properties for letter in [*letters, *later]), *letters, *later)


async def _run(world: World) -> tuple[list[Any], list[Any]]:
    await world.pipeline.route([Incoming(world.notification(), SEEN, {})])
    await world.pipeline.sync("person", world.broker.take("person"))
    return world.broker.take("dead-letters"), world.broker.take("person")


@given(VALUES)
def test_an_error_of_the_program_leaves_an_invocation_without_its_text(value: str) -> None:
    for error in (ValueError(f"invalid literal: {value!r}"), KeyError(value), ExceptionGroup(value, [KeyError(value)])):
        with pytest.raises(DefectError) as raised, without_values():
            raise error
        assert_untold(value, raised.value, raised.value.__cause__, described(error))
        assert "Error" in str(raised.value)


def test_an_error_of_the_product_or_the_broker_leaves_as_it_is() -> None:
    from azure.servicebus.exceptions import ServiceBusError  # noqa: PLC0415

    for error in (MsiSyncError("Code", "what to do"), ServiceBusError("the link is closed")):
        with pytest.raises(type(error), match=str(error)), without_values():
            raise error


@given(VALUES)
def test_a_line_of_another_package_keeps_its_constant_text_alone(value: str) -> None:
    def line(text: object, *arguments: object) -> str:
        record = logging.LogRecord("azure.servicebus", logging.WARNING, "/x/client.py", 7, text, arguments, None)
        return Lines().format(record)

    assert line("closed %r after %d tries: %s", value, 3, ValueError(value)).startswith(
        "azure.servicebus: closed … after 3 tries: ValueError"
    )
    assert_untold(value, line("of %(a)s", {"a": value}), line(f"made of {value}"), line("100%% of %-10.3s", value))


@given(st.text())
def test_a_line_of_our_own_stays_one_line(value: str) -> None:
    set_up_lines()
    before = logging.getLogRecordFactory()
    set_up_lines()
    assert logging.getLogRecordFactory() is before
    record = before("shared.x", logging.INFO, "x.py", 1, "table=%s %s", (value, ValueError(value)), None)
    assert record.getMessage() == f"table={plain(value)} ValueError"
    assert "\n" not in record.getMessage()


@given(st.text())
def test_plain_text_has_nothing_that_a_terminal_obeys(value: str) -> None:
    told = plain(value)
    assert not set(told) & set("\n\r\t\x1b\x9b\u202e\u2066\u2028\u200b\ufeff")
    assert plain(told) == told
    told.encode()


def test_plain_text_shows_what_was_there() -> None:
    assert plain("Łucja\x1b[31m\r\n\u202e") == r"Łucja\x1b[31m\r\n\u202e"


def test_what_holds_values_does_not_show_them() -> None:
    value, body = {"x": MARK}, MARK.encode()
    holders = (
        Outgoing("q", body), Incoming(body, NOON), Part("PATCH", "/x", value), Answer(200, {}, body),
        Update("lead", "1", value), Candidate([], value, {}, body=body),
    )  # fmt: skip
    for holder in holders:
        assert_untold(MARK, repr(holder))
