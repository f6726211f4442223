"""What no notification told of goes to the queues as plain changes, many rows as a burst."""

import pytest

from shared.model.record import Record, read
from tests.support.pipeline import NOON, World
from tests.support.values import guid


@pytest.fixture
def world() -> World:
    return World()


async def test_few_rows_go_at_once(world: World) -> None:
    deal = Record("opportunity", guid(7), NOON)
    gone = Record("lead", guid(2), NOON, "delete")
    await world.pipeline.take_up([Record("account", guid(1), NOON), gone], [deal])
    assert [(message.queue, message.at) for message in world.sent] == [
        ("company", None), ("person", None), ("opportunity_role", None),
    ]  # fmt: skip
    assert read(world.sent[1].body, "person").records == [gone]
    assert read(world.sent[2].body, "opportunity_role").records == [deal]


async def test_more_than_a_message_are_a_burst_with_parents_first(world: World) -> None:
    found = [Record("contact", guid(n), NOON) for n in range(150)]
    await world.pipeline.take_up([*found, Record("account", guid(900), NOON)], [])
    assert [message.queue for message in world.sent] == ["company", "person", "person"]
    times = [message.at for message in world.sent if message.at]
    assert times[0] < times[1] == times[2]
    assert all(read(message.body, message.queue).burst for message in world.sent)


async def test_what_depends_on_a_role_is_sent_and_the_role_is_not(world: World) -> None:
    world.pages = [[Record("connection", guid(3), NOON)]]
    await world.pipeline.take_up([Record("connectionrole", guid(1), NOON, deciding=True)], [])
    assert world.ids() == {"opportunity_role": [guid(3)]}


async def test_nothing_is_nothing(world: World) -> None:
    await world.pipeline.take_up([], [])
    assert world.sent == []
