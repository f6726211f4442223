"""The comparison finds every kind of difference, and nothing where there is none."""

from typing import Any

from local.world.compare import Report, compare
from local.world.expectations import Expectations, Expected


def expected(**records: dict[str, Any]) -> Expectations:
    """Companies that must be there, by key."""
    found = Expectations()
    for key, fields in records.items():
        found.records["company"][key] = Expected("company", key, fields, (("account", key),))
    return found


def comparison(expectations: Expectations, *records: tuple[str, dict[str, Any]]) -> Report:
    return compare(expectations, {"company": records})


def test_equal_records_are_right_and_an_empty_field_may_be_missing() -> None:
    wanted = expected(a={"company": "Nordwind", "annualRevenue": 5, "industry": None})
    report = comparison(wanted, ("a", {"company": "Nordwind", "annualRevenue": 5.0, "id": 17}))
    assert report.ok
    assert report.entities["company"].right == 1
    assert list(report.differences()) == []


def test_a_wrong_field_is_named_with_both_values() -> None:
    report = comparison(expected(a={"company": "Nordwind", "isWon": True}), ("a", {"company": "Nord", "isWon": 1}))
    assert not report.ok
    assert list(report.differences()) == [
        "company a: company is 'Nord', expected 'Nordwind'",
        "company a: isWon is 1, expected True",
    ]


def test_a_field_that_must_be_empty_is_wrong_with_a_value() -> None:
    assert not comparison(expected(a={"externalSalesPersonId": None}), ("a", {"externalSalesPersonId": "u"})).ok


def test_missing_unexpected_and_doubled_records_are_found() -> None:
    report = comparison(expected(a={}, b={}), ("a", {}), ("a", {}), ("c", {}))
    found = report.entities["company"]
    assert (found.found, found.right) == (3, 1)
    assert (found.missing, found.unexpected, found.duplicates) == (["b"], ["c"], ["a"])
    assert list(report.differences()) == [
        "company b is missing", "company c must not be there", "company a is there more than once",
    ]  # fmt: skip


def test_one_of_several_values_may_be_right() -> None:
    wanted = expected(a={"externalCreatedDate": frozenset({"2025", "2026"})})
    assert comparison(wanted, ("a", {"externalCreatedDate": "2026"})).ok
    wrong = comparison(wanted, ("a", {"externalCreatedDate": "2027"}))
    assert list(wrong.differences()) == ["company a: externalCreatedDate is '2027', expected '2025' or '2026'"]
