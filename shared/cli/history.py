"""`msisync history`: what happened to a record and when, as the app and operators have noted it.

The history has ids alone. So for an e-mail address, Dynamics and Marketo say first whose it is. Without a record it is
what operators did that concerns no single one.
"""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from rich.console import Console

from ..model.entities import PERSON
from ..model.errors import MsiSyncError, SignInError, VendorError
from ..model.ids_and_times import as_guid
from ..sync.history import AT_LARGE, Event
from ..sync.history_log import Past
from ..sync.matches import normal
from .command import Command, Exit, Result, guid_or_email, option, options, positive_number
from .context import Context
from .output import say
from .past import lines_of, past_of
from .show.dynamics import Dynamics

LIMIT = 100

_MORE = """\
What is known of it: when changes were received, what was sent to Marketo, for whom it was parked, refusals, retries,
dead letters, merges and deletions, what was written back, and what operators did; with the ids that the logs of Azure,
Dynamics and Marketo have. No values: names, codes and ids only. Any record's id will do, also of one that is deleted.

Without a record: who paused or resumed a queue, and who started, paused, resumed or cancelled a run, in a console or by
a command.

It is kept for HISTORY_DAYS days. A line may be missing: the sync never waits for the history.

Exit codes: 0 shown; 1 nothing is known of it, or one of the two systems could not say whose the address is; 2 nobody
has the address, or storage cannot be reached.
Next: msisync show person <id> says where a person stands now"""


async def run(context: Context, given: Namespace, progress: Console) -> Result:
    """Show it. Raises MsiSyncError when storage, or for an address both Dynamics and Marketo, does not answer."""
    with progress.status("Looking"):
        ids, unasked = await ids_of(context, given.record) if given.record else ([AT_LARGE], {})
        past = await past_of(context, ids)
    events = past.events[-given.limit :]
    data = {
        "query": given.record,
        "records": ids,
        "days": past.days,
        "since": past.since.isoformat() if past.since else None,
        "events": [event.as_json() for event in events],
        "more": len(past.events) - len(events),
        "nothing_because": _why_nothing(given.record, ids, past),
        "not_looked_at": unasked,
    }
    found = Exit.OK if events and not unasked else Exit.ATTENTION if ids else Exit.FAILED
    return Result(found, data, lambda console: _show(console, events, data))


async def ids_of(context: Context, query: str) -> tuple[list[str], dict[str, str]]:
    """The id itself, or those of the leads and contacts with this address, in Dynamics or, as keys, in Marketo.

    Also which of the two does not answer, and why: in an outage, the other one may know whose the address is. Raises
    what it says where nobody knows.
    """
    if guid := as_guid(query):
        return [guid], {}
    found: list[str] = []
    errors: dict[str, MsiSyncError] = {}
    for system, ids in (("Dynamics", _in_dynamics), ("Marketo", _in_marketo)):
        try:
            found += await ids(context, query)
        except (VendorError, SignInError) as error:
            errors[system] = error
    if errors and not found:
        raise next(iter(errors.values()))
    return list(dict.fromkeys(found)), {system: str(error) for system, error in errors.items()}


async def _in_dynamics(context: Context, query: str) -> list[str]:
    dynamics = Dynamics(context.dataverse, context.metadata, context.config)
    return [person.subject.id for person in await dynamics.find(query)]


async def _in_marketo(context: Context, query: str) -> list[str]:
    if not (address := normal(query)):  # one that Marketo would take for several
        return []
    key = context.marketo.key_of(PERSON)
    persons = await context.marketo.read(PERSON, "email", [address], ("id", "email", key))
    return [guid for person in persons if (guid := as_guid(str(person.get(key) or "")))]


def _why_nothing(query: str | None, ids: list[str], past: Past) -> str:
    if not query and past.since and not past.events:
        return f"Nobody has paused, resumed or started anything since {past.since}."
    if ids:
        return past.why_nothing
    return f"No lead or contact, and no person of Marketo with a Dynamics id, has the address {query}; give the id."


def _show(console: Console, events: list[Event], data: dict[str, Any]) -> None:
    for id_ in data["records"]:
        of_record = [event for event in events if event.id == id_]
        if of_record:
            title = "What operators did" if id_ == AT_LARGE else f"{of_record[-1].table} {id_}"
            console.print(f"[bold]{title}[/]")
        for event in of_record:
            for line in lines_of(event):
                say(console, f"  {line}")
    if data["more"]:
        say(console, f"{data['more']:,} earlier ones are not shown; see --limit")
    for system, why in data["not_looked_at"].items():
        say(console, f"! not looked at: {system}: {why}", "yellow")
    if data["nothing_because"]:
        say(console, data["nothing_because"], "yellow")


COMMAND = Command(
    "history",
    "show what happened to a record and when, or who paused and ran what",
    _MORE,
    run,
    options(
        option(
            "record",
            nargs="?",
            type=guid_or_email,
            help="GUID of any row that is synced, or a person's e-mail address; "
            "without it: pauses and runs, and who did that",
        ),
        option("--limit", type=positive_number, default=LIMIT, metavar="N", help=f"the last N events; default {LIMIT}"),
    ),
)
