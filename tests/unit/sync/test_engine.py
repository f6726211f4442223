"""The engine: records in, one outcome per record out. Dataverse and Marketo are small worlds in memory."""

import asyncio
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.wiring import engine_between
from shared.config.sync_toml import SyncConfig
from shared.dataverse.metadata import Column
from shared.marketo.answers import Result
from shared.model.entities import ENTITIES, TABLES, Entity
from shared.model.outcome import Deferred, Failed, Later, Outcome, Parent, Retry, Skipped, Synced, WillNotCome
from shared.model.record import Record
from shared.sync.engine import Engine
from shared.sync.links import LOOKUP_TABLE
from shared.sync.lookups import KEEP_SECONDS
from shared.sync.mapping import MarketoField
from shared.sync.marketo_cache import Known
from tests.support.values import NOON, guid
from tests.support.vendors import Vendors

PERSON = ENTITIES["person"]
CONFIG = SyncConfig.model_validate(
    {
        "systemuser": {"fields": {"email": "internalemailaddress"}},
        "account": {"fields": {"company": "name"}},
        "lead": {"fields": {"firstName": "firstname"}},
        "contact": {"fields": {"firstName": "firstname"}},
        "opportunity": {"fields": {"name": "name"}},
        "connection": {"fields": {}},
    }
)
Row = dict[str, Any]
SETS = {t.entity_set: t.name for e in ENTITIES.values() for t in e.tables} | {"connectionroles": "connectionrole"}


def to(column: str, table: str, id_: str) -> Row:
    """A lookup column as the Web API writes it."""
    return {column: id_.upper(), column + LOOKUP_TABLE: table}


def owned_by(user: str) -> Row:
    return to("_ownerid_value", "systemuser", user)


