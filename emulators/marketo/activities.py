"""The activity log: who was created, what changed, what happened."""

import base64
import binascii
import json
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from emulators.marketo.clock import Clock
from emulators.marketo.errors import CallError
from emulators.marketo.store import Record

NEW_LEAD = 12
DATA_VALUE_CHANGE = 13
CHANGE_SCORE = 22
MERGE_LEADS = 32
DELETE_LEAD = 37
INTERESTING_MOMENT = 46

PAGE = 300
# How long changes are kept. A paging token that is older leads to what is no longer there.
RETENTION_SECONDS = 90 * 86_400.0

_ATTRIBUTES: dict[int, tuple[str, str | None, tuple[str, ...]]] = {
    NEW_LEAD: ("New Lead", None, ("Created Date", "Source Type", "Lead Source")),
    DATA_VALUE_CHANGE: ("Change Data Value", "Attribute Name", ("New Value", "Old Value", "Reason", "Source")),
    CHANGE_SCORE: ("Change Score", "Score Name", ("Change Value", "New Value", "Old Value", "Reason")),
    MERGE_LEADS: ("Merge Leads", "Lead ID", ("Master Updated", "Merge IDs", "Merge Source", "Merged in Sales")),
    DELETE_LEAD: ("Delete Lead", "Lead Name", ("Campaign",)),
    INTERESTING_MOMENT: ("Interesting Moment", "Type", ("Date", "Description", "Source")),
}


@dataclass(slots=True)
class Activity:
    """One entry of the log. `field` and the values are those of a data value change."""

    number: int
    lead_id: int
    type_id: int
    date: str
    primary: str | None = None
    attributes: dict[str, Any] | None = None
    field: str | None = None
    old: Any = None
    new: Any = None

    def as_json(self) -> dict[str, Any]:
        """Return the activity as activities.json shows it; empty attributes are left out."""
        attributes = dict(self.attributes or {})
        if self.field is not None:
            attributes |= {"New Value": _text(self.new), "Old Value": _text(self.old)}
        entry = self._base()
        if self.primary is not None or self.field is not None:
            entry |= {"primaryAttributeValueId": self.number, "primaryAttributeValue": self.primary or self.field}
        pairs = [{"name": name, "value": value} for name, value in attributes.items() if value is not None]
        return {**entry, "attributes": pairs}

    def as_change(self, field_ids: dict[str, int]) -> dict[str, Any]:
        """Return the activity as leadchanges.json shows it."""
        changed = []
        if self.field is not None:
            values = {"newValue": _text(self.new), "oldValue": _text(self.old)}
            changed.append({"id": field_ids.get(self.field, 0), "name": self.field, **values})
        pairs = [{"name": name, "value": value} for name, value in (self.attributes or {}).items()]
        return {**self._base(), "fields": changed, "attributes": [*pairs, {"name": "Lead ID", "value": self.lead_id}]}

    def _base(self) -> dict[str, Any]:
        number = self.number
        return {
            "id": number,
            "marketoGUID": str(number),
            "leadId": self.lead_id,
            "activityDate": self.date,
            "activityTypeId": self.type_id,
        }


class ActivityLog:
    """Every activity in the order in which it was logged."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: list[Activity] = []
        self._logged_at: list[float] = []
        self._tokens_since = float("-inf")

    def add(self, lead_id: int, type_id: int, **details: Any) -> Activity:
        """Log one activity; `date` in details overrides the present moment as its date, not its place in the log."""
        date = details.pop("date", None) or self._clock.stamp()
        entry = Activity(len(self._entries) + 1, lead_id, type_id, date, **details)
        self._entries.append(entry)
        self._logged_at.append(self._clock())
        return entry

    def created(self, lead: Record) -> None:
        """Log a new lead."""
        self.add(
            lead["id"], NEW_LEAD, attributes={"Source Type": "Web service API", "Created Date": lead["createdAt"][:10]}
        )

    def changed(self, lead: Record, changes: Iterable[tuple[str, Any, Any]]) -> None:
        """Log one data value change per changed field."""
        for name, old, new in changes:
            attributes = {"Reason": "Web service API", "Source": "Web service API"}
            details = {"field": name, "old": old, "new": new, "attributes": attributes}
            self.add(lead["id"], DATA_VALUE_CHANGE, date=lead["updatedAt"], **details)

    def deleted(self, lead: Record) -> None:
        """Log a deletion."""
        name = " ".join(str(lead[part]) for part in ("firstName", "lastName") if lead.get(part))
        self.add(lead["id"], DELETE_LEAD, primary=name)

    def merged(self, winner: Record, losers: Iterable[Record]) -> None:
        """Log that a lead has taken others in. Their ids are a list in JSON (Adobe Experience Platform's mapping)."""
        ids = json.dumps([loser["id"] for loser in losers], separators=(",", ":"))
        attributes = {"Merge IDs": ids, "Merge Source": "Marketo", "Merged in Sales": "false", "Master Updated": "true"}
        self.add(winner["id"], MERGE_LEADS, primary=str(winner["id"]), attributes=attributes)

    def token(self, since: str) -> str:
        """Return the paging token for what was logged from that moment on.

        Raises:
            CallError: 704, the moment is not an ISO 8601 date and time.
        """
        try:
            moment = datetime.fromisoformat(since)
        except ValueError:
            raise CallError("704", "Invalid date format") from None
        moment = moment if moment.tzinfo else moment.astimezone()
        return self._encode(bisect_left(self._logged_at, self._clock.meant(moment)))

    def page(
        self,
        token: str,
        *,
        types: set[int],
        examined: int,
        leads: set[int] | None = None,
        fields: set[str] | None = None,
    ) -> tuple[list[Activity], str, bool]:
        """Return the activities after `token`, the token of the next page, and whether there is more.

        `fields` restricts the data value changes to those of the named fields. A page ends after `examined` entries
        of the log even if few of them were asked for: pages may be short or empty (activities.md).

        Raises:
            CallError: 1003, the token is none of ours, too old or forgotten. The code is not documented.
        """
        position = self._decode(token)
        end = min(len(self._entries), position + examined)
        found: list[Activity] = []
        while position < end and len(found) < PAGE:
            entry = self._entries[position]
            position += 1
            if entry.type_id not in types or (leads is not None and entry.lead_id not in leads):
                continue
            if fields is None or entry.field is None or entry.field in fields:
                found.append(entry)
        return found, self._encode(position), position < len(self._entries)

    def forget_tokens(self) -> None:
        """Take no token any more that was given out until now."""
        self._tokens_since = self._clock()

    def clear(self) -> None:
        """Empty the log."""
        self._entries.clear()
        self._logged_at.clear()

    def _encode(self, position: int) -> str:
        return base64.b32encode(f"log:{position}:{self._clock()}".encode()).decode()

    def _decode(self, token: str) -> int:
        try:
            kind, position, issued = base64.b32decode(token).decode().split(":")
            is_good = kind == "log" and float(issued) > max(self._tokens_since, self._clock() - RETENTION_SECONDS)
            if is_good:
                return max(0, int(position))
        except (ValueError, binascii.Error):
            pass
        raise CallError("1003", "Invalid nextPageToken")


def activity_types() -> list[dict[str, Any]]:
    """Return the types as types.json shows them."""
    found = []
    for type_id, (name, primary, attributes) in _ATTRIBUTES.items():
        entry: dict[str, Any] = {"id": type_id, "name": name, "description": name}
        if primary is not None:
            entry["primaryAttribute"] = {"name": primary, "dataType": "string"}
        found.append({**entry, "attributes": [{"name": attribute, "dataType": "string"} for attribute in attributes]})
    return found


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)
