"""`msisync lifecycle preview`: what the first sync would do with the rows of a table. Reads only."""

from __future__ import annotations

import time
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from ..model.entities import PERSON, PERSON_TABLES, TABLES
from ..model.errors import DataverseError
from ..sync.marketo_cache import Known
from ..sync.newcomers import Newcomers
from ..sync.preview import Fate, Foreseen, Preview
from .command import Command, Exit, Result, option, options
from .context import Context
from .entity_words import as_table
from .filtered_rows import pages
from .finding import SHOWN
from .output import say
from .progress import progress_bar
from .resync import tables_of

_MORE = """\
For rows that Marketo may know already, before they are synced for the first time. Says how many of them would be
updated (Marketo has their id), adopted (the person with their e-mail address gets it), created, or left alone, and for
which somebody must say who they are. Nothing is written, in neither system.

Costs a Marketo call for each 300 rows, and as many for those whose id Marketo does not have. --json lists the rows that
would be adopted, go on as their leads' persons, or lose their person to the row that they were merged into, and those
that are ambiguous, with Marketo's ids.

Exit codes: 0 every row has one answer; 1 some are ambiguous; 2 it could not be found out.
Example: msisync lifecycle preview contact --query "statecode eq 0"
Next: merge those persons in Marketo, or use msisync link; then msisync resync"""

#: What is said of each fate, for so many rows of a table.
WORDS = {
    Fate.UPDATED: "updated: Marketo has their id",
    Fate.CONTINUED: "go on as the persons of the leads that they come from",
    Fate.ADOPTED: "adopted: one person in Marketo has their e-mail address and no Dynamics id",
    Fate.AMBIGUOUS: "ambiguous: several persons in Marketo have their e-mail address (dead letters AmbiguousPerson)",
    Fate.CREATED: "created: nobody in Marketo has their e-mail address and no Dynamics id",
    Fate.CREATED_WITHOUT_EMAIL: "created: they have no e-mail address by which they could be found",
    Fate.FILTERED: "left alone: the sync filter excludes them",
    Fate.QUALIFIED: "left alone: leads that were qualified",
    Fate.MERGED: "left alone: they were merged into other rows",
    Fate.MERGED_PERSON: "were merged into other rows: [lifecycle] merged has their persons flagged or merged",
}
#: The same of one row.
OF_ONE = {
    Fate.UPDATED: "its person in Marketo is updated",
    Fate.CONTINUED: "it goes on as the person of the lead that it comes from",
    Fate.ADOPTED: "the one person in Marketo that has its e-mail address and no Dynamics id becomes its person",
    Fate.AMBIGUOUS: "it becomes a dead letter: several persons in Marketo have its e-mail address",
    Fate.CREATED: "a person is created in Marketo: none there has its id, nor its e-mail address without another id",
    Fate.CREATED_WITHOUT_EMAIL: "a person is created in Marketo: it has no e-mail address by which one could be found",
    Fate.FILTERED: "it is not sent: the sync filter excludes it",
    Fate.QUALIFIED: "it is not sent: the lead was qualified",
    Fate.MERGED: "it is not sent: it was merged into another row",
    Fate.MERGED_PERSON: "it was merged into another row: [lifecycle] merged has its person flagged or merged",
}
#: Those whose rows are listed in JSON.
_LISTED = (Fate.AMBIGUOUS, Fate.ADOPTED, Fate.CONTINUED, Fate.MERGED_PERSON)


async def run(context: Context, given: Namespace, progress: Console) -> Result:
    """Look at all rows that are meant. Raises MsiSyncError when one of the two systems does not answer."""
    (table,) = tables_of(context, given.table)
    preview = foresight(context)
    counts = Counter[Fate]()
    listed: dict[Fate, list[Foreseen]] = {fate: [] for fate in _LISTED}
    with progress_bar(progress) as bar:
        total = None if given.query else await about(context, table)
        task = bar.add_task(table, total=total, done=f"rows of {table} looked at")
        columns_of = (await context.schema.of(table)).columns
        async for rows in pages(context, table, columns_of, given.query):
            for each in await preview.of(table, rows, lambda done: bar.advance(task, done)):
                counts[each.fate] += 1
                if each.fate in listed:
                    listed[each.fate].append(each)
    data = {
        "table": table,
        "query": given.query,
        "rows": counts.total(),
        "match_email": context.config.person.match_email,
        "counts": {fate.value: counts[fate] for fate in Fate},
        **{fate.value: [{"id": e.id, "marketo_ids": e.persons} for e in found] for fate, found in listed.items()},
    }
    found = Exit.ATTENTION if counts[Fate.AMBIGUOUS] else Exit.OK
    return Result(found, data, lambda console: _show(console, data, listed[Fate.AMBIGUOUS]))


async def foresee(context: Context, table: str, id_: str) -> Foreseen | None:
    """What would become of one lead or contact, whether or not it was synced before; None where it is not there.

    Costs up to three Marketo calls. Raises as both clients do.
    """
    source, schema = TABLES[table][1], await context.schema.of(table)
    rows = await context.dataverse.rows(source, [id_], schema.columns)
    found = await foresight(context).of(table, list(rows.values()))
    return found[0] if found else None


def foresight(context: Context) -> Preview:
    """What foresees the first sync of rows, with the clients of a command."""
    config, known = context.config, Known(clock=time.monotonic)
    newcomers = Newcomers(
        context.dataverse, context.marketo, context.schema, known, policy=config.person, tables=config.tables
    )
    return Preview(
        context.dataverse, context.marketo, context.schema, newcomers, context.leases.of(PERSON.name),
        policy=config.lifecycle, now=lambda: datetime.now(UTC),
    )  # fmt: skip


async def about(context: Context, table: str) -> int | None:
    """How many rows there are, for the bar; None where Dataverse does not say."""
    try:
        return await context.dataverse.count_rows([table])
    except DataverseError:
        return None


def _show(console: Console, data: Mapping[str, Any], ambiguous: Sequence[Foreseen]) -> None:
    table = data["table"]
    say(console, f"{table}: {data['rows']:,} rows. Nothing has been written. Their first sync would find:")
    for fate, words in WORDS.items():
        if count := data["counts"][fate]:
            say(console, f"{count:>9,} {words}", "yellow" if fate is Fate.AMBIGUOUS else "")
    if not data["match_email"]:
        say(console, "match_email of sync.toml is false: nobody is looked for by e-mail address", "yellow")
    for each in ambiguous[:SHOWN]:
        persons = ", ".join(map(str, each.persons)) or "more than 1,000"
        say(console, f"  {table} {each.id}: persons {persons}")
    if len(ambiguous) > SHOWN:
        say(console, f"  and {len(ambiguous) - SHOWN:,} more; see --json")
    if ambiguous:
        say(console, f"Merge them in Marketo, or say who a row is: msisync link {table} ID MARKETO_ID")


COMMAND = Command(
    "lifecycle preview",
    "say what the first sync would do with the rows of a table",
    _MORE,
    run,
    options(
        option("table", type=as_table, choices=list(PERSON_TABLES), help="lead or contact"),
        option("--query", metavar="FILTER", help='rows that an OData filter lets through: "statecode eq 0"'),
    ),
)
