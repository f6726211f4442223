"""An emulator in a process of its own, for tests."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import PIPE
from sys import executable

from emulators.processes import Child
from emulators.servicebus.settings import QueueSettings


@dataclass(frozen=True)
class Emulator:
    """A running emulator."""

    port: int
    connection_string: str
    pid: int


@asynccontextmanager
async def running_emulator(
    directory: Path,
    queues: Iterable[QueueSettings],
    *,
    cert: Path | None = None,
    key: Path | None = None,
    policies: Iterable[str] = (),
) -> AsyncIterator[Emulator]:
    """Run an emulator with these queues on a free port. `directory` takes its queue file and its log.

    `policies` are more shared access policies, as the option --policy takes them.
    """
    queue_file = directory / "queues.json"
    queue_file.write_text(json.dumps([asdict(queue) for queue in queues]))
    command = [executable, "-m", "emulators.servicebus", "--port", "0", "--queues", str(queue_file)]
    command += [f"--policy={policy}" for policy in policies]
    if cert is not None and key is not None:
        command += ["--cert", str(cert), "--key", str(key)]
    child = Child("service-bus", command, log=directory / "service-bus.log")
    await child.start()
    try:
        yield Emulator(**child.announced(), pid=child.pid or 0)
    finally:
        await child.stop()


_CLIENT = """
import sys
from azure.servicebus import ServiceBusClient
connection, queue, session, count = sys.argv[1:]
client = ServiceBusClient.from_connection_string(connection)
receiver = client.get_queue_receiver(queue, session_id=session or None)
print(len(receiver.receive_messages(int(count), max_wait_time=5)), flush=True)
sys.stdin.read()
"""


async def die_holding(emulator: Emulator, queue: str, count: int = 1, session: str = "") -> float:
    """Receive so many messages of a queue in another process, which is killed before it settles them.

    Returns when it had them, by the monotonic clock.
    """
    client = await asyncio.create_subprocess_exec(
        *(executable, "-c", _CLIENT, emulator.connection_string, queue, session, str(count)), stdin=PIPE, stdout=PIPE
    )
    received = await client.stdout.readline() if client.stdout else b""
    at = time.monotonic()
    client.kill()
    await client.communicate()
    if int(received or 0) != count:
        msg = f"the client has got {received!r} and not {count} messages"
        raise AssertionError(msg)
    return at
