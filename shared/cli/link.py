"""`msisync link`: says which person of Marketo a row of Dynamics is, where the sync cannot tell.

The key is written as the app writes it: under the lease of the persons, and after a look that was made under it. So
the app can neither create another person for the row between the two, nor let another row adopt this one. After the
write the row finds its person by its key, as any row does that was synced before.
"""

from __future__ import annotations

import json
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rich.console import Console

from ..marketo.client import Write
from ..model.entities import PERSON, PERSON_TABLES
from ..model.errors import MsiSyncError, NotNowError
from ..sync.history import What
from ..sync.matches import AMBIGUOUS, Match, match_of
from .command import Command, Exit, Result, guid, option, options, positive_number
from .context import Context
from .dead_letters.look import filters
from .dead_letters.replay import replay
from .entity_words import as_table
from .finding import Finding, Severity, attention, failed, ok
from .invocation import again
from .operator import did
from .output import say
from .progress import steps
from .resync import forced, send
from .show.dynamics import Dynamics
from .show.facts import Subject

#: An operator waits for the write no longer than that.
WRITE_SECONDS = 60.0

_MORE = """\
For rows whose dead letter is AmbiguousPerson, because several persons of Marketo have their e-mail address, and for
rows whose person has another address. Shows personal data.

It looks whether both are there, whether the row is to be synced, and whether neither of them is linked to another one.
--apply writes the row's id into the person, sends the row to be synced, and with it its dead letter AmbiguousPerson.

Exit codes: 0 linked, or linked already; 1 a dry run with something to do; 2 refused, or it could not be done.
Next: msisync show person <id>"""


@dataclass(frozen=True, slots=True)
class Sides:
    """What the two systems have. `elsewhere`: the table that has the row's id, where it is not the one that was named.

    `person`: the one that is meant, with its address; None: there is none. `holders`: the persons that have the row's
    id.
    """

    row: Subject
    elsewhere: str = ""
    person: Match | None = None
    email: str = ""
    holders: Sequence[int] = ()


def judge(sides: Sides, number: int) -> Finding:
    """Whether the row can be linked to Marketo's person `number`, or is; else why not."""
    return _unfit(sides, number) or _taken(sides, number) or _fit(sides, number)


def _named(row: Subject) -> str:
    """A row as it is told of: contact ID (Ann Lee, ann@x.com)."""
    known = ", ".join(filter(None, [row.name, row.email]))
    return f"{row.table} {row.id}" + (f" ({known})" if known else "")


def _unfit(sides: Sides, number: int) -> Finding | None:
    """What speaks against the row, and the command that links another one to this person instead."""
    row, name, elsewhere = sides.row, _named(sides.row), sides.elsewhere
    if not row.exists:
        where = f"it is a {elsewhere}: msisync link {elsewhere} {row.id} {number}" if elsewhere else ""
        remedy = where or "check the id, and that the sync user may read the row"
        return failed(f"Dynamics has no {name}", remedy, code="NoRow")
    if row.kept_out:
        remedy = "change the row, or the filter of sync.toml, if it is to be synced"
        return failed(f"{name} is excluded from the sync: {row.kept_out}", remedy, code="Filtered")
    if row.qualified:
        instead = f"msisync link {row.winner or 'contact ID'} {number}"
        return failed(f"{name} was qualified: its contact goes on as its person", instead, code="Qualified")
    if row.winner:
        return failed(f"{name} was merged into {row.winner}", f"msisync link {row.winner} {number}", code="Merged")
    return None


def _taken(sides: Sides, number: int) -> Finding | None:
    """What speaks against the person, or for another one."""
    row, person = sides.row, sides.person
    if person is None:
        remedy = "check the id: of persons that were merged, only one keeps it; msisync must see the person's partition"
        return failed(f"Marketo has no person {number}", remedy, code="NoPerson")
    if person.key and person.key != row.id:
        remedy = f"see whose it is: msisync show person {person.key}"
        return failed(f"Marketo's person {number} has another Dynamics id: {person.key}", remedy, code="OtherRow")
    if others := [str(other) for other in sides.holders if other != number]:
        text = f"{_named(row)} is in Marketo already, as person {', '.join(others)}"
        return failed(text, f"if person {number} is the same human, merge the two in Marketo", code="OtherPerson")
    return None


def _fit(sides: Sides, number: int) -> Finding:
    name, email = _named(sides.row), sides.email or "no e-mail address"
    if sides.person and sides.person.key:
        return ok(f"{name} is Marketo's person {number} ({email})", code="AlreadyLinked")
    return attention(f"{name} is not linked yet to Marketo's person {number} ({email})", "", code="NotLinked")


