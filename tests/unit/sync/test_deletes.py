"""Rows that are gone: what becomes of their records in Marketo, by the policy of sync.toml, whatever goes wrong."""

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.wiring import engine_between
from shared.config.sync_toml import SyncConfig
from shared.dataverse.client import MAX_ASKED
from shared.marketo.answers import Result
from shared.marketo.client import Write
from shared.model.codes import Kind
from shared.model.entities import ENTITIES, TABLES, Entity
from shared.model.errors import DataverseError, MarketoError
from shared.model.outcome import Failed, Later, Outcome, Removed, Retry, Skipped, Synced
from shared.model.record import Record
from shared.sync.delete_brake import DeleteBrake
from shared.sync.deletes import SOONEST
from shared.sync.engine import Engine
from shared.sync.mapping import MarketoField
from shared.sync.marketo_cache import Known
from tests.support.state import SharedState
from tests.support.values import NOON, guid
from tests.support.vendors import Vendors

SETS = {table.entity_set: name for name, (_, table) in TABLES.items()}
FLAG = "newDeleted"
DAY = timedelta(days=1)
Row = dict[str, Any]


def rules(**lifecycle: Any) -> SyncConfig:
    tables: dict[str, Any] = {
        table: {"fields": {}} for table in ("systemuser", "account", "lead", "contact", "opportunity")
    }
    return SyncConfig.model_validate({**tables, "filter_column": "", "lifecycle": lifecycle})


class Dataverse(Vendors):
    """Rows by table. `hidden` may not be read, and `unsure` are answered by something else than Dataverse.

    `asked`: so many rows at a time were asked for one by one. Who asks for the one that is `away` gets no answer.
    """

    columns = ("internalemailaddress", "createdon")

    def __init__(self) -> None:
        self.rows_of: dict[str, set[str]] = {table: set() for table in TABLES}
        self.hidden: set[str] = set()
        self.unsure: set[str] = set()
        self.total = 1_000
        self.asked: list[int] = []
        self.away = ""

    async def rows(self, entity_set: str, key: str, ids: Sequence[str], *_: Any, **__: Any) -> dict[str, Row]:
        return {
            id_: {key: id_, "internalemailaddress": "a@b.c"} for id_ in ids if id_ in self.rows_of[SETS[entity_set]]
        }

    async def statuses(self, entity_set: str, _key: str, ids: Sequence[str], **_: Any) -> list[int]:
        self.asked.append(len(ids))
        if self.away in ids:
            raise DataverseError("HTTP 503", "away", kind=Kind.TRANSIENT)
        there = self.rows_of[SETS[entity_set]]
        return [403 if id_ in self.hidden else 0 if id_ in self.unsure else 200 if id_ in there else 404 for id_ in ids]

    async def count_rows(self, _: Entity) -> int:
        return self.total


