"""What Marketo must hold of a world, record by record, and why each of the other rows must not be there.

From the guide, the vendors' documents and the rules that sync.toml states; nothing here is the product's code.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from local.world.model import ENTITIES, SYNCED_TABLES, Reference, Row, World
from local.world.relations import Reason, Relations, Stake, skip_user
from local.world.values import Fields, marketo_values

Key = str | tuple[str, str, str]  # an external key, or (opportunity, person, role)
Parent = tuple[str, str]  # entity, external key

#: Where the product keeps what is not in Marketo.
KEPT = {Reason.REFUSED: "queue dead-letters", Reason.WAITS: "table parked"}
KEY_FIELDS = {
    "sales_person": "externalSalesPersonId",
    "company": "externalCompanyId",
    "person": "externalPersonId",
    "opportunity": "externalOpportunityId",
}


@dataclass(frozen=True, slots=True)
class Expected:
    """One Marketo record. A field whose value is a frozenset may hold any of these values.

    The role of a primary contact has no `sources`: it comes with its opportunity.
    """

    entity: str
    key: Key
    fields: Fields
    sources: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class Absent:
    """A row that must not be in Marketo. `parents` are those it waits for, all of them."""

    source: Reference
    reason: Reason
    detail: str = ""
    parents: frozenset[Parent] = frozenset()


@dataclass
class Expectations:
    """Everything about one world: each of its rows is either the source of a record or absent for a reason.

    `linked_later` are rows that are in Marketo without the links to these parents, which Marketo refuses.
    """

    records: dict[str, dict[Key, Expected]] = field(default_factory=lambda: {entity: {} for entity in ENTITIES})
    absent: dict[Reference, Absent] = field(default_factory=dict)
    linked_later: dict[Reference, frozenset[Parent]] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """How many records each entity must have."""
        return {entity: len(records) for entity, records in self.records.items()}

    def reasons(self) -> Counter[Reason]:
        """How many rows are absent, by reason."""
        return Counter(absent.reason for absent in self.absent.values())

    def absent_for(self, reason: Reason) -> list[Absent]:
        """The rows that are absent for this reason."""
        return [absent for absent in self.absent.values() if absent.reason is reason]


@dataclass(slots=True)
class _Candidate:
    """A row that would be a record if nothing stood against it."""

    source: Reference
    entity: str
    key: Key
    row: Row
    parents: dict[str, Parent]  # by the Marketo field that holds the relation
    refusal: str = ""


def expect(
    world: World,
    *,
    announced: Iterable[Reference] | None = None,
    gone: Collection[Reference] = (),
    refused: Mapping[Reference, str] | None = None,
) -> Expectations:
    """Work out what must become of every row.

    `announced` are the rows that a notification named (None: all); parents of these are synced as well, asked for by
    their children. `gone` are announced rows that are not in Dataverse. `refused` are rows that Marketo is made to
    refuse, with the error code.
    """
    expectations = Expectations()
    for source in gone:
        expectations.absent[source] = Absent(source, Reason.GONE)
    candidates = _candidates(world, expectations, refused or {})
    asked = _asked(candidates, set(world.synced() if announced is None else announced))
    there: set[Parent] = set()
    lost: set[Parent] = set()
    for candidate in candidates:
        source = candidate.source
        missing = frozenset(parent for parent in candidate.parents.values() if parent not in there)
        if candidate.entity != "opportunity_role" and missing <= lost:
            # It does not wait for what will not come: it goes without those links, which a role cannot.
            candidate.parents = {name: each for name, each in candidate.parents.items() if each not in missing}
            without, missing = missing, frozenset()
        else:
            without = frozenset()
        if source not in asked:
            expectations.absent[source] = Absent(source, Reason.UNASKED)
        elif missing:
            names = ", ".join(f"{entity} {key}" for entity, key in sorted(missing))
            expectations.absent[source] = Absent(source, Reason.WAITS, names, missing)
        elif candidate.refusal:
            expectations.absent[source] = Absent(source, Reason.REFUSED, candidate.refusal)
            lost.add((candidate.entity, str(candidate.key)))
        else:
            _add_record(expectations, candidate)
            if without:
                expectations.linked_later[source] = without
            if isinstance(candidate.key, str):
                there.add((candidate.entity, candidate.key))
    _add_contact_roles(world, expectations)
    _show_companies(world, expectations)
    return expectations


def _candidates(world: World, expectations: Expectations, refused: Mapping[Reference, str]) -> list[_Candidate]:
    """Rows that are something for Marketo, parents first; the others get their reason."""
    relations = Relations(world)
    found = []
    for table, (_, entity) in SYNCED_TABLES.items():
        for row_id, row in world.rows[table].items():
            source = (table, row_id)
            candidate = _candidate(relations, entity, source, row)
            if isinstance(candidate, Reason):
                expectations.absent[source] = Absent(source, candidate)
            else:
                candidate.refusal = refused.get(source) or _refusal(table, row)
                found.append(candidate)
    return found


def _candidate(relations: Relations, entity: str, source: Reference, row: Row) -> _Candidate | Reason:
    table, row_id = source
    if entity == "sales_person":
        return skip_user(row) or _Candidate(source, entity, row_id, row, {})
    if entity == "opportunity_role":
        stake = relations.stake(row)
        return _role_candidate(source, stake, row) if isinstance(stake, Stake) else stake
    parents: dict[str, Parent] = {}
    owner = relations.sales_person(row)
    if owner:
        parents["externalSalesPersonId"] = ("sales_person", owner)
    account = relations.account(table, row) if entity != "company" else None
    if account:
        parents["externalCompanyId"] = ("company", account)
    return _Candidate(source, entity, row_id, row, parents)


def _role_candidate(source: Reference, stake: Stake, row: Row) -> _Candidate:
    parents = {"opportunity": ("opportunity", stake.opportunity), "person": ("person", stake.person[1])}
    return _Candidate(source, "opportunity_role", (stake.opportunity, stake.person[1], stake.role), row, parents)


def _refusal(table: str, row: Row) -> str:
    """The code with which Marketo refuses the row's values, or an empty text."""
    return "1002" if table == "opportunity" and not row.get("name") else ""


