"""An emulator in a process of its own, for tests."""

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
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
