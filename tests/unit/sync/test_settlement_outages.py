"""Settling a batch while storage or the broker is away: nothing is lost, and nothing done twice."""

import logging
from datetime import timedelta

import pytest

from shared.model.errors import BrokerUnavailableError, StorageUnavailableError
from shared.model.outcome import (
    Deferred,
    Failed,
    Retry,
    Skipped,
    Synced,
)
from shared.model.record import decode
from tests.support.settling import COMPANY, SEEN, World, record
from tests.support.values import NOON


@pytest.mark.parametrize("part", ["bus", "park", "release"])
async def test_the_trigger_fails_when_something_cannot_be_made_durable(world: World, part: str) -> None:
    world.away[part] = RuntimeError(part)
    with pytest.raises(RuntimeError, match=part):
        await world.settle(
            (record(1), Deferred((COMPANY,))), (record(2), Retry(20.0, "606", "")), (record(3), Synced("created"))
        )
    assert world.sent == []


STORAGE_AWAY = StorageUnavailableError("ServiceRequestError")


async def test_what_needs_storage_while_it_is_away_comes_again_and_uses_up_no_attempt(world: World) -> None:
    world.away = {"park": STORAGE_AWAY, "release": STORAGE_AWAY}
    waiting = record(1, attempt=2, parked_since=SEEN, correlation_id="c")
    waited_for = record(2, requested=True)
    (message,) = await world.settle((waiting, Deferred((COMPANY,))), (waited_for, Synced("created")))
    assert (message.queue, message.session, message.at) == ("persons", "person", NOON + timedelta(seconds=60))
    assert decode(message.body, "person") == [waiting, waited_for]


async def test_while_storage_is_away_the_rest_of_the_batch_is_settled_once(world: World) -> None:
    world.away = {"park": STORAGE_AWAY}
    sent = await world.settle(
        (record(1), Deferred((COMPANY,))),
        (record(2), Failed("1003", "bad")),
        (record(3), Retry(20.0, "606", "")),
        (record(4, requested=True), Synced("created")),
        (record(5), Skipped("RowGone")),
    )
    assert sorted((m.queue, [r.id for r in decode(m.body, "person")]) for m in sent) == [
        ("dead-letters", [record(2).id]), ("persons", [record(1).id]), ("persons", [record(3).id]),
    ]  # fmt: skip
    assert world.released == [record(4, requested=True)]


async def test_while_storage_is_away_records_that_nobody_is_known_to_wait_for_go_on(world: World) -> None:
    world.away = {"release": STORAGE_AWAY}
    assert await world.settle((record(1), Synced("created")), (record(2), Synced("unchanged"))) == []


async def test_an_outage_of_storage_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.away = {"park": STORAGE_AWAY}
    with caplog.at_level(logging.WARNING):
        await world.settle((record(1), Deferred((COMPANY,))))
    assert "storage_away" in caplog.text
    assert "ServiceRequestError" in caplog.text


async def test_when_storage_and_broker_are_away_the_trigger_fails(world: World) -> None:
    world.away = {"park": STORAGE_AWAY, "bus": ConnectionError("bus")}
    with pytest.raises(ConnectionError):
        await world.settle((record(1), Deferred((COMPANY,))))


@pytest.mark.parametrize("part", ["park", "release"])
async def test_an_error_of_the_broker_is_no_outage_of_storage(world: World, part: str) -> None:
    """Requests and releases are messages."""
    world.away = {part: BrokerUnavailableError("MessagingEntityDisabledError")}
    with pytest.raises(BrokerUnavailableError):
        await world.settle((record(1), Deferred((COMPANY,))), (record(2, requested=True), Synced("created")))
    assert world.sent == []


async def test_while_storage_is_away_a_parent_that_will_not_come_is_told_later_once(world: World) -> None:
    """Its dead letter waits with it: there is to be one of them."""
    world.away = dict.fromkeys(("noted", "give_up", "link_later"), STORAGE_AWAY)
    waited_for, sent = record(1, requested=True), record(2)
    (message,) = await world.settle((waited_for, Failed("1003", "bad")), (sent, Synced("updated", (COMPANY,))))
    assert message.at == NOON + timedelta(seconds=60)
    assert decode(message.body, "person") == [waited_for, sent]


async def test_children_are_told_later_when_storage_goes_away_behind_the_dead_letter(world: World) -> None:
    world.away = {"give_up": STORAGE_AWAY}
    waited_for = record(1, requested=True)
    letter, later = await world.settle((waited_for, Failed("1003", "bad")))
    assert (letter.queue, later.queue, later.at) == ("dead-letters", "persons", NOON + timedelta(seconds=60))
    assert decode(later.body, "person") == [waited_for]
