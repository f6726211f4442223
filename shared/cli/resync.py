"""`msisync resync`: sends records through the pipeline once more, whether or not anything has changed.

They go to their entity's queue as any change does, and are read, filtered and mapped there. Memory is bounded: at most
a page of 5,000 ids is on its way from Dynamics to the queue.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from urllib.parse import quote

from rich.console import Console
from rich.markup import escape

from ..azure.parked_rows import NoteState
from ..azure.parked_table import Store
from ..azure.service_bus import Outgoing
from ..dataverse.client import API, MAX_IDS
from ..marketo.batching import MAX_PER_CALL
from ..model.entities import ENTITIES, TABLES, Entity
from ..model.errors import ConfigurationError
from ..model.record import MAX_RECORDS, Record, encode
from ..sync.routing import chunked
from .command import Command, Exit, Result, guid
from .context import Context
from .renewal import not_told, renew

#: Later than any check of a parked record: so all of them are due.
_ANY_TIME = datetime(9999, 1, 1, tzinfo=UTC)
#: What of unknown ids is shown to people.
_SHOWN = 10

_MORE = """\
GUIDs may be written in any way. A table (contact) or an entity (person: leads and contacts) says where they are. The
sync filter of sync.toml decides as always. Marketo gets every field again, even when msisync believes that it has them.
Before they are sent, the running app reads users, teams, roles and both schemas again.

--query and --all-parked show how many records and Marketo calls it would be; --apply sends them.

Exit codes: 0 sent; 1 some ids are unknown, or --apply is still to come; 2 nothing could be sent.
Next: msisync status --watch, or msisync show person <id>"""


@dataclass(slots=True)
class Sent:
    """What was sent, or would be: numbers by table. `unknown`: ids that Dynamics does not have."""

    records: dict[str, int] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def add(self, records: Sequence[Record]) -> None:
        """Count these."""
        for record in records:
            self.records[record.table] = self.records.get(record.table, 0) + 1

    @property
    def total(self) -> int:
        """All records."""
        return sum(self.records.values())


async def run(context: Context, given: Namespace, progress: Console) -> Result:
    """Send what is meant, or count it. Raises MsiSyncError when Dynamics, Service Bus or storage do not answer."""
    _check(given)
    sent = Sent()
    applied = bool(given.apply or given.ids)
    why_not = await renew(context, "rows", "schema") if applied else ""
    with progress.status("Counting" if not applied else "Sending") as status:
        async for records in _pages(context, given, sent, applied=applied):
            if applied and not given.all_parked:
                await _send(context, records)
            sent.add(records)
            status.update(f"{'Sent' if applied else 'Counted'}: {sent.total:,}")
    least, most = marketo_calls(sent.records)
    data: dict[str, object] = {
        "applied": applied,
        "records": sent.records,
        "unknown": sent.unknown,
        "marketo_calls": {"least": least, "most": most},
    }
    if applied:
        data["announced"] = not why_not
    show = partial(_show, sent=sent, applied=applied, parked=given.all_parked, why_not=why_not)
    return Result(_exit(sent, applied=applied), data, show)


def _check(given: Namespace) -> None:
    ways = [bool(given.ids), given.query is not None, given.all_parked]
    if sum(ways) != 1:
        given.refuse("give ids, or --query, or --all-parked")
    if given.all_parked and given.target:
        given.refuse("--all-parked takes no table")
    if not given.all_parked and given.target not in {*TABLES, *ENTITIES}:
        known = ", ".join(sorted({*TABLES, *ENTITIES}))
        given.refuse(f"{given.target!r} is no table or entity; one of: {known}")
    if given.query is not None and given.target not in TABLES:
        names = ", ".join(table.name for table in ENTITIES[given.target].tables)
        given.refuse(f"--query needs a table, not an entity: {names}")


async def _pages(context: Context, given: Namespace, sent: Sent, *, applied: bool) -> AsyncIterator[list[Record]]:
    if given.all_parked:
        pages = _parked(context, applied=applied)
    elif given.query is not None:
        pages = _queried(context, _tables(context, given.target)[0], given.query)
    else:
        pages = _named(context, _tables(context, given.target), given.ids, sent)
    async for page in pages:
        yield page


def _tables(context: Context, target: str) -> list[str]:
    """The tables that are meant, of those that sync.toml maps."""
    names = [table.name for table in ENTITIES[target].tables] if target in ENTITIES else [target]
    mapped = [name for name in names if name in context.config.tables]
    if not mapped:
        raise ConfigurationError("NotMapped", f"sync.toml does not map {', '.join(names)}; see msisync fields list")
    return mapped


async def _named(context: Context, tables: list[str], ids: Sequence[str], sent: Sent) -> AsyncIterator[list[Record]]:
    """The rows that have one of these ids."""
    missing = list(dict.fromkeys(ids))
    for name in tables:
        table = TABLES[name][1]
        found: list[str] = []
        for part in chunked(missing, MAX_IDS):
            found += await context.dataverse.rows(table.entity_set, table.key, part, [table.key])
        missing = [id_ for id_ in missing if id_ not in set(found)]
        yield [_record(name, id_) for id_ in found]
    sent.unknown = missing


async def _queried(context: Context, name: str, query: str) -> AsyncIterator[list[Record]]:
    """The rows that a filter lets through, by Dataverse's pages of 5,000."""
    table = TABLES[name][1]
    url = f"{API}/{table.entity_set}?$select={table.key}&$filter={quote(query)}"
    async for page in context.dataverse.pages(url):
        yield [_record(name, str(row[table.key]).lower()) for row in page]


