"""The host process: one function app, its workers, its listeners and its HTTP side."""

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from emulators.functions.channel import WorkerChannel
from emulators.functions.instances import Instances, Listener
from emulators.functions.listener import QueueListener
from emulators.functions.processes import Copies, Fresh, Spawn
from emulators.functions.routes import Keys
from emulators.functions.settings import AppSettings, HostOptions
from emulators.functions.timers import TimerListener
from emulators.functions.triggers import QueueTrigger, TimerTrigger, Trigger, read_triggers
from emulators.functions.web import WebSide
from emulators.serving import announce, asked_to_leave

logger = logging.getLogger("emulators.functions.host")

#: How long running calls may take to finish after SIGTERM.
GRACE = 10.0
#: The settings that hold the keys for HTTP functions and for the admin API.
FUNCTION_KEY = "FUNCTIONS_WEBHOOK_KEY"
MASTER_KEY = "FUNCTIONS_ADMIN_KEY"


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What the command line says. Port 0 chooses a free one. `one_process`: one worker for all functions.

    `copied`: workers are copies of a process that has loaded the app and these modules; None starts each anew.
    """

    port: int
    app_dir: Path
    name: str
    lock_dir: Path | None = None
    one_process: bool = False
    copied: Sequence[str] | None = None


async def run_host(arguments: Arguments) -> int:
    """Run the app until SIGTERM or SIGINT, and return the exit code: 0, or 1 when a worker was lost for good.

    Prints the READY line once functions are indexed and HTTP is served. Raises HostError when the app cannot run.
    """
    stop = asked_to_leave()
    settings = AppSettings.load(arguments.app_dir)
    options = HostOptions.load(arguments.app_dir, settings)

    spawn: Spawn = Fresh(arguments.app_dir, settings)
    if arguments.copied is not None:
        spawn = Copies(arguments.app_dir, settings, arguments.copied)

    def launch() -> Any:
        return WorkerChannel.start(spawn, options.function_timeout)

    loading = asyncio.ensure_future(launch())
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({loading, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not loading.done():
        # The worker sees our end of its socket close, and ends.
        return 0
    worker, functions = await loading
    try:
        triggers = {trigger.function: trigger for trigger in read_triggers(functions, settings)}
    except BaseException:
        await worker.stop()
        raise

    async def another() -> WorkerChannel:
        channel: WorkerChannel = (await launch())[0]
        return channel

    def listen(names: Iterable[str]) -> list[Listener]:
        found = [_listener(triggers[name], options, instances, arguments.lock_dir) for name in names]
        return [listener for listener in found if listener is not None]

    instances = Instances(list(triggers), another, listen, one_process=arguments.one_process)
    keys = Keys(settings.values.get(FUNCTION_KEY), settings.values.get(MASTER_KEY))
    side = WebSide(triggers, options.route_prefix, keys, instances)
    try:
        return await Host(arguments, instances, triggers, side).run(stop, worker)
    finally:
        await instances.stop()


def _listener(trigger: Trigger, options: HostOptions, instances: Instances, lock_dir: Path | None) -> Listener | None:
    match trigger:
        case QueueTrigger():
            return QueueListener(trigger, options.service_bus, instances)
        case TimerTrigger():
            return TimerListener(trigger, instances, lock_dir)
        case _:
            return None


class Host:
    """Listens on everything that can start a function, until told to stop."""

    def __init__(
        self, arguments: Arguments, instances: Instances, triggers: Mapping[str, Trigger], side: WebSide
    ) -> None:
        self._arguments = arguments
        self._instances = instances
        self._triggers = triggers
        self._side = side
        self._runner = web.AppRunner(side.application(), access_log=None, shutdown_timeout=GRACE)

    async def run(self, stop: asyncio.Event, first: WorkerChannel) -> int:
        """Serve until `stop` is set, a worker is lost for good or a listener fails, then let running calls finish.

        `first` is the worker that has indexed the functions. Returns the exit code.
        """
        stopped = asyncio.ensure_future(stop.wait())
        starting = asyncio.ensure_future(self._start(first))
        over = asyncio.ensure_future(self._instances.over())
        await asyncio.wait({stopped, starting}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
            await asyncio.wait({stopped, over}, return_when=asyncio.FIRST_COMPLETED)
        starting.cancel()
        stopped.cancel()
        logger.info("host %s stops", self._arguments.name)
        await self._drain()
        if over.done():
            logger.critical("host %s leaves: %s", self._arguments.name, over.result())
            return 1
        over.cancel()
        return 0

    async def _start(self, first: WorkerChannel) -> None:
        await self._instances.start(first)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._arguments.port).start()
        port = self._runner.addresses[0][1]
        announce(port=port, workers=self._instances.pids(), functions=list(self._triggers))
        logger.info("host %s serves %d functions on port %d", self._arguments.name, len(self._triggers), port)

    async def _drain(self) -> None:
        self._side.accepting = False
        try:
            async with asyncio.timeout(GRACE):
                await asyncio.gather(self._instances.drain(), self._side.idle())
                await self._runner.cleanup()
        except TimeoutError:
            logger.warning("host %s: some calls did not finish within %g s", self._arguments.name, GRACE)
