"""How far persons have drifted: what counts as drift, what is left out, and what the sweep keeps of it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from local.virtual import MemoryState, MemoryTable
from shared.azure.shared_state import parsed
from shared.config.sync_toml import SyncConfig
from shared.dataverse.metadata import Column
from shared.marketo.fields import MarketoField
from shared.model.codes import Kind
from shared.model.entities import TABLES, Entity
from shared.model.errors import DataverseError, MarketoError
from shared.sync.schema import Schema
from shared.write_back.drift import Drift, DriftCount, keep
from tests.support.values import guid, to
from tests.support.vendors import Vendors
from tests.support.write_back import NOON, KilledError, World

LONG_AGO, JUST_NOW = "2026-01-01T00:00:00Z", (NOON - timedelta(minutes=3)).isoformat()
CONFIG = SyncConfig.model_validate(
    {
        "lead": {"fields": {"email": "emailaddress1", "company": "companyname"}},
        "contact": {"fields": {"email": "emailaddress1", "city": "address1_city"}},
    }
)


class Systems(Vendors):
    """Both schemas, and the contacts that leads were made to."""

    fields = ("email", "city", "company", "externalPersonId")

    def __init__(self) -> None:
        self.made_of: list[str] = []
        self.refusal: Exception | None = None

    async def describe(self, entity: Entity, /) -> dict[str, MarketoField]:
        if self.refusal:
            raise self.refusal
        return await super().describe(entity)

    async def readable_columns(self, table: str, /) -> Any:
        ours = ("emailaddress1", "address1_city", "companyname", "createdon", "modifiedon")
        names = (*ours, *TABLES[table][1].rule_columns)
        return {name: Column(name, "String", readable=True) for name in names}

    async def query(self, url: str, **_: Any) -> list[dict[str, Any]]:
        return [
            {"contactid": guid(99), **to("_originatingleadid_value", "lead", id_)} for id_ in self.made_of if id_ in url
        ]


@pytest.fixture
def systems() -> Systems:
    return Systems()


def counting(systems: Systems) -> DriftCount:
    itself: Any = systems
    return DriftCount(itself, Schema(CONFIG, itself, itself, clock=lambda: 0.0), tables=CONFIG.tables)


async def counted(systems: Systems, table: str, rows: Mapping[int, Any], persons: Mapping[int, Any]) -> Drift:
    count = counting(systems)
    empty = dict.fromkeys(await count.columns(table))
    known = {guid(n): {**empty, "modifiedon": LONG_AGO, **row} for n, row in rows.items()}
    nothing = dict.fromkeys(await count.fields(table))
    there = {guid(n): {**nothing, "externalPersonId": guid(n), **person} for n, person in persons.items()}
    return await count.of(table, known, there, NOON)


async def test_values_are_compared_and_counted_by_field(systems: Systems) -> None:
    rows = {1: {"emailaddress1": "a@x.com", "address1_city": "Ulm"}, 2: {"address1_city": "Bern"}, 3: {}}
    persons = {1: {"email": "A@x.com", "city": "Ulm "}, 2: {"email": "b@x.com", "city": "Genf"}, 3: {"city": ""}}
    assert await counted(systems, "contact", rows, persons) == Drift(3, 1, 0, {"city": 1, "email": 1})


async def test_rows_without_a_person_are_missing_unless_nothing_is_created_for_them(systems: Systems) -> None:
    systems.made_of = [guid(4)]
    gone = {"merged": True, **to("_masterid_value", "lead", guid(9))}
    rows = {1: {}, 2: {"statecode": 1}, 3: gone, 4: {}, 5: {"modifiedon": JUST_NOW}}
    assert await counted(systems, "lead", rows, {}) == Drift(0, 0, 1, {})


async def test_what_is_on_its_way_and_a_company_s_fields_are_left_out(systems: Systems) -> None:
    rows = {1: {"emailaddress1": "a@x.com", "modifiedon": JUST_NOW}, 2: {"companyname": "A"}}
    assert "company" not in await counting(systems).fields("lead")
    assert await counted(systems, "lead", rows, {1: {}, 2: {"company": "B"}}) == Drift(1)


async def test_rows_of_a_link_with_other_columns_are_not_judged(systems: Systems) -> None:
    rows = {guid(1): {"emailaddress1": "a@x.com"}}
    assert await counting(systems).of("contact", rows, {}, NOON) == Drift()


@pytest.mark.parametrize("kind", [Kind.CONFIGURATION, Kind.TRANSIENT])
async def test_without_a_schema_nothing_is_counted_and_nothing_fails(systems: Systems, kind: Kind) -> None:
    systems.refusal = MarketoError("603", "Access denied", kind=kind)
    count = counting(systems)
    assert (await count.columns("contact"), await count.fields("contact")) == (frozenset(), frozenset())
    assert await count.of("contact", {guid(1): {}}, {}, NOON) == Drift()


async def test_where_contacts_cannot_be_read_no_lead_is_missing(
    systems: Systems, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuses(*_: Any, **__: Any) -> Any:
        raise DataverseError("HTTP 503", "away", kind=Kind.TRANSIENT)

    monkeypatch.setattr(systems, "query", refuses)
    assert await counted(systems, "lead", {1: {}}, {}) == Drift()


def test_drifts_add_up() -> None:
    total = Drift(3, 1, 1, {"a": 1}) + Drift(5, 2, 0, {"a": 1, "b": 2})
    assert total == Drift(8, 3, 1, {"a": 2, "b": 2})
    assert total.part == pytest.approx(4 / 9)
    assert Drift().part == 0


async def test_a_sweep_without_a_count_keeps_what_an_earlier_one_has_found() -> None:
    state = MemoryState(MemoryTable(seconds=0))
    await keep(state, "write_back", {"contact": Drift(4, 1), "lead": Drift(2)}, NOON)
    await keep(state, "write_back", {"contact": Drift()}, NOON)
    found = parsed(Drift, await state.read("write_back", "drift"))
    assert found
    assert (found.compared, found.differing, found.at) == (6, 1, "2026-03-04T18:00:00.000Z")


# -- in the sweep -----------------------------------------------------------------------------------------------------


class EveryTenth:
    """A count of which every tenth row differs."""

    def __init__(self) -> None:
        self.forgotten = 0

    async def columns(self, table: str) -> frozenset[str]:
        return frozenset({f"of_{table}"})

    async def fields(self, _table: str) -> frozenset[str]:
        return frozenset({"city"})

    async def of(self, _table: str, rows: Mapping[str, Any], persons: Mapping[str, Any], _now: Any) -> Drift:
        found = sum(int(id_.rpartition("-")[2], 16) % 10 == 0 for id_ in rows)
        return Drift(len(rows.keys() & persons.keys()), found, len(rows.keys() - persons.keys()), {"city": found})

    def forget(self) -> None:
        self.forgotten += 1


def world_that_counts() -> World:
    world = World()
    world.fields |= {"city"}
    world.add_many(1000)
    world.work = world.write_back(drift=EveryTenth())
    return world


async def test_the_sweep_counts_and_costs_no_call_more() -> None:
    world = world_that_counts()
    del world.people[5]
    run = await world.sweep()
    assert (run.complete, run.marketo_calls) == (True, 4)
    kept = await world.state("drift")
    assert {**kept, "at": ""} == {"compared": 999, "differing": 100, "missing": 1, "fields": {"city": 100}, "at": ""}


async def test_a_table_that_begins_anew_is_counted_once() -> None:
    world = world_that_counts()
    world.stop_after_writes = 2
    with pytest.raises(KilledError):
        await world.sweep()
    assert await world.state("drift") == {}
    world.stop_after_writes = 0
    await world.sweep()
    assert (await world.state("drift"))["compared"] == 1000
    assert (await world.state("sweep"))["drift"]["contact"]["compared"] == 1000


async def test_a_dry_run_keeps_nothing() -> None:
    world = world_that_counts()
    world.work = world.write_back(drift=EveryTenth(), dry_run=True)
    await world.sweep()
    assert await world.state("drift") == {}
