"""The local Functions host on the Service Bus emulator, through the unmodified azure-servicebus SDK."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusSender
from azure.servicebus.exceptions import SessionCannotBeLockedError

from local.processes import Child, free_ports

# One function that writes down what it got; how it behaves is in a file that a test can change.
APP = """
import asyncio
import contextlib
import json
import os
import time
import typing
from pathlib import Path

import azure.functions as func

app = func.FunctionApp()
HERE = Path(__file__).parent


def behaviour():
    path = HERE / "behaviour.json"
    return json.loads(path.read_text()) if path.exists() else {}


def note(**what):
    line = json.dumps({"at": time.monotonic(), "host": os.environ["HOST_NAME"], **what}) + "\\n"
    with (HERE / "calls.jsonl").open("ab", buffering=0) as calls:  # one write: two hosts share the file
        calls.write(line.encode())


def seen(message):
    return {
        "type": type(message).__mro__[1].__module__,
        "body": message.get_body().decode(),
        "properties": message.application_properties,
        "enqueued": message.enqueued_time_utc.isoformat(),
        "delivery_count": message.delivery_count,
        "session_id": message.session_id,
        "sequence_number": message.sequence_number,
        "content_type": message.content_type,
        "correlation_id": message.correlation_id,
        "message_id": message.message_id,
    }


async def work(messages):
    note(event="begin", messages=[seen(message) for message in messages])
    await asyncio.sleep(behaviour().get("takes", 0))
    if behaviour().get("fails"):
        raise RuntimeError("told to fail")
    note(event="end", messages=[seen(message) for message in messages])
"""
MANY = """
@app.service_bus_queue_trigger(
    arg_name="messages", queue_name="%Queue%", connection="Bus", cardinality="many", is_sessions_enabled={sessions}
)
async def drain(messages: typing.List[func.ServiceBusMessage]) -> None:
    await work(messages)
"""
ONE = """
@app.service_bus_queue_trigger(
    arg_name="message", queue_name="%Queue%", connection="Bus", is_sessions_enabled={sessions}
)
async def drain(message: func.ServiceBusMessage) -> None:
    await work([message])
