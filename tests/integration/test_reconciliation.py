"""Both sides compared: a synced organisation is equal, and whatever is changed in Marketo is named, and nothing else.

The app's own reader and engine between both simulators.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from emulators.dataverse import constants
from emulators.dataverse.harness import Running, running
from emulators.dataverse.seeding import seed
from emulators.marketo.harness import running as running_marketo
from emulators.marketo.instance import Instance
from emulators.marketo.objects import COMPANIES, LEADS, OPPORTUNITIES, ROLES, SALES_PERSONS
from emulators.marketo.store import Record as Stored
from local.wiring import engine_between
from local.world import Size, World, build
from shared.config import sync_toml
from shared.dataverse.client import DataverseClient
from shared.dataverse.metadata import Metadata
from shared.marketo.client import MarketoClient
from shared.model.entities import ENTITIES, OPPORTUNITY_ROLE, TABLES
from shared.model.outcome import Synced
from shared.model.record import Record
from shared.sync.comparison import CHANGING, MOST_PERSONS, Difference, Kind
from shared.sync.engine import Engine
from shared.sync.extra_persons import ExtraPersons
from shared.sync.reconciliation import Reconciliation
from shared.sync.runs.comparing import Comparing
from shared.sync.runs.model import Run, RunKind, Scope, new_run
from shared.sync.runs.page import SKIPPED
from shared.sync.schema import Schema
from shared.transport import call_count
from tests.support.simulators import dataverse_of, marketo_of

CONFIG = sync_toml.load(Path("sync.toml"))
SMALL = Size(users=10, accounts=8, persons=80, opportunities=20, connections=40)
PERSON, COMPANY, OPPORTUNITY = "externalPersonId", "externalCompanyId", "externalOpportunityId"


@dataclass
class Both:
    """Both simulators, and the product's clients of them."""

    dynamics: Running
    instance: Instance
    dataverse: DataverseClient
    marketo: MarketoClient
    world: World = field(default_factory=lambda: build(7, SMALL, troubles=False))
    totals: Counter[str] = field(default_factory=Counter)
    run: Run = field(init=False)

    def engine(self) -> Engine:
        """A new one, which remembers nothing."""
        clock = asyncio.get_running_loop().time
        schema = Schema(CONFIG, Metadata(self.dataverse), self.marketo, clock=clock)
        return engine_between(
            self.dataverse, self.marketo, CONFIG, clock=clock, now=lambda: datetime.now(UTC), schema=schema
        )

    async def sync(self) -> None:
        """Send everything, as the app does; twice, because of what waits for its parents at first."""
        engine = self.engine()
        rows = [*self.world.synced(), ("systemuser", constants.SYNC_USER_ID)]
        for entity in ENTITIES.values():
            tables = [table for table, _ in rows if TABLES[table][0] is entity]
            records = [self.record(table, id_) for table, id_ in rows if table in tables]
            if entity is OPPORTUNITY_ROLE:
                records += [self.record("opportunity", id_) for id_ in self.world.rows["opportunity"]]
            outcomes = await engine.sync(entity, records)
            assert any(isinstance(outcome, Synced) for _, outcome in outcomes), entity

    @staticmethod
    def record(table: str, id_: str) -> Record:
        return Record(table, id_, datetime.now(UTC), forced=True)

    async def compare(self, *tables: str, extra: bool = False) -> list[Difference]:
        """All differences of these tables, or of all, as a run of the app finds them."""
        found, self.totals = list[Difference](), Counter()
        work, extra_persons = Reconciliation(self.engine()), ExtraPersons(self.dataverse, self.marketo)
        comparing = Comparing(self.dataverse, work, extra_persons, lambda _: None)
        scope = Scope(tables or tuple(CONFIG.tables), sends=False, extra=extra)
        self.run = new_run(RunKind.RECONCILE, scope, datetime.now(UTC), unique="abcd")
        for table in scope.tables:
            while not self.run.tables[table].all_read:
                self.run, pages = await comparing.step(self.run, table)
                for page in pages:
                    self.totals.update(page.counts)
                    found += [each for those in page.found.values() for each in those]
        return found

    @property
    def left_alone(self) -> int:
        """Rows that the sync does not send either."""
        return sum(n for state, n in self.totals.items() if state.startswith(SKIPPED)) - self.changing

    @property
    def changing(self) -> int:
        """Rows that were changed while they were compared."""
        return self.totals[f"{SKIPPED}:{CHANGING}"]

    @property
    def compared(self) -> int:
        """Rows that would be sent."""
        return self.totals.total() - self.left_alone

    def stored(self, name: str) -> list[Stored]:
        return list(self.instance.tables[name])

    def set(self, what: str, record: Stored, **values: Any) -> None:
        """Somebody changes a record in Marketo."""
        self.instance.tables[what].update(record, values)

    def change(self, table: str, id_: str, **columns: Any) -> None:
        """Somebody changes a row in Dynamics."""
        row = {**self.world.rows[table][id_], **columns, "modifiedon": "2099-01-01T00:00:00Z"}
        seed(self.dynamics.environment, {table: [row]})

    def persons_row(self) -> dict[str, Any]:
        """The row of one contact."""
        return dict(next(iter(self.world.rows["contact"].values())))

    def persons(self, table: str = "contact") -> list[Stored]:
        """Marketo's persons of a table, each of which has one."""
        return [row for row in self.stored(LEADS) if row.get(PERSON) in self.world.rows[table]]


