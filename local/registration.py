"""Registration in the running stack as an operator does it: by the product's own command, in a process of its own."""

import asyncio
import json
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Callable
from pathlib import Path

from local.control import StackError
from local.endpoints import inherited_environment

ROOT = Path(__file__).resolve().parent.parent


async def register(settings: Path, report: Callable[[str], None]) -> None:
    """Have Dynamics post its changes, with `msisync register --apply`, and report a line as for a part of the stack.

    Raises StackError with what the command says when it fails.
    """
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "shared.cli.main", "register", "--apply", "--json", "--settings", str(settings)),
        cwd=ROOT,
        env=inherited_environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,  # Ctrl-C is for the stack, which ends this process
    )
    try:
        out, errors = (output.decode(errors="replace") for output in await process.communicate())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise StackError(f"registration failed with exit code {process.returncode}. {_reason(out) or out + errors}")
    steps = sum(action["component"] == "step" for action in json.loads(out)["actions"])
    report(f"{'registration':<12} ready in {time.monotonic() - began:.1f} s ({steps} steps)")


def _reason(out: str) -> str | None:
    """What an error of the command says; None when it has not come to an orderly end."""
    try:
        error = json.loads(out)["error"]
    except (ValueError, KeyError):
        return None
    return f"{error['code']}: {error['message']}"
