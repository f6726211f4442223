"""`msisync show`: follows one lead or contact, or another row, through Dynamics, the queues, storage and Marketo.

The guide's own diagnosis, a lead whose external fields are empty or wrong, and everything that may be behind it. Reads
only. What is asked first is what a record leaves first, so that a record on the move is met somewhere.
"""

from __future__ import annotations

import asyncio
from argparse import Namespace
from collections.abc import Coroutine, Iterable
from datetime import timedelta
from typing import Any

from rich.console import Console

from ...model.entities import OPPORTUNITY, OPPORTUNITY_ROLE, PERSON
from ...model.errors import MsiSyncError, StorageUnavailableError
from ...model.ids_and_times import as_guid
from ...write_back.plan import Plans
from ..command import Command, Result, guid_or_email, option, options, positive_number
from ..context import Context
from ..finding import Finding
from ..output import json_types
from . import elsewhere, marketo, past, queues, roles, storage
from .dynamics import Dynamics
from .facts import Person, Search, Subject
from .text import render
from .values import side_by_side
from .verdict import judge

MAX_MESSAGES = 5000
_STORAGE = "Table Storage"

_MORE = """\
Shows personal data. Looks into the queues without taking anything: of a session queue, only while the app does not
work on it. Spends at most 10 Marketo calls.

Exit codes: 0 synced, or excluded by the filter; 1 on its way, or a role was not sent; 2 stuck, or not found.
Next: the verdict says what to do. If many records are stuck, begin with: msisync doctor"""


async def run(context: Context, given: Namespace, progress: Console) -> Result:
    """Find everything out about one person. Raises ConfigurationError when settings or sync.toml cannot be used."""
    search = await find_out(context, given.person, given.max_messages, progress, values=given.values)
    worst = max((person.verdict for person in search.persons), key=lambda verdict: verdict.exit)
    return Result(worst.exit, as_json(given.person, search, worst), lambda console: render(console, search))


async def find_out(
    context: Context, query: str, max_messages: int, progress: Console, *, values: bool = False
) -> Search:
    """All about who is asked for, and where they stand; what does not answer is noted, and the rest is found out.

    `values`: also their fields on both sides, and what the columns hold that take Marketo's fields.
    """
    config, burst = context.config, timedelta(seconds=context.settings.sync.burst_window)
    search = Search(burst=burst, lifecycle=config.lifecycle)
    if values:
        plans = Plans(config, context.metadata, context.marketo, context.state, now=lambda: search.at, reads_only=True)
        search.insight = await _asked(search, "Sales Insight's fields", plans.targets()) or {}
    also = {table: [target.column for target in targets] for table, targets in search.insight.items()}
    dynamics = Dynamics(context.dataverse, context.metadata, config, also=also)
    async with queues.Looking(context, search, max_messages) as looking:
        with progress.status("Asking Dynamics"):
            signing_in = _asked(search, "Marketo", context.marketo.auth.token())  # which takes as long
            await asyncio.gather(_ask_dynamics(context, search, dynamics, query), signing_in)
        with progress.status("Asking Table Storage"):
            await asyncio.gather(
                _asked(search, _STORAGE, storage.look_at_parked(context.parked, search)),
                _asked(search, _STORAGE, storage.look_at_left_out(context.state, search)),
            )
        entities = _entities(search)
        with progress.status("Looking into the queues"):
            await asyncio.gather(
                looking.look(entities),
                _asked(search, "Marketo", marketo.prepare(context.schema, config.tables.keys(), search)),
                _asked(search, "The history", past.look(context, search), of=_STORAGE),
            )
        with progress.status("Asking Marketo"):
            await _asked(search, "Marketo", marketo.look(context.marketo, search, query))
        if missing := {role.opportunity for role in search.missing}:
            with progress.status("Looking for the opportunities"):
                await _asked(search, _STORAGE, storage.look_at_deals(context.parked, search, missing))
                further = {OPPORTUNITY.name, OPPORTUNITY_ROLE.name, *_waited_for(search.deals.values())} - entities
                await looking.look(further)
    await _asked(search, "Marketo", marketo.compare(context.marketo, search))
    await _look_elsewhere(context, query, search)
    for person in search.persons:
        person.verdict = judge(person.subject, search)
        person.values = side_by_side(person, config, search.insight) if values else None
    return search


