"""Emulators as child processes: started, awaited, stopped and killed, and never left behind."""

import asyncio
import contextlib
import ctypes
import fcntl
import json
import os
import random
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from emulators.serving import READY

PARENT_VARIABLE = "EMULATOR_PARENT_PID"
PR_SET_PDEATHSIG = 1
LOG_TAIL_LINES = 25
# Below Linux's range for outgoing connections (from 32768): who stops and starts again finds the port still free.
PORTS = range(15_000, 32_000)


class ChildError(Exception):
    """A child process did not start. The message says which one and why, with the end of its log."""


def die_with_parent() -> None:
    """Leave when the process that started this one is gone, however it went. Call it first thing in a child.

    Linux only (a no-op elsewhere). The kernel watches the *thread* that started the child, so children are to be
    started from a thread that lives as long as they shall. The setting survives `exec`.
    """
    parent = os.environ.pop(PARENT_VARIABLE, None)
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before the kernel was asked: nobody would tell us any more.
    if parent is not None and os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGKILL)


def free_ports(count: int) -> list[int]:
    """Return `count` different TCP ports of 127.0.0.1 that nobody listens on at this moment.

    No other process of this user gets them from here while this one lives: programs that start at the same time
    choose their ports before they listen on them.
    """
    found: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        if len(found) == count:
            break
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if _reserve(port):
            found.append(port)
    return found


def _reserve(port: int) -> bool:
    folder = Path(tempfile.gettempdir()) / f"emulator-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    # A bare descriptor: the lock is to end with the process, and with nothing before.
    reservation = os.open(folder / str(port), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(reservation, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(reservation)
        return False
    return True


def complete_lines(path: Path) -> list[str]:
    """Return the lines of a file that a process may be writing now; a last one without its end is left for later."""
    if not path.exists():
        return []
    return path.read_bytes().decode(errors="replace").split("\n")[:-1]


def announces_ready(log: str) -> bool:
    """Tell whether a log holds the line `READY {…}` that every emulator prints (emulators/serving.py)."""
    return any(line.startswith(READY) for line in log.split("\n")[:-1])


class Child:
    """One process in a group of its own, which can be stopped, killed and started again with the same command.

    Output of every start is appended to `log`. `is_ready` gets what this start has written so far. `on_death` is
    called with the child and its exit code when it ends without having been asked to, once it was ready.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        is_ready: Callable[[str], bool] = announces_ready,
        ready_within: float = 300.0,
        on_death: Callable[["Child", int], None] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._environment = dict(os.environ if environment is None else environment)
        self._directory = directory
        self._is_ready = is_ready
        self._ready_within = ready_within
        self._on_death = on_death
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._expected_to_end = False

    @property
    def running(self) -> bool:
        """Whether the process is there (it may not be ready yet)."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int | None:
        """Process id, which is also the id of its group, while it runs."""
        return self._process.pid if self._process is not None and self.running else None

    async def start(self) -> None:
        """Start the process and wait until it is ready. Does nothing when it runs already.

        Raises ChildError when it ends before that, or is not ready within the deadline; it is gone then.
        """
        if self.running:
            return
        self._expected_to_end = False
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            written_before = output.tell()
            process = self._process = await self._spawn(output)
        try:
            await self._until_ready(process, written_before)
        except BaseException:
            await self.kill()
            raise
        self._watch = asyncio.create_task(self._report_death(process))

    async def stop(self, grace: float = 5.0) -> None:
        """Ask the process to leave (SIGTERM), and kill its whole group when it has not left after `grace` seconds."""
        process = self._process
        if process is not None and self.running:
            self._expected_to_end = True
            with contextlib.suppress(ProcessLookupError, TimeoutError):
                process.terminate()
                await asyncio.wait_for(process.wait(), grace)
        await self.kill()

    async def kill(self) -> None:
        """End the process and everything in its group at once (SIGKILL)."""
        process = self._process
        if process is None:
            return
        self._expected_to_end = True
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        if self._watch is not None:
            await self._watch
            self._watch = None

    def announced(self) -> dict[str, Any]:
        """Return what it announced in its READY line when it was last started."""
        *_, line = (line for line in complete_lines(self.log) if line.startswith(READY))
        facts: dict[str, Any] = json.loads(line.removeprefix(READY))
        return facts

    def log_tail(self) -> str:
        """Return the last lines of its log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])

    async def _spawn(self, output: BinaryIO) -> asyncio.subprocess.Process:
        try:
            return await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                cwd=self._directory,
                env={**self._environment, PARENT_VARIABLE: str(os.getpid())},
                start_new_session=True,
            )
        except OSError as error:
            msg = f"{self.name} cannot be started: {error}"
            raise ChildError(msg) from error

    async def _until_ready(self, process: asyncio.subprocess.Process, written_before: int) -> None:
        deadline = asyncio.get_running_loop().time() + self._ready_within
        while not self._is_ready(self._output_since(written_before)):
            if process.returncode is not None:
                raise ChildError(self._explain(f"ended at its start with exit code {process.returncode}"))
            if asyncio.get_running_loop().time() > deadline:
                raise ChildError(self._explain(f"was not ready after {self._ready_within:g} s"))
            await asyncio.sleep(0.02)

    def _output_since(self, position: int) -> str:
        with self.log.open("rb") as log:
            log.seek(position)
            return log.read().decode(errors="replace")

    def _explain(self, what: str) -> str:
        return f"{self.name} {what}. The end of {self.log}:\n{self.log_tail()}"

    async def _report_death(self, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        if not self._expected_to_end and self._on_death is not None:
            self._on_death(self, code)
