"""What the sync would send, compared with what Marketo has: rows, their fields and their links. Pure.

Values are compared (shared/sync/equality.py) and never kept: what is reported are the names of fields, and ids.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from ..config.conditions import Row
from ..model.entities import COMPANY, Entity
from ..model.outcome import Parent
from .batch import Candidate
from .equality import same

#: Persons with one key that are named; the pages of a run have to hold them.
MOST_PERSONS = 100
#: Why nothing is said of a row: it was changed while it was compared.
CHANGING = "Changing"


class Kind(StrEnum):
    """How both sides may differ."""

    MISSING = "missing"  # Marketo does not have the record
    DIFFERING = "differing"  # fields have other values
    LINKED_WRONGLY = "linked_wrongly"  # to another owner, company or person than in Dynamics, or to none
    PARENT_MISSING = "parent_missing"  # the record that it would be linked to is not in Marketo
    DUPLICATE = "duplicate"  # several persons in Marketo have the row's key
    EXTRA = "extra"  # Marketo has a role that nothing in Dynamics gives


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference of one row. `fields`: those that differ, or the links. `marketo_ids`: of duplicates, and of the
    person whose role nothing gives.
    """

    entity: str
    table: str
    id: str
    kind: Kind
    fields: tuple[str, ...] = ()
    marketo_ids: tuple[int, ...] = ()

    @property
    def can_be_sent(self) -> bool:
        """Whether sending the row ends it. Of several persons with one key nobody knows which one is meant."""
        return self.kind is not Kind.DUPLICATE and bool(self.table)


@dataclass(slots=True)
class Compared:
    """What has come of some rows, by id. `left_alone`: why the sync sends nothing of a row either, or CHANGING.

    Who is in neither is equal on both sides. `persons`: Marketo's lowest and highest id of those that were compared.
    """

    ids: list[str] = field(default_factory=list)
    left_alone: dict[str, str] = field(default_factory=dict)
    found: dict[str, list[Difference]] = field(default_factory=dict)
    persons: tuple[int, int] | None = None

    def add(self, differences: Iterable[Difference]) -> None:
        """These were found."""
        for each in differences:
            self.found.setdefault(each.id, []).append(each)

    def has_person(self, number: int) -> None:
        """A person with this id of Marketo was compared."""
        numbers = (*(self.persons or ()), number)
        self.persons = min(numbers), max(numbers)


@dataclass(slots=True)
class Doubt:
    """A row as it would be sent, and how it seems to differ. `version`: its last change when it was read; `contact`: an
    opportunity's.

    `links`: fields of links that lead elsewhere, or whose parents decide whether the record is missing; `held`: those
    of them in which Marketo has something. `is_double`: several persons have its key, those in `persons`, the first of
    them, or too many to be named.
    """

    candidate: Candidate
    version: str
    contact: str = ""
    fields: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    held: frozenset[str] = frozenset()
    persons: tuple[int, ...] = ()
    is_double: bool = False
    is_absent: bool = False

    @property
    def id(self) -> str:
        """Of the row."""
        return self.candidate.records[0].id


def differing(sent: Mapping[str, Any], stored: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields of which Marketo has another value than would be sent. What it does not give back is empty there."""
    return tuple(sorted(name for name, value in sent.items() if not same(value, stored.get(name))))


def wrong_links(entity: Entity, parents: Mapping[str, Parent | None], stored: Mapping[str, Any]) -> tuple[str, ...]:
    """The link fields that lead elsewhere than in Dynamics, of those that the sync sets.

    A link that is not known, and one that Marketo cannot take away, is not compared.
    """
    return tuple(
        link.field
        for link in entity.links
        if link.field in parents
        and (parents[link.field] or link.clears)
        and not same(parent.id if (parent := parents[link.field]) else None, stored.get(link.field))
    )


def doubt_of(entity: Entity, read: Doubt, stored: Sequence[Row]) -> Doubt | None:
    """The row with how it differs from its record, or None. Of several records with its key, nobody knows which one is
    meant.
    """
    if len(stored) != 1:
        persons = tuple(sorted(row["id"] for row in stored if row.get("id"))[:MOST_PERSONS])
        return replace(read, persons=persons, is_double=bool(stored), is_absent=not stored)
    (record,) = stored
    candidate = read.candidate
    if entity.is_lead and record.get(COMPANY.key):  # then Marketo shows the company's own values (marketo.md 5.3)
        candidate.leave_to_company()
    fields = differing(candidate.fields, record)
    links = wrong_links(entity, candidate.parents, record)
    held = frozenset(name for name in links if not same(None, record.get(name)))
    return replace(read, fields=fields, links=links, held=held) if fields or links else None


def differences_of(
    entity: Entity, doubt: Doubt, there: Collection[Parent], never: Collection[Parent]
) -> Iterator[Difference]:
    """What is to be reported of a row, once it is known which of the parents are in Marketo, or never will be."""
    record, parents = doubt.candidate.records[0], doubt.candidate.parents

    def found(kind: Kind, fields: tuple[str, ...] = (), persons: tuple[int, ...] = ()) -> Difference:
        return Difference(entity.name, record.table, record.id, kind, fields, persons)

    absent = tuple(name for name in doubt.links if (parent := parents[name]) and parent not in there)
    waits = tuple(name for name in absent if parents[name] not in never)
    if doubt.is_double:
        yield found(Kind.DUPLICATE, persons=doubt.persons)
    elif doubt.is_absent:
        if len(waits) == len(absent):  # a role with a parent that never comes is not synced either
            yield found(Kind.PARENT_MISSING, waits) if waits else found(Kind.MISSING)
    else:
        if doubt.fields:
            yield found(Kind.DIFFERING, doubt.fields)
        clears = {link.field for link in entity.links if link.clears}
        wrong = tuple(n for n in doubt.links if n not in absent or (n not in waits and n in clears & doubt.held))
        if wrong:
            yield found(Kind.LINKED_WRONGLY, wrong)
        if waits:
            yield found(Kind.PARENT_MISSING, waits)
