"""What each vendor code means to us: one row per code, one small set of kinds.

Sources: marketo.md section 3 (Adobe's error-codes page and what other integrators saw), dataverse.md section 5.3
(Microsoft's api-limits page). What is in no table is UNKNOWN at Marketo; at Dataverse, the HTTP status decides.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Kind(Enum):
    """What follows from an error. The engine branches on these and on nothing else."""

    TOKEN = "token"  # noqa: S105  (a kind, not a secret): get a new token, try once more
    THROTTLED = "throttled"  # wait, then the same again; never uses up an attempt
    DAILY = "daily"  # the day's quota is gone: wait for midnight US Central
    TRANSIENT = "transient"  # the vendor is unwell: back off, then the same again
    SPLIT = "split"  # the same records in smaller calls
    FIELD = "field"  # one field is refused: the same record without it, once
    MISSING_PARENT = "missing_parent"  # a record that this one refers to is not in Marketo
    AMBIGUOUS = "ambiguous"  # several Marketo records match: a person must choose
    PERMANENT = "permanent"  # wrong for this record, now and later
    CONFIGURATION = "configuration"  # wrong for every record until an operator fixes it
    GONE = "gone"  # the row or record does not exist (any more)
    OK = "ok"  # reads like an error, is none
    UNKNOWN = "unknown"  # in no document: tried again a bounded number of times, then kept with its code


class Code(NamedTuple):
    """What a vendor says with a code, and what follows from it.

    `kind`: of one record's or row's error; None: Marketo has it for whole responses only, Dataverse's HTTP status
    decides. `response`: of a whole response of Marketo's, where that is not the same.
    """

    meaning: str
    kind: Kind | None = None
    response: Kind | None = None


#: Adobe's codes, in our words (marketo.md 3).
MARKETO: dict[str, Code] = {
    "500": Code("Internal server error", response=Kind.TRANSIENT),
    "502": Code("Bad gateway", response=Kind.TRANSIENT),
    "600": Code("Empty access token", response=Kind.CONFIGURATION),
    "601": Code("Access token invalid", response=Kind.TOKEN),
    "602": Code("Access token expired", response=Kind.TOKEN),
    "603": Code("Access denied", response=Kind.CONFIGURATION),
    "604": Code("Request timed out", response=Kind.TRANSIENT),
    "605": Code("HTTP method not supported", response=Kind.CONFIGURATION),
    "606": Code("Max rate limit exceeded", response=Kind.THROTTLED),
    "607": Code("Daily quota reached", response=Kind.DAILY),
    "608": Code("API temporarily unavailable", response=Kind.TRANSIENT),
    "609": Code("Invalid JSON", response=Kind.CONFIGURATION),
    "610": Code("Requested resource not found", response=Kind.CONFIGURATION),
    "611": Code("System error", response=Kind.SPLIT),
    "612": Code("Invalid content type", response=Kind.CONFIGURATION),
    "613": Code("Invalid multipart request", response=Kind.CONFIGURATION),
    "614": Code("Invalid subscription", response=Kind.TRANSIENT),
    "615": Code("Concurrent access limit reached", response=Kind.THROTTLED),
    "616": Code("Invalid subscription type", response=Kind.CONFIGURATION),
    "701": Code("A parameter cannot be blank", response=Kind.PERMANENT),
    "702": Code("No data found", response=Kind.OK),
    "703": Code("The feature is not enabled for the subscription", response=Kind.CONFIGURATION),
    "704": Code("Invalid date format", response=Kind.CONFIGURATION),
    "709": Code("Business rule violation", response=Kind.CONFIGURATION),
    "710": Code("Parent folder not found", response=Kind.CONFIGURATION),
    "711": Code("Incompatible folder type", response=Kind.CONFIGURATION),
    "712": Code("Merge to person account invalid", response=Kind.PERMANENT),
    "713": Code("Transient error", response=Kind.TRANSIENT),
    "714": Code("No default record type", response=Kind.PERMANENT),
    "718": Code("ExternalSalesPersonID not found", Kind.MISSING_PARENT),
    "719": Code("Lock wait timeout", response=Kind.TRANSIENT),
    "1001": Code("Invalid value, another type is required", Kind.PERMANENT),
    "1002": Code("Missing value for required parameter", Kind.PERMANENT),
    "1003": Code("Invalid data", Kind.FIELD, response=Kind.CONFIGURATION),
    "1004": Code("Lead not found", Kind.MISSING_PARENT),
    "1005": Code("Lead already exists", Kind.PERMANENT),
    "1006": Code("Field not found", Kind.FIELD, response=Kind.CONFIGURATION),
    "1007": Code("Multiple lead match lookup criteria", Kind.AMBIGUOUS),
    "1008": Code("Access denied to partition", Kind.CONFIGURATION),
    "1009": Code("Partition name must be specified", Kind.CONFIGURATION),
    "1010": Code("Partition update not allowed", Kind.PERMANENT),
    "1011": Code("Field not supported", Kind.CONFIGURATION),
    "1012": Code("Invalid cookie", Kind.PERMANENT),
    "1013": Code("Object not found", Kind.MISSING_PARENT),
    "1014": Code("Failed to create object", Kind.TRANSIENT),
    "1015": Code("Lead not in list", Kind.OK),
    "1016": Code("Too many imports", Kind.TRANSIENT),
    "1017": Code("Object already exists", Kind.PERMANENT),
    "1018": Code("CRM Enabled", Kind.CONFIGURATION),
    "1019": Code("Import in progress", Kind.TRANSIENT),
    "1020": Code("Too many clones", Kind.PERMANENT),
    "1021": Code("Company update not allowed", Kind.FIELD),
    "1022": Code("Object in use", Kind.PERMANENT),
    "1024": Code("Not in the current table", Kind.PERMANENT),
    "1025": Code("Program status not found", Kind.PERMANENT),
    "1026": Code("Custom object not enabled", Kind.CONFIGURATION),
    "1029": Code("Too many jobs in queue, or the export's daily quota exceeded", Kind.TRANSIENT),
    "1035": Code("Unsupported filter type", Kind.CONFIGURATION),
    "1036": Code("Duplicate object found in input", Kind.SPLIT),
    "1037": Code("Lead was skipped", Kind.PERMANENT),
    "1042": Code("Invalid schedule date", Kind.PERMANENT),
    "1048": Code("Custom object is a draft", Kind.PERMANENT),
    "1049": Code("Activity is too large", Kind.PERMANENT),
    "1076": Code("Merge of records of Salesforce refused", Kind.PERMANENT),
    "1077": Code("Merge refused, a text of Salesforce is too long", Kind.PERMANENT),
    "1078": Code("Merge refused, conflict of personalized URLs", Kind.PERMANENT),
    "1079": Code("Merge refused", Kind.PERMANENT),
    "1080": Code("Too many ids to merge", Kind.SPLIT),
}

#: Microsoft's codes, in our words (dataverse.md 5.3).
DATAVERSE: dict[str, Code] = {
    "0x80040203": Code("A value breaks a rule of the table"),
    "0x80040217": Code("The row does not exist", Kind.GONE),
    "0x80040220": Code("The user lacks a privilege; see its security role", Kind.CONFIGURATION),
    "0x80040225": Code("The user is disabled"),
    "0x80040227": Code("Another row refers to this one, so it cannot be deleted"),
    "0x80040237": Code("A row with the same key exists", Kind.PERMANENT),
    "0x80040265": Code("A plug-in of your organisation refused the row", Kind.PERMANENT),
    "0x80040333": Code("Duplicate detection refused the row", Kind.PERMANENT),
    "0x80044150": Code("Generic SQL error, the row may be locked (deadlock)", Kind.TRANSIENT),
    "0x80044151": Code("SQL timeout, the row was locked", Kind.TRANSIENT),
    "0x8004431a": Code("A value is no option of its column"),
    "0x80044330": Code("A value is outside the valid range of its column"),
    "0x80044331": Code("A text is longer than its column", Kind.PERMANENT),
    "0x80044352": Code("The version of the metadata has expired", Kind.CONFIGURATION),
    "0x80048306": Code("The user has no access to this row; see sharing and the security role", Kind.PERMANENT),
    "0x80048408": Code("The row's state does not allow this"),
    "0x80048d19": Code("The body has a property or a value that the table does not take", Kind.PERMANENT),
    "0x8004e023": Code("Too many rows for an aggregate", Kind.CONFIGURATION),
    "0x8004f502": Code("Column-level security: the user lacks a right for a column", Kind.CONFIGURATION),
    "0x8004f504": Code("Column-level security: the user lacks a right for a column", Kind.CONFIGURATION),
    "0x8004f507": Code("Column-level security: the user lacks a right for a column", Kind.CONFIGURATION),
    "0x8005f101": Code("The access token has expired", Kind.TOKEN),
    "0x80060882": Code("The row has been changed meanwhile", Kind.TRANSIENT),
    "0x80060883": Code("The row's version is missing", Kind.CONFIGURATION),
    "0x80060888": Code("Dataverse does not understand the request", Kind.CONFIGURATION),
    "0x8006088a": Code("Resource not found", Kind.CONFIGURATION),
    "0x8006088d": Code("The table has no row versions", Kind.CONFIGURATION),
    "0x80072321": Code("The execution time of all requests exceeded the limit", Kind.THROTTLED),
    "0x80072322": Code("The number of requests exceeded the limit", Kind.THROTTLED),
    "0x80072326": Code("The number of concurrent requests exceeded the limit", Kind.THROTTLED),
    "0x80072560": Code("The user is not a member of the organization", Kind.CONFIGURATION),
}

_BY_KIND_HTTP: dict[Kind, str] = {
    Kind.SPLIT: "413 414",
    Kind.TOKEN: "401",
    Kind.CONFIGURATION: "400 403 404 405 415",
    Kind.THROTTLED: "429",
    Kind.TRANSIENT: "408 500 502 503 504",
}

#: Codes of responses that do not say that the call has ended.
AT_WORK = frozenset({"502", "604"})


def _invert(by_kind: dict[Kind, str]) -> dict[str, Kind]:
    return {code: kind for kind, codes in by_kind.items() for code in codes.split()}


HTTP_STATUS = _invert(_BY_KIND_HTTP)
_UNKNOWN = Code("")


def marketo_response(code: str) -> Kind:
    """Classify a response-level code (HTTP 200, `success: false`)."""
    known = MARKETO.get(code, _UNKNOWN)
    return known.response or known.kind or Kind.UNKNOWN


def marketo_record(code: str) -> Kind:
    """Classify the reason of one skipped record."""
    return MARKETO.get(code, _UNKNOWN).kind or Kind.UNKNOWN


def may_be_at_work(code: str) -> bool:
    """Whether Marketo may go on with a call that ended with this code: a gateway, or its own limit of time, cut it off.

    `code` is of a response (604 request time-out, 502 "likely a time-out", marketo.md 3.2) or `HTTP <status>`.
    """
    status = code.removeprefix("HTTP ")
    return code in AT_WORK or (status != code and (status == "408" or status >= "500"))


def http_status(status: int) -> Kind:
    """Classify an HTTP status that came without a vendor code."""
    return HTTP_STATUS.get(str(status)) or (Kind.TRANSIENT if status >= 500 else Kind.CONFIGURATION)


def dataverse(code: str, status: int) -> Kind:
    """Classify a Dataverse error: by its code where known, else by the HTTP status.

    Codes come as hex text, sometimes as a signed decimal (dataverse.md 5.3): both are understood. A 404 without a known
    code is no row that is gone: a gateway's, or of a wrong environment.
    """
    return DATAVERSE.get(normalise(code), _UNKNOWN).kind or http_status(status)


def normalise(code: str) -> str:
    """`-2147220969` and `0x80040217` are the same code: give the lower-case hex form, or the text itself."""
    try:
        value = int(code, 16) if code.lower().startswith("0x") else int(code)
    except ValueError:
        return code
    return f"0x{value & 0xFFFFFFFF:08x}"
