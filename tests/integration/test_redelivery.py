"""What the broker gave up comes back once, and what cannot be bound is put aside: on the Service Bus emulator."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.amqp import AmqpAnnotatedMessage

from local.harness.dead_letters import QUEUES, Letters, running_letters
from local.virtual import MemoryState, MemoryTable
from shared.azure.service_bus import Bus
from shared.cli.context import Context
from shared.cli.doctor.bus import CHECKS
from shared.cli.doctor.runner import Subject
from shared.cli.finding import Finding, Severity
from shared.config.settings import BusSettings, QueueSettings
from shared.model.dead_letter import BROUGHT_BACK
from shared.sync.redelivery import Redelivery

CHANGES, PERSONS = QUEUES["CHANGES_QUEUE"], QUEUES["PERSON_QUEUE"]
NAMES = QueueSettings.model_validate(QUEUES)
GIVEN_UP = {"reason": "MaxDeliveryCountExceeded", "error_description": "ten times"}


@pytest.fixture
async def letters(tmp_path: Path) -> AsyncIterator[Letters]:
    async with running_letters(tmp_path) as running:
        yield running


@pytest.fixture
async def redelivery(letters: Letters) -> AsyncIterator[tuple[Redelivery, MemoryState]]:
    state = MemoryState(MemoryTable(seconds=0))
    settings = BusSettings.model_validate({"ServiceBusConnection": letters.settings["ServiceBusConnection"]})
    bus = Bus(settings)
    redelivery = Redelivery(bus, NAMES, state, now=lambda: datetime.now(UTC))
    yield redelivery, state
    await redelivery.close()
    await bus.close()


async def bury(letters: Letters, queue: str, messages: list[Any], **why: str) -> None:
    """Let messages of a queue without sessions be dead-lettered for this reason."""
    async with letters.client.get_queue_sender(queue) as sender:
        for message in messages:
            await sender.send_messages(message)
    async with letters.client.get_queue_receiver(queue) as receiver:
        left = len(messages)
        while left:
            for received in await receiver.receive_messages(left, max_wait_time=5):
                await receiver.dead_letter_message(received, **why)
                left -= 1


async def test_good_ones_come_back_and_those_that_cannot_be_bound_are_put_aside(
    letters: Letters, redelivery: tuple[Redelivery, MemoryState]
) -> None:
    good = [ServiceBusMessage(f"good {number}", correlation_id=f"c-{number}") for number in range(30)]
    bad = [
        AmqpAnnotatedMessage(value_body="a value"),
        AmqpAnnotatedMessage(value_body={"a": [1, b"b"]}),
        AmqpAnnotatedMessage(sequence_body=[["a", 1], ["b"]]),
    ]
    await bury(letters, CHANGES, [*good[:15], *bad, *good[15:]], **GIVEN_UP)
    await letters.bury(PERSONS, [b"records"], session="person")
    runner, state = redelivery
    await runner.run()
    back = await letters.messages(CHANGES)
    assert [b"".join(each.body).decode() for each in back] == [f"good {number}" for number in range(30)]
    assert [each.correlation_id for each in back] == [f"c-{number}" for number in range(30)]
    assert all(BROUGHT_BACK.encode() in (each.application_properties or {}) for each in back)
    assert await letters.bodies(PERSONS, session="person") == [b"records"]
    assert await letters.bodies("dead-letters") == [b"a value", b'{"a": [1, "b"]}', b'[["a", 1], ["b"]]']
    assert not await letters.messages(CHANGES, dead=True)
    assert not await letters.messages(PERSONS, dead=True)
    noted = {name: (row["brought_back"], row["put_aside"]) async for name, row in state.all("redelivery")}
    assert noted == {CHANGES: (30, 3), PERSONS: (1, 0)}


async def test_what_is_given_up_again_hides_none(letters: Letters, redelivery: tuple[Redelivery, MemoryState]) -> None:
    runner, _ = redelivery
    stays = [
        ServiceBusMessage(f"again {number}", application_properties={BROUGHT_BACK: "before"}) for number in range(120)
    ]
    await bury(letters, CHANGES, stays, **GIVEN_UP)
    await bury(letters, CHANGES, [ServiceBusMessage("old")], reason="TTLExpiredException")
    await runner.run()
    assert len(await letters.messages(CHANGES, dead=True)) == 121
    await bury(letters, CHANGES, [ServiceBusMessage("new")], **GIVEN_UP)
    await runner.run()
    assert await letters.bodies(CHANGES) == [b"new"]
    left = await letters.bodies(CHANGES, dead=True)
    assert left == [*(f"again {number}".encode() for number in range(120)), b"old"]
    # They are free: an operator can take them.
    async with letters.client.get_queue_receiver(CHANGES, sub_queue="deadletter") as receiver:
        assert await receiver.receive_messages(200, max_wait_time=5)


async def test_without_the_broker_nothing_is_lost_and_a_run_does_not_fail(
    letters: Letters, redelivery: tuple[Redelivery, MemoryState], monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, _ = redelivery
    await bury(letters, CHANGES, [ServiceBusMessage("good")], **GIVEN_UP)

    async def away(_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as patched:
        patched.setattr(runner.bus, "send", away)
        await runner.run()
    assert await letters.bodies(CHANGES) == []
    assert len(await letters.messages(CHANGES, dead=True)) == 1


async def test_the_doctor_tells_what_came_back(letters: Letters, redelivery: tuple[Redelivery, MemoryState]) -> None:
    runner, state = redelivery

    async def found() -> Finding:
        context = Context(letters.settings)
        context.__dict__["state"] = state
        try:
            return await next(check for check in CHECKS if check.id == "given-up").run(Subject(context))
        finally:
            await context.bus.close()

    assert (await found()).severity is Severity.OK
    await bury(letters, CHANGES, [ServiceBusMessage("good"), AmqpAnnotatedMessage(value_body=1)], **GIVEN_UP)
    assert (await found()).severity is Severity.OK  # the timer has a minute
    await runner.run()
    finding = await found()
    assert finding.severity is Severity.ATTENTION
    assert "1 brought back at" in finding.details[0]
    assert "1 put aside as NotBindable" in finding.details[0]
    again = ServiceBusMessage("again", application_properties={BROUGHT_BACK: "before"})
    await bury(letters, CHANGES, [again], **GIVEN_UP)
    assert f"{CHANGES}: 1 were brought back and given up again" in (await found()).details
