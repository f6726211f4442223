"""What each vendor code means to us: one table per level, one small set of kinds.

Sources: marketo.md section 3 (Adobe's error-codes page and what other integrators saw), dataverse.md section 5.3
(Microsoft's api-limits page). What is in no table is UNKNOWN at Marketo; at Dataverse, the HTTP status decides.
"""

from __future__ import annotations

from enum import Enum


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


_BY_KIND_RESPONSE: dict[Kind, str] = {
    Kind.TOKEN: "601 602",
    Kind.THROTTLED: "606 615",
    Kind.DAILY: "607",
    Kind.TRANSIENT: "500 502 604 608 614 713 719",
    Kind.SPLIT: "611",
    Kind.MISSING_PARENT: "718",
    Kind.CONFIGURATION: "600 603 605 609 610 612 613 616 703 704 709 710 711 1003 1006 1011 1018 1035",
    Kind.PERMANENT: "701 712 714",
    Kind.OK: "702",
}

_BY_KIND_RECORD: dict[Kind, str] = {
    Kind.TRANSIENT: "1014 1016 1019 1029",
    Kind.SPLIT: "1036 1080",
    Kind.MISSING_PARENT: "718 1004 1013",
    Kind.AMBIGUOUS: "1007",
    Kind.FIELD: "1003 1006 1021",
    Kind.PERMANENT: "1001 1002 1005 1010 1012 1017 1020 1022 1024 1025 1037 1042 1048 1049 1076 1077 1078 1079",
    Kind.CONFIGURATION: "1008 1009 1011 1018 1026 1035",
    Kind.OK: "1015",
}

_BY_KIND_HTTP: dict[Kind, str] = {
    Kind.SPLIT: "413 414",
    Kind.TOKEN: "401",
    Kind.CONFIGURATION: "400 403 404 405 415",
    Kind.THROTTLED: "429",
    Kind.TRANSIENT: "408 500 502 503 504",
}

_BY_KIND_DATAVERSE: dict[Kind, str] = {
    Kind.GONE: "0x80040217",
    Kind.CONFIGURATION: (
        "0x80040220 0x80072560 0x80060888 0x8006088a 0x80060883 0x8006088d 0x80044352 0x8004e023 "
        "0x8004f502 0x8004f504 0x8004f507"
    ),
    Kind.PERMANENT: "0x80048306 0x80040333 0x80040237 0x80044331 0x80048d19 0x80040265",
    Kind.TOKEN: "0x8005f101",
    Kind.THROTTLED: "0x80072322 0x80072321 0x80072326",
    Kind.TRANSIENT: "0x80044150 0x80044151 0x80060882",
}


#: Codes of responses that do not say that the call has ended.
AT_WORK = frozenset({"502", "604"})


def _invert(by_kind: dict[Kind, str]) -> dict[str, Kind]:
    return {code: kind for kind, codes in by_kind.items() for code in codes.split()}


MARKETO_RESPONSE = _invert(_BY_KIND_RESPONSE)
MARKETO_RECORD = _invert(_BY_KIND_RECORD)
HTTP_STATUS = _invert(_BY_KIND_HTTP)
DATAVERSE = _invert(_BY_KIND_DATAVERSE)


def marketo_response(code: str) -> Kind:
    """Classify a response-level code (HTTP 200, `success: false`)."""
    return MARKETO_RESPONSE.get(code) or MARKETO_RECORD.get(code, Kind.UNKNOWN)


def marketo_record(code: str) -> Kind:
    """Classify the reason of one skipped record."""
    return MARKETO_RECORD.get(code, Kind.UNKNOWN)


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
    return DATAVERSE.get(normalise(code)) or http_status(status)


def normalise(code: str) -> str:
    """`-2147220969` and `0x80040217` are the same code: give the lower-case hex form, or the text itself."""
    try:
        value = int(code, 16) if code.lower().startswith("0x") else int(code)
    except ValueError:
        return code
    return f"0x{value & 0xFFFFFFFF:08x}"
