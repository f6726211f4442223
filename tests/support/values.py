"""A moment, ids that can be told apart, and lookup columns as the Web API writes them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from shared.sync.links import LOOKUP_TABLE

ROOT = Path(__file__).parents[2]
NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)


def guid(number: int) -> str:
    """Return the id of a row, as Dataverse writes it; another one for each number."""
    return str(UUID(int=number))


def to(column: str, table: str, id_: str) -> dict[str, Any]:
    """Return a lookup column with the table of the row that it refers to."""
    return {column: id_, column + LOOKUP_TABLE: table}
