"""The sync filter in the engine: rows that are kept out, their children, and columns and fields that disappear."""

import json
import logging
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from local.virtual import MemoryState, MemoryTable
from local.wiring import engine_between
from shared.config.sync_toml import SyncConfig
from shared.marketo.answers import Result
from shared.marketo.fields import MarketoField
from shared.model.codes import Kind
from shared.model.entities import ENTITIES, TABLES, Entity, Table
from shared.model.errors import DataverseError
from shared.model.outcome import FILTERED, Deferred, Outcome, Retry, Skipped, Synced
from shared.model.record import Record
from shared.sync.dependants import Dependants
from shared.sync.links import LOOKUP_TABLE
from shared.sync.reference_state import ReferenceState
from shared.sync.scheduling import AT_ONCE, Windows
from shared.sync.schema import Schema
from tests.support.values import NOON, guid, to
from tests.support.vendors import Vendors

TABLES_OF_FILE: dict[str, dict[str, Any]] = {
    "systemuser": {"fields": {"email": "internalemailaddress"}},
    "account": {"fields": {"company": "name"}},
    "contact": {"fields": {"firstName": "firstname", "title": "jobtitle"}},
    "opportunity": {"fields": {"name": "name"}},
    "connection": {"fields": {}},
}
Row = dict[str, Any]
IN_ACCOUNT = to("_parentcustomerid_value", "account", guid(2))


class World(Vendors):
    """Dynamics with the native connector's column, a Marketo, and the engine between them."""

    def __init__(self, *, without: str = "", **options: Any) -> None:
        tables = {table: rest for table, rest in TABLES_OF_FILE.items() if table != without}
        self.config = SyncConfig.model_validate({**tables, **options})
        self.rows_of: dict[str, dict[str, Row]] = {table: {} for table in [*TABLES, "connectionrole"]}
        self.columns: set[str] = {
            "name", "firstname", "jobtitle", "internalemailaddress", "new_synctomkto", "statecode",
        }  # fmt: skip
        self.fields: set[str] = {"email", "company", "firstName", "title", "name"}
        self.believed_fields: set[str] | None = None
        self.stored: dict[str, dict[str, Row]] = {name: {} for name in ENTITIES}
        self.requests: list[str] = []
        self.now = 0.0
        itself: Any = self
        self.schema = Schema(self.config, itself, itself, clock=lambda: self.now)
        self.windows = AT_ONCE
        self.engine = engine_between(
            self, self, self.config, clock=lambda: self.now, now=lambda: NOON + timedelta(seconds=self.now),
            schema=self.schema,
        )  # fmt: skip

    def put(self, table: str, number: int, **columns: Any) -> Record:
        self.rows_of[table][guid(number)] = columns
        return Record(table, guid(number), NOON)

    async def rows(self, source: Table, ids: Sequence[str], columns: Iterable[str], **_: Any) -> dict[str, Row]:
        table = source.name
        self.requests.append(table)
        for column in columns:
            if column not in self.columns and column not in TABLES[table][1].rule_columns:
                message = f"Could not find a property named '{column}' on type 'Microsoft.Dynamics.CRM.{table}'."
                raise DataverseError("0x80060888", message, kind=Kind.CONFIGURATION)
        asked = {*columns, *(column + LOOKUP_TABLE for column in columns)}
        stored = self.rows_of[table]
        return {i: {k: v for k, v in stored[i].items() if k in asked} for i in ids if i in stored}

    async def describe(self, entity: Entity) -> dict[str, MarketoField]:
        fields = self.fields if self.believed_fields is None else self.believed_fields
        of_company = {"company", "name", "accountGuid"}
        names = [name for name in fields if entity.name != "company" or name in of_company]
        return {name: MarketoField("string", 255) for name in names}

    async def find(self, entity: Entity, keys: Sequence[str]) -> dict[str, int]:
        return {key: 7 for key in keys if key in self.stored[entity.name]}

    async def write(self, entity: Entity, bodies: Sequence[bytes], *_: Any, **__: Any) -> list[Result]:
        return [self._store(entity, json.loads(body)) for body in bodies]

    def _store(self, entity: Entity, sent: Row) -> Result:
        known = {*self.fields, *(link.field for link in entity.links), *self.config.key_fields(entity.name), "role"}
        unknown = sorted(sent.keys() - known)
        if unknown:
            return Result("skipped", 0, "1006", f"Field '{unknown[0]}' not found")
        self.stored[entity.name]["|".join(str(sent[name]) for name in entity.dedupe_fields if name in sent)] = sent
        return Result("created", 7)

    async def sync(self, *records: Record) -> list[Outcome]:
        entity = TABLES[records[0].table][0]
        return [outcome for _, outcome in await self.engine.sync(entity, records, self.windows)]

    def company_of(self, number: int) -> str | None:
        found: str | None = self.stored["person"][guid(number)].get("externalCompanyId")
        return found


