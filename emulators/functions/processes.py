"""The processes of workers: each started anew, as the platform does it, or a copy of one that has loaded the app."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol

from emulators.functions.settings import AppSettings, HostError
from emulators.processes import PARENT_VARIABLE

_ROOT = Path(__file__).resolve().parents[2]
#: In which the original tells the process id of a copy.
PID_BYTES = 8


class WorkerProcess(Protocol):
    """A process that serves the other end of a socket."""

    @property
    def pid(self) -> int:
        """Its process id."""

    def kill(self) -> None:
        """SIGKILL it. Raises ProcessLookupError when it is gone."""

    async def wait(self) -> int | None:
        """Wait until it is gone. Gives its exit code, None where only its parent knows it."""


#: Starts a worker that serves this end of a socket pair. Raises HostError.
Spawn = Callable[[socket.socket], Awaitable[WorkerProcess]]


class Fresh:
    """Each worker is a process that loads the app."""

    def __init__(self, app_dir: Path, settings: AppSettings) -> None:
        self._app_dir = app_dir
        self._settings = settings

    async def __call__(self, link: socket.socket) -> WorkerProcess:
        """Start a worker that serves `link`."""
        return await _start("worker", self._app_dir, self._settings, link)


class Copies:
    """Each worker is a fork of one process that has loaded the app and `modules`: that time is spent once. Linux only.

    Copies share no memory that they write to. The original ends with the process that made this.
    """

    def __init__(self, app_dir: Path, settings: AppSettings, modules: Sequence[str]) -> None:
        self._app_dir = app_dir
        self._settings = settings
        self._modules = modules
        self._original: socket.socket | None = None
        self._process: asyncio.subprocess.Process
        self._turn = asyncio.Lock()

    async def __call__(self, link: socket.socket) -> WorkerProcess:
        """Start a worker that serves `link`. Raises HostError when the original is gone."""
        async with self._turn:
            if self._original is None:
                self._original, theirs = socket.socketpair()
                self._original.setblocking(False)
                with theirs:
                    self._process = await _start("original", self._app_dir, self._settings, theirs, *self._modules)
            answer = b""
            with contextlib.suppress(ConnectionError):
                socket.send_fds(self._original, [b"\0"], [link.fileno()])
                answer = await asyncio.get_running_loop().sock_recv(self._original, PID_BYTES)
        if not answer:
            msg = "the process that workers are copied from has ended; the log says why"
            raise HostError(msg)
        return _Copy(int.from_bytes(answer))


class _Copy:
    """A fork of the original, seen by the host, which is not its parent."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._over = asyncio.Event()
        try:
            self._handle = os.pidfd_open(pid)
        except ProcessLookupError:
            self._over.set()
        else:
            asyncio.get_running_loop().add_reader(self._handle, self._end)

    def kill(self) -> None:
        """SIGKILL it. Raises ProcessLookupError when it is gone."""
        if self._over.is_set():
            raise ProcessLookupError(self.pid)
        signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    async def wait(self) -> int | None:
        """Wait until it is gone."""
        await self._over.wait()
        return None

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._handle)
        os.close(self._handle)
        self._over.set()


async def _start(
    module: str, app_dir: Path, settings: AppSettings, link: socket.socket, *more: str
) -> asyncio.subprocess.Process:
    environment = {
        **settings.values,
        PARENT_VARIABLE: str(os.getpid()),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH")))),
    }
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"emulators.functions.{module}"),
        *("--app-dir", str(app_dir), "--socket", str(link.fileno()), *more),
        pass_fds=[link.fileno()],
        stdin=asyncio.subprocess.DEVNULL,
        # The host's stdout holds its READY line and nothing else.
        stdout=sys.stderr.fileno(),
        cwd=app_dir,
        env=environment,
    )
