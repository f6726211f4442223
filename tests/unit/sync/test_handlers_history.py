"""What the triggers leave in the history, after everything that must be durable is."""

import asyncio

import pytest

from shared.model.errors import BrokerUnavailableError, StorageUnavailableError
from shared.model.outcome import Deferred, Parent
from shared.model.record import Record, encode
from shared.sync.history import What
from tests.support.history import Kept
from tests.support.pipeline import NOON, SEEN, World, body, incoming
from tests.support.values import guid

GONE = StorageUnavailableError("ServiceRequestError")


@pytest.fixture
def kept(world: World) -> Kept:
    kept = Kept()
    world.pipeline.history = kept.history
    return kept


async def test_a_change_is_received_and_then_sent(world: World, kept: Kept) -> None:
    await world.pipeline.route([incoming(body(1))])
    await world.pipeline.sync("person", [incoming(world.sent[0].body)])
    received, created = await kept.events()
    assert (received.what, created.what) == (What.RECEIVED, What.CREATED)
    assert {(event.table, event.id, event.correlation_id) for event in (received, created)} == {
        ("lead", guid(1), guid(77))
    }


async def test_each_notification_of_a_record_is_received_once(world: World, kept: Kept) -> None:
    await world.pipeline.route([incoming(body(1)), incoming(body(1)), incoming(b"hello")])
    assert [event.what for event in await kept.events()] == [What.RECEIVED] * 2


async def test_an_echo_of_the_write_back_is_nothing_that_happened(world: World, kept: Kept) -> None:
    world.echoes.add("msisync")
    await world.pipeline.route([incoming(body(1, SharedVariables=[{"key": "tag", "value": "msisync"}]))])
    assert not await kept.events()


async def test_a_parked_record_says_for_whom(world: World, kept: Kept) -> None:
    world.outcome = Deferred((Parent("company", "account", guid(9)),))
    await world.pipeline.sync("person", [incoming(encode("person", [Record("contact", guid(1), SEEN)]))])
    assert await kept.texts() == [f"parked: waits for account {guid(9)}"]


async def test_missed_changes_say_how_they_were_found(world: World, kept: Kept) -> None:
    await world.pipeline.take_up([Record("contact", guid(1), NOON)], [])
    assert await kept.texts() == ["received: by change tracking: no notification told of it"]


async def test_what_is_not_durable_has_not_happened(world: World, kept: Kept) -> None:
    world.unreachable = True
    with pytest.raises(BrokerUnavailableError):
        await world.pipeline.route([incoming(body(1))])
    assert not await kept.events()


async def test_neither_routing_nor_syncing_waits_for_the_history(world: World, kept: Kept) -> None:
    kept.tables.gate.clear()
    async with asyncio.timeout(5):
        await world.pipeline.route([incoming(body(1))])
        await world.pipeline.sync("person", [incoming(world.sent[0].body)])
    assert world.counted == [("person", 1)]
    assert not kept.tables.rows


async def test_the_minute_timer_drops_old_days(world: World, kept: Kept) -> None:
    await world.pipeline.release()
    assert kept.tables.looks == 1
    kept.tables.away = GONE
    kept.time += 3600
    await world.pipeline.release()
    assert world.counted.count(("told", 0)) == 2