"""
QUEUES = [
    {"name": "plain", "lock_seconds": 300},
    {"name": "short-lock", "lock_seconds": 1},
    {"name": "sessions", "sessions": True, "lock_seconds": 300},
    {"name": "few-deliveries", "max_delivery_count": 2},
]


class Bus:
    """The emulator and what the tests do with it."""

    def __init__(self, folder: Path) -> None:
        (folder / "queues.json").write_text(json.dumps(QUEUES))
        [self.port] = free_ports(1)
        command = [sys.executable, "-m", "local.servicebus", "--port", str(self.port)]
        self._client: ServiceBusClient | None = None
        self._senders: dict[str, ServiceBusSender] = {}
        self.child = Child("bus", [*command, "--queues", str(folder / "queues.json")], log=folder / "bus.log")

    @property
    def connection_string(self) -> str:
        lines = [line for line in self.child.log.read_text().splitlines() if line.startswith("READY ")]
        connection: str = json.loads(lines[-1].removeprefix("READY "))["connection_string"]
        return connection

    async def hang_up(self) -> None:
        """Close what the tests opened: the SDK leaks the socket of a connection that the broker left."""
        for sender in self._senders.values():
            await sender.close()
        self._senders.clear()
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def send(self, queue: str, *messages: ServiceBusMessage) -> None:
        if self._client is None:
            self._client = ServiceBusClient.from_connection_string(self.connection_string)
        sender = self._senders.setdefault(queue, self._client.get_queue_sender(queue))
        await sender.send_messages(list(messages))

    async def left(self, queue: str, session: str | None = None) -> int:
        """How many messages the queue (or that session of it) still holds, locked ones included."""
        async with (
            ServiceBusClient.from_connection_string(self.connection_string, retry_total=0) as client,
            client.get_queue_receiver(queue, session_id=session, max_wait_time=2) as receiver,
        ):
            return len(await receiver.peek_messages(1000))


class App:
    """A host with the function app above, and what the function wrote down."""

    def __init__(self, folder: Path, bus: Bus, queue: str, source: str, name: str = "a", **settings: str) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        (folder / "function_app.py").write_text(APP + source)
        options = {"maxMessageBatchSize": 100, "sessionIdleTimeout": "00:00:00.5"}
        (folder / "host.json").write_text(json.dumps({"version": "2.0", "extensions": {"serviceBus": options}}))
        environment = {"Queue": queue, "Bus": bus.connection_string, "HOST_NAME": name, "FUNCTIONS_ADMIN_KEY": "m"}
        self.child = Child(
            name,
            [sys.executable, "-m", "local.functions", "--app-dir", str(folder), "--name", name],
            log=folder / f"{name}.log",
            environment={**os.environ, **environment, **settings},
        )

    def behave(self, **how: object) -> None:
        draft = self.folder / "behaviour.new"
        draft.write_text(json.dumps(how))
        draft.replace(self.folder / "behaviour.json")

    def calls(self, event: str = "end") -> list[dict[str, Any]]:
        path = self.folder / "calls.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [call for call in map(json.loads, lines) if call["event"] == event]

    def bodies(self, event: str = "end") -> list[str]:
        return [message["body"] for call in self.calls(event) for message in call["messages"]]

    async def stats(self) -> dict[str, Any]:
        lines = [line for line in self.child.log.read_text().splitlines() if line.startswith("READY ")]
        port = json.loads(lines[-1].removeprefix("READY "))["port"]
        async with httpx.AsyncClient(trust_env=False) as client:
            headers = {"x-functions-key": "m"}
            answer = await client.get(f"http://127.0.0.1:{port}/admin/local/stats", headers=headers)
        stats: dict[str, Any] = answer.json()["functions"]["drain"]
        return stats


async def until(condition: Callable[[], bool], within: float = 15.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        await asyncio.sleep(0.02)


async def until_empty(bus: Bus, queue: str, session: str | None = None, within: float = 15.0) -> None:
    """Wait until a queue holds nothing. A session must be free for that: the host gives it up when it is idle."""
    deadline = time.monotonic() + within
    left = None
    while left != 0:
        assert time.monotonic() < deadline, f"{left} messages left in {queue}"
        with contextlib.suppress(SessionCannotBeLockedError):
            left = await bus.left(queue, session)
        await asyncio.sleep(0.05)


def numbered(count: int, session: str | None = None, first: int = 0) -> list[ServiceBusMessage]:
    return [ServiceBusMessage(str(number), session_id=session) for number in range(first, first + count)]


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    started = Bus(tmp_path)
    await started.child.start()
    yield started
    await started.hang_up()
    await started.child.stop()


@pytest.fixture
async def apps() -> AsyncIterator[list[App]]:
    """Hosts that a test starts; they are stopped after it."""
    started: list[App] = []
    yield started
    await asyncio.gather(*(app.child.stop(15) for app in started))


async def start(apps: list[App], app: App) -> App:
    apps.append(app)
    await app.child.start()
    return app


async def test_a_message_reaches_the_function_with_all_it_carries(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    app = await start(apps, App(tmp_path / "app", bus, "sessions", MANY.format(sessions=True)))
    message = ServiceBusMessage(
        b'{"id": 1}',
        session_id="person",
        message_id="m-1",
        correlation_id="c-1",
        content_type="application/json",
        application_properties={"entity": "person", "attempt": 3, "replay": True},
    )
    await bus.send("sessions", message)
    await until(lambda: len(app.calls()) == 1)
    [got] = app.calls()[0]["messages"]
    assert abs(time.time() - time.mktime(time.strptime(got.pop("enqueued")[:19], "%Y-%m-%dT%H:%M:%S"))) < 86_400
    assert got == {
        "type": "azure.functions._servicebus",
        "body": '{"id": 1}',
        "properties": {"entity": "person", "attempt": 3, "replay": True},
        "delivery_count": 1,
        "session_id": "person",
        "sequence_number": 1,
        "content_type": "application/json",
        "correlation_id": "c-1",
        "message_id": "m-1",
    }


@pytest.mark.parametrize(("queue", "session"), [("plain", None), ("sessions", "s")])
async def test_a_backlog_comes_in_full_batches_once(
    tmp_path: Path, bus: Bus, apps: list[App], queue: str, session: str | None
) -> None:
    await bus.send(queue, *numbered(250, session))
    app = await start(apps, App(tmp_path / "app", bus, queue, MANY.format(sessions=session is not None)))
    await until(lambda: len(app.bodies()) >= 250)
    assert [len(call["messages"]) for call in app.calls()] == [100, 100, 50]
    assert app.bodies() == [str(number) for number in range(250)]
    await until_empty(bus, queue, session)
    assert await app.stats() == {"invocations": 3, "failures": 0, "messages": 250}


async def test_the_batch_size_of_a_setting_holds(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    await bus.send("plain", *numbered(10))
    override = {"AzureFunctionsJobHost__extensions__serviceBus__maxMessageBatchSize": "4"}
    app = await start(apps, App(tmp_path / "app", bus, "plain", MANY.format(sessions=False), **override))
    await until(lambda: len(app.bodies()) == 10)
    assert [len(call["messages"]) for call in app.calls()] == [4, 4, 2]


async def test_a_lone_message_does_not_wait_for_a_batch(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    app = await start(apps, App(tmp_path / "app", bus, "plain", MANY.format(sessions=False)))
    waits = []
    for number in range(6):
        await asyncio.sleep(0.3)
        sent = time.monotonic()
        await bus.send("plain", *numbered(1))
        await until(lambda: len(app.calls()) > number)  # noqa: B023 (awaited before the next round)
        waits.append(app.calls("begin")[-1]["at"] - sent)
    # The first one opens the sender's connection. What a busy machine adds is not the host's.
    assert sorted(waits[1:])[1] < 0.15


async def test_an_exception_gives_the_whole_batch_back(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    app = App(tmp_path / "app", bus, "few-deliveries", MANY.format(sessions=False))
    app.behave(fails=True)
    await bus.send("few-deliveries", *numbered(3))
    await start(apps, app)
    await until(lambda: len(app.bodies("begin")) == 6)
    counts = [message["delivery_count"] for call in app.calls("begin") for message in call["messages"]]
    assert counts == [1, 1, 1, 2, 2, 2]
    # The queue allows two deliveries: now the broker has put them aside.
    await until_empty(bus, "few-deliveries")
    assert (await app.stats())["failures"] == (await app.stats())["invocations"]
    assert app.calls() == []


async def test_a_lost_lock_brings_the_messages_again(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    app = App(tmp_path / "app", bus, "short-lock", MANY.format(sessions=False))
    app.behave(takes=1.6)
    await start(apps, app)
    await bus.send("short-lock", *numbered(2))
    await until(lambda: len(app.calls("begin")) == 1)
    app.behave(takes=0)
    await until(lambda: len(app.calls()) >= 2)
    assert app.calls()[-1]["messages"][0]["delivery_count"] == 2
    await until_empty(bus, "short-lock")


async def test_an_idle_session_is_given_up(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    app = await start(apps, App(tmp_path / "app", bus, "sessions", MANY.format(sessions=True)))
    await bus.send("sessions", *numbered(1, "one"))
    await until(lambda: len(app.calls()) == 1)
    await until_empty(bus, "sessions", "one")
    await bus.send("sessions", *numbered(1, "one", first=1))
    await until(lambda: app.bodies() == ["0", "1"])


def overlaps(calls: list[dict[str, Any]]) -> bool:
    """Whether a call began while another was under way."""
    running = 0
    for call in sorted(calls, key=lambda call: float(call["at"])):
        running += 1 if call["event"] == "begin" else -1
        if running > 1:
            return True
    return False


async def test_two_instances_never_work_on_one_session_at_once(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    pair = [App(tmp_path / "app", bus, "sessions", MANY.format(sessions=True), name) for name in "ab"]
    pair[0].behave(takes=0.1)
    for app in pair:
        await start(apps, app)
    for first in range(0, 60, 5):
        await bus.send("sessions", *numbered(5, "one", first))
        await asyncio.sleep(0.05)
    await until(lambda: len(pair[0].bodies()) >= 60)
    assert not overlaps(pair[0].calls("begin") + pair[0].calls("end"))
    assert pair[0].bodies() == [str(number) for number in range(60)]
    # The holder is killed in the middle of a batch: the other one takes over, and nothing is lost.
    pair[0].behave(takes=1)
    await bus.send("sessions", *numbered(5, "one", 60))
    await until(lambda: bool(set(pair[0].bodies("begin")) & {"60"}))
    holder = next(app for app in pair if app.child.name == pair[0].calls("begin")[-1]["host"])
    assert holder.child.pid is not None
    os.kill(holder.child.pid, signal.SIGKILL)
    await until(lambda: set(pair[0].bodies()) >= {str(number) for number in range(65)}, within=30)
    assert pair[0].calls()[-1]["host"] != holder.child.name
    await until_empty(bus, "sessions", "one")


async def test_a_killed_host_loses_nothing(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    app = App(tmp_path / "app", bus, "short-lock", MANY.format(sessions=False))
    app.behave(takes=30)
    await start(apps, app)
    await bus.send("short-lock", *numbered(20))
    await until(lambda: len(app.bodies("begin")) >= 20)
    await app.child.kill()
    app.behave()
    assert app.calls() == []
    await app.child.start()
    await until(lambda: sorted(map(int, app.bodies())) == list(range(20)))
    await until_empty(bus, "short-lock")


async def test_a_stop_settles_the_batch_under_way(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    app = App(tmp_path / "app", bus, "plain", MANY.format(sessions=False))
    app.behave(takes=1)
    await start(apps, app)
    await bus.send("plain", *numbered(3))
    await until(lambda: len(app.calls("begin")) == 1)
    await app.child.stop(15)
    assert app.bodies() == ["0", "1", "2"]
    assert await bus.left("plain") == 0


@pytest.mark.parametrize(("queue", "session"), [("plain", None), ("sessions", "s")])
async def test_a_broker_that_comes_back_is_used_again(
    tmp_path: Path, bus: Bus, apps: list[App], queue: str, session: str | None
) -> None:
    app = await start(apps, App(tmp_path / "app", bus, queue, MANY.format(sessions=session is not None)))
    await bus.send(queue, *numbered(1, session))
    await until(lambda: app.bodies() == ["0"])
    await bus.hang_up()
    await bus.child.kill()
    await asyncio.sleep(0.5)
    await bus.child.start()
    await bus.send(queue, *numbered(1, session, first=1))
    await until(lambda: app.bodies() == ["0", "1"])


async def test_a_broker_may_start_after_the_host(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    app = App(tmp_path / "app", bus, "plain", MANY.format(sessions=False))
    await bus.child.stop()
    await start(apps, app)
    await asyncio.sleep(0.3)
    await bus.child.start()
    await bus.send("plain", *numbered(1))
    await until(lambda: app.bodies() == ["0"])


async def test_cardinality_one_runs_messages_side_by_side(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    override = {"AzureFunctionsJobHost__extensions__serviceBus__maxConcurrentCalls": "4"}
    app = App(tmp_path / "app", bus, "plain", ONE.format(sessions=False), **override)
    app.behave(takes=0.4)
    await bus.send("plain", *numbered(10))
    await start(apps, app)
    await until(lambda: len(app.bodies()) == 10)
    assert sorted(map(int, app.bodies())) == list(range(10))
    running = highest = 0
    for call in sorted(app.calls("begin") + app.calls("end"), key=lambda call: float(call["at"])):
        running += 1 if call["event"] == "begin" else -1
        highest = max(highest, running)
    assert highest == 4
    await until_empty(bus, "plain")


async def test_cardinality_one_with_sessions_keeps_each_session_in_order(
    tmp_path: Path, bus: Bus, apps: list[App]
) -> None:
    override = {"AzureFunctionsJobHost__extensions__serviceBus__maxConcurrentSessions": "2"}
    for session in "xy":
        await bus.send("sessions", *numbered(3, session))
    app = await start(apps, App(tmp_path / "app", bus, "sessions", ONE.format(sessions=True), **override))
    await until(lambda: len(app.bodies()) == 6)
    messages = [message for call in app.calls() for message in call["messages"]]
    for session in "xy":
        assert [each["body"] for each in messages if each["session_id"] == session] == ["0", "1", "2"]
        await until_empty(bus, "sessions", session)


async def test_several_sessions_are_served_one_after_the_other(tmp_path: Path, bus: Bus, apps: list[App]) -> None:
    for session in "xyz":
        await bus.send("sessions", *numbered(2, session))
    app = await start(apps, App(tmp_path / "app", bus, "sessions", MANY.format(sessions=True)))
    await until(lambda: len(app.bodies()) == 6)
    sessions = [{message["session_id"] for message in call["messages"]} for call in app.calls()]
    assert all(len(each) == 1 for each in sessions), "a batch came from two sessions"
    assert not overlaps(app.calls("begin") + app.calls("end"))
    for session in "xyz":
        await until_empty(bus, "sessions", session)
