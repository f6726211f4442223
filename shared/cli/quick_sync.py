"""`msisync quick-sync`: a field that is mapped now reaches the records that Marketo has already, beside the sync."""

from __future__ import annotations

from argparse import ArgumentTypeError, Namespace

from rich.console import Console

from ..marketo.batching import MAX_PER_CALL
from ..model.entities import ENTITIES
from ..model.errors import ConfigurationError
from ..sync.runs.model import RunKind, Scope
from .command import Command, Exit, Result, option, options
from .context import Context
from .entity_words import as_table
from .filtered_rows import pages
from .finding import counted
from .initial_sync.scope import CHANGED_SINCE
from .initial_sync.start import begun
from .invocation import again
from .output import say
from .preview import about
from .resync import tables_of

_MORE = """\
For fields that were added to sync.toml after the rows had been synced. Only these fields are sent, empty values too,
and only to records that Marketo has: nothing is created, linked or changed otherwise. The app does it as a run, a few
hundred rows at a time, so that changes in Dynamics are not held up. Deploy sync.toml first.

Without --apply, it says how many rows and Marketo calls it would be.

Exit codes: 0 started, or no row matches; 1 --apply is still to come; 2 it could not be started.
Example: msisync quick-sync contact --fields title,city
Next: msisync initial-sync status --watch, which shows any run"""

#: The tables whose records have a key of their own: those of opportunity roles have not.
_TABLES = tuple(table.name for entity in ENTITIES.values() if entity.key for table in entity.tables)


async def run(context: Context, given: Namespace, progress: Console) -> Result:
    """Start, or count. Raises MsiSyncError: ConfigurationError for fields that cannot be sent, RunRefusedError."""
    (table,) = tables_of(context, given.table)
    fields = await _fields(context, table, given.fields)
    scope = Scope((table,), changed_since=given.changed_since, fields=fields)
    with progress.status("Counting the rows"):
        rows = await _count(context, table, " and ".join(scope.conditions) or None)
    if given.apply:
        return await begun(context, RunKind.QUICK_SYNC, scope, {table: rows})
    calls = -(-rows // MAX_PER_CALL)
    data = {"started": None, "table": table, "fields": fields, "rows": rows, "marketo_calls": calls}

    def show(console: Console) -> None:
        say(console, f"{table}: {counted(rows, 'row')}, at most {counted(calls, 'Marketo call')}")
        start = f"Only {', '.join(fields)} would be sent. To start: {again('--apply')}"
        say(console, start if rows else "No row matches.")

    return Result(Exit.ATTENTION if rows else Exit.OK, data, show)


async def _fields(context: Context, table: str, wanted: list[str]) -> tuple[str, ...]:
    """The fields as Marketo spells them. Raises ConfigurationError for those that the sync does not send."""
    sent = {name.lower(): name for name in (await context.schema.of(table)).fields.names}
    if missing := [name for name in wanted if name.lower() not in sent]:
        names = ", ".join(missing)
        text = (
            f"{names} of {table} is not mapped in sync.toml, or cannot be written in Marketo; see msisync fields check"
        )
        raise ConfigurationError("NotMapped", text)
    return tuple(dict.fromkeys(sent[name.lower()] for name in wanted))


async def _count(context: Context, table: str, query: str | None) -> int:
    if query is None and (found := await about(context, table)) is not None:
        return found
    return sum([len(page) async for page in pages(context, table, (), query)])


def _names(text: str) -> list[str]:
    names = [name for part in text.split(",") if (name := part.strip())]
    if not names:
        raise ArgumentTypeError("names of Marketo's fields are needed, with commas: city,title")
    return names


COMMAND = Command(
    "quick-sync",
    "send newly mapped fields of a table to the records that Marketo has",
    _MORE,
    run,
    options(
        option("table", type=as_table, choices=_TABLES, help="a table of sync.toml"),
        option(
            "--fields", type=_names, required=True, metavar="NAMES", help="Marketo's fields, with commas: city,title"
        ),
        CHANGED_SINCE,
        option("--apply", action="store_true", help="start the run"),
    ),
)
