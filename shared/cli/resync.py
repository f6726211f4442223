"""`msisync resync`: sends records through the pipeline once more, whether or not anything has changed.

They go to their entity's queue as any change does, and are read, filtered and mapped there. Memory is bounded: at most
a page of 5,000 ids is on its way from Dynamics to the queue.
"""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape

from ..azure.parked_rows import Note, NoteState, Parked
from ..azure.parked_table import FEW, Store
from ..marketo.batching import MAX_PER_CALL
from ..model.entities import ENTITIES, OPPORTUNITY, OPPORTUNITY_ROLE, TABLES
from ..model.errors import ConfigurationError
from ..model.outcome import Parent
from ..model.record import Record
from ..sync.history import What
from ..sync.routing import messages_of
from .command import Command, Exit, Result, guid, option, options
from .context import Context, not_told, renew
from .entity_words import as_table_or_entity
from .filtered_rows import pages
from .invocation import again
from .operator import did
from .progress import steps

#: Later than any check of a parked record: so all of them are due.
ANY_TIME = datetime(9999, 1, 1, tzinfo=UTC)
#: What of unknown ids is shown to people.
_SHOWN = 10

_Pages = AsyncIterator[list[Record]]

_MORE = """\
GUIDs may be written in any way. A table (contact) or an entity (person: leads and contacts) says where they are. The
sync filter of sync.toml decides as always. Marketo gets every field again, even when msisync believes that it has them.
Before they are sent, the running app reads users, teams, roles and both schemas again. The roles of an opportunity
follow it: those in Marketo that nothing in Dynamics gives any more are deleted.

--query and --all-parked show how many records and Marketo calls it would be; --apply sends them.

Exit codes: 0 sent; 1 some ids are unknown, or --apply is still to come; 2 nothing could be sent.
Next: msisync status --watch, or msisync show person <id>"""


async def run(context: Context, given: Namespace, progress: Console) -> Result:
    """Send what is meant, or count it. Raises MsiSyncError when Dynamics, Service Bus or storage do not answer."""
    _check(given)
    sent, unknown = Counter[str](), list[str]()
    counted = steps(progress, "records sent" if given.apply or given.ids else "records counted", len(given.ids) or None)
    applied = bool(given.apply or given.ids)
    why_not = await renew(context, "rows", "schema") if applied else ""
    with progress.status("Counting" if not applied else "Sending") as status:
        async for records in _pages(context, given, unknown, applied=applied):
            if applied and not given.all_parked:
                await send(context, records)
            sent.update(record.table for record in records)
            counted.count = sent.total()
            status.update(f"{'Sent' if applied else 'Counted'}: {sent.total():,}")
    least, most = marketo_calls(sent)
    data = {
        "applied": applied,
        "records": sent,
        "unknown": unknown,
        "marketo_calls": {"least": least, "most": most},
        **({"announced": not why_not} if applied else {}),
    }
    exit_ = Exit.OK if applied or not sent else Exit.ATTENTION
    if unknown:
        exit_ = Exit.ATTENTION if sent else Exit.FAILED
    return Result(exit_, data, lambda console: _show(console, data, given, why_not))


async def send_rows(context: Context, target: str, ids: Sequence[str]) -> tuple[Counter[str], list[str], str]:
    """Send the rows of a table or an entity with these ids, as the command does.

    Gives how many of each table, the ids that no row has, and why the app could not be told to read anew.
    """
    sent, unknown = Counter[str](), list[str]()
    why_not = await renew(context, "rows", "schema")
    async for records in _named(context, tables_of(context, target), ids, unknown):
        await send(context, records)
        sent.update(record.table for record in records)
    return sent, unknown, why_not


def _check(given: Namespace) -> None:
    ways = [bool(given.ids), given.query is not None, given.all_parked]
    if sum(ways) != 1:
        given.refuse("give ids, or --query, or --all-parked")
    if given.all_parked and given.target:
        given.refuse("--all-parked takes no table")
    if not given.all_parked and not given.target:
        given.refuse("give a table or an entity")
    if given.query is not None and given.target not in TABLES:
        names = ", ".join(table.name for table in ENTITIES[given.target].tables)
        given.refuse(f"--query needs a table, not an entity: {names}")


def _pages(context: Context, given: Namespace, unknown: list[str], *, applied: bool) -> _Pages:
    if given.all_parked:
        return _parked(context, applied=applied)
    if given.query is not None:
        return _queried(context, tables_of(context, given.target)[0], given.query)
    return _named(context, tables_of(context, given.target), given.ids, unknown)


def tables_of(context: Context, target: str) -> list[str]:
    """The tables that are meant, of those that sync.toml maps."""
    names = [table.name for table in ENTITIES[target].tables] if target in ENTITIES else [target]
    mapped = [name for name in names if name in context.config.tables]
    if not mapped:
        raise ConfigurationError("NotMapped", f"sync.toml does not map {', '.join(names)}; see msisync fields list")
    return mapped


async def _named(context: Context, tables: list[str], ids: Sequence[str], unknown: list[str]) -> _Pages:
    """The rows that have one of these ids; `unknown` takes the others."""
    missing = list(dict.fromkeys(ids))
    for name in tables:
        table = TABLES[name][1]
        found = list(await context.dataverse.rows(table, missing, ()))
        missing = [id_ for id_ in missing if id_ not in set(found)]
        yield [forced(name, id_) for id_ in found]
    unknown += missing


async def _queried(context: Context, name: str, query: str) -> _Pages:
    """The rows that a filter lets through, by Dataverse's pages of 5,000."""
    key = TABLES[name][1].key
    async for page in pages(context, name, (), query):
        yield [forced(name, str(row[key]).lower()) for row in page]


