"""The host's end of the worker: starts the process, sends it calls, gets their results."""

import asyncio
import contextlib
import itertools
import logging
import socket
import time
import uuid
from typing import Any

from emulators.functions.processes import Spawn, WorkerProcess
from emulators.functions.settings import HostError
from emulators.functions.wire import Invocation, Typed, receive, send

logger = logging.getLogger("emulators.functions.host")

#: Seconds that a worker has to leave once the host is gone.
LEAVE_SECONDS = 3.0


class FunctionError(Exception):
    """A call failed: the function raised, ran out of time, or its worker died. The text is the exception's."""


class WorkerChannel:
    """One worker process. `lost` is set when it cannot be used any more, and says why.

    `start_seconds` is what it took from the start of the process until it had the app's functions.
    """

    def __init__(self, process: WorkerProcess, link: socket.socket, function_timeout: float | None) -> None:
        self.start_seconds = 0.0
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._process = process
        self._link = link
        self._timeout = function_timeout
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._writer: asyncio.StreamWriter
        self._reading: asyncio.Task[None]

    @classmethod
    async def start(
        cls, spawn: Spawn, function_timeout: float | None
    ) -> tuple["WorkerChannel", list[tuple[str, list[dict[str, Any]]]]]:
        """Start a worker and return it with the functions it found and their bindings.

        Raises HostError with the worker's traceback when the app cannot be loaded.
        """
        began = time.monotonic()
        ours, theirs = socket.socketpair()
        with theirs:
            process = await spawn(theirs)
        channel = cls(process, ours, function_timeout)
        functions = await channel._connect()
        channel.start_seconds = time.monotonic() - began
        return channel, functions

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    async def invoke(self, invocation: Invocation) -> Typed | None:
        """Run a function and return what it returned. Raises FunctionError when it did not end well."""
        try:
            async with asyncio.timeout(self._timeout):
                result: Typed | None = await self.ask("invoke", (str(uuid.uuid4()), invocation))
        except TimeoutError:
            # As on the platform, a function out of time takes its worker with it: a thread cannot be stopped.
            reason = f"function {invocation.function} ran longer than functionTimeout ({self._timeout:g} s)"
            self._lose(reason)
            raise FunctionError(reason) from None
        return result

    async def ask(self, kind: str, argument: Any = None) -> Any:
        """Send one request and return its answer. Raises FunctionError when the worker reports an error or is lost."""
        if self.lost.done():
            raise FunctionError(self.lost.result())
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            send(self._writer, (number, kind, argument))
            await self._writer.drain()
            return await answer
        except ConnectionError as error:
            raise FunctionError(str(error)) from error
        finally:
            del self._waiting[number]

    def kill(self) -> None:
        """SIGKILL the worker process, and say nothing of calls that run."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def stop(self) -> None:
        """End the worker process: it leaves when the link is closed, or is killed."""
        self._reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reading
        self._writer.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), LEAVE_SECONDS)
        self.kill()
        await self._process.wait()

    async def _connect(self) -> list[tuple[str, list[dict[str, Any]]]]:
        reader, self._writer = await asyncio.open_connection(sock=self._link)
        try:
            _, loaded, found = await receive(reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            loaded, found = False, _end_of(await self._process.wait())
        self._reading = asyncio.create_task(self._read(reader))
        if not loaded:
            await self.stop()
            msg = f"the function app cannot be loaded:\n{found}"
            raise HostError(msg)
        functions: list[tuple[str, list[dict[str, Any]]]] = found
        return functions

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                number, succeeded, value = await receive(reader)
                waiting = self._waiting.get(number)
                if waiting is None or waiting.done():
                    continue
                if succeeded:
                    waiting.set_result(value)
                else:
                    waiting.set_exception(FunctionError(value))
        except (asyncio.IncompleteReadError, ConnectionError):
            self._lose(_end_of(await self._process.wait()))

    def _lose(self, reason: str) -> None:
        if not self.lost.done():
            self.lost.set_result(reason)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(FunctionError(reason))


def _end_of(code: int | None) -> str:
    return "the worker ended" + ("" if code is None else f" with exit code {code}")