class Marketo(Vendors):
    """Records by entity, each with an id. `before` and `after` a write may raise; `skips` are codes by key."""

    def __init__(self) -> None:
        self.records: dict[str, list[Row]] = {name: [] for name in ENTITIES}
        self.calls: list[tuple[str, str, int]] = []
        self.skips: dict[str, str] = {}
        self.before: list[Exception | None] = []
        self.after: list[Exception | None] = []
        self.flag_field: MarketoField | None = MarketoField("boolean")

    def has(self, entity: str, **fields: Any) -> int:
        id_ = 100 + sum(map(len, self.records.values()))
        self.records[entity].append({"id": id_, "marketoGUID": f"guid-{id_}", **fields})
        return id_

    def keys(self, entity: str) -> list[Any]:
        return [row.get(ENTITIES[entity].key) for row in self.records[entity]]

    async def describe(self, entity: Entity) -> dict[str, MarketoField]:
        fields = {"externalCompanyId": MarketoField("string", 50, searchable=entity.name == "opportunity")}
        return fields | ({FLAG: self.flag_field} if entity.is_lead and self.flag_field else {})

    async def find(self, entity: Entity, keys: Sequence[str]) -> dict[str, int]:
        rows = await self.read(entity, entity.key, keys, ())
        return {row[entity.key]: row["id"] for row in rows}

    async def read(self, entity: Entity, by: str, values: Sequence[str], *_: Any, **__: Any) -> list[Row]:
        return [dict(row) for row in self.records[entity.name] if row.get(by) in values]

    async def upsert(self, entity: Entity, bodies: Sequence[bytes], *, write: Write, **how: Any) -> list[Result]:
        action = "upsert" if write is Write.UPSERT else "update"
        return await self._write(action, entity, bodies, "id" if write is Write.BY_ID else entity.key, **how)

    async def delete(self, entity: Entity, bodies: Sequence[bytes], **how: Any) -> list[Result]:
        return await self._write("delete", entity, bodies, "id" if entity.is_lead else entity.key, **how)

    async def _write(
        self, action: str, entity: Entity, bodies: Sequence[bytes], by: str, *, begin: Any, **_: Any
    ) -> list[Result]:
        assert 1 <= len(bodies) <= 300
        await begin()
        self.calls.append((action, entity.name, len(bodies)))
        if self.before and (error := self.before.pop(0)):
            raise error
        results = [self._one(action, entity, json.loads(body), by) for body in bodies]
        if self.after and (error := self.after.pop(0)):
            raise error
        return results

    def _one(self, action: str, entity: Entity, body: Row, by: str) -> Result:
        names = [by] if by else entity.dedupe_fields
        found = [row for row in self.records[entity.name] if all(row.get(name) == body[name] for name in names)]
        if code := self.skips.get(str(body[names[0]])):
            return Result("skipped", code=code, message="refused")
        if not found and action != "upsert":
            return Result("skipped", code="1004" if entity.is_lead else "1013", message="not found")
        if not found:
            return Result("created", self.has(entity.name, **body))
        if action == "delete":
            self.records[entity.name].remove(found[0])
            return Result("deleted", found[0]["id"])
        found[0].update(body)
        return Result("updated", found[0]["id"])


class World:
    """One instance of the app between the two systems."""

    def __init__(self) -> None:
        self.dataverse = Dataverse()
        self.marketo = Marketo()
        self.state: Any = SharedState()
        self.now = NOON
        self.ticks = 1_000.0
        self.known = Known(clock=lambda: self.ticks)
        self.engine = self.with_rules()

    def with_rules(self, **lifecycle: Any) -> Engine:
        config = rules(**lifecycle)
        brake = DeleteBrake(
            self.state, limit=config.lifecycle.delete_brake, count_rows=self.dataverse.count_rows, now=lambda: self.now
        )
        self.engine = engine_between(
            self.dataverse, self.marketo, config, clock=lambda: self.ticks, now=lambda: self.now, known=self.known,
            brake=brake,
        )  # fmt: skip
        return self.engine

    async def sync(self, entity: str, *records: Record) -> list[Outcome]:
        return [outcome for _, outcome in await self.engine.sync(ENTITIES[entity], records)]

    async def one(self, entity: str, record: Record) -> tuple[Record, Outcome]:
        ((record, outcome),) = await self.engine.sync(ENTITIES[entity], [record])
        return record, outcome

    def person(self, number: int = 10, **fields: Any) -> int:
        return self.marketo.has("person", externalPersonId=guid(number), **fields)


def deleted(table: str = "contact", number: int = 10) -> Record:
    return Record(table, guid(number), NOON, "delete")


async def test_by_default_a_person_stays_as_it_is(world: World) -> None:
    world.person()
    assert await world.sync("person", deleted()) == [Skipped("Deleted")]
    assert world.marketo.calls == []


@pytest.mark.parametrize("record", [deleted(), Record("contact", guid(10), NOON, absent=2)], ids=["told", "found out"])
async def test_a_person_is_deleted_by_its_marketo_id(world: World, record: Record) -> None:
    world.with_rules(person="delete")
    world.person()
    world.person(11)
    (outcome,) = await world.sync("person", record)
    assert isinstance(outcome, Removed)
    assert outcome.action == "deleted"
    assert world.marketo.keys("person") == [guid(11)]


