"""Reads a table's rows for a run, their ids or more, in the order in which the rows were made.

`createdon` is indexed and never changes, so no row moves from one page to another while the run reads. Dataverse's link
leads to the next page; it is kept, and may be refused later (how long it is good is not documented). Then the rows
are read from the last one's `createdon` on: those of the same second are read twice, which does no harm.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, urlsplit

from ...dataverse.client import API, DataverseClient, Row
from ...model.codes import Kind
from ...model.entities import CREATED_ON, TABLES
from ...model.errors import DataverseError
from .model import Progress, Scope
from .page import PAGE

log = logging.getLogger(__name__)

#: Rows of one request: some pages, as they take few bytes and the sync reads them again.
ROWS = 5 * PAGE
#: What Dataverse will say of this query again: of a link, that it is too old.
FOR_GOOD = frozenset({Kind.PERMANENT, Kind.CONFIGURATION, Kind.GONE, Kind.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Block:
    """Rows with their ids, and where the next ones are: `link` is empty at the end of the table."""

    ids: list[str]
    since: str
    link: str
    rows: list[Row]


async def read(
    dataverse: DataverseClient,
    scope: Scope,
    table: str,
    at: Progress,
    *,
    columns: Collection[str] = (),
    size: int = ROWS,
) -> Block:
    """The next rows of a table, with these columns too, `size` of them.

    Raises DataverseError, of a kind in FOR_GOOD when the run can never go on.
    """
    key = TABLES[table][1].key
    rows, link = await _rows(dataverse, query(scope, table, at.since, columns), table, at, size)
    last = rows[-1].get(CREATED_ON) if rows else None
    return Block([str(row[key]).lower() for row in rows], str(last or at.since), link, rows)


async def _rows(dataverse: DataverseClient, anew: str, table: str, at: Progress, size: int) -> tuple[list[Row], str]:
    """By the link; where it is refused, or is for other columns than are wanted by now, by the query `anew`."""
    if at.link and _columns_of(anew) <= (_columns_of(at.link) or _columns_of(anew)):
        try:
            return await dataverse.page(at.link, size)
        except DataverseError as error:
            if error.kind not in FOR_GOOD:
                raise
            log.warning("run_link_refused table=%s since=%s %s", table, at.since, error)
    return await dataverse.page(anew, size)


def _columns_of(url: str) -> set[str]:
    (names,) = parse_qs(urlsplit(url).query).get("$select", [""])
    return set(filter(None, names.split(",")))


def query(scope: Scope, table: str, since: str = "", columns: Collection[str] = ()) -> str:
    """The query for the rows of a table that a scope lets through, those that were made at `since` first."""
    source = TABLES[table][1]
    names = [source.key, CREATED_ON, *sorted({*columns} - {source.key, CREATED_ON})]
    conditions = scope.conditions + ([f"{CREATED_ON} ge {since}"] if since else [])
    chosen = f"&$filter={quote(' and '.join(conditions))}" if conditions else ""
    order = quote(f"{CREATED_ON} asc,{source.key} asc")
    return f"{API}/{source.entity_set}?$select={','.join(names)}&$orderby={order}{chosen}"
