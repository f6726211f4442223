"""What `msisync show` prints for people: the verdict, then what it rests on. Lines stay readable in a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from rich.console import Console, Group
from rich.markup import escape

from ...model.entities import PERSON
from ...model.record import timestamp
from ...sync.matches import AMBIGUOUS
from ..dead_letters.text import cut
from ..output import section
from . import past
from .facts import Person, Relation, Search, ValueRow

#: So much of a value is shown; --json has all of it.
_LONGEST = 200


def render(console: Console, search: Search) -> None:
    """Print everything that was found."""
    for person in search.persons:
        verdict, rows = person.verdict, person.values or ()
        console.print(f"[bold {verdict.severity.colour}]{verdict.code}[/] {escape(verdict.text)}")
        if verdict.remedy:
            console.print(f"  [bold]next:[/] {escape(verdict.remedy)}")
        if search.others and not person.row:  # the verdict says whose id it is
            console.print()
            continue
        of_person = [
            *sections(person),
            ("History", past.lines(person)),
            ("Values, those that differ with *", _values([row for row in rows if not row.back])),
            ("Values that Sales Insight writes into Dynamics", _values([row for row in rows if row.back])),
        ]
        for title, lines in of_person:
            console.print(Group(*section(title, lines)))
        console.print()
    looked_at = [f"{place}: {count}" for place, count in search.looked_at.items()]
    console.print(Group(*section("Messages looked at", looked_at), *section("Not looked at", not_looked_at(search))))


def sections(person: Person) -> Iterator[tuple[str, Iterable[str]]]:
    """What the verdict rests on, as lines under titles; some may have none."""
    yield "Dynamics", _dynamics(person)
    yield "On its way", _on_its_way(person)
    yield "Marketo", _marketo(person)
    yield "Opportunity roles", _roles(person)
    yield "Notes", person.notes


def _dynamics(person: Person) -> Iterator[str]:
    subject = person.subject
    if not subject.exists:
        nobody = "no lead, contact or other row that is synced" if subject.id else "no such lead or contact"
        yield "could not be asked" if subject.exists is None else nobody
        return
    no_mail = "no e-mail" if subject.entity is PERSON else ""
    about = [subject.name or "without name", person.details["email"] or no_mail]
    yield f"{subject.table} {subject.id}: {', '.join(filter(None, about))}"
    yield f"{person.details['state']}, modified {person.details['modifiedon'] or 'at an unknown time'}"
    yield f"filter: {subject.kept_out or 'to be synced'}"
    if subject.winner:
        yield f"{'qualified' if subject.qualified else 'merged'} into {subject.winner}"
    if person.origin:
        yield f"comes from lead {person.origin}"
    for relation in person.relations:
        yield from _relation(relation)


def _relation(relation: Relation) -> Iterator[str]:
    what = "sales person" if relation.field == "externalSalesPersonId" else "company"
    if relation.parent is None:
        yield f"{what}: none; {relation.how}"
        return
    yield f"{what}: {relation.name or 'without name'} ({relation.parent.table} {relation.parent.id}), {relation.how}"
    known = [_yes("in Dynamics", relation.exists), _yes("in Marketo", relation.in_marketo)]
    known += [f"not synced: {relation.kept_out}"] if relation.kept_out else []
    if relation.email or relation.email_in_marketo:
        known.append(f"e-mail {relation.email or 'none'}, in Marketo {relation.email_in_marketo or 'none'}")
    yield f"  {'; '.join(known)}"


def _on_its_way(person: Person) -> Iterator[str]:
    for each in person.subject.waiting:
        due = f", not before {timestamp(each.due)}" if each.due else ""
        tries = f", {each.attempt} counted tries" if each.attempt else ""
        what = f"notification {each.notification}" if each.notification else "record"
        yield f"{each.queue}: {what}, first seen {_moment(each.first_seen)}{due}{tries}"
    for letter in person.subject.letters:
        yield f"{letter.address or letter.queue}: {letter.code} ({letter.system or 'unknown'}), {letter.message}"
        yield f"  from {letter.source_queue}, first seen {_moment(letter.first_seen)}, attempts {letter.attempts}"
    for parked in person.subject.parked:
        check = f", next look at {timestamp(parked.next_check)}" if parked.next_check else ""
        what = "in Marketo without the link to" if parked.linked_later else "waits for"
        yield f"parked since {timestamp(parked.since)}: {what} {parked.parent.entity} {parked.parent.id}{check}"
        if parked.cause:
            yield f"  which will not come until this is fixed: {parked.cause.code}, {parked.cause.message}"
    if person.children:
        more = " or more" if person.children >= 1000 else ""
        yield f"{person.children}{more} {'record waits' if person.children == 1 else 'records wait'} for this one"


def _marketo(person: Person) -> Iterator[str]:
    if person.subject.in_marketo is None:
        yield "could not be asked"
    elif not person.records:
        yield "no record with its key"
    for record in person.records:
        yield f"record {_record(record)}"
    yield from _identity(person)
    for difference in person.subject.differences or ():
        why = f" ({difference.why})" if difference.why else ""
        yield f"differs: {difference.field} is {_value(difference.actual)}, expected {_value(difference.expected)}{why}"
    for record in person.same_email:
        yield f"same e-mail: record {_record(record)}"


def _identity(person: Person) -> Iterator[str]:
    """Whose person it is too, and who else it may be."""
    subject, lead = person.subject, f"lead {person.origin}"
    if person.origin_person == 0 and person.records:
        yield f"continues {lead}, which has no person of its own"
    elif person.origin_person and person.records:
        yield f"{lead} has a person of its own, {person.origin_person}: merge it into this one in Marketo"
    elif person.origin_person:
        yield f"its next sync continues the person of {lead}: {person.origin_person}"
    if subject.lookalikes and any(letter.code == AMBIGUOUS for letter in subject.letters):
        ids = ", ".join(map(str, subject.lookalikes))
        yield f"may be person {ids}: msisync link {subject.table} {subject.id} MARKETO_ID"


def _record(record: dict[str, Any]) -> str:
    shown = {name: value for name, value in record.items() if name.startswith("external") or name.endswith("At")}
    facts = ", ".join(f"{name} {_value(value)}" for name, value in shown.items())
    return f"{record['id']}: {facts}" if "id" in record else facts


def _roles(person: Person) -> Iterator[str]:
    for role in person.roles:
        there = {"Dynamics": role.expected, "Marketo": role.actual}
        where = " and ".join(system for system, has_it in there.items() if has_it) or "neither"
        yield f"{role.role} in {role.name or role.opportunity}: in {where}{f'; {role.why}' if role.why else ''}"


def _values(rows: Iterable[ValueRow]) -> Iterator[str]:
    """A field in one line; on several, where the sides differ."""
    for row in rows:
        has = " / ".join(_short(value) for value in row.dynamics.values()) or _short(None)
        note = f" ({row.note})" if row.note else ""
        if not row.differs:
            wanted = f" → {_short(row.sent)}" if row.is_sent and _short(row.sent) != has and not row.back else ""
            yield f"  {row.field}: {_short(row.marketo) if row.back else has}{wanted}{note}"
            continue
        yield f"* {row.field}{note}"
        yield f"    Dynamics  {has}  ({', '.join(row.dynamics)})" if row.dynamics else f"    Dynamics  {has}"
        yield f"    {'to write' if row.back else 'to send '}  {_short(row.sent)}"
        yield f"    Marketo   {_short(row.marketo)}"


def _short(value: Any) -> str:
    return cut(_value(value), _LONGEST)


def not_looked_at(search: Search) -> Iterator[str]:
    """What could not be asked, and why."""
    for each in search.unseen:
        counts = "" if each.active is None else f"; the broker counts {each.active} waiting, {each.scheduled} scheduled"
        yield f"{each.queue}: {each.why}{counts}"
    for name, why in search.troubles.items():
        yield f"{name}: {why}"


def _yes(what: str, known: bool | None) -> str:
    return f"{what}: {'unknown' if known is None else 'yes' if known else 'no'}"


def _value(value: Any) -> str:
    return "empty" if value in (None, "") else str(value)


def _moment(moment: datetime | None) -> str:
    return timestamp(moment) if moment else "at an unknown time"
