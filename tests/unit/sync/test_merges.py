"""Rows that were merged away in Dynamics: what becomes of their persons in Marketo, and who goes on in their place."""

from typing import Any

import pytest

from shared.model.outcome import Deferred, Merged, Outcome, Parent, Skipped
from shared.model.record import Record
from tests.support.persons import ADOPTED, FLAG, UPDATED, World
from tests.support.values import guid, to

LOSER, WINNER = guid(1), guid(2)
INTO = Parent("person", "contact", WINNER)


def merged(action: str, winner: Parent = INTO) -> Outcome:
    return Merged("Merged", winner, action)


def world_with(policy: str, **more: str) -> World:
    world = World(lifecycle={"merged": policy, **more})
    world.marketo.has(1, "ann@x.com", LOSER, title="Dr.")
    world.marketo.has(2, "ann@y.com", WINNER, title=None)
    return world


def losing(world: World, table: str = "contact", **columns: Any) -> Record:
    return world.row(table, 1, merged=True, statecode=1, **to("_masterid_value", table, WINNER), **columns)


async def test_by_default_the_losers_person_stays_as_it_is() -> None:
    world = world_with("keep")
    world.contact(2)
    assert await world.sync(losing(world)) == [merged("kept")]
    assert world.marketo.calls.total() == 0


async def test_nothing_is_created_for_a_row_that_was_merged_away(world: World) -> None:
    assert await world.sync(losing(world)) == [merged("kept")]
    assert not world.marketo.persons


async def test_it_may_be_flagged() -> None:
    world = world_with("flag", deleted_flag=FLAG)
    assert await world.sync(losing(world)) == [merged("flagged")]
    assert world.marketo.persons[1][FLAG] is True
    assert await world.sync(losing(world)) == [merged("kept")]  # it is flagged already
    assert not world.marketo.persons[2].get(FLAG)


async def test_marketos_merge_keeps_what_the_winner_lacks() -> None:
    world = world_with("merge")
    world.contact(2)
    loser = losing(world)
    assert await world.sync(loser) == [merged("merged")]
    assert list(world.marketo.persons) == [2]
    assert world.marketo.persons[2]["title"] == "Dr."
    assert world.marketo.persons[2]["email"] == "ann@y.com"
    world.restart()
    assert await world.sync(loser) == [merged("kept")]
    assert world.marketo.calls["merge"] == 1


async def test_a_winner_who_is_not_in_marketo_yet_is_waited_for() -> None:
    world = world_with("merge")
    del world.marketo.persons[2]
    world.contact(2)
    assert await world.sync(losing(world)) == [Deferred((INTO,))]
    assert 1 in world.marketo.persons


@pytest.mark.parametrize("filtered", ["winner", "loser"])
async def test_nobody_is_merged_across_the_filter(filtered: str) -> None:
    world = world_with("merge")
    world.contact(2, new_synctomkto=filtered != "winner")
    loser = losing(world, new_synctomkto=filtered != "loser")
    outcome = merged("kept") if filtered == "winner" else Skipped("Filtered")
    assert await world.sync(loser) == [outcome]
    assert set(world.marketo.persons) == {1, 2}


async def test_many_losers_of_one_winner_take_25_a_call() -> None:
    world = World(lifecycle={"merged": "merge"})
    world.marketo.has(2, "ann@y.com", WINNER)
    world.contact(2)
    losers = []
    for number in range(10, 40):
        world.marketo.has(number, "ann@x.com", guid(number))
        losers.append(world.contact(number, merged=True, **to("_masterid_value", "contact", WINNER)))
    assert set(await world.sync(*losers)) == {merged("merged")}
    assert world.marketo.calls["merge"] == 2
    assert list(world.marketo.persons) == [2]


class TestQualifiedIntoAContactThatWasThere:
    """The lead names the contact, and the contact does not come from the lead."""

    @staticmethod
    def lead(world: World) -> Record:
        return world.lead(1, state=1, **to("_parentcontactid_value", "contact", WINNER))

    async def test_with_the_default_both_stay(self) -> None:
        world = world_with("keep")
        world.contact(2)
        assert await world.sync(self.lead(world)) == [UPDATED]
        assert set(world.marketo.persons) == {1, 2}

    async def test_their_persons_are_merged_where_that_is_wanted(self) -> None:
        world = world_with("merge")
        world.contact(2)
        assert await world.sync(self.lead(world)) == [merged("merged")]
        assert list(world.marketo.persons) == [2]

    async def test_a_contact_that_was_made_from_the_lead_continues_its_person(self) -> None:
        world = World(lifecycle={"merged": "merge"})
        world.marketo.has(1, "ann@x.com", LOSER)
        contact = world.contact(2, lead=1)
        assert await world.sync(self.lead(world), contact) in ([UPDATED, ADOPTED], [Skipped("Qualified"), ADOPTED])
        assert world.marketo.keys() == {1: WINNER}
        assert world.marketo.calls["merge"] == 0