@pytest.fixture
async def both() -> AsyncIterator[Both]:
    async with running(empty=True) as dynamics, running_marketo(Instance()) as marketo:
        found = Both(dynamics, marketo.instance, dataverse_of(dynamics), marketo_of(marketo))
        seed(dynamics.environment, found.world.seed_body())
        await found.sync()
        yield found
        await found.dataverse.close()


def kinds(found: list[Difference]) -> Counter[tuple[str, Kind, tuple[str, ...]]]:
    return Counter((each.table, each.kind, each.fields) for each in found)


async def test_a_synced_organisation_is_equal(both: Both) -> None:
    """Its values are as odd as life: long texts, emojis, hidden users, teams, large amounts."""
    assert await both.compare() == []
    assert both.compared > 140
    assert both.left_alone
    assert not both.changing


async def test_what_was_changed_in_marketo_is_named_and_nothing_else(both: Both) -> None:
    persons, companies, deals = both.persons(), both.stored(COMPANIES), both.stored(OPPORTUNITIES)
    free = [person for person in persons if not both.instance.tables[ROLES].has("leadId", person["id"])]
    linked = [person for person in free if person.get(COMPANY)]
    changed, deleted, doubled = free[0], free[1], free[2]
    strayed = next(person for person in linked if person not in free[:3])
    both.set(LEADS, changed, firstName="Somebody", doNotCall=not changed.get("doNotCall"), city="Elsewhere")
    both.set(COMPANIES, companies[0], annualRevenue=1.5)
    both.set(OPPORTUNITIES, deals[0], name="Another name")
    both.set(SALES_PERSONS, both.stored(SALES_PERSONS)[0], lastName="Smith-Jones")
    both.instance.tables[LEADS].delete(deleted)
    both.set(LEADS, strayed, externalCompanyId=next(c[COMPANY] for c in companies if c[COMPANY] != strayed[COMPANY]))
    twin = both.instance.tables[LEADS].insert({PERSON: doubled[PERSON], "email": "twin@x.com"})
    found = await both.compare()
    assert kinds(found) == {
        ("contact", Kind.DIFFERING, ("city", "doNotCall", "firstName")): 1,
        ("account", Kind.DIFFERING, ("annualRevenue",)): 1,
        ("opportunity", Kind.DIFFERING, ("name",)): 1,
        ("systemuser", Kind.DIFFERING, ("lastName",)): 1,
        ("contact", Kind.MISSING, ()): 1,
        ("contact", Kind.LINKED_WRONGLY, (COMPANY,)): 1,
        ("contact", Kind.DUPLICATE, ()): 1,
    }
    by_kind = {each.kind: each for each in found if each.table == "contact"}
    ids = {kind: each.id for kind, each in by_kind.items()}
    assert ids == {
        Kind.DIFFERING: changed[PERSON], Kind.MISSING: deleted[PERSON], Kind.LINKED_WRONGLY: strayed[PERSON],
        Kind.DUPLICATE: doubled[PERSON],
    }  # fmt: skip
    assert by_kind[Kind.DUPLICATE].marketo_ids == (doubled["id"], twin["id"])
    assert "Somebody" not in repr(found)
    both.instance.tables[LEADS].delete(twin)
    await both.sync()
    assert await both.compare() == []


async def test_an_owner_that_was_taken_away_and_one_that_is_not_there(both: Both) -> None:
    """Marketo deletes no sales person who has persons."""
    seller = "externalSalesPersonId"
    first, *others = [person for person in both.persons() if person.get(seller)]
    second = next(person for person in others if person[seller] != first[seller])
    owner = both.instance.tables[SALES_PERSONS].find((seller,), second[seller])[0]
    both.set(LEADS, first, externalSalesPersonId=None)
    owned = [person for person in both.stored(LEADS) if person.get(seller) == owner[seller]]
    for person in owned:
        both.set(LEADS, person, externalSalesPersonId=None)
    both.instance.tables[SALES_PERSONS].delete(owner)
    found = await both.compare("systemuser", "contact", "lead")
    assert {(each.id, each.kind) for each in found} == {
        (owner[seller], Kind.MISSING), (first[PERSON], Kind.LINKED_WRONGLY),
        *((person[PERSON], Kind.PARENT_MISSING) for person in owned),
    }  # fmt: skip
    await both.sync()
    assert await both.compare() == []


