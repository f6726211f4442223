"""Parking: no order of events, and no death in between, loses a child."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.azure.parked_rows import NoteState
from shared.model.record import Record
from tests.support.parking import CHECK, COMPANY, STEPS, World, child, crash

AGAIN = [("requested", "requested"), ("itself", "itself"), ("itself", "timer"), ("timer", "timer")]


async def assert_all_leave(world: World, *children: Record) -> None:
    """Each child is sent on: by now, or when a parent that was requested meanwhile is synced."""
    if world.bus.take("company"):
        await world.release()
    assert sorted(r.id for r in world.bus.take("person")) == [r.id for r in children]
    assert not world.store.parked


@pytest.mark.parametrize(("way", "again", "step"), [(w, a, s) for w, a in AGAIN for s in STEPS[w]])
async def test_a_crash_sends_a_child_twice_at_worst(world: World, way: str, again: str, step: str) -> None:
    """A parent that was requested comes again for sure; one that changed by itself may not, then the timer must do."""
    await world.park(child())
    world.marketo.there = {COMPANY.id: 5}
    world.now += timedelta(seconds=CHECK)
    world.store.after[step] = crash
    with pytest.raises(ConnectionError):
        await world.let_go(way)
    await world.let_go(again)
    assert [r.id for r in world.bus.take("person")] == [child().id] * (2 if step == "send" else 1)
    assert not world.store.parked
    assert not world.store.notes_


@pytest.mark.parametrize("step", ["park", "notes", "send"])
async def test_a_child_that_dies_while_it_parks_and_goes_later_leaves_no_row(world: World, step: str) -> None:
    """Its message comes again, and finds the parent there: then nobody but the timer knows of the row."""
    world.store.after[step] = crash
    with pytest.raises(ConnectionError):
        await world.park(child())
    world.marketo.there = {COMPANY.id: 5}
    world.now += timedelta(seconds=CHECK)
    await world.check()
    assert not world.store.parked
    assert not world.store.notes_


async def test_a_child_that_dies_before_it_asks_asks_when_it_comes_again(world: World) -> None:
    world.store.after["park"] = crash
    with pytest.raises(ConnectionError):
        await world.park(child())
    assert not world.bus.take("company")
    await world.park(child())
    assert [r.id for r in world.bus.take("company")] == [COMPANY.id]


async def test_a_child_that_dies_while_it_asks_leaves_that_to_the_timer(world: World) -> None:
    """Nobody knows whether the request was sent: the child does not ask again, which might be a second dead letter."""
    world.store.after["replace"] = crash
    with pytest.raises(ConnectionError):
        await world.park(child())
    await world.park(child())
    assert not world.bus.take("company")
    for requests in (1, 0):
        world.now = world.store.notes_[COMPANY].next_check
        await world.check()
        assert len(world.bus.take("company")) == requests


async def test_two_children_that_park_at_the_same_time_ask_once(world: World) -> None:
    world.store.after["notes"] = lambda: world.park(child(11))
    await world.park(child(10))
    assert len(world.bus.take("company")) == 1


async def test_a_child_that_must_wait_again_while_it_is_being_released_is_not_lost(world: World) -> None:
    """Released children are on their queue before their rows are removed: another instance may park one anew."""
    await world.park(child(10), child(11))
    world.bus.take("company")

    async def other_instance() -> None:
        (released, _) = world.bus.take("person")
        await world.park(released)

    world.store.after["send"] = other_instance
    await world.release()
    assert [p.record.id for p in world.store.parked] == [child(10).id]
    await assert_all_leave(world, child(10))


@pytest.mark.parametrize(("earlier", "step"), [(0, "park"), (0, "notes"), (0, "replace"), (1, "park"), (1, "notes")])
async def test_a_parent_that_comes_while_a_child_parks_takes_it_along(world: World, earlier: int, step: str) -> None:
    """The parent's sync finishes right after this step of the child, which may be its first or a further one."""
    siblings = [child(9)] * earlier
    await world.park(*siblings)
    world.bus.take("company")
    world.store.after[step] = world.release
    await world.park(child(10))
    assert not world.store.after, "the step was taken"
    await assert_all_leave(world, *siblings, child(10))


@pytest.mark.parametrize(("way", "step"), [(way, step) for way, steps in STEPS.items() for step in steps])
async def test_a_child_that_parks_while_others_leave_is_not_left_behind(world: World, way: str, step: str) -> None:
    await world.park(child(10))
    world.bus.take("company")
    world.marketo.there = {COMPANY.id: 5}
    world.now += timedelta(seconds=CHECK)
    world.store.after[step] = lambda: world.park(child(11))
    await world.let_go(way)
    assert not world.store.after, "the step was taken"
    await assert_all_leave(world, child(10), child(11))


async def test_a_parent_that_comes_before_its_request_is_noted_leaves_no_note(world: World) -> None:
    """Else a later child would take it for asked for, and wait for the timer."""
    world.store.after["send"] = world.release
    await world.park(child(10))
    assert [r.id for r in world.bus.take("person")] == [child(10).id]
    assert not world.store.notes_
    world.bus.take("company")
    await world.park(child(11))
    await assert_all_leave(world, child(11))


@pytest.mark.parametrize("step", ["park", "notes", "send", "replace"])
async def test_a_parent_given_up_while_a_child_parks_does_not_leave_it(world: World, step: str) -> None:
    """Its sync ends right after this step of the child."""
    world.store.after[step] = world.give_up
    await world.park(child(10))
    assert not world.store.after, "the step was taken"
    assert [r.id for r in world.bus.take("person")] == [child(10).id]
    assert not world.store.parked
    assert world.store.notes_[COMPANY].state is NoteState.WILL_NOT_COME, "a request must not replace what is known"


@given(
    st.lists(st.sampled_from(["park", "link_later", "give_up", "release", "check"]), min_size=1, max_size=7),
    st.lists(st.sampled_from(["park", "notes", "children", "send", "remove", "replace", "put", "unmark", "leave"])),
    st.booleans(),
)
async def test_whatever_dies_between_any_two_steps_every_child_is_sent_on_when_its_parent_is_there(
    acts: list[str], crashes: list[str], requested: bool
) -> None:
    """What dies comes again, as its message is redelivered; others may act in between."""
    world = World()
    number = 10
    deaths = list(crashes)
    waiting: set[str] = set()
    for act in acts:
        number += 1
        work: dict[str, Callable[[], Awaitable[Any]]] = {
            "park": partial(world.park, child(number)), "link_later": partial(world.link_later, child(number)),
            "give_up": partial(world.give_up, requested=requested),
            "release": partial(world.release, requested=requested), "check": world.check,
        }  # fmt: skip
        if act in ("park", "link_later"):
            waiting.add(child(number).id)
        if deaths:
            world.store.after[deaths.pop()] = crash
        while True:
            try:
                await work[act]()
            except ConnectionError:
                continue
            break
        world.store.after.clear()
        world.now += timedelta(seconds=CHECK)
    world.marketo.there = {COMPANY.id: 5}
    for note in list(world.store.notes_.values()):
        world.now = max(world.now, note.next_check)
    await world.check()
    assert {r.id for r in world.bus.take("person")} == waiting
    assert not world.store.parked
    assert not world.store.notes_
