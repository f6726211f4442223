"""The embedded stack: every part a process, started together, stopped together, killed and restarted one by one.

async with Stack() as stack:
    await stack.kill_functions()
    await stack.start_functions()
    await stack.kill_functions(function="sync_persons")
"""

import argparse
import asyncio
import fcntl
import os
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import aiohttp

from emulators import azurite
from emulators.certificates import write_certificates, write_client_certificate
from emulators.functions.settings import CLOCK_VARIABLE
from emulators.processes import Child, ChildError, announces_ready, free_ports
from local import now_try
from local.control import ControlServer, StackError, send_command
from local.endpoints import HOSTS, Addresses, Ports, inherited_environment, write_private_json
from local.parts import SUBSCRIPTION, MarketoLimits, functions_command, neighbour_commands, write_queues
from local.registration import register
from local.row_commands import ROW_COMMANDS, WORDS_HELP, on_rows

ROOT = Path(__file__).resolve().parent.parent
DIRECTORY = ROOT / ".local"
FUNCTIONS = "functions-"
LOOPBACK = "127.0.0.1"  # Service Bus' administration client speaks TLS to it


class Stack:
    """All parts on free ports of this machine, with their state in `directory`; two stacks need two directories.

    `empty` leaves the organization without sample records. `with_functions=False` starts the neighbours only.
    `functions_environment` goes over the app settings of every Functions host. `queues` changes queues by name, in
    the fields of the emulator's QueueSettings: `{"persons": {"lock_seconds": 5}}`. `one_process` runs all functions
    of a host in one worker process; without it each has its own, as in production. `copied` forks these from one that
    has loaded the app: a host starts sooner. `profile` runs the hosts under cProfile, which leaves
    `<directory>/functions-a.prof` when they are stopped. `report` gets a line for each event.
    `before_ready` gets the stack when every part runs, before endpoints.json tells clients that all is ready.
    """

    def __init__(
        self,
        *,
        directory: Path = DIRECTORY,
        empty: bool = False,
        with_functions: bool = True,
        app_directory: Path = ROOT,
        marketo: MarketoLimits = SUBSCRIPTION,
        functions_environment: Mapping[str, str] | None = None,
        queues: Mapping[str, Mapping[str, Any]] | None = None,
        one_process: bool = False,
        copied: bool = False,
        profile: bool = False,
        report: Callable[[str], None] = lambda _: None,
        before_ready: "Callable[[Stack], Awaitable[None]] | None" = None,
    ) -> None:
        self.directory = directory.resolve()
        self.addresses = Addresses(ports=Ports.choose(), ca_bundle=self.directory / "certificates" / "ca.pem")
        self.parts: dict[str, Child] = {}
        self._empty = empty
        self._with_functions = with_functions
        self._app_directory = app_directory
        self._marketo = marketo
        self._functions_environment = dict(functions_environment or {})
        self._queues = queues or {}
        self._one_process = one_process
        self._copied = copied
        self._profile = profile
        self._report = report
        self._before_ready = before_ready
        self._functions_ports: dict[str, int] = {"a": self.addresses.ports.functions}
        parts = {"start": self.start_part, "stop": self.stop_part, "kill": self.kill_part}
        hosts = {
            "start-functions": self.start_functions,
            "stop-functions": self.stop_functions,
            "kill-functions": self.kill_functions,
        }
        self._control = ControlServer(parts, hosts, self.control)
        self._lock: IO[bytes] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def endpoints_file(self) -> Path:
        """Where clients find addresses and credentials."""
        return self.directory / "endpoints.json"

    @property
    def settings_file(self) -> Path:
        """The app settings of the Functions hosts, in the form that `msisync --settings` and `func` read."""
        return self.directory / "local.settings.json"

    @property
    def control_file(self) -> Path:
        """Where tests, demo and benchmark find control addresses, process ids and logs."""
        return self.directory / "control.json"

    async def start(self) -> None:
        """Start every part, from an empty state.

        Raises ChildError when a part does not start and StackError when another stack uses the directory, and what
        `before_ready` raises. Nothing is left running then.
        """
        self._take_directory()
        try:
            self._prepare()
            await self._control.start()
            await _all(self.start_part(name) for name in list(self.parts))
            if self._with_functions:
                await self.start_functions()
            settings = self.addresses.local_settings(self._functions_environment)
            write_private_json(self.settings_file, settings)
            if self._before_ready is not None:
                await self._before_ready(self)
            write_private_json(self.endpoints_file, self.addresses.endpoints())
            self._write_control()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop every part, the Functions hosts first, and remove the files that point to them."""
        self._remove_pointers()
        hosts = [part for name, part in self.parts.items() if name.startswith(FUNCTIONS)]
        neighbours = [part for name, part in self.parts.items() if not name.startswith(FUNCTIONS)]
        for group in (hosts, neighbours):
            await _all(part.stop() for part in group)
        await self._control.stop()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def start_part(self, name: str) -> None:
        """Start a part (again), on the port it always has, and wait until it is ready."""
        part = self._part(name)
        began = time.monotonic()
        await part.start()
        self._report(f"{name:<12} ready in {time.monotonic() - began:.1f} s (process {part.pid}, log {part.log})")
        self._note_change()

    async def stop_part(self, name: str) -> None:
        """Let a part leave. Only Azurite keeps its state on disk; what the others hold is gone."""
        await self._part(name).stop()
        self._report(f"{name:<12} stopped")
        self._note_change()

    async def kill_part(self, name: str) -> None:
        """SIGKILL a part's whole process group."""
        await self._part(name).kill()
        self._report(f"{name:<12} killed")
        self._note_change()

    async def start_functions(self, name: str = "a", function: str | None = None, *, clock_offset: float = 0.0) -> None:
        """Start the Functions host `a` again, or another instance beside it; or one function of it.

        `clock_offset`: how many seconds the clock of an instance is ahead that is started for the first time.
        """
        if function is not None:
            await self._control_function(name, function, "start")
            return
        if FUNCTIONS + name not in self.parts:
            port = self._functions_ports.setdefault(name, free_ports(1)[0])
            command = functions_command(
                name,
                port,
                app=self._app_directory,
                directory=self.directory,
                profile=self._profile,
                one_process=self._one_process,
                copied=self._copied,
            )
            environment = {**self.addresses.functions_environment(), **self._functions_environment}
            environment |= {CLOCK_VARIABLE: str(clock_offset)} if clock_offset else {}
            self._add(FUNCTIONS + name, command, environment)
        await self.start_part(FUNCTIONS + name)

    async def stop_functions(self, name: str = "a", function: str | None = None) -> None:
        """Let a Functions host, or one function of it, finish and leave."""
        if function is not None:
            await self._control_function(name, function, "stop")
            return
        await self.stop_part(FUNCTIONS + name)

    async def kill_functions(self, name: str = "a", function: str | None = None) -> None:
        """SIGKILL a Functions host, wherever it is; or the instance of one function, which settles nothing then."""
        if function is not None:
            await self._control_function(name, function, "kill")
            return
        await self.kill_part(FUNCTIONS + name)

    async def run_function(self, function: str, name: str = "a") -> None:
        """Have a timer's function run now, as the portal's Run does, and wait for its end."""
        url = f"http://127.0.0.1:{self._functions_ports[name]}/admin/functions/{function}"
        headers = {"x-functions-key": self.addresses.admin_key}
        async with aiohttp.ClientSession() as client, client.post(url, params={"wait": "1"}, headers=headers) as answer:
            if not answer.ok:
                raise StackError(f"{function} has failed; see the log of {FUNCTIONS + name}")

    async def _control_function(self, host: str, function: str, action: str) -> None:
        if not self._part(FUNCTIONS + host).running:
            raise StackError(f"the Functions host {host!r} does not run")
        url = f"http://127.0.0.1:{self._functions_ports[host]}/admin/local/functions/{function}/{action}"
        async with (
            aiohttp.ClientSession() as client,
            client.post(url, headers={"x-functions-key": self.addresses.admin_key}) as answer,
        ):
            if not answer.ok:
                raise StackError((await answer.json())["message"])
        self._report(f"{FUNCTIONS + host:<12} {function}: {action} done")

    def control(self) -> dict[str, Any]:
        """Return what control.json holds."""
        ports = self.addresses.ports
        return {
            "pid": os.getpid(),
            "stack": self._control.url,
            "dataverse": f"http://127.0.0.1:{ports.dataverse_control}",
            "marketo": f"http://127.0.0.1:{ports.marketo_control}",
            "functions": {name: f"http://127.0.0.1:{port}" for name, port in self._functions_ports.items()},
            "ports": asdict(ports),
            "parts": {
                name: {"running": part.running, "pid": part.pid, "log": str(part.log)}
                for name, part in self.parts.items()
            },
        }

    def _part(self, name: str) -> Child:
        if name not in self.parts:
            raise StackError(f"there is no part {name!r}; there are {', '.join(self.parts)}")
        return self.parts[name]

    def _take_directory(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        lock = (self.directory / "stack.lock").open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise StackError(f"another stack is running in {self.directory}") from None
        self._lock = lock

    def _prepare(self) -> None:
        self._remove_pointers()
        for leftover in ("azurite", "logs", "locks"):
            shutil.rmtree(self.directory / leftover, ignore_errors=True)
        certificates = write_certificates(self.addresses.ca_bundle.parent, (*HOSTS, LOOPBACK))
        write_client_certificate(self.addresses.client_certificate, "msisync")
        write_queues(self.directory, self._queues)
        commands = neighbour_commands(
            self.addresses, self.directory, certificates, limits=self._marketo, empty=self._empty
        )
        for name, command in commands.items():
            is_ready = azurite.is_listening if name == "azurite" else announces_ready
            self._add(name, command, inherited_environment(), is_ready)

    def _remove_pointers(self) -> None:
        for file in (self.endpoints_file, self.settings_file, self.control_file):
            file.unlink(missing_ok=True)

    def _add(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        is_ready: Callable[[str], bool] = announces_ready,
    ) -> None:
        self.parts[name] = Child(
            name,
            command,
            log=self.directory / "logs" / f"{name}.log",
            environment=environment,
            directory=ROOT,
            is_ready=is_ready,
            on_death=self._report_death,
        )

    def _report_death(self, part: Child, code: int) -> None:
        self._report(f"{part.name:<12} DIED with exit code {code}. The end of {part.log}:\n{part.log_tail()}")
        self._note_change()

    def _note_change(self) -> None:
        if self.control_file.exists():
            self._write_control()

    def _write_control(self) -> None:
        write_private_json(self.control_file, self.control())


async def _all(tasks: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all at the same time. The first failure cancels the others and is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for task in tasks:
                group.create_task(task)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _up(stack: Stack, say: Callable[[str], None]) -> None:
    task = asyncio.current_task()
    asked: list[bool] = []

    def leave() -> None:
        # A second Ctrl-C must not cut the tidying-up short.
        if task is not None and not asked:
            asked.append(True)
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, leave)
    try:
        async with stack:
            say(f"The stack is up. Addresses and credentials: {stack.endpoints_file}")
            for line in now_try.after_start(stack.directory):
                say(line)
            say("Ctrl-C stops everything.")
            await asyncio.Event().wait()
    except asyncio.CancelledError:
        say("Everything is stopped.")


def main() -> int:
    """Run the stack in the foreground, or drive the one that is running. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m local.stack", description="Run the embedded stack, or drive it.")
    commands = parser.add_subparsers(dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--directory", type=Path, default=DIRECTORY, help="where the stack keeps its state")
    up = commands.add_parser("up", parents=[common], help="start every part and run until Ctrl-C")
    up.add_argument("--empty", action="store_true", help="an organization without sample records and registration")
    up.add_argument("--one-process", action="store_true", help="one process for all functions, not one for each")
    for command in ("kill-functions", "stop-functions", "start-functions"):
        host = commands.add_parser(command, parents=[common], help="… a Functions host, or one function of it")
        host.add_argument("function", nargs="?", help="only this function, such as sync_persons")
        host.add_argument("--name", default="a", help="which instance; the first one is a")
    for command in ("start", "stop", "kill"):
        commands.add_parser(command, parents=[common], help="… a part of the running stack").add_argument("name")
    for command, (text, more) in ROW_COMMANDS.items():
        row = commands.add_parser(command, parents=[common], help=text, description=f"{text[:1].upper()}{text[1:]}.")
        row.add_argument("table", help="its logical name, such as contact")
        row.add_argument("words", nargs="+", metavar=more, help=WORDS_HELP)
    options = parser.parse_args()

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    async def post_changes(stack: Stack) -> None:
        await register(stack.settings_file, say)
        await stack.run_function("release_deferred")  # so that msisync doctor knows from the first second that it runs

    try:
        if options.command == "up":
            before_ready = None if options.empty else post_changes
            stack = Stack(
                directory=options.directory,
                empty=options.empty,
                one_process=options.one_process,
                report=say,
                before_ready=before_ready,
            )
            asyncio.run(_up(stack, say))
        elif options.command in ROW_COMMANDS:
            for line in on_rows(options.directory, options.command, options.table, options.words):
                say(line)
        else:
            function = getattr(options, "function", None)
            send_command(options.directory / "control.json", options.command, options.name, function)
    except (StackError, ChildError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
