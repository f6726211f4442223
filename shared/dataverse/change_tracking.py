"""Dataverse's change tracking: every row of a table first, then what was changed or deleted since (dataverse.md 4.6).

The answer to a first request, or its last page, has a delta link. That link gives the rows that were written since and
the ids of those that were deleted, whatever wrote them, and a link for the next time. It is good for some days (seven,
where the organisation says nothing else) and never filtered: a row is told of whichever column was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..model.codes import Kind
from ..model.errors import DataverseError
from ..model.ids_and_times import is_guid
from .client import API, DataverseClient, Row

#: Asks for a delta link. A delta link itself, and its pages, need not ask.
_TRACKED = f"odata.track-changes,{DataverseClient.headers['Prefer']}"
_TOKEN = re.compile(r"[?&](\$|%24)deltatoken=", re.IGNORECASE)
_VERSION = re.compile(r'W/"(\d+)"')


@dataclass(frozen=True, slots=True)
class Changes:
    """A page: rows as they are now, and ids of rows that were deleted, in lower case.

    `link`: of the next page, or of the next time where this page `is_last`.
    """

    rows: list[Row]
    deleted: list[str]
    link: str
    is_last: bool


def first_link(entity_set: str, columns: Iterable[str]) -> str:
    """Where all rows of a table are read with these columns, to learn the first delta link."""
    return f"{API}/{entity_set}?$select={','.join(sorted(columns))}"


async def changes(dataverse: DataverseClient, link: str, *, deadline: float | None = None) -> Changes:
    """The page at a link. Raises as DataverseClient does; a link that is too old is refused like a wrong one."""
    headers = {} if _TOKEN.search(link) else {"Prefer": _TRACKED}
    answer = await dataverse.answer(link, headers, deadline=deadline)
    following, delta = (dataverse.path_of(answer.get(f"@odata.{name}Link")) for name in ("next", "delta"))
    if not (following or delta):
        # A table that is not tracked may be read as if nobody had asked for a link.
        raise DataverseError("NoDeltaLink", "change tracking gives no delta link", kind=Kind.CONFIGURATION)
    told: list[Row] = answer["value"]
    gone = [row for row in told if _is_deletion(row)]
    ids = [str(row.get("id", "")).lower() for row in gone]
    if not all(map(is_guid, ids)):
        raise DataverseError("UnknownAnswer", "a deletion without the id of its row", kind=Kind.TRANSIENT)
    return Changes([row for row in told if not _is_deletion(row)], ids, following or delta, is_last=not following)


def version_of(row: Mapping[str, Any]) -> int | None:
    """The number of a row's version, which grows with every write in the database; None where there is none."""
    found = _VERSION.fullmatch(str(row.get("@odata.etag", "")))
    return int(found.group(1)) if found else None


def _is_deletion(row: Row) -> bool:
    return str(row.get("@odata.context", "")).endswith("/$deletedEntity")
