"""Which roles in Marketo are no more: the decision, and histories of an opportunity with crashes in between."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.config.sync_toml import LifecyclePolicy
from shared.model.entities import Entity
from shared.model.outcome import Failed, Later, Retry, Skipped, Synced
from shared.model.record import Record
from shared.sync.delete_brake import DeleteBrake
from shared.sync.old_roles import Triple
from shared.sync.reader import COMPARED_ONLY
from shared.sync.roles import Claim, must_be_compared, unaccounted, unclaimed
from tests.support.state import SharedState
from tests.support.ties import ANN, BOB, DEAL, DEALS, OTHER, PEOPLE, PERSONS, ROLES, Tie, World
from tests.support.values import NOON, guid

BUYER, CHAMPION = Triple(DEAL, 1, "Buyer"), Triple(DEAL, 1, "Champion")


def left(*stored: Triple, claims: Iterable[Claim] | None = (), persons: Mapping[int, str] = PERSONS) -> list[Triple]:
    """The triples of one opportunity that go; claims of None: it could not be read."""
    return unclaimed(stored, {} if claims is None else {DEAL: set(claims)}, persons)


def test_a_triple_that_something_in_dynamics_gives_stays_and_others_go() -> None:
    assert left(BUYER, CHAMPION, claims=[Claim(ANN, "Buyer")]) == [CHAMPION]
    assert left(BUYER, CHAMPION, claims=[Claim(ANN, "Buyer"), Claim(ANN, "Champion")]) == []
    assert left(BUYER, claims=[Claim(BOB, "Buyer")]) == [BUYER], "it is another one's role now"
    assert left(BUYER) == [BUYER]


def test_what_is_not_known_is_not_gone() -> None:
    assert left(BUYER, claims=None) == [], "the opportunity could not be read"
    assert left(BUYER, persons={}) == [], "nobody knows whose role it is"
    assert left(BUYER, CHAMPION, claims=[Claim(ANN, None)]) == [], "nobody knows what her role is called"
    assert left(BUYER, claims=[Claim(BOB, None)]) == [BUYER], "whatever his is called, hers it is not"
    assert left(BUYER, claims=[Claim(guid(13), "Buyer", is_lead=True)]) == [], "he may be the contact that she is now"


@pytest.mark.parametrize(
    ("stored", "sent"), [("BUYER", "Buyer"), ("buyer ", "Buyer"), ("Star ", "Star \U0001f31f of it"), ("É", "é")]
)
def test_another_spelling_is_the_same_role_unless_marketo_has_both(stored: str, sent: str) -> None:
    old, new = Triple(DEAL, 1, stored), Triple(DEAL, 1, sent)
    assert left(old, claims=[Claim(ANN, sent)]) == []
    assert left(old, new, claims=[Claim(ANN, sent)]) == [old], "then it tells them apart"


def test_only_what_is_not_accounted_for_is_looked_into() -> None:
    claims = {DEAL: {Claim(ANN, "Buyer"), Claim(BOB, None)}}
    leads = {ANN: 1, BOB: 2}
    champion = Triple(DEAL, 2, "Champion")
    assert unaccounted([BUYER, CHAMPION, champion], claims, leads.get) == [CHAMPION]
    assert unaccounted([BUYER], claims, lambda _: None) == [BUYER], "nobody remembers her"
    assert unaccounted([Triple(OTHER, 1, "Buyer")], claims, leads.get) == [], "it could not be read"


def test_opportunities_are_compared_when_something_may_be_left_behind_and_the_record_does_not_come_again_soon() -> None:
    record = Record("connection", guid(1), NOON)
    for outcome in (Synced("updated"), Skipped("Inactive"), Retry(5, "1004", "", counted=True)):
        assert must_be_compared(record, outcome)
        assert not must_be_compared(replace(record, additive=True), outcome)
    for later in (Later("FillsACall"), Retry(0, "OutOfTime", "")):
        assert not must_be_compared(record, later)


_people, _deals, _roles = st.sampled_from(PEOPLE), st.sampled_from(DEALS), st.sampled_from(list(ROLES))
_ties = st.builds(Tie, st.sampled_from(["connection", "customeropportunityrole"]), _deals, _people, _roles)
_which = st.integers(0, 9)
_steps = st.one_of(
    st.tuples(st.just("connect"), _ties),
    st.tuples(st.just("role"), _which, _roles),
    st.tuples(st.just("person"), _which, _people),
    st.tuples(st.just("deal"), _which, _deals),
    st.tuples(st.just("state"), _which, st.booleans()),
    st.tuples(st.just("delete"), _which),
    st.tuples(st.just("rename"), _roles, st.sampled_from(["Buyer", "buyer", "Champion", "Decision Maker"])),
    st.tuples(st.just("contact"), _deals, st.sampled_from([*PEOPLE, ""])),
    st.tuples(st.just("work"), st.integers(-1, 8)),
    st.tuples(st.just("put off")),
    st.tuples(st.just("ten minutes")),
)


async def _do(world: World, step: tuple[Any, ...]) -> None:
    kind, *values = step
    ids = list(world.ties)
    match kind, values:
        case "connect", [tie]:
            world.connect(replace(tie))
        case "rename", [role, name]:
            world.rename(role, name)
        case "contact", [deal, contact]:
            world.primary(deal, contact)
        case "work", [crash_after]:
            await world.work(crash_after=crash_after)
        case "put off", []:
            world.put_off()
        case "ten minutes", []:
            world.ten_minutes_are_full()
        case _ if not ids:
            pass
        case "delete", [which]:
            world.disconnect(ids[which % len(ids)])
        case _, [which, value]:
            name = {"state": "active"}.get(kind, kind)
            world.change(ids[which % len(ids)], **{name: value})


@settings(deadline=None)
@given(st.lists(_steps, max_size=12))
async def test_whatever_happens_and_wherever_it_crashes_marketo_has_the_roles_of_dynamics(steps: list[Any]) -> None:
    world = World()
    for step in steps:
        await _do(world, step)
    world.ten_minutes_are_full()
    for _ in range(6):
        await world.work()
    assert not world.messages
    assert world.stored == world.wanted()


@pytest.fixture
async def world() -> World:
    """Ann is the buyer and the champion of an opportunity; both connections have been synced."""
    found = World()
    for role in ROLES:
        found.connect(Tie("connection", DEAL, ANN, role))
    await found.work()
    assert found.stored == found.wanted()
    found.calls.clear()
    return found


async def test_new_connections_are_not_looked_into(world: World) -> None:
    world.connect(Tie("connection", DEAL, BOB, guid(900)))
    await world.work()
    assert world.calls.count("read opportunity_role") == 0


async def test_thousands_of_ended_connections_cost_a_look_and_a_deletion_for_300(world: World) -> None:
    world.contacts = {guid(number): "" for number in range(10_000, 10_650)}
    for deal in world.contacts:
        world.stored.add((deal, world.leads[ANN], "Buyer"))
        world.tell("opportunity", deal)
    await world.work()
    assert not {triple for triple in world.stored if triple[0] in world.contacts}
    counted = [name for name in world.calls if name in ("read opportunity_role", "read person", "delete")]
    assert counted == ["read opportunity_role", "read person", "delete"] * 3


async def test_what_a_warm_process_knows_spares_the_question_whose_the_other_roles_are(world: World) -> None:
    engine = world.engine()
    first, second = list(world.ties)
    world.change(first)
    await world.work(engine=engine)
    world.change(second)
    world.calls.clear()
    await world.work(engine=engine)
    assert world.calls == ["upsert", "stored", "read opportunity_role"]


async def test_a_comparison_that_was_put_off_does_not_send_the_role_again(world: World) -> None:
    world.change(next(iter(world.ties)), role=guid(901))
    world.put_off()
    await world.work()
    assert world.calls.count("upsert") == 1
    assert world.stored > world.wanted(), "the old role is there"
    world.calls.clear()
    world.ten_minutes_are_full()
    assert await world.work() == [COMPARED_ONLY, COMPARED_ONLY]
    assert world.stored == world.wanted()
    assert "upsert" not in world.calls


async def test_a_comparison_does_not_wait_for_a_role_that_is_tried_again(world: World) -> None:
    first, second = list(world.ties)
    world.disconnect(second)
    await world.work()
    world.names[guid(902)] = "Decision Maker"
    world.change(first, role=guid(902))
    world.put_off()
    world.refuses = True
    assert {type(outcome) for outcome in await world.work()} == {Retry}
    waiting, world.messages = world.messages, []
    world.ten_minutes_are_full()
    assert await world.work() == [COMPARED_ONLY, COMPARED_ONLY]
    assert not world.stored, "the old role is gone"
    world.refuses, world.messages = False, waiting
    await world.work()
    assert world.stored == world.wanted()
    assert not world.messages


@pytest.mark.parametrize("trouble", ["narrow", "secured"])
async def test_where_a_role_or_a_profile_hides_something_nothing_is_deleted(
    world: World, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = set(world.stored)
    setattr(world, trouble, True)
    world.disconnect(next(iter(world.ties)))
    await world.work()
    assert world.stored == before
    assert "see msisync doctor" in caplog.text
    setattr(world, trouble, False)
    world.tell("opportunity", DEAL, forced=True)
    await world.work()
    assert world.stored == world.wanted()


async def test_while_dynamics_does_not_answer_the_records_wait(world: World) -> None:
    world.away = True
    world.change(next(iter(world.ties)), role=guid(901))
    outcomes = await world.work()
    assert [type(outcome) for outcome in outcomes] == [Retry, Retry]
    assert world.deleted == 0
    world.away = False
    await world.work()
    assert world.stored == world.wanted()


async def test_without_a_mapped_table_of_roles_only_the_primary_contact_s_is_this_app_s_business(world: World) -> None:
    world.primary(DEAL, ANN)
    await world.work()
    world.primary(DEAL, "")
    world.ties.clear()
    await world.work(tables=["opportunity"])
    assert {role for _, _, role in world.stored} == {"Buyer", "Champion"}


async def test_an_opportunity_that_is_not_in_dynamics_keeps_its_roles(world: World) -> None:
    """What becomes of them is decided with what becomes of the opportunity."""
    before = set(world.stored)
    world.disconnect(next(iter(world.ties)))
    del world.contacts[DEAL]
    for _ in range(4):
        await world.work()
    assert world.stored == before


async def test_with_roles_kept_nobody_looks(world: World) -> None:
    before = set(world.stored)
    world.disconnect(next(iter(world.ties)))
    await world.work(lifecycle=LifecyclePolicy(role="keep"))
    assert world.stored == before
    assert "read opportunity_role" not in world.calls


def brake(limit: int) -> DeleteBrake:
    async def count_rows(_: Entity) -> int:
        return 0

    return DeleteBrake(SharedState(), limit=limit, count_rows=count_rows, now=lambda: NOON)  # type: ignore[arg-type]  # in memory


async def test_the_brake_stops_what_ends_too_many_parts_and_an_operator_may_release_it(world: World) -> None:
    world.contacts = {guid(number): "" for number in range(10_000, 10_005)}
    for deal in world.contacts:
        world.stored.add((deal, world.leads[ANN], "Buyer"))
        world.tell("opportunity", deal)
    told = list(world.messages)
    stopped = brake(3)
    outcomes = await world.work(brake=stopped)
    failed = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    assert [(outcome.code, "lifecycle release opportunity_role" in outcome.message) for outcome in failed] == [
        ("DeleteBrake", True)
    ] * 2
    assert world.deleted == 3
    world.messages = [replace(record, confirmed=True, replays=1) for record in told]
    await world.work(brake=stopped)
    assert world.deleted == 5


async def test_another_name_of_a_role_does_not_count_for_the_brake(world: World) -> None:
    world.rename(guid(900), "Decision Maker")
    world.change(list(world.ties)[1], role=guid(900))
    await world.work(brake=brake(1))
    await world.work(brake=brake(1))
    assert world.stored == world.wanted()
    assert world.deleted == 2


async def test_what_the_brake_cannot_count_is_not_deleted(world: World) -> None:
    away = brake(100)
    away.state.storage_away = True  # type: ignore[attr-defined]  # of a state in memory
    before = set(world.stored)
    world.disconnect(next(iter(world.ties)))
    world.disconnect(next(iter(world.ties)))
    outcomes = await world.work(brake=away)
    assert "StorageAway" in [outcome.code for outcome in outcomes if isinstance(outcome, Retry)]
    assert world.stored == before


async def test_a_lead_whose_person_goes_on_as_a_contact_keeps_its_role(world: World) -> None:
    """The connection names the lead; in Marketo its person has the key of the contact by now."""
    lead = PEOPLE[2]
    world.tables_of[lead] = "lead"
    tie = world.connect(Tie("connection", DEAL, lead, guid(900)))
    await world.work()
    world.leads[guid(50)] = world.leads.pop(lead)
    before = set(world.stored)
    world.change(tie, active=True)
    world.tell("opportunity", DEAL)
    await world.work()
    assert world.stored == before