async def test_roles_that_are_missing_superfluous_or_different(both: Both) -> None:
    roles = both.stored(ROLES)
    missing, other = roles[0], next(role for role in roles if role.get("isPrimary"))
    person = next(p for p in both.persons() if not both.instance.tables[ROLES].has("leadId", p["id"]))
    extra = {**{name: other[name] for name in (OPPORTUNITY,)}, "leadId": person["id"], "role": "Gone"}
    both.instance.tables[ROLES].delete(missing)
    both.instance.tables[ROLES].insert(extra)
    both.set(ROLES, other, isPrimary=False)
    found = await both.compare("opportunity", "connection")
    assert Counter(each.kind for each in found) == {Kind.MISSING: 1, Kind.EXTRA: 1, Kind.DIFFERING: 1}
    by_kind = {each.kind: each for each in found}
    assert (by_kind[Kind.EXTRA].id, by_kind[Kind.EXTRA].marketo_ids) == (other[OPPORTUNITY], (person["id"],))
    assert (by_kind[Kind.DIFFERING].id, by_kind[Kind.DIFFERING].fields) == (other[OPPORTUNITY], ("isPrimary",))
    assert {each.entity for each in found} == {"opportunity_role"}
    await both.sync()
    assert await both.compare() == []


async def test_a_role_waits_for_its_person(both: Both) -> None:
    role = next(role for role in both.stored(ROLES) if not role.get("isPrimary"))
    person = both.instance.tables[LEADS].find(("id",), role["leadId"])[0]
    both.instance.tables[LEADS].delete(person)
    for of_person in both.instance.tables[ROLES].find(("leadId",), person["id"]):
        both.instance.tables[ROLES].delete(of_person)
    found = await both.compare("contact", "lead", "opportunity", "connection")
    assert {each.kind for each in found if each.entity == "person"} == {Kind.MISSING}
    assert {each.kind for each in found if each.entity == "opportunity_role"} == {Kind.PARENT_MISSING}
    assert {each.fields for each in found if each.entity == "opportunity_role"} == {("leadId",)}


async def test_persons_whose_row_is_gone_are_found_by_their_ids(both: Both) -> None:
    persons = both.persons()
    gone = both.instance.tables[LEADS].insert({PERSON: "11111111-0000-4000-a000-000000000001"})
    both.instance.tables[LEADS].insert({PERSON: "not one of Dynamics"})
    both.instance.tables[LEADS].insert({"email": "web@x.com"})
    for _ in range(400):
        both.instance.tables[LEADS].insert({"email": "list@x.com"})
    last = both.instance.tables[LEADS].insert({PERSON: persons[0][PERSON]})
    await both.compare("contact")
    calls = both.run.calls
    found = await both.compare("contact", extra=True)
    extra = [(each.kind, each.id, each.marketo_ids) for each in found if each.kind is Kind.EXTRA]
    assert extra == [(Kind.EXTRA, gone[PERSON], (gone["id"],))]
    assert both.run.persons
    first, end = both.run.persons
    assert end == last["id"]
    assert both.run.calls - calls == -(-(end - first + 1) // 300)


async def test_a_row_that_is_hidden_is_not_gone(both: Both) -> None:
    hidden = both.persons()[0]
    both.dynamics.environment.switches.hidden_rows = [hidden[PERSON]]
    extra = ExtraPersons(both.dataverse, both.marketo)
    assert [each async for each in extra.between(hidden["id"], hidden["id"])] == []


async def test_a_row_that_is_changed_meanwhile_is_not_judged(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    changed, other = both.persons()[:2]
    read = both.marketo.read

    async def and_changed(*given: Any, **more: Any) -> Any:
        answer = await read(*given, **more)
        both.change("contact", changed[PERSON])
        return answer

    both.set(LEADS, changed, lastName="X")
    both.set(LEADS, other, lastName="X")
    monkeypatch.setattr(both.marketo, "read", and_changed)
    assert [each.id for each in await both.compare("contact")] == [other[PERSON]]
    assert both.changing == 1


async def test_it_costs_a_call_for_298_rows_and_writes_nothing(both: Both) -> None:
    contacts = [
        {**both.persons_row(), "contactid": f"{number:08x}-0000-4000-a000-000000000000"} for number in range(1000)
    ]
    seed(both.dynamics.environment, {"contact": contacts})
    before = both.instance.stats.as_json()["records"]
    with call_count.counted() as calls:
        found = await both.compare("contact")
    assert len([each for each in found if each.kind is Kind.MISSING]) == 1000
    rows = both.compared
    assert calls["marketo"] <= -(-rows // 298) + 1
    assert both.instance.stats.as_json()["records"] == before


async def test_hundreds_and_thousands_of_persons_with_one_key(both: Both) -> None:
    one, *_, other, many = both.persons()
    for person, twins in ((one, 700), (other, 700), (many, 1100)):
        for _ in range(twins):
            both.instance.tables[LEADS].insert({PERSON: person[PERSON]})
    found = await both.compare("contact")
    assert {(each.id, each.kind, len(each.marketo_ids)) for each in found} == {
        (one[PERSON], Kind.DUPLICATE, MOST_PERSONS),
        (other[PERSON], Kind.DUPLICATE, MOST_PERSONS),
        (many[PERSON], Kind.DUPLICATE, 0),
    }  # fmt: skip