async def _look_elsewhere(context: Context, query: str, search: Search) -> None:
    """Whose id it is, where it is no lead's or contact's."""
    guid = as_guid(query)
    if guid and not any(person.row for person in search.persons) and "Dynamics" not in search.troubles:
        search.others = await _asked(search, "Other tables", elsewhere.find(context, guid)) or []


async def _ask_dynamics(context: Context, search: Search, dynamics: Dynamics, query: str) -> None:
    """Who it is, and what belongs to it; meanwhile, what the app has noted of itself."""
    schedule = context.environment.get("RELEASE_SCHEDULE", "")
    found, _ = await asyncio.gather(
        _asked(search, "Dynamics", dynamics.find(query)),
        _asked(search, _STORAGE, storage.look_at_app(context.state, context.budget, search, schedule)),
    )
    guid = as_guid(query)
    stranger = Subject("", guid, "" if guid else query, exists=None if found is None else False)
    search.persons = found or [Person(stranger)]
    await asyncio.gather(
        _asked(search, "Dynamics", roles.look(dynamics, context.config, search)),
        _asked(search, "Dynamics", dynamics.relate(search)),
    )
    await _asked(search, "Dynamics", dynamics.look_up(search))


async def _asked(search: Search, what: str, work: Coroutine[Any, Any, Any], *, of: str = "") -> Any:
    """The answer, or None and a note of why there is none. Who did not answer is not asked again, after another wait.

    `of`: who is asked, where that is not what is asked for.
    """
    if (of or what) in search.troubles:
        work.close()
        return None
    try:
        return await work
    except MsiSyncError as error:
        for name in (what, _STORAGE) if isinstance(error, StorageUnavailableError) else (what,):
            search.troubles[name] = f"{error.code}: {error.message}"
        return None


def _entities(search: Search) -> set[str]:
    """Whose queues may hold what the persons, or the parents that they wait for, depend on."""
    of_persons = _waited_for(person.subject for person in search.persons)
    return {PERSON.name, search.entity.name, *of_persons, *_waited_for(search.parents.values())}


def _waited_for(subjects: Iterable[Subject]) -> set[str]:
    """The entities of the parents that these wait for."""
    return {parked.parent.entity for subject in subjects for parked in subject.parked}


def as_json(query: str, search: Search, worst: Finding) -> dict[str, Any]:
    """Everything that was found, as JSON types; personal data is there on purpose, secrets never are."""
    missing = {role.opportunity for role in search.missing}
    deals = [json_types(deal) for id_, deal in search.deals.items() if id_ in missing]
    unanswered = [{"queue": system, "why": why} for system, why in search.troubles.items()]
    return {
        "query": query,
        "verdict": _verdict(worst),
        "persons": [_person_as_json(person) for person in search.persons],
        "parents": [{"entity": parent.entity, **json_types(subject)} for parent, subject in search.parents.items()],
        "opportunities": deals,
        "looked_at": search.looked_at,
        "not_looked_at": [*json_types(search.unseen), *unanswered],
    }


def _person_as_json(person: Person) -> dict[str, Any]:
    """`verdict` comes first; `values` are there where they were asked for."""
    data: dict[str, Any] = {"verdict": {}} | json_types(person)
    data |= {"verdict": _verdict(person.verdict), "history": [each.as_json() for each in person.history]}
    if person.values is None:
        del data["values"]
    return data


def _verdict(verdict: Finding) -> dict[str, Any]:
    return {"code": verdict.code, "exit": verdict.exit, "sentence": verdict.text, "remedy": verdict.remedy}


_OPTIONS = options(
    option(
        "--max-messages",
        type=positive_number,
        default=MAX_MESSAGES,
        metavar="N",
        help=f"look at no more messages of a queue than these; default {MAX_MESSAGES}",
    ),
    option(
        "--values",
        action="store_true",
        help="field by field: what Dynamics has, what would be sent now, what Marketo has; Sales Insight's fields too",
    ),
)
COMMAND = Command(
    "show person", "follow one lead or contact, and say where it stands and why", _MORE, run,
    options(option("person", type=guid_or_email, help="GUID of a lead or contact, or an e-mail address"), _OPTIONS),
)  # fmt: skip
RECORD = Command(
    "show record", "follow one account, opportunity or user, and say where it stands and why", _MORE, run,
    options(
        option("person", metavar="id", type=guid_or_email, help="GUID of any row with a record of its own in Marketo"),
        _OPTIONS,
    ),
)  # fmt: skip
