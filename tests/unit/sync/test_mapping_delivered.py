"""The mapping that is delivered: what becomes of a row of each table."""

import pytest

from shared.sync.mapping import compile_table
from tests.support.mapping import DELIVERED, OPEN, PERSON_ROW, Values, described, mapped

PERSON = {
    "email": "a@b.com", "firstName": "Ann", "middleName": "M.", "lastName": "Lee", "salutation": "Ms", "title": "CTO",
    "phone": "+1", "mobilePhone": "+2", "fax": "+3", "address": "Main St 1", "city": "Bonn", "state": "NW",
    "country": "Germany", "postalCode": "53111", "doNotCall": False,
}  # fmt: skip
OPEN_MAPPED = {
    "name": "Chairs", "description": "300 of them", "stage": "2-Develop", "amount": 1604.47, "probability": 60,
    "closeDate": "2026-09-30", "isClosed": False, "isWon": False, "externalCreatedDate": "2026-01-05T10:00:00Z",
}  # fmt: skip


def test_a_user_becomes_a_sales_person() -> None:
    row = {
        "internalemailaddress": "sam@x.com", "firstname": "Sam", "lastname": "S", "title": "Rep", "jobtitle": "Other",
        "address1_telephone1": "+1", "mobilephone": "+2", "address1_fax": "+3",
    }  # fmt: skip
    expected = {
        "email": "sam@x.com", "firstName": "Sam", "lastName": "S", "title": "Rep", "phone": "+1", "mobilePhone": "+2",
        "fax": "+3",
    }  # fmt: skip
    assert mapped("systemuser", row) == expected
    assert mapped("systemuser", row | {"title": None})["title"] == "Other"


def test_an_account_becomes_a_company() -> None:
    row = {
        "name": "Contoso", "address1_line1": "Main St 1", "address1_line2": None, "address1_line3": "Hall C",
        "address1_city": "Bonn", "address1_stateorprovince": "NW", "address1_country": "Germany",
        "address1_postalcode": "53111", "telephone1": "+1", "websiteurl": "https://contoso.com", "industrycode": 1,
        "sic": "7372", "revenue": 1_500_000.5, "numberofemployees": 120, "description": "Our best customer",
    }  # fmt: skip
    assert mapped("account", row) == {
        "company": "Contoso", "billingStreet": "Main St 1\nHall C", "billingCity": "Bonn", "billingState": "NW",
        "billingCountry": "Germany", "billingPostalCode": "53111", "mainPhone": "+1",
        "website": "https://contoso.com", "industry": "Accounting", "sicCode": "7372", "annualRevenue": 1_500_000.5,
        "numberOfEmployees": 120, "mktoCompanyNotes": "Our best customer",
    }  # fmt: skip


def test_a_lead_without_account_becomes_a_person_with_its_company_text() -> None:
    row = PERSON_ROW | {
        "companyname": "Contoso", "_parentaccountid_value": None, "leadsourcecode": 8, "leadqualitycode": 1,
        "statuscode": 1,
    }  # fmt: skip
    expected = PERSON | {"company": "Contoso", "leadSource": "Web", "rating": "Hot", "leadStatus": "In Progress"}
    assert mapped("lead", row) == expected


def test_a_lead_with_account_says_nothing_of_its_company_text() -> None:
    """Company fields of a linked person belong to the company (1021)."""
    record = mapped("lead", PERSON_ROW | {"companyname": "Contoso", "_parentaccountid_value": "7a14b3c2"})
    assert "company" not in record


def test_a_contact_becomes_a_person() -> None:
    row = PERSON_ROW | {"department": "IT", "birthdate": "1980-05-17", "donotphone": True}
    expected = PERSON | {"department": "IT", "dateOfBirth": "1980-05-17", "doNotCall": True}
    assert mapped("contact", row) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {}),
        ({"stepname": None}, {"stage": "In Progress"}),
        (
            {"statecode": 1, "statuscode": 3, "actualvalue": 1500.0, "actualclosedate": "2026-08-01"},
            {"stage": "Won", "amount": 1500.0, "closeDate": "2026-08-01", "isClosed": True, "isWon": True},
        ),
        ({"statecode": 1, "statuscode": 3}, {"stage": "Won", "isClosed": True, "isWon": True}),
        (
            {"statecode": 2, "statuscode": 4, "actualvalue": 0.0},
            {"stage": "Canceled", "isClosed": True},
        ),
        (
            {"statecode": 2, "statuscode": 4, "actualclosedate": "2026-08-01"},
            {"stage": "Canceled", "isClosed": True, "closeDate": "2026-08-01"},
        ),
        ({"actualvalue": 1500.0, "actualclosedate": "2026-08-01"}, {}),
        (
            {
                "actualvalue": 1500.0, "actualclosedate": "2026-08-01", "estimatedvalue": None,
                "estimatedclosedate": None,
            },
            {"amount": None, "closeDate": None},
        ),
    ],
    ids=[
        "open", "open without step", "won", "won without actual value", "lost", "lost on a day", "reopened",
        "reopened without estimates",
    ],
)  # fmt: skip
def test_an_opportunity_follows_its_state(change: Values, expected: Values) -> None:
    assert mapped("opportunity", OPEN | change) == OPEN_MAPPED | expected


def test_a_connection_gives_its_creation_date_to_the_role() -> None:
    assert mapped("connection", {"createdon": "2026-01-05T10:00:00Z"}) == {
        "externalCreatedDate": "2026-01-05T10:00:00Z"
    }


@pytest.mark.parametrize("table", DELIVERED)
def test_columns_that_are_empty_or_not_there_clear_every_field_of_the_table(table: str) -> None:
    columns = compile_table(DELIVERED[table], described(DELIVERED[table])).columns
    assert mapped(table, dict.fromkeys(columns)) == mapped(table, {}) == dict.fromkeys(DELIVERED[table])