async def test_a_bulk_delete_is_asked_for_in_full_and_deleted_in_full_calls(world: World) -> None:
    world.with_rules(person="delete")
    for number in range(10, 310):
        world.person(number)
    outcomes = await world.sync("person", *(deleted(number=number) for number in range(10, 310)))
    assert outcomes == [Removed("deleted", "Deleted")] * 300
    assert world.marketo.calls == [("delete", "person", 300)]
    assert world.dataverse.asked == [MAX_ASKED] * 3


async def test_a_question_that_is_not_answered_holds_its_own_rows_only(world: World) -> None:
    world.with_rules(person="delete")
    for number in range(10, 310):
        world.person(number)
    world.dataverse.away = guid(150)
    outcomes = await world.sync("person", *(deleted(number=number) for number in range(10, 310)))
    assert outcomes.count(Removed("deleted", "Deleted")) == 200
    assert sum(isinstance(outcome, Retry) for outcome in outcomes) == 100
    assert len(world.marketo.records["person"]) == 100


async def test_a_person_is_flagged_once_and_its_restored_row_takes_the_flag_away(world: World) -> None:
    world.with_rules(deleted_flag="NEWDELETED")
    world.person()
    assert await world.sync("person", deleted()) == [Removed("flagged", "Deleted")]
    assert world.marketo.records["person"][0][FLAG] is True
    assert await world.sync("person", deleted()) == [Skipped("Deleted")]
    assert world.marketo.calls == [("update", "person", 1)]
    world.dataverse.rows_of["contact"].add(guid(10))
    assert await world.sync("person", Record("contact", guid(10), NOON)) == [Synced("updated")]
    assert world.marketo.records["person"][0][FLAG] is False


async def test_without_the_field_persons_wait_to_be_flagged_and_everything_else_goes_on(world: World) -> None:
    world.with_rules(deleted_flag=FLAG)
    world.marketo.flag_field = None
    world.person()
    world.dataverse.rows_of["contact"].add(guid(11))
    outcomes = await world.sync("person", deleted(), Record("contact", guid(11), NOON))
    (waits,) = [outcome for outcome in outcomes if isinstance(outcome, Retry)]
    assert (waits.code, waits.counted) == ("DeletedFlagMissing", False)
    assert Synced("created") in outcomes


async def test_an_unlinked_person_loses_key_and_owner_and_keeps_the_rest(world: World) -> None:
    world.with_rules(person="unlink")
    id_ = world.person(externalSalesPersonId=guid(1), externalCompanyId=guid(2), email="a@b.c")
    assert await world.sync("person", deleted()) == [Removed("unlinked", "Deleted")]
    (person,) = world.marketo.records["person"]
    assert (person["id"], person["email"], person["externalCompanyId"]) == (id_, "a@b.c", guid(2))
    assert person["externalPersonId"] is person["externalSalesPersonId"] is None
    assert await world.sync("person", deleted()) == [Skipped("Deleted")]


async def test_what_marketo_has_several_times_goes_one_by_one(world: World) -> None:
    world.with_rules(person="delete")
    world.person()
    world.person()
    record, outcome = await world.one("person", deleted())
    assert isinstance(outcome, Retry)
    assert not outcome.counted
    assert (await world.one("person", record))[1] == Removed("deleted", "Deleted")
    assert world.marketo.records["person"] == []


async def test_a_notification_alone_is_no_proof(world: World) -> None:
    """The row is there: restored, or its transaction is not committed yet. After two looks it is what counts."""
    world.with_rules(person="delete")
    world.person()
    world.dataverse.rows_of["contact"].add(guid(10))
    record, looks = deleted(), []
    for _ in range(3):
        record, outcome = await world.one("person", record)
        looks.append(outcome)
    assert looks == [Later("RowStillThere", after=5.0), Later("RowStillThere", after=60.0), Synced("updated")]
    record, _ = await world.one("person", deleted())
    world.dataverse.rows_of["contact"].clear()
    assert (await world.one("person", record))[1] == Removed("deleted", "Deleted")