def _record(table: str, id_: str) -> Record:
    return Record(table, id_, datetime.now(UTC), forced=True)


async def _parked(context: Context, *, applied: bool) -> AsyncIterator[list[Record]]:
    """Everything that waits for a parent; with `applied`, sent on, page by page, and only then taken from the table.

    The notes of parents are set back to "unasked" first, so that what must wait again asks anew.
    """
    store = Store(context.settings.storage, context.parked_table)
    for name in ENTITIES:
        if applied:
            async for notes in store.due(name, _ANY_TIME):
                await store.put(replace(note, state=NoteState.UNASKED, cause=None) for note in notes)
        async for page in store.everybody(name):
            if applied and page:
                await _send(context, [replace(child.record, released=True, forced=True) for child in page])
                await store.remove(page)
            yield [child.record for child in page]


async def _send(context: Context, records: Sequence[Record]) -> None:
    """Return when the broker has them all."""
    by_entity: dict[str, list[Record]] = {}
    for record in records:
        by_entity.setdefault(TABLES[record.table][0].name, []).append(record)
    queues = context.settings.queues
    messages = [
        Outgoing(queues.of(name), encode(name, group), session=name)
        for name, all_of_it in by_entity.items()
        for group in chunked(all_of_it, MAX_RECORDS)
    ]
    await context.outgoing.send(messages)


def marketo_calls(records: dict[str, int]) -> tuple[int, int]:
    """The least and the most calls that so many records of these tables need: the parents of a chunk may be known."""
    by_entity: dict[str, int] = {}
    for table, number in records.items():
        name = TABLES[table][0].name
        by_entity[name] = by_entity.get(name, 0) + number
    chunks = {name: -(-number // MAX_PER_CALL) for name, number in by_entity.items()}
    return sum(chunks.values()), sum(number * _calls_of(ENTITIES[name]) for name, number in chunks.items())


def _calls_of(entity: Entity) -> int:
    return 1 + len(entity.links)


def _exit(sent: Sent, *, applied: bool) -> Exit:
    if sent.unknown:
        return Exit.ATTENTION if sent.total else Exit.FAILED
    return Exit.OK if applied or not sent.total else Exit.ATTENTION


def _show(console: Console, *, sent: Sent, applied: bool, parked: bool, why_not: str) -> None:
    for line in _lines(sent, applied=applied, parked=parked):
        console.print(line)
    if why_not:
        console.print(not_told(why_not), style="yellow")


def _lines(sent: Sent, *, applied: bool, parked: bool) -> Iterator[str]:
    for table, number in sent.records.items():
        yield f"{table}: {number:,} {'sent' if applied else 'to be sent'}"
    if not sent.total and not sent.unknown:
        yield "Nothing is parked." if parked else "No row matches."
    if sent.total:
        least, most = marketo_calls(sent.records)
        calls = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        yield f"About {calls} Marketo call{'s' if most != 1 else ''}"
    if sent.unknown:
        rest = f" and {len(sent.unknown) - _SHOWN:,} more" if len(sent.unknown) > _SHOWN else ""
        yield f"[yellow]Not in Dynamics:[/] {escape(', '.join(sent.unknown[:_SHOWN]))}{rest}"
    if sent.total:
        yield "To see them go: msisync status --watch" if applied else "Nothing was sent. To send them: --apply"


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("target", nargs="?", help="a table (contact) or an entity (person) of sync.toml")
    parser.add_argument("ids", nargs="*", type=guid, help="ids of rows; sent at once")
    parser.add_argument(
        "--query", metavar="FILTER", help='rows of the table that an OData filter lets through: "statecode eq 0"'
    )
    parser.add_argument("--all-parked", action="store_true", help="everything that waits for a parent")
    parser.add_argument("--apply", action="store_true", help="send what --query or --all-parked has shown")
    parser.set_defaults(refuse=parser.error)


COMMAND = Command("resync", "send records to Marketo again, changed or not", _MORE, run, _arguments)