class Dataverse:
    """Rows by table and id; every request is counted and may be refused."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, Row]] = {"connectionrole": {guid(900): {"name": "Decision Maker"}}}
        self.requests: list[tuple[str, int]] = []
        self.error: Exception | None = None
        self.hidden: set[str] = set()
        self.secured: set[str] = set()
        self.asked_one_by_one: list[int] = []

    def put(self, table: str, id_: str, **columns: Any) -> str:
        self.tables.setdefault(table, {})[id_] = columns
        return id_

    async def rows(
        self, entity_set: str, _key: str, ids: Sequence[str], columns: Iterable[str], **_: Any
    ) -> dict[str, Row]:
        assert len(ids) <= 300
        table = SETS[entity_set]
        self.requests.append((table, len(ids)))
        if self.error:
            raise self.error
        asked = {*columns, *(column + LOOKUP_TABLE for column in columns)}
        stored = self.tables.get(table, {})
        return {id_: {k: v for k, v in stored[id_].items() if k in asked} for id_ in ids if id_ in stored}

    async def statuses(self, entity_set: str, _key: str, ids: Sequence[str], **_: Any) -> list[int]:
        """Of requests for single rows: those that queries do not give are hidden or not there."""
        assert len(ids) <= 100
        self.asked_one_by_one.append(len(ids))
        there = self.tables.get(SETS[entity_set], {})
        return [403 if id_ in self.hidden else 200 if id_ in there else 404 for id_ in ids]

    async def hidden_columns(self, _table: str) -> frozenset[str]:
        return frozenset(self.secured)

    async def readable_columns(self, table: str) -> dict[str, Column]:
        names = ["name", "firstname", "internalemailaddress", "createdon", *TABLES[table][1].rule_columns]
        return {name: Column(name, "String", readable=True, hidden=name in self.secured) for name in names}


class Marketo(Vendors):
    """Records by entity and key, with the ids that Marketo gives out."""

    def __init__(self) -> None:
        self.stored: dict[str, dict[str, Row]] = {name: {} for name in ENTITIES}
        self.finds: list[tuple[str, int]] = []
        self.upserts: list[list[Row]] = []
        self.ids = 100

    async def describe(self, entity: Entity) -> dict[str, MarketoField]:
        names = ("company",) if entity.name == "company" else ("email", "company", "firstName", "name")
        return dict.fromkeys(names, MarketoField("string", 255))

    def has(self, entity: str, key: str) -> int:
        self.ids += 1
        self.stored[entity][key] = {"id": self.ids}
        return self.ids

    async def read(self, *_: Any, **__: Any) -> list[Row]:
        return []  # nobody is linked to a company

    async def find(self, entity: Entity, keys: Sequence[str]) -> dict[str, int]:
        assert len(set(keys)) == len(keys) <= 300
        self.finds.append((entity.name, len(keys)))
        return {key: self.stored[entity.name][key]["id"] for key in keys if key in self.stored[entity.name]}

    async def upsert(self, entity: Entity, bodies: Sequence[bytes], **_: Any) -> list[Result]:
        sent = [json.loads(body) for body in bodies]
        keys = ["|".join(str(row[name]) for name in entity.dedupe_fields) for row in sent]
        assert len(set(keys)) == len(keys) <= 300, "Marketo refuses a key twice in one call (1036)"
        self.upserts.append(sent)
        return [self._store(entity, key, row) for key, row in zip(keys, sent, strict=True)]

    def _store(self, entity: Entity, key: str, row: Row) -> Result:
        status = "updated" if key in self.stored[entity.name] else "created"
        id_ = self.stored[entity.name].get(key, {}).get("id") or self.has(entity.name, key)
        self.stored[entity.name][key] = row | {"id": id_}
        return Result(status, id_)


class World:
    """One instance of the app between the two systems."""

    def __init__(self) -> None:
        self.dataverse: Any = Dataverse()
        self.marketo: Any = Marketo()
        self.now = 1_000.0
        self.user = self.dataverse.put("systemuser", guid(1), internalemailaddress="sam@x.com")
        self.account = self.dataverse.put("account", guid(2), name="Contoso", **owned_by(self.user))
        self.known = Known(clock=lambda: self.now)
        self.causes: dict[Parent, WillNotCome] = {}
        self.rules = CONFIG
        self.engine = self.restarted(self.known)

    def restarted(self, known: Known | None = None) -> Engine:
        def clock() -> float:
            return self.now

        return engine_between(
            self.dataverse,
            self.marketo,
            self.rules,
            clock=clock,
            now=lambda: NOON,
            known=known or Known(clock=clock),
            causes=self.causes_of,
        )

    def person(self, number: int, table: str = "contact") -> Record:
        """A contact or lead that the user owns and that belongs to the account."""
        column = "_parentcustomerid_value" if table == "contact" else "_parentaccountid_value"
        row = owned_by(self.user) | to(column, "account", self.account)
        self.dataverse.put(table, guid(number), firstname=f"Ann {number}", **row)
        return Record(table, guid(number), NOON)

    async def causes_of(self, parents: Collection[Parent]) -> dict[Parent, WillNotCome]:
        return {parent: self.causes[parent] for parent in parents if parent in self.causes}

    def parents(self) -> None:
        self.marketo.has("sales_person", self.user)
        self.marketo.has("company", self.account)

    def connection(self, number: int, person: str, opportunity: str, *, role: str | None = None) -> list[Record]:
        """The two mirrored rows of one stakeholder."""
        ends = [("contact", person), ("opportunity", opportunity)]
        for offset, (first, second) in enumerate([ends, ends[::-1]]):
            row = to("_record1id_value", *first) | to("_record2id_value", *second) | {"statecode": 0}
            if role:
                row |= to(f"_record{offset + 1}roleid_value", "connectionrole", role)
            self.dataverse.put("connection", guid(number + offset), **row)
        return [Record("connection", guid(number + offset), NOON) for offset in (0, 1)]

    async def sync(self, entity: str, *records: Record) -> list[Outcome]:
        return [outcome for _, outcome in await self.engine.sync(ENTITIES[entity], records)]


async def test_a_person_reaches_marketo_with_its_key_fields_and_relations(world: World) -> None:
    world.parents()
    assert await world.sync("person", world.person(10)) == [Synced("created")]
    assert world.marketo.upserts == [
        [
            {
                "firstName": "Ann 10",
                "externalSalesPersonId": world.user,
                "externalCompanyId": world.account,
                "externalPersonId": guid(10),
            }
        ]
    ]


async def test_leads_and_contacts_of_one_batch_share_a_call(world: World) -> None:
    world.parents()
    assert await world.sync("person", world.person(10), world.person(11, "lead")) == [Synced("created")] * 2
    assert len(world.marketo.upserts) == 1


async def test_a_row_that_is_gone_is_skipped_and_its_neighbour_goes_on(world: World) -> None:
    world.parents()
    outcomes = await world.sync("person", Record("contact", guid(99), NOON, absent=2), world.person(10))
    assert sorted(map(repr, outcomes)) == sorted(map(repr, [Skipped("RowGone"), Synced("created")]))


async def test_a_row_that_is_not_there_is_looked_for_again_and_then_it_is_gone(world: World) -> None:
    """A step that is registered as synchronous posts before its transaction is committed."""
    world.parents()
    record, looks = Record("contact", guid(10), NOON), []
    for _ in range(3):
        ((record, outcome),) = await world.engine.sync(PERSON, [record])
        looks.append(outcome)
    assert looks == [Later("RowNotThere", after=5.0), Later("RowNotThere", after=60.0), Skipped("RowGone")]
    world.person(10)
    ((_, outcome),) = await world.engine.sync(PERSON, [replace(record, absent=1)])
    assert outcome == Synced("created")
    assert world.marketo.finds == [("sales_person", 1), ("company", 1)]


async def test_a_row_that_the_security_role_hides_is_told_at_once(world: World) -> None:
    world.dataverse.hidden = {guid(10)}
    (hidden, gone) = await world.sync("person", Record("contact", guid(10), NOON), Record("contact", guid(11), NOON))
    assert isinstance(hidden, Failed)
    assert (hidden.code, gone) == ("RowHidden", Later("RowNotThere", after=5.0))
    assert "Read on the table contact" in hidden.message


async def test_many_rows_that_are_not_there_are_asked_for_a_hundred_at_a_time(world: World) -> None:
    missing = [Record("contact", guid(n), NOON, absent=2) for n in range(1000, 1150)]
    outcomes = await world.sync("person", *missing)
    assert outcomes == [Skipped("RowGone")] * 150
    assert world.dataverse.asked_one_by_one == [100, 50]


async def test_a_delete_is_recorded_and_costs_marketo_no_request(world: World) -> None:
    assert await world.sync("person", Record("contact", guid(10), NOON, "delete")) == [Skipped("Deleted")]
    assert world.marketo.finds == world.marketo.upserts == []


async def test_a_delete_beside_an_edit_of_the_row_is_settled_by_reading_it(world: World) -> None:
    world.parents()
    edit = world.person(10)
    assert await world.sync("person", edit, Record("contact", edit.id, NOON, "delete")) == [Synced("created")]


@pytest.mark.parametrize("table", ["incident", "customeropportunityrole", "account"])
async def test_a_table_that_is_not_mapped_or_of_another_entity_fails_by_name(world: World, table: str) -> None:
    (outcome,) = await world.sync("person", Record(table, guid(2), NOON))
    assert isinstance(outcome, Failed)
    assert outcome.code == "UnknownTable"


async def test_both_missing_parents_are_named_and_the_later_one_is_waited_for(world: World) -> None:
    assert await world.sync("person", world.person(10)) == [
        Deferred((Parent("sales_person", "systemuser", world.user), Parent("company", "account", world.account)))
    ]
    assert world.marketo.upserts == []


async def test_only_the_parent_that_is_missing_is_named(world: World) -> None:
    world.marketo.has("sales_person", world.user)
    assert await world.sync("person", world.person(10)) == [Deferred((Parent("company", "account", world.account),))]


async def test_a_child_whose_parent_came_through_this_process_goes_on_without_a_call(world: World) -> None:
    world.marketo.has("sales_person", world.user)
    person = world.person(10)
    assert isinstance((await world.sync("person", person))[0], Deferred)
    assert await world.sync("company", Record("account", world.account, NOON)) == [Synced("created")]
    calls = len(world.marketo.finds)
    assert await world.sync("person", person) == [Synced("created")]
    assert len(world.marketo.finds) == calls


async def test_a_released_child_does_not_believe_what_this_instance_last_heard_of_its_parent(world: World) -> None:
    world.marketo.has("sales_person", world.user)
    person = world.person(10)
    assert isinstance((await world.sync("person", person))[0], Deferred)
    await world.restarted().sync(ENTITIES["company"], [Record("account", world.account, NOON)])
    assert await world.sync("person", replace(person, parked_since=NOON, released=True)) == [Synced("created")]


async def test_a_warm_batch_asks_marketo_for_no_parent(world: World) -> None:
    world.parents()
    await world.sync("person", world.person(10))
    asked = len(world.marketo.finds)
    await world.sync("person", world.person(11))
    assert len(world.marketo.finds) == asked


async def test_a_cold_batch_of_300_asks_marketo_twice_at_most(world: World) -> None:
    people = [world.person(1000 + n) for n in range(300)]
    for n, person in enumerate(people):
        row = to("_ownerid_value", "systemuser", guid(5000 + n)) | to(
            "_parentcustomerid_value", "account", guid(6000 + n)
        )
        world.dataverse.put("contact", person.id, firstname="Ann", **row)
        world.dataverse.put("systemuser", guid(5000 + n), internalemailaddress="a@b.com")
        world.marketo.has("sales_person", guid(5000 + n))
        world.marketo.has("company", guid(6000 + n))
    assert await world.sync("person", *people) == [Synced("created")] * 300
    assert sorted(world.marketo.finds) == [("company", 300), ("sales_person", 300)]
    assert len(world.marketo.upserts) == 1


async def test_rows_are_read_300_at_a_time_and_sent_300_at_a_time(world: World) -> None:
    world.parents()
    await world.sync("person", *[world.person(1000 + n) for n in range(650)])
    assert sorted(size for table, size in world.dataverse.requests if table == "contact") == [50, 300, 300]
    assert sorted(map(len, world.marketo.upserts)) == [50, 300, 300]


async def test_a_role_holds_the_marketo_id_of_its_person_and_both_mirror_rows_are_one_upsert(world: World) -> None:
    world.marketo.has("opportunity", guid(30))
    lead_id = world.marketo.has("person", guid(10))
    mirrored = world.connection(40, guid(10), guid(30), role=guid(900))
    assert await world.sync("opportunity_role", *mirrored) == [Synced("created")] * 2
    assert world.marketo.upserts == [[{"role": "Decision Maker", "externalOpportunityId": guid(30), "leadId": lead_id}]]


async def test_a_role_waits_for_its_opportunity_and_requests_its_person_too(world: World) -> None:
    (outcome, _) = await world.sync("opportunity_role", *world.connection(40, guid(10), guid(30)))
    assert isinstance(outcome, Deferred)
    assert set(outcome.parents) == {
        Parent("person", "contact", guid(10)),
        Parent("opportunity", "opportunity", guid(30)),
    }
    assert outcome.parents[-1].entity == "opportunity"


async def test_two_roles_of_one_person_are_two_upserts_of_one_call(world: World) -> None:
    world.marketo.has("opportunity", guid(30))
    world.marketo.has("person", guid(10))
    rows = world.connection(40, guid(10), guid(30), role=guid(900)) + world.connection(50, guid(10), guid(30))
    await world.sync("opportunity_role", *rows)
    assert [sorted(row["role"] for row in sent) for sent in world.marketo.upserts] == [
        ["Decision Maker", "Stakeholder"]
    ]


async def test_a_role_that_cannot_be_seen_is_tried_again_and_never_sent_under_another_name(world: World) -> None:
    world.marketo.has("opportunity", guid(30))
    world.marketo.has("person", guid(10))
    unseen = world.connection(40, guid(10), guid(30), role=guid(901))
    for outcome in await world.sync("opportunity_role", *unseen):
        assert isinstance(outcome, Retry)
        assert (outcome.code, outcome.counted) == ("RoleHidden", True)
    assert world.marketo.upserts == []
    world.dataverse.put("connectionrole", guid(901), name="Champion")
    world.now += KEEP_SECONDS
    assert await world.sync("opportunity_role", *unseen) == [Synced("created")] * 2
    assert [row["role"] for row in world.marketo.upserts[0]] == ["Champion"]


async def test_an_owner_who_cannot_be_seen_leaves_the_link_that_marketo_has(world: World) -> None:
    account = Record("account", world.dataverse.put("account", guid(60), name="A", **owned_by(guid(61))), NOON)
    assert await world.sync("company", account) == [Synced("created")]
    assert world.marketo.upserts == [[{"company": "A", "externalCompanyId": guid(60)}]]


async def test_edits_of_one_row_are_one_upsert_and_one_outcome(world: World) -> None:
    world.parents()
    person = world.person(10)
    assert await world.sync("person", person, person, person) == [Synced("created")]
    assert [len(sent) for sent in world.marketo.upserts] == [1]


async def test_a_row_that_is_saved_again_is_sent_again_whatever_was_sent_before(world: World) -> None:
    """Marketo may have lost the record meanwhile, or a form may have changed it there."""
    world.parents()
    person = world.person(10)
    await world.sync("person", person)
    del world.marketo.stored["person"][person.id]
    assert await world.sync("person", person) == [Synced("created")]
    world.marketo.stored["person"][person.id]["firstName"] = "by a form"
    assert await world.sync("person", person) == [Synced("updated")]
    assert world.marketo.stored["person"][person.id]["firstName"] == "Ann 10"


async def test_a_row_without_owner_clears_the_owner_and_leaves_the_company(world: World) -> None:
    """A person cannot be taken from a company in Marketo, only moved."""
    world.dataverse.put("contact", guid(10), firstname="Ann", _ownerid_value=None, _parentcustomerid_value=None)
    await world.sync("person", Record("contact", guid(10), NOON))
    (sent,) = world.marketo.upserts[0]
    assert sent["externalSalesPersonId"] is None
    assert "externalCompanyId" not in sent


async def test_what_column_level_security_hides_keeps_its_value_and_its_link(world: World) -> None:
    world.parents()
    record = world.person(10)
    await world.sync("person", record)
    world.dataverse.secured = {"firstname", "_ownerid_value"}
    world.dataverse.put("contact", guid(10), firstname=None, _ownerid_value=None, _parentcustomerid_value=None)
    assert await world.sync("person", record) == [Synced("updated")]
    (sent,) = world.marketo.upserts[-1]
    assert sent == {"externalPersonId": guid(10)}


async def test_company_fields_that_marketo_refuses_all_the_same_are_left_out_and_the_record_arrives(
    world: World,
) -> None:
    """The person may be linked since it was looked at."""
    world.dataverse.put("contact", guid(10), firstname="Ann", _ownerid_value=None, _parentcustomerid_value=None)
    refused: list[Row] = []
    store = world.marketo._store

    def linked(entity: Entity, key: str, row: Row) -> Result:
        if "company" not in row:
            return store(entity, key, row)  # type: ignore[no-any-return]  # a stand-in
        refused.append(row)
        return Result("skipped", 0, "1021", "Company update not allowed")

    world.marketo._store = linked
    world.rules = SyncConfig.model_validate({"contact": {"fields": {"firstName": "firstname", "company": "firstname"}}})
    world.engine = world.restarted()
    assert isinstance((await world.sync("person", Record("contact", guid(10), NOON)))[0], Synced)
    assert len(refused) == 1
    assert world.marketo.upserts[-1] == [
        {"firstName": "Ann", "externalPersonId": guid(10), "externalSalesPersonId": None}
    ]


async def test_users_that_are_no_sales_persons_are_skipped_with_the_reason(world: World) -> None:
    app = world.dataverse.put("systemuser", guid(7), internalemailaddress="a@b.com", applicationid=guid(8))
    nobody = world.dataverse.put("systemuser", guid(9), internalemailaddress=None)
    outcomes = await world.sync("sales_person", Record("systemuser", app, NOON), Record("systemuser", nobody, NOON))
    assert outcomes == [Skipped("ApplicationUser"), Skipped("UserWithoutMail")]


@pytest.mark.parametrize(("waited", "failed"), [(86_399, False), (86_400, True)])
async def test_a_child_that_waited_too_long_fails_naming_the_parent(world: World, waited: int, failed: bool) -> None:
    since = NOON - timedelta(seconds=waited)
    waiting = Record("contact", world.person(10).id, NOON, parked_since=since)
    (outcome,) = await world.sync("person", waiting)
    assert isinstance(outcome, Failed) == failed
    if isinstance(outcome, Failed):
        assert outcome.code == "ParentMissing"
        assert f"company {world.account}" in outcome.message
        assert "account" in outcome.message
        assert "2026-03-03T12:00:00" in outcome.message


async def test_a_child_that_waited_too_long_is_synced_if_its_parents_are_there_now(world: World) -> None:
    world.parents()
    waiting = Record("contact", world.person(10).id, NOON, parked_since=NOON - timedelta(days=9))
    assert await world.sync("person", waiting) == [Synced("created")]


situations = st.lists(
    st.tuples(
        st.integers(10, 20),
        st.sampled_from(["lead", "contact", "account", "incident"]),
        st.sampled_from(["upsert", "delete"]),
        st.booleans(),
        st.integers(0, 3),
        st.sampled_from([None, NOON, NOON - timedelta(days=2)]),
    ),
    max_size=30,
)


@given(situations, st.booleans(), st.booleans())
def test_whatever_comes_there_is_exactly_one_outcome_per_row(
    mix: list[tuple[int, str, Any, bool, int, datetime | None]], owner: bool, company: bool
) -> None:
    world = World()
    if owner:
        world.marketo.has("sales_person", world.user)
    if company:
        world.marketo.has("company", world.account)
    records = []
    for number, table, operation, exists, attempt, since in mix:
        if exists and table in ("lead", "contact"):
            world.person(number, table)
        records.append(Record(table, guid(number), NOON, operation, attempt=attempt, parked_since=since))
    outcomes = asyncio.run(world.engine.sync(ENTITIES["person"], records))
    assert sorted(record.key for record, _ in outcomes) == sorted({record.key for record in records})
    sent = {row["externalPersonId"] for call in world.marketo.upserts for row in call}
    assert sent == {record.id for record, outcome in outcomes if isinstance(outcome, Synced)}


# -- parents that are late, or will not come ---------------------------------------------------------------------

REFUSED = WillNotCome("1003", "Invalid value for field 'email'", NOON)


async def test_a_person_that_marketo_has_does_not_wait_for_a_new_owner(world: World) -> None:
    """The old link stays until the new one is there; everything else is sent now."""
    world.parents()
    record = world.person(10)
    assert await world.sync("person", record) == [Synced("created")]
    late = Parent("sales_person", "systemuser", world.dataverse.put("systemuser", guid(7), internalemailaddress="l@x"))
    world.dataverse.tables["contact"][record.id] |= owned_by(late.id) | {"firstname": "Anna"}
    world.marketo.finds.clear()
    assert await world.sync("person", record) == [Synced("updated", (late,))]
    (sent,) = world.marketo.upserts[-1]
    assert sent == {"firstName": "Anna", "externalCompanyId": world.account, "externalPersonId": record.id}
    assert world.marketo.finds == [("sales_person", 1), ("person", 1)]
    world.marketo.has("sales_person", late.id)
    assert await world.sync("person", replace(record, released=True)) == [Synced("updated")]
    assert world.marketo.upserts[-1][0]["externalSalesPersonId"] == late.id


async def test_one_call_tells_of_300_records_whether_marketo_has_them(world: World) -> None:
    records = [world.person(n) for n in range(10, 610)]
    for record in records[:2]:
        world.marketo.has("person", record.id)
    outcomes = await world.sync("person", *records)
    missing = Parent("sales_person", "systemuser", world.user), Parent("company", "account", world.account)
    assert outcomes.count(Synced("updated", missing)) == 2
    assert outcomes.count(Deferred(missing)) == 598
    assert [entity for entity, _ in world.marketo.finds].count("person") == 2


async def test_who_has_all_its_parents_costs_no_question_about_itself(world: World) -> None:
    world.parents()
    await world.sync("person", world.person(10))
    assert "person" not in {entity for entity, _ in world.marketo.finds}


async def test_a_new_person_goes_at_once_without_an_owner_whom_marketo_refuses(world: World) -> None:
    refused = Parent("sales_person", "systemuser", world.user)
    world.causes[refused] = REFUSED
    world.marketo.has("company", world.account)
    assert await world.sync("person", world.person(10)) == [Synced("created", (refused,))]
    assert world.marketo.upserts == [
        [{"firstName": "Ann 10", "externalCompanyId": world.account, "externalPersonId": guid(10)}]
    ]


async def test_a_new_person_waits_for_the_parent_that_is_late_only(world: World) -> None:
    world.causes[Parent("sales_person", "systemuser", world.user)] = REFUSED
    assert await world.sync("person", world.person(10)) == [Deferred((Parent("company", "account", world.account),))]


async def test_whoever_has_come_in_spite_of_his_note_is_linked(world: World) -> None:
    world.parents()
    world.causes[Parent("sales_person", "systemuser", world.user)] = REFUSED
    assert await world.sync("person", world.person(10)) == [Synced("created")]


async def test_a_role_waits_for_a_refused_person_and_names_the_reason_when_its_time_is_over(world: World) -> None:
    person, deal = world.person(10), world.dataverse.put("opportunity", guid(20), name="Chairs")
    world.marketo.has("opportunity", deal)
    refused = Parent("person", "contact", person.id)
    world.causes[refused] = REFUSED
    (role, _) = world.connection(30, person.id, deal)
    assert await world.sync("opportunity_role", role) == [Deferred((refused,))]
    late = replace(role, parked_since=NOON - timedelta(days=2), released=True)
    (outcome,) = await world.sync("opportunity_role", late)
    assert isinstance(outcome, Failed)
    assert outcome.code == "ParentMissing"
    assert f"person {person.id} (table contact), which is not in Marketo: 1003, {REFUSED.message}" in outcome.message


async def test_a_role_of_what_is_nothing_to_sync_is_nothing_to_sync(world: World) -> None:
    person, deal = world.person(10), world.dataverse.put("opportunity", guid(20), name="Chairs")
    world.marketo.has("opportunity", deal)
    world.causes[Parent("person", "contact", person.id)] = replace(REFUSED, code="RowGone", skipped=True)
    (role, _) = world.connection(30, person.id, deal)
    assert await world.sync("opportunity_role", role) == [Skipped("ParentNotSynced")]


async def test_what_was_refused_before_does_not_trust_what_is_remembered_of_its_parents(world: World) -> None:
    """Each process remembers for itself: the one that was told better may not be the one that tries again."""
    world.parents()
    assert await world.sync("person", world.person(10)) == [Synced("created")]
    del world.marketo.stored["company"][world.account]
    again = replace(world.person(11), attempt=1)
    assert await world.sync("person", again) == [Deferred((Parent("company", "account", world.account),))]


# -- records that Marketo has lost -------------------------------------------------------------------------------

LONG_AGO = "2020-05-06T07:08:09Z"


async def test_an_old_row_that_marketo_does_not_know_any_more_is_marked(world: World) -> None:
    """Somebody has deleted it there: its children have lost their links, and nobody says so."""
    world.parents()
    old, new = world.person(10), world.person(11)
    for record, made in ((old, LONG_AGO), (new, (NOON - timedelta(minutes=1)).isoformat())):
        world.dataverse.tables["contact"][record.id]["createdon"] = made
    assert await world.sync("person", old, new) == [Synced("created", anew=True), Synced("created")]
    assert await world.sync("person", old) == [Synced("updated")]
    del world.marketo.stored["person"][old.id]
    assert await world.sync("person", replace(old, forced=True)) == [Synced("created")], "resync sends them all anyway"


async def test_a_first_load_is_not_taken_for_deletions_by_hand(world: World) -> None:
    world.parents()
    records = [world.person(n) for n in range(100, 200)]
    for record in records:
        world.dataverse.tables["contact"][record.id]["createdon"] = LONG_AGO
    assert set(await world.sync("person", *records)) == {Synced("created")}


async def test_a_user_whose_address_is_hidden_is_updated_where_marketo_has_him(world: World) -> None:
    """Column-level security hides the address alone: null is no news of it."""
    world.dataverse.secured = {"internalemailaddress"}
    for number in (20, 21):
        world.dataverse.put("systemuser", guid(number), internalemailaddress=None, name="Sam")
    world.marketo.has("sales_person", guid(20))
    there, unknown = await world.sync("sales_person", *(Record("systemuser", guid(n), NOON) for n in (20, 21)))
    assert {repr(there), repr(unknown)} == {repr(Synced("updated")), repr(Skipped("MailHidden"))}
    assert world.marketo.upserts == [[{"externalSalesPersonId": guid(20)}]], "his address there is left as it is"
    world.dataverse.secured = set()
    world.now += 600
    assert await world.sync("sales_person", Record("systemuser", guid(20), NOON)) == [Skipped("UserWithoutMail")]
