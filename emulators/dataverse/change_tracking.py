"""Change tracking: every row of a table with a delta link, then what has changed or was deleted since that link.

Dataverse's page on synchronising data with external systems: rows first, by version, then deletions; one that was
created and deleted between two requests is told as deleted; no other options than `$select`; the caller must be allowed
to read every row; a link is good for some days. That the last page alone has the delta link, that the preference must
come with each page of a first request, and that what changes meanwhile is told again, is the strictest reading.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from emulators.dataverse import constants, errors
from emulators.dataverse.calls import Call
from emulators.dataverse.columns import Table
from emulators.dataverse.privileges import privilege_name
from emulators.dataverse.query import PAGE_LIMIT, projector
from emulators.dataverse.store import Row

PREFERENCE: Final = "odata.track-changes"
_TIME: Final = "%m/%d/%Y %H:%M:%S"
_DAY: Final = 86_400.0
_UNSUPPORTED: Final = ("$filter", "$orderby", "$expand", "$top")


@dataclass(frozen=True, slots=True)
class _Cursor:
    """A place within one answer of several pages: rows up to a version, or deletions, have been told.

    `start`: what the delta link at the end begins with, and its time.
    """

    start: int
    at: str
    version: int = 0
    in_deletions: bool = False


def is_meant(call: Call) -> bool:
    """Whether a request wants changes."""
    return PREFERENCE in call.request.prefer or "$deltatoken" in call.options.options


def changes(call: Call, table: Table) -> dict[str, Any]:
    """The body of an answer. Raises ApiError."""
    _check(call, table)
    since, cursor = _since(call), _cursor(call)
    size = min(call.options.page_size or PAGE_LIMIT, PAGE_LIMIT)
    told = list(_told(call, table, since, cursor))
    page = told[:size]
    project = projector(call.environment.store, table, call.options)
    is_delta = since is not None
    body: dict[str, Any] = {"@odata.context": call.context(table, "/$delta" if is_delta else "")}
    body["value"] = [project(row) if row else _deleted(table, row_id) for _, row_id, row in page]
    call.environment.stats.ids_read += len(page)
    if len(told) > size:
        version, _, row = page[-1]
        place = {"start": cursor.start, "at": cursor.at, "version": version, "in_deletions": row is None}
        token = quote(base64.urlsafe_b64encode(json.dumps(place).encode()).decode())
        body["@odata.nextLink"] = call.link(table, f"$skiptoken={token}", without=("skiptoken",))
    else:
        token = quote(f"{cursor.start}!{cursor.at}", safe="")
        link = call.link(table, f"$deltatoken={token}", without=("skiptoken", "deltatoken"))
        body["@odata.deltaLink"] = link
    return body


def _check(call: Call, table: Table) -> None:
    for name in _UNSUPPORTED:
        if name in call.options.options:
            raise errors.bad_query(f'The "{name}" query parameter isn\'t supported when Change Tracking is enabled.')
    if not table.change_tracking:
        raise errors.invalid_argument(f"Change tracking is not enabled for entity '{table.name}'.")
    store = call.environment.store
    if not store.hidden_rows.isdisjoint(store.rows[table.name]):
        message = (
            f"Principal user (Id={call.user}, type=8) is missing {privilege_name(table, 'Read')} privilege at the "
            f"depth of the organization on OTC={table.type_code} for entity '{table.name}'."
        )
        raise errors.ApiError(403, "0x80040220", message)


def _since(call: Call) -> int | None:
    """The version from which on changes are told; None: everything is. Raises ApiError for a link that is too old."""
    token = call.options.options.get("$deltatoken")
    if token is None:
        return None
    version, _, text = token.partition("!")
    try:
        at = datetime.strptime(text, _TIME).replace(tzinfo=UTC)
        since = int(version)
    except ValueError:
        raise errors.bad_query("The delta token is not valid.") from None
    environment = call.environment
    if environment.now() - at.timestamp() > environment.switches.change_tracking_days * _DAY:
        raise errors.expired_token()
    return since


def _cursor(call: Call) -> _Cursor:
    text = call.options.options.get("$skiptoken")
    if text is None:
        now = datetime.fromtimestamp(call.environment.now(), UTC)
        return _Cursor(call.environment.store.version, now.strftime(_TIME))
    try:
        return _Cursor(**json.loads(base64.urlsafe_b64decode(text)))
    except (ValueError, TypeError):
        raise errors.bad_query("The paging cookie is not valid.") from None


def _told(call: Call, table: Table, since: int | None, cursor: _Cursor) -> Iterator[tuple[int, str, Row | None]]:
    """(version, id, row) of what is still to be told, in order; without a row: it was deleted."""
    store = call.environment.store
    if not cursor.in_deletions:
        after = max(since or 0, cursor.version)
        rows = [(row["versionnumber"], row_id, row) for row_id, row in store.rows[table.name].items()]
        yield from sorted((each for each in rows if each[0] > after), key=lambda each: each[0])
    if since is not None:
        after = max(since, cursor.version if cursor.in_deletions else 0)
        gone = [(version, row_id, None) for row_id, version in store.deleted[table.name].items() if version > after]
        yield from sorted(gone)


def _deleted(table: Table, row_id: str) -> dict[str, Any]:
    return {
        "@odata.context": f"{constants.API_URL}$metadata#{table.set_name}/$deletedEntity",
        "id": row_id,
        "reason": "deleted",
    }
