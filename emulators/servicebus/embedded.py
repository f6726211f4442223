"""An emulator in a thread of this process: for tests and scripts that want queues and nothing else to start."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future

from emulators.servicebus import connection_string
from emulators.servicebus.namespace import Namespace
from emulators.servicebus.server import Server
from emulators.servicebus.settings import QueueSettings, checked, queue_of


@contextlib.contextmanager
def emulator(*queues: QueueSettings | str) -> Iterator[str]:
    """Run an emulator with these queues on a free port and give its connection string.

    A queue is its settings, or `NAME` or `NAME:sessions` for one with the service's defaults. What is still in the
    queues at the end is gone.
    """
    settings = [queue_of(queue) if isinstance(queue, str) else queue for queue in queues]
    namespace = Namespace(checked(settings, "emulator"), time.time)
    started: Future[tuple[int, asyncio.AbstractEventLoop, asyncio.Task[None]]] = Future()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(namespace, started)), name="service-bus", daemon=True)
    thread.start()
    port, loop, serving = started.result()
    try:
        yield connection_string(port)
    finally:
        loop.call_soon_threadsafe(serving.cancel)
        thread.join()


async def _serve(
    namespace: Namespace, started: Future[tuple[int, asyncio.AbstractEventLoop, asyncio.Task[None]]]
) -> None:
    try:
        server = Server(namespace, 0)
    except OSError as error:
        started.set_exception(error)
        return
    serving = asyncio.create_task(server.serve())
    started.set_result((server.port, asyncio.get_running_loop(), serving))
    with contextlib.suppress(asyncio.CancelledError):
        await serving
    # Clients that are still connected are broken off, as by a process that ends.
    namespace.drop_connections()
    await asyncio.sleep(0)
