"""What an operator does about a dead letter, by its code. One table for every command that shows one."""

from __future__ import annotations

from ..model.codes import Kind, marketo_record
from ..model.errors import VendorError
from ..sync.delete_brake import CODE as BRAKE
from ..sync.matches import AMBIGUOUS

REPLAY = "msisync dead-letters replay"
DISCARD = "msisync dead-letters discard"
APP_SILENT = "see that the function app runs; docs/troubleshooting.md#app-silent"
RELEASE = "msisync lifecycle release"

#: Replayed this often without success: once more hardly helps, and is to be asked for.
OFTEN = 3

#: What is to be fixed before the replay, by code; other codes by their kind.
_FIXES = {
    "RowHidden": "give a security role of the sync user Read on the table, for the whole organisation",
    AMBIGUOUS: "say which person it is (msisync link {row} MARKETO_ID), or merge them in Marketo",
    "ParentMissing": "see why the parent does not sync",
    "1022": "move or delete in Marketo what refers to the record",
    "UnknownAnswer": "see what stands between the app and Marketo, and whether Marketo is well",
    "UnknownResult": "see in Marketo what became of the record",
    "ResultCount": "see in Marketo what became of the records",
    "UnknownTable": "map the table in sync.toml, or remove its step in Dynamics",
    "MaxDeliveryCountExceeded": "see the app's log for what failed each time and fix it",
    "TTLExpiredException": "see whether the app runs (msisync doctor)",
    "0x80048306": "let the sync user read and write the row in Dynamics",
    "0x80040220": "give the sync user the privilege in Dynamics (msisync doctor)",
    "0x80040265": "see which plug-in in Dynamics refuses the row",
}
_FIXES_BY_KIND = {
    Kind.AMBIGUOUS: "merge the records in Marketo",
    Kind.CONFIGURATION: "fix the set-up (msisync doctor)",
    Kind.TRANSIENT: "wait until Marketo is well again",
    Kind.UNKNOWN: "see what Marketo says of the code, and fix it",
}
#: The codes of messages that are no notifications.
_FOREIGN = ("NotJson", "NotAnObject", "NoRoutingTriple", "BadGuid")
#: What a replay cannot help, by code.
_NO_REPLAY = {
    "WrongOrganization": "remove the service endpoint from the environment that posted it",
    **dict.fromkeys(("NotBindable", *_FOREIGN), "see who posts to the queue beside Dynamics"),
    "NoRow": "remove the step that posted it",
    "WrongFormat": "set the service endpoint's message format to JSON (msisync register --apply)",
    "MessageVersion": "see which version of the app wrote it",
    **dict.fromkeys(("WrongEntity", "BadMessage"), "see who posts to the queue beside this app"),
}

#: What a code means, where the message that comes with it does not say so; other codes by their kind.
_MEANINGS = {
    BRAKE: "too many rows were deleted within an hour, so deletions have stopped",
    AMBIGUOUS: "several persons in Marketo have the row's e-mail address",
    "RowHidden": "the row exists, and the sync user may not read it",
    "RoleHidden": "the sync user may not read the role of a connection",
    "ParentMissing": "what the row belongs to did not reach Marketo in time",
    "CannotMap": "its values do not fit the rules of sync.toml",
    "FieldsRefused": "Marketo refuses one field after another",
    "UnknownTable": "a notification of a table that sync.toml does not map",
    **dict.fromkeys(_FOREIGN, "a message that is not from Dynamics"),
    "WrongOrganization": "a message of another environment of Dynamics",
    "MaxDeliveryCountExceeded": "the app failed with the message again and again",
    "TTLExpiredException": "the message was too old when its turn came",
    "1022": "its row is deleted, and other records in Marketo refer to it",
}
_MEANINGS_BY_KIND = {
    Kind.FIELD: "Marketo refuses the value of a field",
    Kind.AMBIGUOUS: "several records in Marketo match",
    Kind.MISSING_PARENT: "what the record refers to is not in Marketo",
    Kind.CONFIGURATION: "Marketo is not set up for it",
    Kind.TRANSIENT: "Marketo was not well for a long time",
    Kind.UNKNOWN: "Marketo does not document the code",
}


#: What people call the vendors.
_VENDORS = {"dataverse": "Dynamics", "marketo": "Marketo"}


def vendor(error: VendorError) -> str:
    """Who gave an answer that is not success, or none."""
    return _VENDORS.get(error.system, error.system)


def after(error: VendorError) -> str:
    """What to do when a vendor does not answer, or not now; empty where it refuses for good."""
    return {
        Kind.THROTTLED: "too many calls at present: try again in some minutes",
        Kind.DAILY: "the day's calls are used up: try again after midnight US Central",
        Kind.TRANSIENT: f"{vendor(error)} is unwell or out of reach: try again; see its status page and the network",
    }.get(error.kind, "")


def helps(code: str) -> str:
    """Which command ends a dead letter with this code: REPLAY, DISCARD or RELEASE."""
    return RELEASE if code == BRAKE else DISCARD if code in _NO_REPLAY else REPLAY


def meaning(code: str, system: str) -> str:
    """What a code means, in half a sentence; empty where its message says all that is known."""
    of_kind = _MEANINGS_BY_KIND.get(marketo_record(code), "") if system == "marketo" else ""
    return _MEANINGS.get(code) or of_kind


def remedy(code: str, system: str, selection: str, *, replays: int = 0, entity: str = "", row: str = "TABLE ID") -> str:
    """What to do next, with the command. `selection` picks the dead letter: "--id ..." or the like.

    `replays`: how often it was replayed. `entity`: whose it is, empty where nobody knows. `row`: table and id.
    """
    if code == BRAKE:
        return f"see whether so many rows were to be deleted in Dynamics; then {RELEASE} {entity or 'ENTITY'} --apply"
    if code in _NO_REPLAY:
        return f"{_NO_REPLAY[code]}, then {DISCARD} {selection} --apply"
    kind = marketo_record(code) if system == "marketo" else Kind.PERMANENT
    fix = (_FIXES.get(code) or _FIXES_BY_KIND.get(kind, "correct the row in Dynamics")).format(row=row)
    return f"{fix}, then {REPLAY} {selection}{' --again' if replays >= OFTEN else ''} --apply"