@pytest.mark.parametrize("what", ["hidden", "unsure"])
async def test_what_dataverse_does_not_say_is_gone_stays(world: World, what: str) -> None:
    world.with_rules(person="delete")
    world.person()
    getattr(world.dataverse, what).add(guid(10))
    record = deleted()
    for _ in range(4):
        record, outcome = await world.one("person", record)
    assert isinstance(outcome, Failed if what == "hidden" else Later)
    assert world.marketo.keys("person") == [guid(10)]


async def test_a_deletion_and_a_restored_row_of_one_batch_are_an_upsert(world: World) -> None:
    world.with_rules(person="delete")
    world.dataverse.rows_of["contact"].add(guid(10))
    assert await world.sync("person", deleted(), Record("contact", guid(10), NOON)) == [Synced("created")]


async def test_an_opportunity_goes_after_its_roles(world: World) -> None:
    world.marketo.has("opportunity", externalOpportunityId=guid(20))
    for role in ("Buyer", "Judge"):
        world.marketo.has("opportunity_role", externalOpportunityId=guid(20), leadId=7, role=role)
    world.marketo.has("opportunity_role", externalOpportunityId=guid(21), leadId=7, role="Buyer")
    assert await world.sync("opportunity", deleted("opportunity", 20)) == [Removed("deleted", "Deleted")]
    assert world.marketo.calls == [("delete", "opportunity_role", 2), ("delete", "opportunity", 1)]
    assert [row["externalOpportunityId"] for row in world.marketo.records["opportunity_role"]] == [guid(21)]


async def test_a_role_whose_row_is_gone_is_left_to_its_opportunity(world: World) -> None:
    assert await world.sync("opportunity_role", deleted("connection", 30)) != []
    assert world.marketo.calls == []


async def test_a_company_in_use_waits_without_using_up_attempts_and_then_says_what_hangs_on_it(world: World) -> None:
    world.with_rules(company="delete")
    world.marketo.has("company", externalCompanyId=guid(2))
    for number in range(20, 25):
        world.marketo.has("opportunity", externalOpportunityId=guid(number), externalCompanyId=guid(2))
    world.marketo.skips = {guid(2): "1022"}
    record, waits = deleted("account", 2), []
    while isinstance(outcome := (await world.one("company", record))[1], Retry):
        assert not outcome.counted
        waits.append(outcome.after)
        record = replace((record), parked_since=record.parked_since or world.now)
        world.now += timedelta(seconds=outcome.after)
    assert waits[0] == SOONEST
    assert waits == sorted(waits)
    assert DAY <= world.now - NOON <= DAY + timedelta(hours=1)
    assert isinstance(outcome, Failed)
    assert outcome.code == "1022"
    assert f"used by opportunities {guid(20)}, {guid(21)}, {guid(22)} and 2 more. Move" in outcome.message


async def test_a_company_in_use_says_since_when_it_waits_and_goes_as_soon_as_it_may(world: World) -> None:
    world.with_rules(company="delete")
    world.marketo.has("company", externalCompanyId=guid(2))
    world.marketo.skips = {guid(2): "1022"}
    record, _ = await world.one("company", deleted("account", 2))
    assert record.parked_since == NOON
    world.marketo.skips = {}
    assert (await world.one("company", record))[1] == Removed("deleted", "Deleted")


async def test_what_is_gone_in_marketo_meanwhile_is_done(world: World) -> None:
    world.with_rules(person="delete")
    id_ = world.person()
    world.marketo.skips = {str(id_): "1004"}
    assert await world.sync("person", deleted()) == [Removed("deleted", "Deleted")]


