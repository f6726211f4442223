"""The engine in a burst: parents are met before anybody asks for them, and calls to Marketo are full."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.virtual import MemoryState, MemoryTable
from local.wiring import engine_between
from shared.config.sync_toml import SyncConfig
from shared.marketo.answers import Result
from shared.marketo.fields import MarketoField
from shared.model.entities import ENTITIES, Entity, Table
from shared.model.outcome import Deferred, Later, Outcome, Parent, Synced
from shared.model.record import Record
from shared.sync.engine import GROUP
from shared.sync.links import LOOKUP_TABLE
from shared.sync.marketo_cache import Known
from shared.sync.scheduling import AT_ONCE, Windows
from shared.sync.synced_versions import OF_A_RUN, SyncedVersions
from tests.support.values import NOON, guid
from tests.support.vendors import Vendors

CONFIG = SyncConfig.model_validate(
    {"account": {"fields": {"company": "name"}}, "contact": {"fields": {"firstName": "name"}}}
)


def contact(number: int, **facts: Any) -> Record:
    return Record("contact", guid(number), NOON, **facts)


class World(Vendors):
    """Both systems at once. Every row that is asked for exists; contacts belong to the account of `company_of`."""

    columns = ("name", "firstname")

    def __init__(self, *, burst: bool = True, shared: MemoryTable | None = None) -> None:
        self.company_of: dict[str, str] = {}
        self.there: set[str] = set()
        self.log: list[tuple[str, int]] = []
        self.sent: list[list[str]] = []
        self.now = NOON
        self.windows = Windows(NOON + timedelta(seconds=40), now=lambda: self.now) if burst else AT_ONCE
        self.known = Known(clock=lambda: 0.0)
        self.engine = engine_between(
            self,
            self,
            CONFIG,
            clock=lambda: 0.0,
            now=lambda: self.now,
            known=self.known,
            synced_versions=SyncedVersions(MemoryState(shared), now=lambda: self.now) if shared else None,
        )

    async def rows(self, table: Table, ids: Sequence[str], *_: Any, **__: Any) -> dict[str, Any]:
        self.log += [(table.entity_set, len(ids))] if ids else []
        column = "_parentcustomerid_value"
        return {id_: {"name": id_, column: self.company_of.get(id_), column + LOOKUP_TABLE: "account"} for id_ in ids}

    async def describe(self, entity: Entity) -> dict[str, MarketoField]:
        names = ("company",) if entity.name == "company" else ("company", "firstName")
        return dict.fromkeys(names, MarketoField("string", 255))

    async def find(self, _entity: Entity, keys: Sequence[str]) -> dict[str, int]:
        self.log.append(("find", len(keys)))
        return dict.fromkeys(self.there & set(keys), 0)

    async def write(self, entity: Entity, bodies: Sequence[bytes], *_: Any, **__: Any) -> list[Result]:
        self.log.append(("upsert", len(bodies)))
        self.sent.append([json.loads(body)[entity.key] for body in bodies])
        return [Result("created", 7)] * len(bodies)

    async def sync(self, *records: Record, entity: str = "person") -> list[tuple[Record, Outcome]]:
        return await self.engine.sync(ENTITIES[entity], records, self.windows)

    def sizes(self, step: str) -> list[int]:
        return [size for name, size in self.log if name == step]


async def test_a_record_that_may_meet_its_parent_waits_a_cycle_and_costs_marketo_no_call(world: World) -> None:
    world.company_of = {guid(1): guid(900)}
    assert await world.sync(contact(1)) == [(contact(1, parked_since=NOON), Later("MeetsItsParents"))]
    assert world.sizes("find") == world.sizes("upsert") == []


async def test_a_record_that_met_its_parent_goes_on_without_a_question(world: World) -> None:
    world.company_of = {guid(1): guid(900)}
    ((waiting, _),) = await world.sync(contact(1))
    await world.sync(Record("account", guid(900), NOON, collected=True), entity="company")
    ((_, outcome),) = await world.sync(replace(waiting, collected=True))
    assert outcome == Synced("created")
    assert world.sizes("find") == []


@pytest.mark.parametrize("there", [True, False])
async def test_a_record_that_met_no_parent_asks_marketo_and_then_is_parked(world: World, there: bool) -> None:
    world.company_of = {guid(1): guid(900)}
    world.there = {guid(900)} if there else set()
    ((_, outcome),) = await world.sync(contact(1, parked_since=NOON, collected=True))
    assert outcome == (Synced("created") if there else Deferred((Parent("company", "account", guid(900)),)))
    assert world.sizes("find") == ([1] if there else [1, 1]), "the parent, and whether Marketo has the record already"


async def test_what_fills_no_call_waits_a_cycle_and_the_oldest_go_first(world: World) -> None:
    people = [replace(contact(n), first_seen=NOON - timedelta(seconds=n)) for n in range(650)]
    outcomes = await world.sync(*people)
    later = [(record, outcome) for record, outcome in outcomes if isinstance(outcome, Later)]
    assert world.sizes("upsert") == [300, 300]
    youngest = sorted(people, key=lambda record: record.first_seen)[600:]
    assert sorted(later, key=lambda pair: pair[0].first_seen) == [
        (replace(record, collected=True), Later("FillsACall")) for record in youngest
    ]


async def test_what_has_waited_a_cycle_goes_with_all_that_is_there(world: World) -> None:
    outcomes = await world.sync(*[contact(n) for n in range(40)], contact(99, collected=True))
    assert {outcome for _, outcome in outcomes} == {Synced("created")}
    assert world.sizes("upsert") == [41]


async def test_while_more_messages_are_waiting_only_full_calls_are_made_whoever_has_waited(world: World) -> None:
    world.windows = replace(world.windows, more=True)
    people = [replace(contact(n, collected=True), first_seen=NOON - timedelta(seconds=n)) for n in range(350)]
    outcomes = dict(await world.sync(*people))
    assert world.sizes("upsert") == [300]
    assert [outcomes[record] for record in people[:50]] == [Later("FillsACall", soon=True)] * 50, "the youngest wait"


async def test_what_many_wait_for_waits_for_this_turn_only(world: World) -> None:
    ((waiting, outcome),) = await world.sync(Record("account", guid(1), NOON), entity="company")
    assert outcome == Later("FillsACall", soon=True)
    ((_, outcome),) = await world.sync(waiting, entity="company")
    assert outcome == Synced("created")


@pytest.mark.parametrize("after_it", [True, False])
async def test_without_a_burst_nothing_waits_to_fill_a_call(after_it: bool) -> None:
    world = World(burst=after_it)
    world.now += timedelta(seconds=40)
    assert {outcome for _, outcome in await world.sync(*[contact(n) for n in range(310)])} == {Synced("created")}
    assert world.sizes("upsert") == [300, 10]


async def test_a_large_batch_is_read_and_sent_group_by_group_in_full_calls() -> None:
    world = World(burst=False)
    await world.sync(*[contact(n) for n in range(2 * GROUP + 700)])
    assert world.sizes("upsert") == [300] * 12 + [100]
    in_memory = most = 0
    for step, size in world.log:
        in_memory += size if step == "contacts" else -size
        most = max(most, in_memory)
    assert most <= GROUP + 300


@given(
    st.lists(st.tuples(st.integers(0, 400), st.booleans(), st.booleans(), st.booleans()), max_size=400),
    st.booleans(),
    st.sets(st.integers(900, 903)),
)
async def test_every_row_has_one_outcome_and_is_sent_once_at_most(
    mix: list[tuple[int, bool, bool, bool]], burst: bool, there: set[int]
) -> None:
    world = World(burst=burst)
    world.there = {guid(n) for n in there}
    records = []
    for number, has_company, waited, collected in mix:
        if has_company:
            world.company_of[guid(number)] = guid(900 + number % 4)
        records.append(contact(number, parked_since=NOON if waited else None, collected=collected))
    outcomes = await world.engine.sync(ENTITIES["person"], records, world.windows)
    assert sorted(record.key for record, _ in outcomes) == sorted({record.key for record in records})
    sent = [id_ for call in world.sent for id_ in call]
    assert sorted(sent) == sorted(record.id for record, outcome in outcomes if isinstance(outcome, Synced))
    again = [record for record, outcome in outcomes if isinstance(outcome, Later)]
    assert not again or burst
    assert all(record.collected or record.parked_since for record in again), "nobody waits for a second cycle"


async def test_in_a_burst_a_process_that_stored_no_parent_asks_for_none_that_another_one_stored() -> None:
    table = MemoryTable(seconds=0.0)
    companies, persons = World(shared=table), World(shared=table)
    persons.company_of = {guid(1): guid(900), guid(2): guid(901)}
    await companies.sync(Record("account", guid(900), NOON, collected=True), entity="company")
    outcomes = dict(await persons.sync(contact(1, collected=True), contact(2, collected=True)))
    assert outcomes[contact(1, collected=True)] == Synced("created")
    assert Later("MeetsItsParents") in outcomes.values()
    assert persons.sizes("find") == []


async def learned(table: MemoryTable, entity: str, id_: str) -> int | None:
    """The Marketo id that a process knows which was told of what is stored."""
    known = Known(clock=lambda: 0.0)
    await SyncedVersions(MemoryState(table), now=lambda: NOON).learn(known, {entity}, OF_A_RUN)
    return known.id_of(entity, id_)


async def test_in_a_burst_only_what_is_in_marketo_is_told() -> None:
    table = MemoryTable(seconds=0.0)
    persons = World(shared=table)
    persons.company_of = {guid(2): guid(900)}
    outcomes = dict(await persons.sync(contact(1, collected=True), contact(2, collected=True)))
    assert outcomes[contact(1, collected=True)] == Synced("created")
    assert await learned(table, "person", guid(1)) is not None
    assert await learned(table, "person", guid(2)) is None


async def test_in_a_run_companies_are_known_to_the_process_that_syncs_their_persons() -> None:
    table = MemoryTable(seconds=0.0)
    companies, persons = World(burst=False, shared=table), World(burst=False, shared=table)
    persons.company_of = {guid(1): guid(900)}
    await companies.sync(Record("account", guid(900), NOON, run="r/account/0"), entity="company")
    assert await persons.sync(contact(1, run="r/contact/0")) == [(contact(1, run="r/contact/0"), Synced("created"))]
    assert persons.sizes("find") == []


async def test_in_a_run_nobody_is_told_of_persons_of_whom_there_are_many() -> None:
    table = MemoryTable(seconds=0.0)
    persons = World(burst=False, shared=table)
    assert await persons.sync(contact(1, run="r/contact/0")) == [(contact(1, run="r/contact/0"), Synced("created"))]
    assert await learned(table, "person", guid(1)) is None


async def test_outside_of_a_burst_nothing_is_shared_and_the_parent_is_asked_for() -> None:
    table = MemoryTable(seconds=0.0)
    companies, persons = World(burst=False, shared=table), World(burst=False, shared=table)
    persons.company_of, persons.there = {guid(1): guid(900)}, {guid(900)}
    await companies.sync(Record("account", guid(900), NOON), entity="company")
    assert await persons.sync(contact(1)) == [(contact(1), Synced("created"))]
    assert persons.sizes("find") == [1]
    assert await learned(table, "company", guid(900)) is None
