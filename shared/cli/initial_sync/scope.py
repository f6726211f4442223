"""Which rows a command is about: tables, an OData filter, and ranges of times."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from datetime import datetime

from ...model.entities import ENTITIES, TABLES
from ...model.errors import ConfigurationError
from ...model.ids_and_times import moment
from ...sync.runs.model import Scope
from ..command import option, options
from ..context import Context
from ..entity_words import as_table


def tables_in(context: Context, given: Namespace) -> list[str]:
    """The tables that are meant, parents first. Raises ConfigurationError when sync.toml lacks one that is named."""
    missing = [name for name in given.only or () if name not in context.config.tables]
    if missing:
        raise ConfigurationError("NotMapped", f"sync.toml does not map {', '.join(missing)}; see msisync fields list")
    wanted = given.only or context.config.tables
    tables = [table.name for entity in ENTITIES.values() for table in entity.tables if table.name in wanted]
    if given.query and len(tables) != 1:
        given.refuse("--query needs one table: --only TABLE")
    return tables


def scope_of(tables: Sequence[str], given: Namespace) -> Scope:
    """The same for a run."""
    return Scope(tuple(tables), given.query or "", given.created_since, given.changed_since)


def since(text: str) -> datetime:
    """A day or a time on the command line, in UTC unless it says otherwise. Raises ArgumentTypeError."""
    found = moment(text)
    if found is None:
        raise ArgumentTypeError(f"{text!r} is not a day or time such as 2026-01-31 or 2026-01-31T12:00Z")
    return found


CHANGED_SINCE = option("--changed-since", type=since, metavar="DAY", help="rows that were changed on this day or later")
SCOPE = options(
    option(
        "--only",
        nargs="+",
        type=as_table,
        metavar="TABLE",
        choices=list(TABLES),
        help="these tables of sync.toml; default: all",
    ),
    option("--query", metavar="FILTER", help='of one table, rows that an OData filter lets through: "statecode eq 0"'),
    option("--created-since", type=since, metavar="DAY", help="rows that were created on this day or later"),
    CHANGED_SINCE,
)
