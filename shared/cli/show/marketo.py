"""What `msisync show` asks Marketo, and how its records differ from what the engine would send now.

Eight calls at most for one person: the lead's description, records by key and by e-mail, the person of the lead that a
contact comes from, companies, sales persons, roles, and the opportunities of roles that are missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from ...marketo.client import MAX_FILTER_VALUES, MarketoClient
from ...model.entities import COMPANY, OPPORTUNITY, OPPORTUNITY_ROLE, PERSON, PERSON_TABLES, SALES_PERSON, Entity
from ...model.errors import ConfigurationError
from ...model.outcome import COMPANY_FIELD, of_company
from ...sync.equality import same
from ...sync.schema import Schema
from .facts import SALES_PERSON_EMAIL, Difference, Person, Relation, Role, Search

_TAB = "Data may not show in the Marketo tab in Dynamics if the e-mails do not match (guide)"
_STAYS = "Marketo cannot take a record from a company, only move it to another one"


async def prepare(schema: Schema, tables: Collection[str], search: Search) -> None:
    """Fill in what the engine would send now. Raises as MarketoClient does.

    It asks for Marketo's schema, and for no record: it may come before the queues are looked into. `tables` are those
    that sync.toml maps.
    """
    await _map(schema, tables, search)
    search.flag = await _deleted_flag(schema, tables)


async def look(marketo: MarketoClient, search: Search, query: str) -> None:
    """Fill in Marketo's side of the records and their parents. Raises as MarketoClient does."""
    if search.entity is PERSON:
        await _look_for_persons(marketo, search, query)
    else:
        fields = _fields(marketo, search.entity, search.persons)
        await asyncio.gather(_read_parents(marketo, search), _read_by_key(marketo, search, fields))


async def _look_for_persons(marketo: MarketoClient, search: Search, query: str) -> None:
    """They are found by their addresses too, and have roles."""
    insight = [target.field for targets in search.insight.values() for target in targets]
    mapped = _fields(marketo, PERSON, search.persons)
    fields = tuple(dict.fromkeys(["id", "email", *mapped, *filter(None, [search.flag]), *insight]))
    _, _, with_email, _ = await asyncio.gather(
        _read_parents(marketo, search),
        _read_by_key(marketo, search, fields),
        _read_by_email(marketo, search.persons, fields, query),
        _read_origins(marketo, search.persons),
    )
    _tell_apart(marketo, search.persons, with_email)
    await _read_roles(marketo, search.persons)
    for person in search.persons:
        person.subject.flagged = bool(search.flag) and any(row.get(search.flag) is True for row in _found(person))


async def compare(marketo: MarketoClient, search: Search) -> None:
    """Look for the opportunities of roles that are missing, and note what differs. Raises as MarketoClient does."""
    missing = sorted({role.opportunity for role in search.missing})
    there = await marketo.find(OPPORTUNITY, missing[:MAX_FILTER_VALUES]) if missing else {}
    for id_, deal in search.deals.items():
        deal.in_marketo = int(id_ in there)
    for person in search.persons:
        person.roles = [_explained(role, there) for role in person.roles]
        if person.mapped is not None and (person.relations or not person.subject.entity.links):
            person.subject.differences = list(differences(person))


async def _deleted_flag(schema: Schema, tables: Collection[str]) -> str:
    """The field of persons whose rows are deleted, if there is one: costs nothing where sync.toml names none."""
    table = next((table for table in PERSON_TABLES if table in tables), "")
    if not table or not schema.config.lifecycle.deleted_flag:
        return ""
    try:
        return (await schema.of(table)).deleted_flag
    except ConfigurationError:  # what is wrong is told of the mapping
        return ""


def _found(person: Person) -> list[dict[str, Any]]:
    """Marketo's records of a person: by its key, or by the address if that is all that is known."""
    return person.records if person.subject.id else person.same_email


async def _map(schema: Schema, tables: Collection[str], search: Search) -> None:
    """What the engine would send now for each person, without the relations."""
    for person in search.persons:
        if person.subject.table not in tables or not person.row:
            continue
        try:
            found = await schema.of(person.subject.table)
            person.mapped, left_out = found.record(person.subject.id, person.row)
            person.fields = tuple(sorted(found.fields.names))
            by_mapping = {each.field: each for each in left_out}
            if any(relation.field == COMPANY.key and relation.parent for relation in person.relations):
                for name in found.company_fields_in(person.mapped):  # the company has them
                    if person.mapped.pop(name) is not None:
                        by_mapping[name] = of_company(name)
            noted = [each for each in person.subject.left_out if each.by_marketo or each.code == COMPANY_FIELD]
            person.subject.left_out = [*by_mapping.values(), *(each for each in noted if each.field not in by_mapping)]
        except ConfigurationError as error:
            search.troubles["the mapping"] = error.message


async def _read_parents(marketo: MarketoClient, search: Search) -> None:
    companies = {parent.id for parent in search.parents if parent.entity == COMPANY.name}
    sellers = {parent.id for parent in search.parents if parent.entity == SALES_PERSON.name}
    there: dict[str, str] = {}
    asked = [each for each in ((COMPANY, companies, ()), (SALES_PERSON, sellers, ("email",))) if each[1]]
    answers = await asyncio.gather(
        *(marketo.read(e, e.key, sorted(ids), (e.key, *more), unique=True) for e, ids, more in asked)
    )
    for (entity, *_), rows in zip(asked, answers, strict=True):
        there |= {str(row[entity.key]).lower(): str(row.get("email") or "") for row in rows}
    for parent, subject in search.parents.items():
        subject.in_marketo = int(parent.id in there)
    for relation in (relation for person in search.persons for relation in person.relations):
        if relation.parent:
            relation.in_marketo = relation.parent.id in there
            relation.email_in_marketo = there.get(relation.parent.id, "")