@pytest.mark.parametrize(
    ("value", "outcome"), [(None, Synced("created")), (True, Synced("created")), (False, FILTERED)]
)
async def test_only_an_explicit_no_keeps_a_row_out(world: World, value: bool | None, outcome: Outcome) -> None:
    assert await world.sync(world.put("contact", 1, firstname="A", new_synctomkto=value)) == [outcome]
    assert (guid(1) in world.stored["person"]) == (outcome != FILTERED)


async def test_users_are_not_filtered(world: World) -> None:
    user = world.put("systemuser", 1, internalemailaddress="a@b.example", new_synctomkto=False)
    assert await world.sync(user) == [Synced("created")]


async def test_yes_to_no_leaves_the_record_as_it_is(world: World) -> None:
    await world.sync(world.put("contact", 1, firstname="A"))
    assert await world.sync(world.put("contact", 1, firstname="B", new_synctomkto=False)) == [FILTERED]
    assert world.stored["person"][guid(1)]["firstName"] == "A"


async def test_a_rule_of_columns_and_the_column_must_both_let_a_row_through() -> None:
    contact = {"filter": [{"jobtitle": "present"}, {"firstname": ["VIP"]}], **TABLES_OF_FILE["contact"]}
    world = World(contact=contact)
    rows = [
        world.put("contact", 1, jobtitle="Buyer"),
        world.put("contact", 2, firstname="VIP"),
        world.put("contact", 3, firstname="Nobody"),
        world.put("contact", 4, jobtitle="Buyer", new_synctomkto=False),
    ]
    outcomes = [(await world.sync(row))[0] for row in rows]
    assert outcomes == [Synced("created"), Synced("created"), FILTERED, FILTERED]


async def test_a_rule_that_cannot_be_judged_lets_nothing_out_and_loses_nothing() -> None:
    world = World(contact={"filter": {"new_consent": [True]}, **TABLES_OF_FILE["contact"]})
    (outcome,) = await world.sync(world.put("contact", 1, firstname="A"))
    assert isinstance(outcome, Retry)
    assert outcome.code == "FilterColumnMissing"
    assert "new_consent" in outcome.message
    assert world.stored["person"] == {}


async def test_a_child_of_a_filtered_parent_is_synced_without_the_link_and_never_parked(world: World) -> None:
    world.put("account", 2, name="Secret Ltd", new_synctomkto=False)
    contact = world.put("contact", 1, firstname="A", **IN_ACCOUNT)
    assert await world.sync(contact) == [Synced("created")]
    assert world.company_of(1) is None


async def test_a_child_of_a_parent_that_is_merely_late_waits_for_it(world: World) -> None:
    world.put("account", 2, name="Contoso")
    contact = world.put("contact", 1, firstname="A", **IN_ACCOUNT)
    (outcome,) = await world.sync(contact)
    assert isinstance(outcome, Deferred)


async def test_the_link_to_a_parent_that_is_in_marketo_from_before_stays(world: World) -> None:
    await world.sync(world.put("account", 2, name="Contoso"))
    world.put("account", 2, name="Contoso", new_synctomkto=False)
    contact = world.put("contact", 1, firstname="A", **IN_ACCOUNT)
    await world.sync(contact)
    assert world.company_of(1) == guid(2)


async def test_a_parent_of_a_table_that_is_not_mapped_is_no_reason_to_wait() -> None:
    world = World(without="account")
    contact = world.put("contact", 1, firstname="A", **IN_ACCOUNT)
    assert await world.sync(contact) == [Synced("created")]
    assert world.company_of(1) is None


async def test_a_role_of_a_filtered_person_is_skipped(world: World) -> None:
    await world.sync(world.put("opportunity", 3, name="Deal"))
    world.put("contact", 1, firstname="A", new_synctomkto=False)
    ends = {**to("_record1id_value", "opportunity", guid(3)), **to("_record2id_value", "contact", guid(1))}
    assert await world.sync(world.put("connection", 9, **ends)) == [Skipped("ParentFiltered")]


async def test_in_a_burst_a_child_meets_its_parents_first_and_then_goes_without_the_filtered_one(world: World) -> None:
    world.windows = Windows(NOON + timedelta(seconds=40), now=lambda: NOON)
    world.put("account", 2, name="Secret Ltd", new_synctomkto=False)
    world.put("contact", 1, firstname="A", **IN_ACCOUNT)
    waited = Record("contact", guid(1), NOON, parked_since=NOON, collected=True)
    assert await world.sync(waited) == [Synced("created")]
    assert world.company_of(1) is None


