"""`msisync` in a test: in a process of its own, as a user starts it, or within the test's process, which is quicker."""

import asyncio
import io
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from local.endpoints import inherited_environment
from local.stack import ROOT

#: Output is caught for the whole process: one command at a time.
_ONE_AT_A_TIME = asyncio.Lock()


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its exit code, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed with --json."""
        return json.loads(self.out)


async def start(settings: Path, *arguments: str) -> Process:
    """Start it in a process of its own, which Ctrl-C ends also where this one was told to ignore it (nohup)."""
    command = (sys.executable, "-m", "shared.cli.main", *arguments, "--settings", str(settings))
    environment = inherited_environment()
    return await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=environment, stdout=PIPE, stderr=PIPE, preexec_fn=_heed_the_keyboard
    )


def _heed_the_keyboard() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def run(settings: Path, *arguments: str) -> Ended:
    """Run it in a process of its own."""
    process = await start(settings, *arguments)
    out, err = await process.communicate()
    return Ended(process.returncode or 0, out.decode(), err.decode())


async def run_here(settings: Path, *arguments: str) -> Ended:
    """Run it within this process, which must find its way to the simulators (`showing.way_to`)."""
    async with _ONE_AT_A_TIME:
        return await asyncio.to_thread(_main, [*arguments, "--settings", str(settings)])


def _main(arguments: list[str]) -> Ended:
    from shared.cli.main import main  # noqa: PLC0415  (it imports every command)

    out, err = io.StringIO(), io.StringIO()
    with patch.dict(os.environ), redirect_stdout(out), redirect_stderr(err):
        try:
            code = main(arguments)
        except SystemExit as wrong_usage:
            code = int(wrong_usage.code or 0)
    return Ended(code, out.getvalue(), err.getvalue())