def _fields(marketo: MarketoClient, entity: Entity, persons: Iterable[Person]) -> tuple[str, ...]:
    """The fields to ask for: what is mapped, and the keys."""
    links = [link.field for link in entity.links]
    mapped = [name for person in persons for name in (*(person.mapped or ()), *person.fields)]
    return tuple(dict.fromkeys([marketo.key_of(entity), *links, "createdAt", "updatedAt", *mapped]))


async def _read_by_key(marketo: MarketoClient, search: Search, fields: tuple[str, ...]) -> None:
    key = marketo.key_of(search.entity)
    ids = sorted({person.subject.id for person in search.persons if person.subject.id})
    rows = await marketo.read(search.entity, key, ids, fields) if ids else []
    for person in search.persons:
        if person.subject.id:
            person.records = [row for row in rows if str(row.get(key)).lower() == person.subject.id]
            person.subject.in_marketo = len(person.records)


async def _read_by_email(
    marketo: MarketoClient, persons: list[Person], fields: tuple[str, ...], query: str
) -> list[dict[str, Any]] | None:
    """Records with the e-mail: the address that was asked for, else the row's. None: there is none to ask for."""
    email = query if "@" in query else next((e for p in persons if (e := p.details.get("email"))), "")
    if not email or "," in email:  # a comma cannot be asked for (marketo.md 5.3)
        return None
    return await marketo.read(PERSON, "email", [email], fields, unique=True)


def _tell_apart(marketo: MarketoClient, persons: list[Person], rows: list[dict[str, Any]] | None) -> None:
    """Note the others among those with the e-mail."""
    key = marketo.key_of(PERSON)
    for person in persons if rows is not None else ():
        own = {row.get("id") for row in person.records}
        person.same_email = [row for row in rows or () if row.get("id") not in own]
        person.subject.lookalikes = [row["id"] for row in person.same_email if not row.get(key)]
        if not person.subject.id:
            person.subject.in_marketo = len(rows or ())


async def _read_origins(marketo: MarketoClient, persons: list[Person]) -> None:
    """The persons that the leads have of which these contacts come."""
    if origins := sorted({person.origin for person in persons if person.origin}):
        there = await marketo.find(PERSON, origins)
        for person in persons:
            person.origin_person = there.get(person.origin, 0) if person.origin else None


async def _read_roles(marketo: MarketoClient, persons: list[Person]) -> None:
    """Complete each person's roles, which so far are those of Dynamics, with those of Marketo."""
    owners = {int(row["id"]): person for person in persons for row in person.records}
    if not owners:
        return
    ids = [str(id_) for id_ in list(owners)[:MAX_FILTER_VALUES]]
    rows = await marketo.read(OPPORTUNITY_ROLE, "leadId", ids, OPPORTUNITY_ROLE.dedupe_fields)
    for person in persons:
        mine = [row for row in rows if owners.get(int(row["leadId"])) is person]
        person.roles = merge_roles(person.roles, mine)


def merge_roles(expected: Iterable[Role], rows: Iterable[Mapping[str, Any]]) -> list[Role]:
    """Dynamics' roles and Marketo's as one list, by opportunity and role."""
    actual = {(str(row["externalOpportunityId"]).lower(), str(row["role"])) for row in rows}
    wanted = {(role.opportunity, role.role): role for role in expected}
    both = [replace(role, actual=key in actual) for key, role in wanted.items()]
    return both + [Role(id_, role, False, True) for id_, role in sorted(actual - wanted.keys())]


def _explained(role: Role, opportunities: Mapping[str, int]) -> Role:
    why = role.why
    if role.is_missing:
        why = "the role was not sent" if role.opportunity in opportunities else "the opportunity is not in Marketo"
    elif role.actual and not role.expected:
        resync = f"msisync resync opportunity {role.opportunity}"
        why = why or f"nothing in Dynamics gives it (any more); {resync} deletes it, unless sync.toml keeps roles"
    return replace(role, why=why)


def differences(person: Person) -> Iterable[Difference]:
    """What Marketo's record has otherwise than the engine would send it now."""
    if not person.records:
        return
    record = person.records[0]
    for name, value in (person.mapped or {}).items():
        if not same(value, record.get(name)):
            yield Difference(name, value, record.get(name))
    for relation in person.relations:
        yield from _link_differences(person, relation, record.get(relation.field))
    for role in person.roles:
        if role.is_missing:
            name = f"role {role.role} in {role.name or role.opportunity}"
            yield Difference(name, role.role, None, role.why, role)


def _link_differences(person: Person, relation: Relation, actual: Any) -> Iterable[Difference]:
    expected, found = relation.expected, str(actual or "").lower() or None
    entity = person.subject.entity
    clears = next(link.clears for link in entity.links if link.field == relation.field)
    if expected is None and found and not clears:
        person.notes.append(f"{relation.field} is still {found}: {_STAYS}")
    elif expected != found:
        missing = relation.parent if expected and not relation.in_marketo else None
        why = f"that {missing.noun} is not in Marketo" if missing else ""
        yield Difference(relation.field, expected, found, why)
    if entity is PERSON and relation.field == SALES_PERSON.key and relation.in_marketo and relation.exists:
        mine, theirs = relation.email, relation.email_in_marketo
        if mine.lower() != theirs.lower():
            yield Difference(SALES_PERSON_EMAIL, mine, theirs or None, _TAB)
