"""The Marketo values that a row must show, table by table, as the shipped sync.toml states them.

Written out by hand, so that it shares nothing with the product's mapping. None stands for an empty field.
"""

import re
from collections.abc import Callable
from typing import Any, Final

from emulators.dataverse.tables import TABLES
from local.world.model import Row

Fields = dict[str, Any]

OPEN, WON, LOST = 0, 1, 2
_LENGTH: Final = 255
# Marketo: the fields that are shorter or longer than its usual string; text areas take 30,000 bytes.
_LENGTHS: Final = {
    "sicCode": 40,
    "description": 2000,
    "address": 30_000,
    "billingStreet": 30_000,
    "mktoCompanyNotes": 30_000,
}
# Marketo: only ASCII, and an address at all. A person with another one goes without.
_EMAIL: Final = re.compile(r"[!-?A-~]+@[!-?A-~]+\.[!-?A-~]+")
# What joins an emoji's parts to one picture.
_JOINERS: Final = "\u200d\ufe0f"
_PERSON_COLUMNS: Final = {
    "firstName": "firstname",
    "middleName": "middlename",
    "lastName": "lastname",
    "salutation": "salutation",
    "title": "jobtitle",
    "phone": "telephone1",
    "mobilePhone": "mobilephone",
    "fax": "fax",
    "address": "address1_line1",
    "city": "address1_city",
    "state": "address1_stateorprovince",
    "country": "address1_country",
    "postalCode": "address1_postalcode",
}


def _systemuser(row: Row) -> Fields:
    return {
        "email": row.get("internalemailaddress"),
        "firstName": row.get("firstname"),
        "lastName": row.get("lastname"),
        "title": row.get("title") or row.get("jobtitle"),
        "phone": row.get("address1_telephone1"),
        "mobilePhone": row.get("mobilephone"),
        "fax": row.get("address1_fax"),
    }


def _account(row: Row) -> Fields:
    street = [row.get(f"address1_line{line}") for line in (1, 2, 3)]
    return {
        "company": row.get("name"),
        "billingStreet": "\n".join(line for line in street if line),
        "billingCity": row.get("address1_city"),
        "billingState": row.get("address1_stateorprovince"),
        "billingCountry": row.get("address1_country"),
        "billingPostalCode": row.get("address1_postalcode"),
        "mainPhone": row.get("telephone1"),
        "website": row.get("websiteurl"),
        "industry": _label("account", "industrycode", row),
        "sicCode": row.get("sic"),
        "annualRevenue": row.get("revenue"),
        "numberOfEmployees": row.get("numberofemployees"),
        "mktoCompanyNotes": row.get("description"),
    }


def _person(row: Row) -> Fields:
    mail = row.get("emailaddress1")
    return {
        "email": mail if mail and _EMAIL.fullmatch(mail) else None,
        **{field: row.get(column) for field, column in _PERSON_COLUMNS.items()},
        "doNotCall": bool(row["donotphone"]),  # Marketo: an emptied boolean reads as false
    }


def _lead(row: Row) -> Fields:
    return {
        **_person(row),
        # The name as typed; a lead with an account shows that account's name instead, see expectations.
        "company": row.get("companyname"),
        "leadSource": _label("lead", "leadsourcecode", row),
        "rating": _label("lead", "leadqualitycode", row),
        "leadStatus": _label("lead", "statuscode", row),
    }


def _contact(row: Row) -> Fields:
    return {**_person(row), "department": row.get("department"), "dateOfBirth": row.get("birthdate")}


def _opportunity(row: Row) -> Fields:
    state = row["statecode"]
    step = row.get("stepname") if state == OPEN else None
    actual = row.get("actualvalue") if state == WON else None
    return {
        "name": row.get("name"),
        "description": row.get("description"),
        "stage": step or _label("opportunity", "statuscode", row),
        "amount": row.get("estimatedvalue") if actual is None else actual,
        "probability": row.get("closeprobability"),
        "closeDate": (None if state == OPEN else row.get("actualclosedate")) or row.get("estimatedclosedate"),
        "isClosed": state in {WON, LOST},
        "isWon": state == WON,
        "externalCreatedDate": row["createdon"],
    }


def _connection(row: Row) -> Fields:
    return {"externalCreatedDate": row["createdon"]}


_OF_TABLE: Final[dict[str, Callable[[Row], Fields]]] = {
    "systemuser": _systemuser,
    "account": _account,
    "lead": _lead,
    "contact": _contact,
    "opportunity": _opportunity,
    "connection": _connection,
}


def marketo_values(table: str, row: Row) -> Fields:
    """The mapped fields of a row, without keys and relations, cut to Marketo's lengths."""
    return {name: _fitted(name, value) for name, value in _OF_TABLE[table](row).items()}


def _fitted(name: str, value: Any) -> Any:
    """The value as Marketo must hold it: without blanks at its ends, and without what would cut it off (an emoji)."""
    if not isinstance(value, str):
        return value
    shown = "".join(letter for letter in value if letter <= "\uffff" and letter not in _JOINERS).strip()
    return shown[: _LENGTHS.get(name, _LENGTH)].rstrip() or None


_LABELS: Final = {
    (table.name, column.name): {value: option.label for value, option in column.labels.items()}
    for table in TABLES.values()
    for column in table.columns.values()
    if column.options
}


def _label(table: str, column: str, row: Row) -> str | None:
    """The English label that the organisation gives to a choice."""
    value = row.get(column)
    return None if value is None else _LABELS[table, column][value]
