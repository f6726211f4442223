"""Rows of a table that an OData filter lets through, as somebody has typed it with --query."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import Any
from urllib.parse import quote

from ..dataverse.client import API
from ..model.entities import TABLES
from ..model.errors import DataverseError, MsiSyncError
from .context import Context

#: What Dataverse says of a filter that it does not understand (dataverse.md 5.3).
_NOT_UNDERSTOOD = frozenset({"0x80060888", "0x8006088a", "0x80060883", "0x8006088d", "HTTP 400"})


async def pages(
    context: Context, table: str, columns: Collection[str], query: str | None
) -> AsyncIterator[list[dict[str, Any]]]:
    """The rows by Dataverse's pages of 5,000, with these columns and their ids. No filter: all rows.

    Raises as the client does; where the filter is to blame, the error says where its columns are.
    """
    source = TABLES[table][1]
    selected = ",".join(sorted({source.key, *columns}))
    chosen = f"&$filter={quote(query)}" if query else ""
    try:
        async for page in context.dataverse.pages(f"{API}/{source.entity_set}?$select={selected}{chosen}"):
            yield page
    except DataverseError as error:
        if not query or error.code not in _NOT_UNDERSTOOD:
            raise
        text = (
            "Dynamics does not understand --query: it takes an OData filter, such as statecode eq 0, with columns as "
            f"msisync fields list {table} names them"
        )
        raise MsiSyncError(error.code, text) from None
