"""One human is one person in Marketo: adoption by e-mail, and qualified leads. The two systems are in memory."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.model.outcome import Failed, Skipped
from shared.model.record import Record
from tests.support.persons import ADOPTED, CREATED, FLAG, KEY, MOST, QUALIFIED, UPDATED, Killed, World
from tests.support.values import guid


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


@pytest.mark.parametrize("table", ["lead", "contact"])
async def test_a_row_that_was_made_anew_goes_on_as_the_person_that_its_deleted_one_has_left(table: str) -> None:
    world = World(lifecycle={"deleted_flag": FLAG})
    old, new = world.row(table, 5), world.row("contact", 1)
    world.marketo.has(7, "ann@x.com", guid(5), **{FLAG: True})
    assert await world.sync(new) == [CREATED], "the old row is there"
    del world.dataverse.rows_of[table][old.id]
    world.restart()
    (newer,) = [world.row("contact", 2)]
    assert await world.sync(newer) == [ADOPTED]
    assert (world.marketo.keys()[7], world.marketo.persons[7][FLAG]) == (guid(2), False)


@pytest.mark.parametrize(
    ("lifecycle", "key", "flagged", "status"),
    [
        ({"deleted_flag": FLAG}, guid(5), False, 404),
        ({"deleted_flag": FLAG}, guid(5), True, 403),
        ({}, guid(5), True, 404),
        ({"deleted_flag": FLAG}, "another-system-1", True, 404),
    ],
    ids=["not flagged", "hidden", "no flag in sync.toml", "no guid"],
)
async def test_a_person_of_which_nobody_knows_that_its_row_is_deleted_is_left_alone(
    lifecycle: dict[str, str], key: str, flagged: bool, status: int
) -> None:
    world = World(lifecycle=lifecycle)
    world.marketo.has(7, "ann@x.com", key, **{FLAG: flagged})
    world.dataverse.missing = status
    assert await world.sync(world.contact(1)) == [CREATED]
    assert world.marketo.keys()[7] == key


async def test_a_person_without_an_id_comes_before_one_that_a_deleted_row_has_left(world: World) -> None:
    world = World(lifecycle={"deleted_flag": FLAG})
    world.marketo.has(7, "ann@x.com", guid(5), **{FLAG: True})
    world.marketo.has(8, "ann@x.com")
    assert await world.sync(world.contact(1), world.lead(2), world.lead(3)) == [ADOPTED, ADOPTED, CREATED]
    assert set(world.marketo.keys().values()) == {guid(1), guid(2), guid(3)}
    assert world.marketo.keys()[8] == guid(1)


async def test_a_person_with_another_address_in_marketo_is_found_by_its_key(world: World) -> None:
    """Somebody with the new address is there as well, without an id: two persons must not get the same id."""
    world.marketo.has(6, "old@x.com", guid(1))
    world.marketo.has(7, "ann@x.com")
    for as_made in (False, True):
        ann = world.contact(1, modifiedon="a" if as_made else "b")
        world.restart()
        assert await world.sync(ann) == [UPDATED]
    assert world.marketo.keys() == {6: guid(1), 7: None}


async def test_of_two_rows_with_one_address_one_adopts(world: World) -> None:
    world.marketo.has(7, "ann@x.com")
    assert set(await world.sync(world.contact(1), world.lead(2))) == {ADOPTED, CREATED}
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


class TestBurst:
    """In a burst, whom marketing has is collected: those that are written alike share calls."""

    @staticmethod
    def people(world: World, count: int, known: int) -> list[Record]:
        """So many contacts that have not been changed since they were made; marketing has the first ones."""
        for number in range(1, known + 1):
            world.marketo.has(number + 90_000, f"p{number}@x.com")
        return [world.contact(n, f"p{n}@x.com", modifiedon="a") for n in range(1, count + 1)]

    async def test_adoptions_of_several_groups_fill_calls(self, world: World) -> None:
        people = self.people(world, 3000, 750)
        assert set(await world.sync(*people)) == {CREATED, ADOPTED}
        # 750 are updated by their key first, which none of them has.
        assert world.marketo.calls == {"read email": 10, "UPDATE": 3, "BY_ID": 3, "UPSERT": 8}
        assert len(world.marketo.persons) == 3000

    async def test_a_shared_address_is_asked_for_once(self, world: World) -> None:
        shared = [world.contact(n, "info@x.com", modifiedon="a") for n in range(1, 302)]
        others = [world.contact(n, f"p{n}@x.com", modifiedon="a") for n in range(302, 601)]
        await world.sync(*shared, *others)
        assert world.marketo.calls["read email"] == 1
        assert len(set(world.marketo.keys().values())) == 600

    async def test_who_was_not_looked_for_waits_and_who_was_goes(self, world: World) -> None:
        waiting = await world.sync_in_burst(*self.people(world, 400, 100), more=True)
        assert len(waiting) == 100
        assert all(record.collected for record in waiting)
        assert world.marketo.calls == {"read email": 1, "UPDATE": 1, "BY_ID": 1, "UPSERT": 1}
        assert await world.sync_in_burst(*waiting) == [], "nobody waits twice"
        assert len(set(world.marketo.keys().values())) == 400

    async def test_of_rows_with_one_address_one_adopts_though_the_others_are_written_later(self, world: World) -> None:
        """The first adopts with a full call, while the second, for which the same person was found, waits."""
        people = self.people(world, 600, 300)
        people[300] = world.contact(301, "p1@x.com", modifiedon="a")
        assert set(await world.sync(*people)) == {CREATED, ADOPTED}
        assert sorted(world.marketo.keys().values()) == [guid(n) for n in range(1, 601)]

    async def test_one_contact_continues_a_lead_though_the_other_comes_later(self, world: World) -> None:
        await world.sync(world.lead(1))
        first = [world.contact(n, f"p{n}@x.com", lead=1 if n == 2 else 0) for n in range(2, 302)]
        await world.sync(*first, world.contact(302, "p302@x.com", lead=1))
        keys = world.marketo.keys()
        assert keys[1000] in {guid(2), guid(302)}
        assert sorted(keys.values()) == [guid(n) for n in range(2, 303)]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), max_size=30),
    st.lists(st.integers(0, 3), max_size=3, unique=True),
    st.lists(st.integers(1, 7), min_size=1, max_size=4),
    st.booleans(),
)
async def test_in_a_burst_nobody_is_lost_or_doubled_whatever_is_killed(
    rows: list[tuple[int, bool, bool]], known: list[int], sizes: list[int], more: bool
) -> None:
    """Rows that share addresses, in batches of these sizes, each in another process, the first of which dies."""
    world = World()
    for address in known:
        world.marketo.has(address + 1, f"p{address}@x.com")
    make = [world.contact if is_contact else world.lead for _, is_contact, _ in rows]
    records = [
        make[n](n + 10, f"p{address}@x.com", modifiedon="a" if as_made else "b")
        for n, (address, _, as_made) in enumerate(rows)
    ]
    world.marketo.dies_after = sum(sizes) % 5
    for round_ in range(8):
        size = sizes[round_ % len(sizes)]
        waiting: list[Record] = []
        for start in range(0, len(records), size):
            world.restart()
            try:
                waiting += await world.sync_in_burst(*records[start : start + size], more=more and round_ < 2)
            except Killed:
                waiting += records[start : start + size]  # the broker delivers them again
        records = waiting
        if not records:
            break
    assert records == []
    keys = [key for key in world.marketo.keys().values() if key]
    assert sorted(keys) == sorted(guid(n + 10) for n in range(len(rows)))
    adopted = {address for address, _, _ in rows}.intersection(known)
    assert len(world.marketo.persons) == len(rows) + len(known) - len(adopted)


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

    async def test_a_qualified_lead_without_a_contact_is_a_person_of_its_own(self, world: World) -> None:
        lead = world.lead(1, state=1)
        assert await world.sync(lead) == [CREATED]
        assert await world.sync(lead) == [UPDATED]

    async def test_a_qualified_lead_whose_contact_is_kept_out_is_updated_and_never_created(self, world: World) -> None:
        world.contact(2, lead=1, new_synctomkto=False)
        assert await world.sync(world.lead(1, state=1)) == [QUALIFIED]
        world.marketo.has(1, "ann@x.com", guid(1))
        assert await world.sync(world.lead(1, state=1)) == [UPDATED]

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
