"""`msisync show person` in a test: as an operator runs it, or within the test's own process, which is quicker."""

import asyncio
import json
import os
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from rich.console import Console

from local.endpoints import inherited_environment
from local.harness.operating import command_line
from local.harness.rows import Made
from local.harness.system import System
from local.stack import ROOT
from shared.cli.context import Context
from shared.cli.show.command import COMMAND

#: What httpx, requests and the SDKs read from the process itself.
_NETWORK = ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
_SECONDS = 300


@dataclass(frozen=True)
class Shown:
    """What the command found, and its exit code."""

    exit: int
    data: dict[str, Any]

    @property
    def code(self) -> str:
        """The verdict's code."""
        return str(self.data["verdict"]["code"])

    @property
    def sentence(self) -> str:
        """The verdict's sentence."""
        return str(self.data["verdict"]["sentence"])

    @property
    def person(self) -> dict[str, Any]:
        """The only person that was found."""
        (person,) = self.data["persons"]
        return dict(person)

    @property
    def differences(self) -> dict[str, tuple[Any, Any]]:
        """(expected, actual) by field."""
        return {each["field"]: (each["expected"], each["actual"]) for each in self.person["subject"]["differences"]}


def settings_of(system: System) -> dict[str, str]:
    """The app settings of a stack."""
    return dict(json.loads(system.stack.settings_file.read_text())["Values"])


@contextmanager
def way_to(system: System) -> Iterator[None]:
    """Meanwhile this process finds its way to the simulators."""
    values = settings_of(system)
    trusted = ssl.create_default_context(cafile=values["SSL_CERT_FILE"])
    with (
        patch.dict(os.environ, {name: values[name] for name in _NETWORK}),
        # aiohttp read what it trusts when it was imported, which in a test run was long ago.
        patch("aiohttp.connector._SSL_CONTEXT_VERIFIED", trusted),
    ):
        yield


async def run(system: System, *arguments: str) -> tuple[int, str, str]:
    """The command in a process of its own: exit code, output, errors."""
    command = [sys.executable, "-m", "shared.cli.main", "show", "person", *arguments]
    command += ["--settings", str(system.stack.settings_file)]
    child = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=inherited_environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        printed, errors = await asyncio.wait_for(child.communicate(), _SECONDS)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    return child.returncode or 0, printed.decode(), errors.decode()


async def show(system: System, query: str, *arguments: str) -> Shown:
    """The command within this process; `way_to` must be open."""
    context = Context({**settings_of(system), "SYNC_CONFIG": str(ROOT / "sync.toml")})
    try:
        result = await COMMAND.run(context, command_line(COMMAND, query, *arguments), Console(quiet=True))
    finally:
        await context.close()
    return Shown(int(result.exit), json.loads(json.dumps(result.data)))


async def show_all(system: System, *made: Made) -> list[Shown]:
    """The same for several rows at once. They ask for the session of the persons' queue in turn."""
    return await asyncio.gather(*(show(system, each.id) for each in made))
