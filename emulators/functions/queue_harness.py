"""A Functions host on the Service Bus emulator, and a function that tells a test what it got."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusSender
from azure.servicebus.exceptions import SessionCannotBeLockedError

from emulators.functions.harness import ADMIN, client_of, host_child, until, write_app
from emulators.processes import Child, complete_lines, free_ports
from emulators.servicebus.administration import administration
from emulators.waiting import eventually

#: One function that writes down what it got; how it behaves is in a file that a test can change.
_APP = """
import asyncio
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
    while behaviour().get("held"):
        await asyncio.sleep(0.01)
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
#: Kinds of queues. Each test takes its own of them.
_KINDS: dict[str, dict[str, Any]] = {
    "plain": {"lock_seconds": 300},
    "short-lock": {"lock_seconds": 1},
    "sessions": {"sessions": True, "lock_seconds": 300},
    "few-deliveries": {"max_delivery_count": 2},
}
_OF_EACH_KIND = 20


class Bus:
    """The emulator in a process of its own, and what tests do with it."""

    def __init__(self, folder: Path) -> None:
        names = {kind: [f"{kind}-{number}" for number in range(_OF_EACH_KIND)] for kind in _KINDS}
        self._unused = {kind: iter(of_kind) for kind, of_kind in names.items()}
        queues = [{"name": name, **_KINDS[kind]} for kind, of_kind in names.items() for name in of_kind]
        (folder / "queues.json").write_text(json.dumps(queues))
        [port] = free_ports(1)  # the same after a restart
        command = [sys.executable, "-m", "emulators.servicebus", "--port", str(port)]
        self._client: ServiceBusClient | None = None
        self._senders: dict[str, ServiceBusSender] = {}
        self.child = Child("bus", [*command, "--queues", str(folder / "queues.json")], log=folder / "bus.log")

    @property
    def connection_string(self) -> str:
        """How clients reach it."""
        connection: str = self.child.announced()["connection_string"]
        return connection

    def queue(self, kind: str) -> str:
        """A queue of this kind that no other test has had."""
        return next(self._unused[kind])

    async def hang_up(self) -> None:
        """Close what the tests opened: the SDK leaks the socket of a connection that the broker left."""
        await asyncio.gather(*(sender.close() for sender in self._senders.values()))
        self._senders.clear()
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def send(self, queue: str, *messages: ServiceBusMessage) -> None:
        """Send to a queue."""
        if self._client is None:
            self._client = ServiceBusClient.from_connection_string(self.connection_string)
        sender = self._senders.setdefault(queue, self._client.get_queue_sender(queue))
        await sender.send_messages(list(messages))

    async def left(self, queue: str) -> int:
        """How many messages the queue still holds, locked ones included."""
        async with administration(self.connection_string) as bus:
            return (await bus.counts())[queue].active

    async def lose_locks(self, queue: str) -> None:
        """Let the locks on the messages and sessions of a queue end now."""
        async with administration(self.connection_string) as bus:
            await bus.fault("lose-locks", queue)

    async def until_empty(self, queue: str) -> None:
        """Wait until a queue holds nothing. Raises AssertionError when that takes too long."""
        await eventually(lambda: self.left(queue), lambda left: left == 0, what=f"the end of {queue}")

    async def until_free(self, queue: str, session: str) -> None:
        """Wait until nobody holds this session. Raises AssertionError when that takes too long."""
        await eventually(lambda: self._is_free(queue, session), what=f"session {session} of {queue}")

    async def _is_free(self, queue: str, session: str) -> bool:
        async with ServiceBusClient.from_connection_string(self.connection_string, retry_total=0) as client:
            try:
                async with client.get_queue_receiver(queue, session_id=session, max_wait_time=2):
                    return True
            except SessionCannotBeLockedError:
                return False


@asynccontextmanager
async def running_bus(folder: Path) -> AsyncIterator[Bus]:
    """Run the emulator for tests of a host; it may be stopped and started meanwhile."""
    bus = Bus(folder)
    await bus.child.start()
    try:
        yield bus
    finally:
        await bus.hang_up()
        await bus.child.stop()


class App:
    """A host with the function app above, and what the function wrote down. It is not started yet."""

    def __init__(self, folder: Path, bus: Bus, queue: str, source: str, name: str = "a", **settings: str) -> None:
        options = {"maxMessageBatchSize": 100, "sessionIdleTimeout": "00:00:00.5"}
        self.folder = write_app(folder, _APP + source, extensions={"serviceBus": options})
        self.bus, self.queue = bus, queue
        environment = {"Queue": queue, "Bus": bus.connection_string, "HOST_NAME": name}
        self.child = host_child(folder, name=name, **environment, **settings)

    def behave(self, **how: object) -> None:
        """How the function works from now on: it is `held` until it is told otherwise, or `fails`."""
        draft = self.folder / "behaviour.new"
        draft.write_text(json.dumps(how))
        draft.replace(self.folder / "behaviour.json")

    def calls(self, event: str = "end") -> list[dict[str, Any]]:
        """Calls that have ended, or (`begin`) that have begun."""
        calls = map(json.loads, complete_lines(self.folder / "calls.jsonl"))
        return [call for call in calls if call["event"] == event]

    def bodies(self, event: str = "end") -> list[str]:
        """The messages of these calls."""
        return [message["body"] for call in self.calls(event) for message in call["messages"]]

    def failures(self) -> int:
        """How often the broker was away or has refused the host, which tries again each time."""
        return sum("; again in" in line for line in complete_lines(self.child.log))

    async def control(self, action: str) -> None:
        """Start, stop or kill the function's instance."""
        async with client_of(self.child) as client:
            answer = await client.post(f"/admin/local/functions/drain/{action}", headers=ADMIN, timeout=30)
        answer.raise_for_status()

    async def stats(self) -> dict[str, Any]:
        """What the host counted for the function."""
        async with client_of(self.child) as client:
            answer = await client.get("/admin/local/stats", headers=ADMIN)
        stats: dict[str, Any] = answer.json()["functions"]["drain"]
        return stats


async def start(apps: list[App], app: App) -> App:
    """Start a host, and note it among those to be stopped."""
    apps.append(app)
    await app.child.start()
    return app


async def start_held(apps: list[App], app: App, *messages: ServiceBusMessage) -> App:
    """Start a host whose function has begun with these messages, and waits until it is told to behave otherwise."""
    app.behave(held=True)
    await app.bus.send(app.queue, *messages)
    await start(apps, app)
    await until(lambda: len(app.bodies("begin")) == len(messages))
    return app


def numbered(count: int, session: str | None = None, first: int = 0) -> list[ServiceBusMessage]:
    """So many messages whose bodies are their numbers."""
    return [ServiceBusMessage(str(number), session_id=session) for number in range(first, first + count)]


def overlaps(calls: list[dict[str, Any]]) -> bool:
    """Whether a call began while another was under way."""
    running = 0
    for call in sorted(calls, key=lambda call: float(call["at"])):
        running += 1 if call["event"] == "begin" else -1
        if running > 1:
            return True
    return False
