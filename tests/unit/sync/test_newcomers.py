"""One human is one person in Marketo: adoption by e-mail, and qualified leads. The two systems are in memory."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.wiring import engine_between
from shared.config.sync_toml import SyncConfig
from shared.dataverse.metadata import Column
from shared.marketo.answers import Result
from shared.marketo.client import Write
from shared.model.codes import Kind
from shared.model.entities import PERSON, TABLES, Entity
from shared.model.errors import MarketoError
from shared.model.outcome import Failed, Outcome, Skipped, Synced
from shared.model.record import Record
from tests.support.clocks import Clock
from tests.support.values import NOON, guid, to
from tests.support.vendors import Vendors

Row = dict[str, Any]
KEY = "externalPersonId"
CREATED, UPDATED, ADOPTED = Synced("created"), Synced("updated"), Synced("adopted")
QUALIFIED = Skipped("Qualified")
#: Persons that one answer of a query may have.
MOST = 1000


class Dataverse(Vendors):
    def __init__(self) -> None:
        self.rows_of: dict[str, dict[str, Row]] = {"lead": {}, "contact": {}}

    async def rows(self, entity_set: str, _key: str, ids: Sequence[str], columns: Iterable[str], **_: Any) -> Any:
        stored = self.rows_of[entity_set[:-1]]
        asked = set(columns)
        return {i: {k: v for k, v in stored[i].items() if k.partition("@")[0] in asked} for i in ids if i in stored}

    async def query(self, url: str, **_: Any) -> list[Row]:
        return [row for row in self.rows_of["contact"].values() if str(row.get("_originatingleadid_value")) in url]

    async def statuses(self, *_: Any, **__: Any) -> list[int]:
        return []

    async def readable_columns(self, table: str, /) -> Any:
        names = ["emailaddress1", "createdon", "modifiedon", "new_synctomkto", *TABLES[table][1].rule_columns]
        return {name: Column(name, "Boolean" if "sync" in name else "String", readable=True) for name in names}


class Marketo(Vendors):
    fields = ("email",)

    def __init__(self) -> None:
        self.persons: dict[int, Row] = {}
        self.calls: Counter[str] = Counter()

    def has(self, number: int, email: str, key: str | None = None, **more: Any) -> None:
        self.persons[number] = {"id": number, "email": email, KEY: key, **more}

    def keys(self) -> dict[int, str]:
        return {number: person[KEY] for number, person in self.persons.items()}

    async def find(self, _entity: Entity, keys: Sequence[str], /) -> dict[str, int]:
        self.calls["find"] += 1
        return {person[KEY]: number for number, person in self.persons.items() if person[KEY] in keys}

    async def read(self, _entity: Entity, field: str, values: Sequence[str], *_: Any, **__: Any) -> list[Row]:
        self.calls[f"read {field}"] += 1
        assert len(values) <= 300
        found = [person for person in self.persons.values() if str(person[field]).lower() in values]
        if len(found) > MOST:
            raise MarketoError("1003", "Too many results match the filter", kind=Kind.CONFIGURATION)
        return found

    async def upsert(self, _entity: Entity, bodies: Sequence[bytes], *, write: Write, **_: Any) -> list[Result]:
        self.calls[write.name] += 1
        sent = [json.loads(body) for body in bodies]
        assert 0 < len(sent) <= 300
        return [self._store(row, write) for row in sent]

    def _store(self, row: Row, write: Write) -> Result:
        field = "id" if write is Write.BY_ID else KEY
        there = [person for person in self.persons.values() if person.get(field) == row[field]]
        assert len(there) <= 1, "1007"
        if there:
            there[0].update(row)
            return Result("updated", there[0]["id"])
        if write is not Write.UPSERT:
            return Result("skipped", 0, "1004", "Lead not found")
        number = 1000 + len(self.persons)
        self.has(number, **{"email": None, **{k: v for k, v in row.items() if k == "email"}}, key=row[KEY])
        return Result("created", number)


class World:
    def __init__(self, **person: Any) -> None:
        self.dataverse, self.marketo, self.clock = Dataverse(), Marketo(), Clock(1000.0)
        table = {"fields": {"email": "emailaddress1"}}
        self.config = SyncConfig.model_validate({"lead": table, "contact": table, "person": person})
        self.restart()

    def restart(self) -> None:
        """Go on in another process, which remembers nothing."""
        self.engine = engine_between(self.dataverse, self.marketo, self.config, clock=self.clock, now=lambda: NOON)

    def row(self, table: str, number: int, email: str | None = "ann@x.com", **columns: Any) -> Record:
        self.dataverse.rows_of[table][guid(number)] = {
            TABLES[table][1].key: guid(number), "emailaddress1": email, "createdon": "a", "modifiedon": "b", **columns
        }  # fmt: skip
        return Record(table, guid(number), NOON)

    def contact(self, number: int, email: str | None = "ann@x.com", *, lead: int = 0, **columns: Any) -> Record:
        if lead:
            columns |= to("_originatingleadid_value", "lead", guid(lead))
        return self.row("contact", number, email, **columns)

    def lead(self, number: int, email: str | None = "ann@x.com", *, state: int = 0, **columns: Any) -> Record:
        return self.row("lead", number, email, statecode=state, **columns)

    async def sync(self, *records: Record) -> list[Outcome]:
        outcomes = dict(await self.engine.sync(PERSON, records))
        return [outcomes[record] for record in records]


@pytest.fixture
def world() -> World:
    return World()


async def test_a_person_that_marketing_has_is_adopted_and_then_updated(world: World) -> None:
    world.marketo.has(7, "Ann@x.com")
    ann = world.contact(1)
    assert await world.sync(ann) == [ADOPTED]
    assert world.marketo.keys() == {7: guid(1)}
    assert await world.sync(ann) == [UPDATED]
    assert len(world.marketo.persons) == 1


async def test_another_rows_person_is_left_alone(world: World) -> None:
    world.marketo.has(7, "ann@x.com", guid(5))
    assert await world.sync(world.contact(1)) == [CREATED]
    assert sorted(world.marketo.keys().values()) == [guid(1), guid(5)]


async def test_a_person_with_another_address_in_marketo_is_found_by_its_key(world: World) -> None:
    """Somebody with the new address is there as well, without an id: two persons must not get the same id."""
    world.marketo.has(6, "old@x.com", guid(1))
    world.marketo.has(7, "ann@x.com")
    for as_made in (False, True):
        ann = world.contact(1, modifiedon="a" if as_made else "b")
        world.restart()
        assert await world.sync(ann) == [UPDATED]
    assert world.marketo.keys() == {6: guid(1), 7: None}


@pytest.mark.parametrize("apart", [False, True], ids=["in one batch", "in two batches"])
async def test_of_two_rows_with_one_address_one_adopts(world: World, *, apart: bool) -> None:
    world.marketo.has(7, "ann@x.com")
    first, second = world.contact(1), world.lead(2)
    if apart:
        assert await world.sync(first) == [ADOPTED]
        world.restart()
        assert await world.sync(second) == [CREATED]
    else:
        assert sorted(outcome.status for outcome in await world.sync(first, second) if isinstance(outcome, Synced)) == [
            "adopted",
            "created",
        ]
    assert sorted(world.marketo.keys().values()) == [guid(1), guid(2)]


async def test_several_with_one_address_wait_for_a_person_to_choose(world: World) -> None:
    world.marketo.has(7, "ann@x.com")
    world.marketo.has(8, "ann@x.com")
    ann = world.contact(1)
    (failed,) = await world.sync(ann)
    assert isinstance(failed, Failed)
    assert (failed.code, failed.source) == ("AmbiguousPerson", "msisync")
    assert world.marketo.keys() == {7: None, 8: None}
    world.marketo.persons[8][KEY] = guid(1)  # msisync link
    assert await world.sync(replace(ann, replays=1)) == [UPDATED]


@pytest.mark.parametrize(("policy", "person"), [("oldest", 8), ("latest", 7), ("create", 1002)])
async def test_or_the_policy_chooses(policy: str, person: int) -> None:
    world = World(ambiguous=policy)
    world.marketo.has(7, "ann@x.com", createdAt="2021", updatedAt="2025")
    world.marketo.has(8, "ann@x.com", createdAt="2020", updatedAt="2024")
    await world.sync(world.contact(1))
    assert world.marketo.persons[person][KEY] == guid(1)


async def test_where_addresses_do_not_count_nobody_is_adopted() -> None:
    world = World(match_email=False)
    world.marketo.has(7, "ann@x.com")
    assert await world.sync(world.contact(1)) == [CREATED]
    assert world.marketo.calls["read email"] == 0


@pytest.mark.parametrize("email", [None, "", "a,b@x.com"])
async def test_who_has_no_address_to_ask_for_is_created(world: World, email: str | None) -> None:
    world.marketo.has(7, email or "")
    assert await world.sync(world.contact(1, email)) == [CREATED]
    assert world.marketo.keys()[7] is None


async def test_too_many_matches_are_asked_for_in_halves(world: World) -> None:
    for number in range(1, MOST + 2):
        world.marketo.has(number, "info@x.com")
    crowd, ann = world.contact(1, "info@x.com"), world.contact(2)
    world.marketo.has(5000, "ann@x.com")
    failed, adopted = await world.sync(crowd, ann)
    assert isinstance(failed, Failed)
    assert "more than 1,000" in failed.message
    assert adopted == ADOPTED


async def test_updates_cost_one_call_and_first_seen_persons_few(world: World) -> None:
    people = [world.contact(number, f"p{number}@x.com", modifiedon="a") for number in range(1, 1501)]
    for number in range(1, 376):  # every fourth
        world.marketo.has(number + 9000, f"p{number * 4}@x.com")
    outcomes = Counter(str(outcome) for outcome in await world.sync(*people))
    assert outcomes == {str(CREATED): 1125, str(ADOPTED): 375}
    assert world.marketo.calls.total() <= 15  # 10 for 1,000
    assert len(set(world.marketo.keys().values())) == 1500
    world.marketo.calls.clear()
    world.restart()
    for person in people:
        world.dataverse.rows_of["contact"][person.id]["modifiedon"] = "b"
    assert set(await world.sync(*people)) == {UPDATED}
    assert world.marketo.calls == {"UPDATE": 5}


async def test_old_rows_that_are_new_to_marketo_are_soon_looked_for_first(world: World) -> None:
    await world.sync(*(world.contact(number, f"p{number}@x.com") for number in range(1, 301)))
    world.marketo.calls.clear()
    await world.sync(*(world.contact(number, f"p{number}@x.com") for number in range(301, 601)))
    assert world.marketo.calls == {"read email": 1, "UPSERT": 1}


class TestQualify:
    """The contact of a qualified lead goes on as the lead's person."""

    async def test_the_contact_continues_the_person(self, world: World) -> None:
        lead = world.lead(1)
        assert await world.sync(lead) == [CREATED]
        contact, lead = world.contact(2, "new@x.com", lead=1), world.lead(1, state=1)
        assert await world.sync(contact) == [ADOPTED]
        assert world.marketo.keys() == {1000: guid(2)}
        assert await world.sync(lead) == [QUALIFIED]
        assert await world.sync(contact) == [UPDATED]
        assert world.marketo.keys() == {1000: guid(2)}

    async def test_lead_first(self, world: World) -> None:
        await world.sync(world.lead(1))
        contact, lead = world.contact(2, lead=1), world.lead(1, state=1)
        assert await world.sync(lead) == [UPDATED]
        assert await world.sync(contact) == [ADOPTED]
        assert world.marketo.keys() == {1000: guid(2)}

    async def test_both_at_once_and_neither_seen_before(self, world: World) -> None:
        assert await world.sync(world.lead(1, state=1), world.contact(2, lead=1)) == [QUALIFIED, CREATED]

    @pytest.mark.parametrize("as_made", [False, True])
    async def test_somebodys_own_qualification_leaves_the_lead_open(self, world: World, *, as_made: bool) -> None:
        contact = world.contact(2, lead=1)
        lead = world.lead(1, modifiedon="a" if as_made else "b")
        assert await world.sync(contact) == [CREATED]
        assert await world.sync(lead) == [QUALIFIED]
        assert len(world.marketo.persons) == 1

    async def test_a_contact_that_the_filter_keeps_out_does_not_stand_for_its_lead(self, world: World) -> None:
        world.contact(2, lead=1, new_synctomkto=False)
        assert await world.sync(world.lead(1)) == [CREATED]

    async def test_a_lead_that_the_filter_keeps_out_and_its_contact(self, world: World) -> None:
        assert await world.sync(world.lead(1, state=1, new_synctomkto=False)) == [Skipped("Filtered")]
        assert await world.sync(world.contact(2, lead=1)) == [CREATED]

    async def test_of_two_contacts_from_one_lead_one_continues(self, world: World) -> None:
        await world.sync(world.lead(1))
        outcomes = await world.sync(world.contact(2, lead=1), world.contact(3, lead=1))
        assert set(outcomes) == {ADOPTED, CREATED}
        assert sorted(world.marketo.keys().values()) == [guid(2), guid(3)]


@settings(max_examples=60, deadline=None)
@given(
    st.permutations(["lead", "contact", "lead again", "contact again"]),
    st.lists(st.booleans(), min_size=4, max_size=4),
    st.booleans(),
    st.booleans(),
)
async def test_one_human_is_one_person(order: list[str], crashes: list[bool], known: bool, by_marketing: bool) -> None:
    """A lead that was qualified: known to Marketo as such, by its address alone, or not at all."""
    world = World()
    if known:
        world.marketo.has(1, "ann@x.com", guid(1))
    elif by_marketing:
        world.marketo.has(1, "ann@x.com")
    records = {"lead": world.lead(1, state=1), "contact": world.contact(2, lead=1)}
    for step, crash in zip(order, crashes, strict=True):
        if crash:
            world.restart()
        await world.sync(records[step.split()[0]])
    assert list(world.marketo.keys().values()) == [guid(2)]
