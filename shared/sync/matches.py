"""Which of Marketo's persons with its e-mail address a row of Dynamics is (lifecycle.md 1). Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
    """A person of Marketo. `key`: the Dynamics id that it has, or nothing. The times are as Marketo writes them."""

    id: int
    key: str = ""
    created: str = ""
    updated: str = ""


def match_of(row: Mapping[str, Any], key: str) -> Match | None:
    """The person of an answer; `key` is the field that holds Dynamics' id. None: Marketo gave no id."""
    number = row.get("id")
    if type(number) is not int:
        return None
    held = str(row.get(key) or "").strip().lower()
    return Match(number, held, str(row.get("createdAt") or ""), str(row.get("updatedAt") or ""))


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
    free = [match for match in matches if not match.key and match.id not in taken]
    if len(free) <= 1:
        return free[0] if free else None
    match ambiguous:
        case "create":
            return None
        case "oldest":
            return min(free, key=lambda match: (match.created, match.id))
        case "latest":
            return max(free, key=lambda match: (match.updated, match.id))
    ids = sorted(match.id for match in free)
    named = ", ".join(map(str, ids[:NAMED])) + (f" and {len(ids) - NAMED} more" if len(ids) > NAMED else "")
    return too_many(f"{len(ids)} persons in Marketo have the row's e-mail address and no Dynamics id: {named}", row)


def too_many(what: str, row: str) -> Failed:
    """Several persons may be meant."""
    return Failed(
        AMBIGUOUS,
        f"{what}; say which one it is with `msisync link {row} <marketo id>`, or merge them in Marketo and replay "
        "this record",
    )
