"""Which of Marketo's persons with its e-mail address a row of Dynamics is (lifecycle.md 1). Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..model.outcome import Failed

Ambiguous = Literal["dead-letter", "oldest", "latest", "create"]
#: How many persons a dead letter names.
NAMED = 10
#: The code of a row of which somebody must say who it is.
AMBIGUOUS = "AmbiguousPerson"


@dataclass(frozen=True, slots=True)
class Match:
    """A person of Marketo. `key`: the Dynamics id that it has, or nothing. The times are as Marketo writes them.

    `flagged`: it is marked as the person of a deleted row. `is_left`: and Dataverse says that there is no such row.
    """

    id: int
    key: str = ""
    created: str = ""
    updated: str = ""
    flagged: bool = False
    is_left: bool = False


def match_of(row: Mapping[str, Any], key: str, flag: str = "") -> Match | None:
    """The person of an answer; `key` is the field that holds Dynamics' id, and `flag` the one that marks persons of
    deleted rows, if there is one. None: Marketo gave no id.
    """
    number = row.get("id")
    if type(number) is not int:
        return None
    held = str(row.get(key) or "").strip().lower()
    flagged = bool(flag) and row.get(flag) is True
    return Match(number, held, str(row.get("createdAt") or ""), str(row.get("updatedAt") or ""), flagged)


def free(matches: Iterable[Match], taken: Collection[int] = ()) -> list[Match]:
    """Those that may be adopted: without a Dynamics id, or else those that deleted rows have left behind."""
    there = [match for match in matches if match.id not in taken]
    return [match for match in there if not match.key] or [match for match in there if match.is_left]


def normal(address: object) -> str:
    """An e-mail address as it is compared; empty where Marketo cannot be asked for it: commas separate values."""
    text = address.strip().lower() if isinstance(address, str) else ""
    return "" if "," in text or any(char.isspace() for char in text) else text


def choose(
    matches: Sequence[Match], own: str, taken: Collection[int], *, ambiguous: Ambiguous, row: str
) -> Match | Failed | None:
    """The person to be adopted; None: there is none, a person of its own is created. Failed: somebody must choose.

    `own`: the row's id. `taken`: persons that other rows adopt at this moment. `row`: table and id, for the message.
    """
    if any(match.key == own for match in matches):
        return None  # it is there, and found by its key
    found = free(matches, taken)
    if len(found) <= 1:
        return found[0] if found else None
    match ambiguous:
        case "create":
            return None
        case "oldest":
            return min(found, key=lambda match: (match.created, match.id))
        case "latest":
            return max(found, key=lambda match: (match.updated, match.id))
    ids = sorted(match.id for match in found)
    named = ", ".join(map(str, ids[:NAMED])) + (f" and {len(ids) - NAMED} more" if len(ids) > NAMED else "")
    what = "the id of a deleted row" if found[0].key else "no Dynamics id"
    return too_many(f"{len(ids)} persons in Marketo have the row's e-mail address and {what}: {named}", row)


def too_many(what: str, row: str) -> Failed:
    """Several persons may be meant."""
    return Failed(
        AMBIGUOUS,
        f"{what}; say which one it is with `msisync link {row} MARKETO_ID`, or merge them in Marketo and replay "
        "this record",
    )
