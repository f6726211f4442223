"""The delivered sync.toml and mappings of one field, against fields as Marketo describes them."""

from typing import Any

from shared.config import sync_toml
from shared.config.sync_toml import FieldRule, TableConfig
from shared.marketo.fields import MarketoField
from shared.sync.mapping import Labels, compile_table
from tests.support.values import ROOT

CONFIG = sync_toml.load(ROOT / "sync.toml")
DELIVERED = {table: CONFIG.fields_of(table) for table in CONFIG.tables}
STRING = MarketoField("string", 255)
TEXT = MarketoField("text")
TYPES = {  # marketo.md 4.7; everything else is string(255)
    "billingStreet": TEXT, "address": TEXT, "mktoCompanyNotes": TEXT, "sicCode": MarketoField("string", 40),
    "annualRevenue": MarketoField("currency"), "numberOfEmployees": MarketoField("integer"),
    "email": MarketoField("email", 255), "website": MarketoField("url", 255), "phone": MarketoField("phone", 255),
    "doNotCall": MarketoField("boolean"), "dateOfBirth": MarketoField("date"),
    "description": MarketoField("string", 2000), "amount": MarketoField("currency"),
    "probability": MarketoField("percent"), "closeDate": MarketoField("date"), "isClosed": MarketoField("boolean"),
    "isWon": MarketoField("boolean"), "externalCreatedDate": MarketoField("datetime"),
}  # fmt: skip
LABELS: Labels = {
    "industrycode": {1: "Accounting"}, "leadsourcecode": {8: "Web"}, "leadqualitycode": {1: "Hot"},
    "statuscode": {1: "In Progress", 3: "Won", 4: "Canceled"},
}  # fmt: skip
PERSON_ROW = {
    "emailaddress1": "a@b.com", "firstname": "Ann", "middlename": "M.", "lastname": "Lee", "salutation": "Ms",
    "jobtitle": "CTO", "telephone1": "+1", "mobilephone": "+2", "fax": "+3", "address1_line1": "Main St 1",
    "address1_city": "Bonn", "address1_stateorprovince": "NW", "address1_country": "Germany",
    "address1_postalcode": "53111", "donotphone": False,
}  # fmt: skip
OPEN = {
    "name": "Chairs", "description": "300 of them", "stepname": "2-Develop", "statuscode": 1, "statecode": 0,
    "estimatedvalue": 1604.47, "actualvalue": None, "closeprobability": 60, "estimatedclosedate": "2026-09-30",
    "actualclosedate": None, "createdon": "2026-01-05T10:00:00Z",
}  # fmt: skip
Values = dict[str, Any]
Fields = dict[str, tuple[FieldRule, ...]]


def fields_of(**given: Any) -> Fields:
    """The rules of a table as sync.toml writes them."""
    return TableConfig.model_validate({"fields": given}).fields


def described(fields: Fields) -> dict[str, MarketoField]:
    return {name: TYPES.get(name, STRING) for name in fields}


def mapped(table: str, row: Values, labels: Labels = LABELS) -> Values:
    return compile_table(DELIVERED[table], described(DELIVERED[table])).map(row, labels).record


def one(rule: Any, row: Values, *, field: MarketoField = STRING, labels: Labels = LABELS) -> Values:
    """The record that a table with the one field `x` makes of a row."""
    return compile_table(fields_of(x=rule), {"x": field}).map(row, labels).record
