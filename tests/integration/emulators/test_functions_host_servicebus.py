"""The local Functions host on the Service Bus emulator: batches, sessions, cardinalities."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from azure.servicebus import ServiceBusMessage

from emulators.functions.harness import until
from emulators.functions.queue_harness import MANY, ONE, App, Bus, numbered, overlaps, running_bus, start, start_held


@pytest.fixture(scope="module")
async def bus(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bus]:
    """One for the whole file."""
    async with running_bus(tmp_path_factory.mktemp("bus")) as running:
        yield running


async def test_a_message_reaches_the_function_with_all_it_carries(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    queue = bus.queue("sessions")
    app = await start(apps, App(tmp_path / "app", bus, queue, MANY.format(sessions=True)))
    message = ServiceBusMessage(
        b'{"id": 1}',
        session_id="person",
        message_id="m-1",
        correlation_id="c-1",
        content_type="application/json",
        application_properties={"entity": "person", "attempt": 3, "replay": True},
    )
    await bus.send(queue, message)
    await until(lambda: len(app.calls()) == 1)
    [got] = app.calls()[0]["messages"]
    assert abs(time.time() - time.mktime(time.strptime(got.pop("enqueued")[:19], "%Y-%m-%dT%H:%M:%S"))) < 86_400
    assert got == {
        "type": "azure.functions._servicebus", "body": '{"id": 1}',
        "properties": {"entity": "person", "attempt": 3, "replay": True}, "delivery_count": 1, "session_id": "person",
        "sequence_number": 1, "content_type": "application/json", "correlation_id": "c-1", "message_id": "m-1",
    }  # fmt: skip


@pytest.mark.parametrize(("kind", "session"), [("plain", None), ("sessions", "s")])
async def test_a_backlog_comes_once(tmp_path: Path, bus: Bus, apps: list[App], kind: str, session: str | None) -> None:
    queue = bus.queue(kind)
    await bus.send(queue, *numbered(250, session))
    app = await start(apps, App(tmp_path / "app", bus, queue, MANY.format(sessions=session is not None)))
    await until(lambda: len(app.bodies()) >= 250)
    # How full a batch is depends on what has come over by then.
    assert max(len(call["messages"]) for call in app.calls()) <= 100
    assert app.bodies() == [str(number) for number in range(250)]
    await bus.until_empty(queue)
    assert await app.stats() == {"invocations": len(app.calls()), "failures": 0, "messages": 250}


async def test_the_batch_size_of_a_setting_holds(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    queue = bus.queue("plain")
    await bus.send(queue, *numbered(10))
    override = {"AzureFunctionsJobHost__extensions__serviceBus__maxMessageBatchSize": "4"}
    app = await start(apps, App(tmp_path / "app", bus, queue, MANY.format(sessions=False), **override))
    await until(lambda: len(app.bodies()) == 10)
    assert [len(call["messages"]) for call in app.calls()] == [4, 4, 2]


async def test_a_lone_message_does_not_wait_for_a_batch(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    queue = bus.queue("plain")
    app = await start(apps, App(tmp_path / "app", bus, queue, MANY.format(sessions=False)))
    for number in range(3):  # each comes although nothing follows that would fill its batch
        await bus.send(queue, *numbered(1, first=number))
        await until(lambda: len(app.calls()) > number)  # noqa: B023 (awaited before the next round)
    assert [len(call["messages"]) for call in app.calls()] == [1, 1, 1]


async def test_an_idle_session_is_given_up(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    queue = bus.queue("sessions")
    app = await start(apps, App(tmp_path / "app", bus, queue, MANY.format(sessions=True)))
    await bus.send(queue, *numbered(1, "one"))
    await until(lambda: len(app.calls()) == 1)
    await bus.until_free(queue, "one")
    await bus.send(queue, *numbered(1, "one", first=1))
    await until(lambda: app.bodies() == ["0", "1"])


async def test_cardinality_one_runs_messages_side_by_side(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    queue = bus.queue("plain")
    override = {"AzureFunctionsJobHost__extensions__serviceBus__maxConcurrentCalls": "4"}
    app = App(tmp_path / "app", bus, queue, ONE.format(sessions=False), **override)
    app.behave(held=True)
    await bus.send(queue, *numbered(10))
    await start(apps, app)
    await until(lambda: len(app.calls("begin")) == 4)  # and no fifth: see below
    app.behave()
    await until(lambda: len(app.bodies()) == 10)
    assert sorted(map(int, app.bodies())) == list(range(10))
    running = highest = 0
    for call in sorted(app.calls("begin") + app.calls("end"), key=lambda call: float(call["at"])):
        running += 1 if call["event"] == "begin" else -1
        highest = max(highest, running)
    assert highest == 4
    await bus.until_empty(queue)


async def test_cardinality_one_keeps_each_session_in_order(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    queue = bus.queue("sessions")
    override = {"AzureFunctionsJobHost__extensions__serviceBus__maxConcurrentSessions": "2"}
    for session in "xy":
        await bus.send(queue, *numbered(3, session))
    app = await start(apps, App(tmp_path / "app", bus, queue, ONE.format(sessions=True), **override))
    await until(lambda: len(app.bodies()) == 6)
    messages = [message for call in app.calls() for message in call["messages"]]
    for session in "xy":
        assert [each["body"] for each in messages if each["session_id"] == session] == ["0", "1", "2"]
    await bus.until_empty(queue)


async def test_several_sessions_are_served_one_after_the_other(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    queue = bus.queue("sessions")
    for session in "xyz":
        await bus.send(queue, *numbered(2, session))
    app = await start(apps, App(tmp_path / "app", bus, queue, MANY.format(sessions=True)))
    await until(lambda: len(app.bodies()) == 6)
    sessions = [{message["session_id"] for message in call["messages"]} for call in app.calls()]
    assert all(len(each) == 1 for each in sessions), "a batch came from two sessions"
    assert not overlaps(app.calls("begin") + app.calls("end"))
    await bus.until_empty(queue)


@pytest.mark.parametrize(("kind", "session"), [("short-lock", None), ("sessions", "s")])
async def test_a_kill_settles_none(tmp_path: Path, bus: Bus, apps: list[App], kind: str, session: str | None) -> None:
    queue = bus.queue(kind)
    app = App(tmp_path / "app", bus, queue, MANY.format(sessions=session is not None))
    await start_held(apps, app, *numbered(3, session))
    await app.control("kill")
    assert await bus.left(queue) == 3
    app.behave()
    await app.control("start")
    await until(lambda: len(app.bodies()) == 3)
    await bus.until_empty(queue)
    assert {message["delivery_count"] for message in app.calls()[0]["messages"]} == {2 if session is None else 1}


async def test_a_stopped_instance_finishes_its_batch_first(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    queue = bus.queue("plain")
    app = await start_held(apps, App(tmp_path / "app", bus, queue, MANY.format(sessions=False)), *numbered(3))
    stopping = asyncio.create_task(app.control("stop"))
    app.behave()
    await stopping
    assert len(app.bodies()) == 3
    assert await bus.left(queue) == 0
