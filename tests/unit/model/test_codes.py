"""Codes of each level have their class in every spelling; what no table names has the stated default."""

import pytest

from shared.model import codes
from shared.model.codes import Kind

# marketo.md 3.2. "SOON, then bisect" of 611 is SPLIT: the client waits and tries again before the engine splits.
RESPONSE = {
    "502": Kind.TRANSIENT, "601": Kind.TOKEN, "603": Kind.CONFIGURATION, "606": Kind.THROTTLED, "607": Kind.DAILY,
    "611": Kind.SPLIT, "615": Kind.THROTTLED, "701": Kind.PERMANENT, "702": Kind.OK, "714": Kind.PERMANENT,
    "718": Kind.MISSING_PARENT, "1003": Kind.CONFIGURATION, "1006": Kind.CONFIGURATION,
}  # fmt: skip

# marketo.md 3.3. Codes of calls that the product does not make are permanent for the record.
RECORD = {
    "718": Kind.MISSING_PARENT,  # documented for whole calls; one skipped record says the same
    "1003": Kind.FIELD, "1004": Kind.MISSING_PARENT, "1006": Kind.FIELD, "1007": Kind.AMBIGUOUS,
    "1013": Kind.MISSING_PARENT, "1015": Kind.OK, "1018": Kind.CONFIGURATION, "1021": Kind.FIELD,
    "1029": Kind.TRANSIENT, "1036": Kind.SPLIT, "1078": Kind.PERMANENT,
}  # fmt: skip

# marketo.md 3.1, dataverse.md 5.3 and the sign-in's 401.
HTTP = {
    401: Kind.TOKEN, 403: Kind.CONFIGURATION, 404: Kind.CONFIGURATION, 413: Kind.SPLIT, 414: Kind.SPLIT,
    429: Kind.THROTTLED, 500: Kind.TRANSIENT, 502: Kind.TRANSIENT, 503: Kind.TRANSIENT, 504: Kind.TRANSIENT,
    599: Kind.TRANSIENT, 418: Kind.CONFIGURATION,
}  # fmt: skip

# dataverse.md 5.1 and 5.3: hex, signed decimal where the reference gives it, status, class.
DATAVERSE = [
    ("0x80040217", "-2147220969", 404, Kind.GONE), ("0x80040220", "-2147220960", 403, Kind.CONFIGURATION),
    ("0x80048306", "-2147187962", 403, Kind.PERMANENT), ("0x8005F101", "", 401, Kind.TOKEN),
    ("0x80060882", "-2147088254", 412, Kind.TRANSIENT), ("0x80072322", "-2147015902", 429, Kind.THROTTLED),
]  # fmt: skip


@pytest.mark.parametrize(("code", "kind"), RESPONSE.items())
def test_each_response_level_code_of_marketo_has_its_class(code: str, kind: Kind) -> None:
    assert codes.marketo_response(code) is kind


@pytest.mark.parametrize(("code", "kind"), RECORD.items())
def test_each_record_level_code_of_marketo_has_its_class(code: str, kind: Kind) -> None:
    assert codes.marketo_record(code) is kind


@pytest.mark.parametrize(("status", "kind"), HTTP.items())
def test_each_http_status_has_its_class(status: int, kind: Kind) -> None:
    assert codes.http_status(status) is kind


@pytest.mark.parametrize(("code", "decimal", "status", "kind"), DATAVERSE)
def test_each_dataverse_code_has_its_class_in_every_spelling(code: str, decimal: str, status: int, kind: Kind) -> None:
    for spelling in filter(None, (code, code.lower(), code.upper().replace("0X", "0x"), decimal)):
        assert codes.dataverse(spelling, status) is kind
        assert codes.normalise(spelling) == code.lower()


@pytest.mark.parametrize("code", ["699", "1999", "unknown"])
def test_a_code_that_no_document_names_is_unknown_at_every_level(code: str) -> None:
    assert codes.marketo_response(code) is Kind.UNKNOWN
    assert codes.marketo_record(code) is Kind.UNKNOWN


def test_a_code_of_the_record_level_keeps_its_class_at_response_level() -> None:
    assert codes.marketo_response("1029") is Kind.TRANSIENT
    assert codes.marketo_response("1035") is Kind.CONFIGURATION


@pytest.mark.parametrize("code", ["", "0x", "0x8004zzzz", "something else", "0x8004ffff"])
def test_an_unknown_dataverse_code_is_judged_by_its_http_status(code: str) -> None:
    assert codes.dataverse(code, 404) is Kind.CONFIGURATION  # of the address, not of a row
    assert codes.dataverse(code, 400) is Kind.CONFIGURATION
    assert codes.dataverse(code, 429) is Kind.THROTTLED
    assert codes.dataverse(code, 503) is Kind.TRANSIENT