async def test_a_lost_column_costs_its_field_and_one_warning(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.sync(world.put("contact", 1, firstname="A", jobtitle="Buyer"))
    world.columns.remove("jobtitle")
    with caplog.at_level(logging.WARNING):
        outcomes = [await world.sync(world.put("contact", n, firstname="B")) for n in range(2, 5)]
        world.schema.forget()
        await world.sync(world.put("contact", 9, firstname="B"))
    assert outcomes == [[Synced("created")]] * 3
    assert world.stored["person"][guid(2)] == {
        "firstName": "B", "externalPersonId": guid(2), "externalSalesPersonId": None,
    }  # fmt: skip
    assert [r.getMessage() for r in caplog.records if "jobtitle" in r.getMessage()] == [
        "left_out table=contact name=jobtitle: not readable in Dynamics; see msisync fields check"
    ]


async def test_a_lost_field_is_left_out_of_the_record_at_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.sync(world.put("contact", 1, firstname="A", jobtitle="Buyer"))
    world.fields.remove("title")
    with caplog.at_level(logging.WARNING):
        assert await world.sync(world.put("contact", 2, firstname="B", jobtitle="Buyer")) == [Synced("created")]
    assert "title" not in world.stored["person"][guid(2)]
    assert "Field 'title' not found" in caplog.text
    assert await world.sync(world.put("contact", 3, firstname="C", jobtitle="Buyer")) == [Synced("created")]


async def test_a_field_that_describe_still_names_is_left_out_of_every_record_all_the_same(world: World) -> None:
    world.believed_fields = set(world.fields)
    world.fields -= {"title", "firstName"}
    assert await world.sync(world.put("contact", 1, firstname="A", jobtitle="Buyer")) == [Synced("created")]
    assert world.stored["person"][guid(1)] == {"externalPersonId": guid(1), "externalSalesPersonId": None}


async def test_keys_of_one_s_own_take_the_ids() -> None:
    world = World(keys={"person": "dynamicsId", "company": "accountGuid"})
    world.fields.add("accountGuid")
    await world.sync(world.put("account", 2, name="Contoso"))
    await world.sync(world.put("contact", 1, firstname="A", **IN_ACCOUNT))
    assert world.stored["company"][guid(2)]["accountGuid"] == guid(2)
    (person,) = world.stored["person"].values()
    assert person["dynamicsId"] == guid(1)
    assert person["externalCompanyId"] == guid(2)
    assert "externalPersonId" not in person


class Referring:
    """Answers the queries for children: every parent has one in each table."""

    def __init__(self) -> None:
        self.urls: list[str] = []

    async def pages(self, url: str) -> Any:
        self.urls.append(url)
        key = url.partition("$select=")[2].partition("&")[0]
        yield [{key: guid(100 + n).upper()} for n in range(url.count(" eq "))]


class Chain:
    """Contacts below one another: 1 is above 2, 2 above 3 and so on, the last above the first; each has a deal."""

    def __init__(self, length: int) -> None:
        self.length = length

    async def pages(self, url: str) -> Any:
        above = [int(UUID(part.split(" ")[-1])) for part in url.partition("$filter=")[2].split(" or ")]
        if "opportunityid" in url and "_customerid_value" in url:
            yield [{"opportunityid": guid(1000 + number)} for number in above]
        elif "_parentcustomerid_value" in url:
            yield [{"contactid": guid(number % self.length + 1)} for number in above]
        else:
            yield []


def dependants(dataverse: Any, *tables: str) -> Dependants:
    """Of a system that maps these tables."""
    config = SyncConfig.model_validate({table: {"fields": {}} for table in tables})
    return Dependants(dataverse, ReferenceState(MemoryState(MemoryTable())), config)


async def test_the_children_of_a_row_are_found_in_every_mapped_table_that_refers_to_it() -> None:
    dataverse: Any = Referring()
    parents = [Record("account", guid(n), NOON + timedelta(hours=n)) for n in range(60)]
    pages = [page async for page in dependants(dataverse, "contact", "opportunity").of(parents)]
    assert len(dataverse.urls) == 2 * 3 + 4, "two queries of at most 50 parents for each of three lookups"
    assert {record.table for page in pages for record in page} == {"contact", "opportunity"}
    assert pages[0][0] == Record("contact", guid(100), NOON)
    assert max(len(url) for url in dataverse.urls) < 8_000


async def below(length: int, *tables: str, deciding: bool = False, filter_changed: bool = False) -> list[int]:
    """What follows from a change of contact 1; opportunities count from 1,000."""
    dataverse: Any = Chain(length)
    changed = Record("contact", guid(1), NOON, deciding=deciding, filter_changed=filter_changed)
    pages = [page async for page in dependants(dataverse, *tables).of([changed])]
    return sorted(int(UUID(record.id)) for page in pages for record in page)


async def test_what_has_its_company_through_a_contact_follows_it_as_far_as_the_rules_look_up() -> None:
    tables = ("contact", "opportunity", "connection")
    assert await below(50, *tables, deciding=True) == [2, 3, 4, 1001, 1002, 1003, 1004]
    assert await below(50, "opportunity", deciding=True) == [1001]
    assert await below(50, *tables, filter_changed=True) == [1001], "it has a role there, as the primary contact"


async def test_contacts_in_a_circle_are_found_once() -> None:
    assert await below(2, "contact", "opportunity", deciding=True) == [2, 1001, 1002]
