"""The host process: one function app, its worker, its listeners and its HTTP side."""

import asyncio
import json
import logging
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from local.functions.channel import WorkerChannel
from local.functions.listener import QueueListener
from local.functions.routes import Keys
from local.functions.settings import AppSettings, HostOptions
from local.functions.timers import TimerListener
from local.functions.triggers import QueueTrigger, TimerTrigger, Trigger, read_triggers
from local.functions.web import WebSide

logger = logging.getLogger("local.functions.host")

#: How long running calls may take to finish after SIGTERM.
GRACE = 10.0
#: The settings that hold the keys for HTTP functions and for the admin API.
FUNCTION_KEY = "FUNCTIONS_WEBHOOK_KEY"
MASTER_KEY = "FUNCTIONS_ADMIN_KEY"


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What the command line says. Port 0 chooses a free one."""

    port: int
    app_dir: Path
    name: str
    lock_dir: Path | None = None


async def run_host(arguments: Arguments) -> int:
    """Run the app until SIGTERM or SIGINT, and return the exit code: 0, or 1 when the worker was lost.

    Prints the READY line once functions are indexed and HTTP is served. Raises HostError when the app cannot run.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    settings = AppSettings.load(arguments.app_dir)
    options = HostOptions.load(arguments.app_dir, settings)
    loading = asyncio.ensure_future(WorkerChannel.start(arguments.app_dir, settings, options.function_timeout))
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({loading, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not loading.done():
        # The worker sees our end of its socket close, and ends.
        return 0
    worker, functions = await loading
    try:
        triggers = {trigger.function: trigger for trigger in read_triggers(functions, settings)}
        keys = Keys(settings.values.get(FUNCTION_KEY), settings.values.get(MASTER_KEY))
        host = Host(arguments, options, worker, triggers, WebSide(triggers, options.route_prefix, keys, worker))
        await host.run(stop)
    finally:
        await worker.stop()
    if worker.lost.done():
        logger.critical("host %s leaves: %s", arguments.name, worker.lost.result())
        return 1
    return 0


class Host:
    """Listens on everything that can start a function, until told to stop."""

    def __init__(
        self,
        arguments: Arguments,
        options: HostOptions,
        worker: WorkerChannel,
        triggers: dict[str, Trigger],
        side: WebSide,
    ) -> None:
        self._arguments = arguments
        self._worker = worker
        self._triggers = triggers
        self._side = side
        self._runner = web.AppRunner(side.application(), access_log=None, shutdown_timeout=GRACE)
        self._queues = [
            QueueListener(trigger, options.service_bus, worker)
            for trigger in triggers.values()
            if isinstance(trigger, QueueTrigger)
        ]
        self._timers = [
            TimerListener(trigger, worker, arguments.lock_dir)
            for trigger in triggers.values()
            if isinstance(trigger, TimerTrigger)
        ]

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, the worker is lost or a listener fails, then let running calls finish."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._arguments.port).start()
        queues = [asyncio.create_task(listener.run()) for listener in self._queues]
        timers = [asyncio.create_task(listener.run()) for listener in self._timers]
        self._announce()
        stopped = asyncio.ensure_future(stop.wait())
        watched: set[asyncio.Future[Any]] = {stopped, self._worker.lost, *queues, *timers}
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        logger.info("host %s stops", self._arguments.name)
        await self._drain(queues, timers)

    def _announce(self) -> None:
        port = self._runner.addresses[0][1]
        ready = {"port": port, "worker_pid": self._worker.pid, "functions": list(self._triggers)}
        print("READY " + json.dumps(ready), flush=True)  # noqa: T201 (the line that who started us waits for)
        logger.info("host %s serves %d functions on port %d", self._arguments.name, len(self._triggers), port)

    async def _drain(self, queues: list[asyncio.Task[None]], timers: list[asyncio.Task[None]]) -> None:
        self._side.accepting = False
        for listener in self._queues:
            listener.stop()
        for task in timers:
            task.cancel()
        try:
            async with asyncio.timeout(GRACE):
                await asyncio.gather(*queues, *(timer.idle() for timer in self._timers), self._side.idle())
                await self._runner.cleanup()
        except TimeoutError:
            logger.warning("host %s: some calls did not finish within %g s", self._arguments.name, GRACE)
        for result in await asyncio.gather(*queues, *timers, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