def _asked(candidates: list[_Candidate], announced: set[Reference]) -> set[Reference]:
    """The announced rows with their parents, and the parents of these: children ask for them."""
    of_parent = {(c.entity, c.key): c.source for c in candidates if isinstance(c.key, str)}
    asked = set(announced)
    for candidate in reversed(candidates):  # children before their parents
        if candidate.source in asked:
            asked.update(of_parent[parent] for parent in candidate.parents.values() if parent in of_parent)
    return asked


def _add_record(expectations: Expectations, candidate: _Candidate) -> None:
    records = expectations.records[candidate.entity]
    table, _ = candidate.source
    fields = marketo_values(table, candidate.row)
    if candidate.entity == "opportunity_role":
        before = records.get(candidate.key)
        if before:
            # Which of the rows came last, nobody can tell.
            dates = before.fields["externalCreatedDate"] | {fields["externalCreatedDate"]}
            sources = (*before.sources, candidate.source)
            records[candidate.key] = Expected(
                before.entity, before.key, {**before.fields, "externalCreatedDate": dates}, sources
            )
            expectations.absent[candidate.source] = Absent(candidate.source, Reason.SAME_ROLE)
            return
        fields["externalCreatedDate"] = frozenset({fields["externalCreatedDate"]})
    else:
        fields[KEY_FIELDS[candidate.entity]] = candidate.key
        for name in _relation_fields(candidate.entity):
            fields[name] = candidate.parents[name][1] if name in candidate.parents else None
    records[candidate.key] = Expected(candidate.entity, candidate.key, fields, (candidate.source,))


def _add_contact_roles(world: World, expectations: Expectations) -> None:
    """Each opportunity whose contact is in Marketo has a role for it; no row of its own is the source of that."""
    relations = Relations(world)
    records = expectations.records
    for deal in records["opportunity"]:
        stake = relations.primary_contact(str(deal), world.rows["opportunity"][str(deal)])
        if stake and stake.person[1] in records["person"]:
            key = (stake.opportunity, stake.person[1], stake.role)
            records["opportunity_role"].setdefault(key, Expected("opportunity_role", key, {}, ()))


def _relation_fields(entity: str) -> tuple[str, ...]:
    if entity == "sales_person":
        return ()
    return ("externalSalesPersonId",) if entity == "company" else ("externalSalesPersonId", "externalCompanyId")


def _show_companies(world: World, expectations: Expectations) -> None:
    """Marketo: a person who is linked to a company shows that company's name."""
    for person in expectations.records["person"].values():
        company = person.fields["externalCompanyId"]
        if company:
            person.fields["company"] = world.rows["account"][company].get("name")
        else:
            person.fields.setdefault("company", None)