async def test_what_marketo_never_had_is_skipped_and_not_counted(world: World) -> None:
    world.with_rules(person="delete", delete_brake=1)
    outcomes = await world.sync("person", *(deleted(number=n) for n in range(10, 60)))
    assert outcomes == [Skipped("Deleted")] * 50


async def test_what_this_process_knew_of_the_record_is_forgotten(world: World) -> None:
    world.with_rules(person="delete")
    world.known.add("person", guid(10), world.person())
    await world.sync("person", deleted())
    assert world.known.id_of("person", guid(10)) is None


async def test_each_deletion_is_logged_with_both_ids(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.with_rules(person="delete")
    id_ = world.person()
    with caplog.at_level(logging.INFO):
        await world.sync("person", deleted())
    assert f"removed entity=person action=deleted table=contact id={guid(10)} marketo={id_}" in caplog.text


async def test_a_record_that_spoils_its_call_keeps_no_other(world: World) -> None:
    world.with_rules(person="delete")
    poison = str(world.person(10))

    async def delete(entity: Entity, bodies: Sequence[bytes], **how: Any) -> list[Result]:
        if any(json.loads(body)["id"] == int(poison) for body in bodies):
            raise MarketoError("609", "Invalid JSON", kind=Kind.CONFIGURATION)
        return await Marketo.delete(world.marketo, entity, bodies, **how)

    world.marketo.delete = delete  # type: ignore[method-assign]
    for number in range(11, 40):
        world.person(number)
    outcomes = await world.sync("person", *(deleted(number=n) for n in range(10, 40)))
    assert outcomes.count(Removed("deleted", "Deleted")) == 29
    assert world.marketo.keys("person") == [guid(10)]


async def test_while_marketo_is_away_deletions_wait_without_calls(world: World) -> None:
    world.with_rules(person="delete")
    world.person()
    away = MarketoError("502", "Bad Gateway", kind=Kind.TRANSIENT)

    async def probe_write(_: Entity) -> None:
        raise away

    world.marketo.probe_write = probe_write  # type: ignore[method-assign]
    world.marketo.before = [away]
    record, outcome = await world.one("person", deleted())
    assert isinstance(outcome, Retry)
    assert not outcome.counted
    calls = len(world.marketo.calls)
    _, again = await world.one("person", record)
    assert isinstance(again, Retry)
    assert again.code == "CircuitOpen"
    assert len(world.marketo.calls) == calls


def lost() -> MarketoError:
    return MarketoError("HTTP 504", "Marketo's gateway refused the call", kind=Kind.TRANSIENT, at_work=True)


async def test_while_a_lost_delete_may_be_at_work_the_key_is_not_sent_again(world: World) -> None:
    world.with_rules(person="delete")
    world.person()
    world.marketo.after = [lost()]
    _, outcome = await world.one("person", deleted())
    assert isinstance(outcome, Retry)
    world.dataverse.rows_of["contact"].add(guid(10))
    _, restored = await world.one("person", Record("contact", guid(10), NOON))
    assert isinstance(restored, Retry)
    assert restored.code == "InFlight"
    world.ticks += 600
    assert (await world.one("person", Record("contact", guid(10), NOON)))[1] == Synced("created")


# the brake


async def test_what_is_beyond_the_brake_is_a_dead_letter_that_says_what_to_do(world: World) -> None:
    world.with_rules(person="delete", delete_brake=60)
    for number in range(10, 110):
        world.person(number)
    outcomes = await world.sync("person", *(deleted(number=n) for n in range(10, 110)))
    stopped = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    assert (outcomes.count(Removed("deleted", "Deleted")), len(stopped)) == (60, 40)
    assert {outcome.code for outcome in stopped} == {"DeleteBrake"}
    assert "msisync lifecycle release person --apply" in stopped[0].message
    assert len(world.marketo.records["person"]) == 40


async def test_a_confirmed_deletion_passes_the_brake(world: World) -> None:
    world.with_rules(person="delete", delete_brake=1)
    world.dataverse.total = 0
    for number in range(10, 13):
        world.person(number)
    first = await world.sync("person", *(deleted(number=n) for n in range(10, 13)))
    assert sum(isinstance(outcome, Failed) for outcome in first) == 2
    again = await world.sync("person", *(replace(deleted(number=n), confirmed=True) for n in range(10, 13)))
    assert sum(isinstance(outcome, Removed) for outcome in again) == 2
    assert world.marketo.records["person"] == []


async def test_what_failed_is_not_counted_twice(world: World) -> None:
    world.with_rules(person="delete", delete_brake=1)
    world.dataverse.total = 0
    world.person()
    record = deleted()
    for _ in range(5):
        world.marketo.before = [MarketoError("713", "Transient Error", kind=Kind.TRANSIENT)]
        record, outcome = await world.one("person", record)
        assert isinstance(outcome, Retry)
    assert (await world.one("person", record))[1] == Removed("deleted", "Deleted")


async def test_without_storage_nothing_is_deleted(world: World) -> None:
    world.with_rules(person="delete")
    world.person()
    world.state.storage_away = True
    (outcome,) = await world.sync("person", deleted())
    assert isinstance(outcome, Retry)
    assert (outcome.code, outcome.counted) == ("StorageAway", False)
    assert world.marketo.keys("person") == [guid(10)]


# any order


class CrashError(Exception):
    """The process dies at this point."""


class History:
    """A contact that is deleted and restored, and the messages that tell of it, in any order."""

    def __init__(self, policy: str, order: Any) -> None:
        self.policy = policy
        self.order = order
        self.world = World()
        self.restart()
        self.there = self.world.dataverse.rows_of["contact"]
        self.queue: list[Record] = []
        self.handled: list[Record] = []
        self.restore()

    def restart(self) -> None:
        self.world.known = Known(clock=lambda: self.world.ticks)
        self.world.with_rules(person=self.policy, **({"deleted_flag": FLAG} if self.policy == "flag" else {}))

    def delete(self) -> None:
        if self.there:
            self.there.clear()
            self.queue.append(deleted())

    def restore(self) -> None:
        if not self.there:
            self.there.add(guid(10))
            self.queue.append(Record("contact", guid(10), NOON))

    def replay(self) -> None:
        if self.handled:
            self.queue.append(replace(self.order.choice(self.handled), replays=1))

    def die_before(self) -> None:
        self.world.marketo.before = [CrashError()]

    def die_after(self) -> None:
        self.world.marketo.after = [CrashError()]

    def lose_the_answer(self) -> None:
        self.world.marketo.after = [lost()]

    async def deliver(self) -> None:
        record = self.queue.pop(self.order.randrange(len(self.queue)))
        try:
            again, outcome = await self.world.one("person", record)
        except CrashError:
            self.queue.append(record)  # the broker delivers it again, to a new process
            self.restart()
            return
        if isinstance(outcome, Retry | Later):
            self.queue.append(again)
            self.world.ticks += 300
        else:
            assert isinstance(outcome, Synced | Removed | Skipped), outcome
            self.handled.append(record)

    async def run(self, steps: Sequence[str]) -> None:
        for step in steps:
            if step != "deliver":
                getattr(self, step)()
            elif self.queue:
                await self.deliver()
        while self.queue:
            await self.deliver()


STEPS = st.lists(
    st.sampled_from(["delete", "restore", "replay", "deliver", "die_before", "die_after", "lose_the_answer"]),
    max_size=14,
)


@pytest.mark.parametrize("policy", ["delete", "flag", "unlink"])
@given(steps=STEPS, order=st.randoms(use_true_random=False))
def test_whatever_comes_in_whatever_order_marketo_ends_as_dynamics_is(
    policy: str, steps: list[str], order: Any
) -> None:
    history = History(policy, order)
    asyncio.run(history.run(steps))
    persons = history.world.marketo.records["person"]
    if policy == "flag":
        assert [row[FLAG] for row in persons] == [not history.there] * len(persons)
    else:
        assert sum(row["externalPersonId"] == guid(10) for row in persons) == len(history.there)