def forced(table: str, id_: str) -> Record:
    """A row that is sent whether or not it has changed."""
    return Record(table, id_, datetime.now(UTC), forced=True)


async def _parked(context: Context, *, applied: bool) -> _Pages:
    """Everything that waits for a parent; with `applied`, sent on."""
    for name in ENTITIES:
        async for page in released(context, name) if applied else context.parked.everybody(name):
            yield [child.record for child in page]


async def released(
    context: Context,
    entity: str,
    parents: Collection[str] | None = None,
    chosen: Callable[[Parked], bool] = lambda _: True,
) -> AsyncIterator[list[Parked]]:
    """Send on what waits for these parents of an entity, by id (None: for any), and give it, page by page.

    Only what was sent is taken from the table. `chosen`: what of it is meant. The notes of the parents are set back to
    "unasked" first, so that what must wait again asks anew.
    """
    store = context.parked
    async for notes in _notes(store, entity, parents):
        await store.put(replace(note, state=NoteState.UNASKED, cause=None) for note in notes)
    async for page in _children(store, entity, parents):
        if meant := [child for child in page if chosen(child)]:
            await send_to(
                context, [(child.entity, replace(child.record, released=True, forced=True)) for child in meant]
            )
            await store.remove(meant)
            yield meant


async def _notes(store: Store, entity: str, parents: Collection[str] | None) -> AsyncIterator[Collection[Note]]:
    if parents is not None:
        yield (await store.waited_for(entity, parents)).values()
        return
    async for page in store.due(entity, ANY_TIME):
        yield page


async def _children(store: Store, entity: str, parents: Collection[str] | None) -> AsyncIterator[list[Parked]]:
    """What waits for these parents: of few, each is looked for; of many, all that waits is looked through."""
    if parents is not None and len(parents) <= FEW:
        for id_ in parents:
            async for page in store.children(Parent(entity, "", id_)):
                yield page
        return
    async for page in store.everybody(entity):
        yield [child for child in page if parents is None or child.parent.id in parents]


async def send(context: Context, records: Sequence[Record]) -> None:
    """Send these to their entities' queues; the broker has them all then."""
    await send_to(context, ((TABLES[record.table][0].name, record) for record in records))


async def send_to(context: Context, records: Iterable[tuple[str, Record]]) -> None:
    """The same for records that each come with their entity. The history says who did it."""
    by_entity: dict[str, list[Record]] = {}
    for entity, record in records:
        by_entity.setdefault(entity, []).append(record)
    queues = context.settings.queues
    of_each = (messages_of(queues, name, all_of_it) for name, all_of_it in by_entity.items())
    await context.outgoing.send([message for messages in of_each for message in messages])
    did(context, What.RESYNC, [record.key for all_of_it in by_entity.values() for record in all_of_it])
    await context.history.written()


def marketo_calls(records: dict[str, int]) -> tuple[int, int]:
    """The least and the most calls that so many records of these tables need: the parents of a chunk may be known.

    Roles of opportunities are compared: a look, then perhaps whose they are, and a deletion (shared/sync/roles.py).
    """
    by_entity: Counter[str] = Counter()
    for table, number in records.items():
        by_entity[TABLES[table][0].name] += number
    chunks = {name: -(-number // MAX_PER_CALL) for name, number in by_entity.items()}
    most = sum(number * (1 + len(ENTITIES[name].links)) for name, number in chunks.items())
    deals, roles = (chunks.get(entity.name, 0) for entity in (OPPORTUNITY, OPPORTUNITY_ROLE))
    of_contacts = deals * (1 + len(OPPORTUNITY_ROLE.links))
    return sum(chunks.values()) + deals + roles, most + 3 * (deals + roles) + of_contacts


def _show(console: Console, data: Mapping[str, Any], given: Namespace, why_not: str) -> None:
    sent, unknown, applied = data["records"], data["unknown"], data["applied"]
    for table, number in sent.items():
        console.print(f"{table}: {number:,} {'sent' if applied else 'to be sent'}")
    if not sent and not unknown:
        console.print("Nothing is parked." if given.all_parked else "No row matches.")
    if sent:
        least, most = data["marketo_calls"].values()
        calls = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        console.print(f"About {calls} Marketo call{'s' if most != 1 else ''}")
    if unknown:
        rest = f" and {len(unknown) - _SHOWN:,} more" if len(unknown) > _SHOWN else ""
        where = "" if given.target in ENTITIES else f" as {given.target}"
        console.print(f"[yellow]Not in Dynamics{where}:[/] {escape(', '.join(unknown[:_SHOWN]))}{rest}")
        console.print(f"To see whose an id is: msisync show person {unknown[0]}")
    if sent:
        console.print(
            "To see them go: msisync status --watch"
            if applied
            else f"Nothing was sent. To send them: {again('--apply')}",
            markup=False,
        )
    if why_not:
        console.print(not_told(why_not), style="yellow")


_ARGUMENTS = options(
    option("target", nargs="?", type=as_table_or_entity, help="a table (contact) or an entity (person) of sync.toml"),
    option("ids", nargs="*", type=guid, help="ids of rows; sent at once"),
    option("--query", metavar="FILTER", help='rows of the table that an OData filter lets through: "statecode eq 0"'),
    option("--all-parked", action="store_true", help="everything that waits for a parent"),
    option("--apply", action="store_true", help="send what --query or --all-parked has shown"),
)
COMMAND = Command("resync", "send records to Marketo again, changed or not", _MORE, run, _ARGUMENTS)