async def run(context: Context, given: Namespace, progress: Console) -> Result:
    """Link the two, or say what would be done. Raises MsiSyncError when one of the systems does not answer."""
    with progress.status("Looking at both"):
        sides = await _row(context, given.table, given.id)
        finding = judge(await _sides(context, sides, given.person), given.person)
        if given.apply and finding.code == "NotLinked":
            done = steps(progress, "done (linked, sent to be synced)", 2)
            finding = await _link(context, sides, given.person)
            done.count = int(finding.severity is Severity.OK)
    remedy = again("--apply") if finding.code == "NotLinked" else finding.remedy
    data: dict[str, Any] = {
        "applied": bool(given.apply and finding.severity is Severity.OK),
        "table": given.table, "id": given.id, "marketo_id": given.person,
        "verdict": {"code": finding.code, "sentence": finding.text, "remedy": remedy},
        "dead_letters": 0, "sent": False, "not_sent_because": "",
    }  # fmt: skip
    if data["applied"]:
        data |= await _send_on(context, given, progress)
    found = Exit.FAILED if data["not_sent_because"] else finding.exit
    return Result(found, data, lambda console: _show(console, finding, data))


async def _row(context: Context, table: str, id_: str) -> Sides:
    """What Dynamics has."""
    dynamics = Dynamics(context.dataverse, context.metadata, context.config)
    found = {person.subject.table: person for person in await dynamics.find(id_)}
    person = found.get(table)
    if person is None:
        return Sides(Subject(table, id_, exists=False), next(iter(found), ""))
    person.subject.email = str(person.details.get("email") or "")
    return Sides(person.subject)


async def _sides(context: Context, sides: Sides, number: int) -> Sides:
    """With what Marketo has of both; costs two calls. Nothing is asked for a row that cannot be linked."""
    if _unfit(sides, number):
        return sides
    marketo = context.marketo
    key = marketo.key_of(PERSON)
    fields = ("id", "email", key)
    rows = [each for each in await marketo.read(PERSON, "id", [str(number)], fields) if each.get("id") == number]
    holders = [
        match for each in await marketo.read(PERSON, key, [sides.row.id], fields) if (match := match_of(each, key))
    ]
    person, email = (match_of(rows[0], key), str(rows[0].get("email") or "")) if rows else (None, "")
    return replace(sides, person=person, email=email, holders=[match.id for match in holders])


async def _link(context: Context, sides: Sides, number: int) -> Finding:
    """Write the key, and see that it is there."""
    row = sides.row
    sending = context.leases.of(PERSON.name)
    key = context.marketo.key_of(PERSON)
    try:
        async with sending.held():
            finding = judge(await _sides(context, sides, number), number)
            if finding.code != "NotLinked":
                return finding
            body = json.dumps({"id": number, key: row.id}).encode()
            begin, deadline = partial(sending.begin, [row.id]), time.monotonic() + WRITE_SECONDS
            (result,) = await context.marketo.write(PERSON, [body], Write.BY_ID, deadline=deadline, begin=begin)
            sending.ended([row.id])
            if result.code:
                return failed(
                    f"Marketo refused it: {result.code}, {result.message}", "run msisync doctor", code="Refused"
                )
            finding = judge(await _sides(context, sides, number), number)
    except NotNowError as error:
        busy = f"{error.message}; try again in a minute, or stop the sync of persons meanwhile: msisync pause person"
        raise MsiSyncError(error.code, busy if error.code != "StorageAway" else error.message) from None
    if finding.code != "AlreadyLinked":
        text = f"Marketo took it, but it is not as it should be: {finding.text}"
        return failed(text, finding.remedy, code="NotStored")
    did(context, What.LINK, [(row.table, row.id)], marketo_id=number)
    return ok(finding.text.replace(" is Marketo's", " is now Marketo's", 1), code="Linked")


async def _send_on(context: Context, given: Namespace, progress: Console) -> dict[str, Any]:
    """Have the row synced: by its dead letter, if it has one, which goes with it."""
    wanted = filters("--id", given.id, "--code", AMBIGUOUS, apply=True, max=0, again=True)
    try:
        replayed = await replay(context, wanted, progress)
        if not replayed.data["went"]:
            await send(context, [forced(given.table, given.id)])
    except MsiSyncError as error:
        return {"not_sent_because": f"{error.code}: {error.message}"}
    return {"dead_letters": replayed.data["went"], "sent": True}


def _show(console: Console, finding: Finding, data: Mapping[str, Any]) -> None:
    say(console, f"{finding.text}.", finding.severity.colour)
    row = f"{data['table']} {data['id']}"
    if finding.severity is Severity.FAILED:
        say(console, f"  next: {finding.remedy}")
    elif finding.code == "NotLinked":
        say(console, f"Nothing has been changed. To link them: {data['verdict']['remedy']}")
    elif data["not_sent_because"]:
        say(console, f"It could not be sent to be synced: {data['not_sent_because']}", "red")
        say(console, f"  next: msisync resync {row}")
    elif data["sent"]:
        letters = ", and its dead letter is gone" if data["dead_letters"] else ""
        say(console, f"It is on its way to be synced{letters}. To see it: msisync show person {data['id']}")


COMMAND = Command(
    "link",
    "say which person of Marketo a row of Dynamics is",
    _MORE,
    run,
    options(
        option("table", type=as_table, choices=list(PERSON_TABLES), help="contact or lead"),
        option("id", type=guid, help="id of the row in Dynamics"),
        option("person", type=positive_number, metavar="marketo-id", help="id of the person in Marketo"),
        option("--apply", action="store_true", help="do it; without it nothing is changed"),
    ),
)
