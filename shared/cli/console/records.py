"""One record in both systems, as `msisync show --values` and `msisync history` find it; and its sync, now."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import urlencode

from ...model.entities import PERSON_TABLES, TABLES
from ...model.ids_and_times import as_guid
from ...sync.preview import Foreseen
from ..context import Context, not_told
from ..finding import Finding, attention, failed, ok
from ..output import Console
from ..preview import OF_ONE, foresee
from ..resync import send_rows
from ..show.command import MAX_MESSAGES, find_out
from ..show.facts import Person, Search, ValueRow
from ..show.text import not_looked_at, sections
from .jobs import Job
from .listing import look_again, name_of
from .page import Action, Lead, Page, Plan, View, Visit, leads

PATH = "/records"
#: Seconds in which the same record is not looked for again: that costs up to 12 Marketo calls.
FRESH_SECONDS = 15.0
#: Events of a history that are shown.
EVENTS = 100
WRONG = "That is neither a GUID nor an e-mail address."


async def show(visit: Visit) -> View:
    """The search, and what it has found. Raises ConfigurationError when settings or sync.toml cannot be used."""
    query = visit.word("q")
    guid = as_guid(query)
    values: dict[str, Any] = {
        "query": query,
        "wrong": WRONG if query and not guid and "@" not in query else "",
        "looked": None,
        "is_looking": False,
        "alike": _alike,
        "order": _in_order,
        "empty_ones": lambda rows: [row.field for row in rows if _is_empty(row)],
        "as_it_is": _as_it_is,
        "parents_of": _parents_of,
        "worth_showing": _worth_showing,
        "sync": SYNC.path,
        "sync_title": _title,
        "own_address": partial(address, query),
        "address_of": address,
        "look_again": "",
        "preview": None,
        "preview_of": "",
        "words": OF_ONE,
        "person_tables": PERSON_TABLES,
        "sections": sections,
        "not_looked_at": not_looked_at,
        "most_events": EVENTS,
    }
    if not query or values["wrong"]:
        return View("records.html", values)
    look = partial(find_out, visit.context, guid or query, MAX_MESSAGES, Console(quiet=True), values=True)
    latest = visit.looks.of(_key(guid or query), look, fresh=FRESH_SECONDS)
    look_again(visit, latest)
    looked = await latest.now()
    values |= {"looked": looked, "is_looking": latest.is_looking}
    values["look_again"] = address(query, after=name_of(looked)) if looked else ""
    table, id_ = visit.word("preview"), as_guid(visit.word("id"))
    if table in TABLES and id_:
        values["preview_of"] = id_
    if table in PERSON_TABLES and id_:
        foresees = partial(_foresee, visit.context, table, id_)
        foreseen = await visit.looks.of(("preview", table, id_), foresees, fresh=FRESH_SECONDS).now()
        values |= {"preview": foreseen[0] if foreseen else None, "is_looking": latest.is_looking or foreseen is None}
    return View("records.html", values)


def _key(query: str) -> tuple[str, str]:
    """Of the look at what is asked for, however it is written."""
    return "record", query.casefold()


async def _foresee(context: Context, table: str, id_: str) -> tuple[Foreseen | None]:
    return (await foresee(context, table, id_),)


def _worth_showing(search: Search) -> list[Person]:
    """Who was found; who is in neither system only if nothing else was found."""
    return [person for person in search.persons if person.row or not search.others]


def address(query: str, **more: str) -> str:
    """The page of a query."""
    return f"{PATH}?{urlencode({'q': query, **more})}"


def _is_empty(row: ValueRow) -> bool:
    """Whether there is nothing to be seen of it."""
    values = (*row.dynamics.values(), row.sent, row.marketo)
    return not row.differs and not row.note and all(value in (None, "") for value in values)


def _in_order(rows: Sequence[ValueRow]) -> list[ValueRow]:
    """What is to be shown line by line: differences first, then as in sync.toml."""
    return sorted((row for row in rows if not _is_empty(row)), key=lambda row: not row.differs)


def _alike(row: ValueRow) -> bool:
    """Whether both sides look alike, so that one stands for both."""
    return len(row.dynamics) == 1 and _shows(row, row.marketo)


def _as_it_is(row: ValueRow) -> bool:
    """Whether what is sent looks as what Dynamics has."""
    return not row.is_sent or _shows(row, row.sent)


def _parents_of(person: Person) -> dict[str, str]:
    """The ids of the records that its links lead to, by field."""
    return {link.field: link.parent.id for link in person.relations if link.parent}


def _shows(row: ValueRow, value: Any) -> bool:
    """Whether this is what the row has, which names the record behind a link before its id."""
    return any(str(has) == str(value) or str(has).endswith(f"({value})") for has in row.dynamics.values())


def _title(table: str, id_: str) -> str:
    return f"Sync {table} {id_} now"


async def _plan(visit: Visit) -> Plan:
    table, id_ = visit.word("table"), as_guid(visit.word("id"))
    if table not in TABLES or not id_:
        return Plan("Sync a record now", nothing="The address names no record.")
    details = [
        "Marketo gets every field again, even when msisync believes that it has them.",
        "The sync filter of sync.toml decides as always.",
    ]
    do = partial(_sync, visit, table, id_)
    return Plan(_title(table, id_), do, details, [("table", table), ("id", id_)], back=address(id_))


async def _sync(visit: Visit, table: str, id_: str, job: Job) -> Finding:
    sent, unknown, why_not = await send_rows(visit.context, table, [id_])
    visit.looks.outdate(_key(id_))
    job.advance(sent.total(), 1)
    if unknown:
        return failed(f"{table} {id_} is not in Dynamics", "")
    if why_not:
        return attention(f"sent; {not_told(why_not)}", "")
    return ok(f"{table} {id_} is on its queue; its page shows how it goes on", "")


SYNC = Action("/records/sync", PATH, _plan)
PAGE = Page(
    PATH, "Records", show, (SYNC,), lead=leads(Lead(PATH, "Records"), "msisync show person", "msisync show record")
)
