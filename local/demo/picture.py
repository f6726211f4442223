"""`python -m local.demo.picture FILE.svg`: a picture of what operators see, for the README.

Starts the embedded stack with its sample company, sends every row to Marketo as an operator would (`msisync resync`),
and draws what `msisync show person` and `msisync status` print then. Nothing in the picture is written by hand.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.text import Text

from emulators.dataverse.seeding import fixed_id
from local.demo.screen import record_svg
from local.registration import register
from local.stack import ROOT, Stack

WIDTH = 118
DEADLINE_SECONDS = 180.0
PAUSE_SECONDS = 1.0
#: A contact of the sample company with an account, an owner and an opportunity role.
CONTACT = fixed_id("contact", "4")
#: Parents first, and for each an OData filter that lets all of its rows through.
TABLES = {
    "systemuser": "systemuserid ne null",
    "account": "accountid ne null",
    "contact": "contactid ne null",
    "lead": "leadid ne null",
    "opportunity": "opportunityid ne null",
    "connection": "connectionid ne null",
}


class CommandError(Exception):
    """A command of msisync did not do what the picture needs. The message is its output."""


async def msisync(stack: Stack, *words: str) -> tuple[int, str]:
    """Run a command as on a terminal, and return its exit code and its output with colours."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "shared.cli.main"),
        *(*words, "--settings", str(stack.settings_file)),
        cwd=ROOT,
        env={**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "TERM": "xterm-256color"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,  # progress, and errors
    )
    output, errors = await process.communicate()
    return process.returncode or 0, (output or errors).decode()


async def in_json(stack: Stack, *words: str) -> tuple[int, Any]:
    """Run a command with --json, and return its exit code and its object."""
    code, output = await msisync(stack, *words, "--json")
    return code, json.loads(output)


async def sync_everything(stack: Stack) -> None:
    """Send every row of the sample company, and wait until all of them have been synced."""
    for table, query in TABLES.items():
        code, output = await msisync(stack, "resync", table, "--query", query, "--apply")
        if code:
            raise CommandError(output)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            code, _ = await msisync(stack, "show", "person", CONTACT)
            if code == 0 and await is_done(stack):
                return
            await asyncio.sleep(PAUSE_SECONDS)


async def is_done(stack: Stack) -> bool:
    """Whether every entity has synced records, and none waits or is parked."""
    _, found = await in_json(stack, "status")
    return all(
        entity["last_hour"]["synced"] and not (entity["waiting"] or entity["scheduled"] or entity["parked"]["count"])
        for entity in found["entities"].values()
    )


async def draw(file: Path) -> None:
    """Write the picture. Raises CommandError, or TimeoutError when the sample company is not synced in time."""
    with tempfile.TemporaryDirectory() as directory:
        async with Stack(directory=Path(directory)) as stack:
            await register(stack.settings_file, print)
            await stack.run_function("release_deferred")
            await sync_everything(stack)
            _, found = await in_json(stack, "show", "person", CONTACT)
            shown = []
            for words in (("show", "person", found["persons"][0]["row"]["emailaddress1"]), ("status",)):
                _, output = await msisync(stack, *words)
                shown += [Text(f"$ msisync {' '.join(words)}", "bold"), Text.from_ansi(output.rstrip()), Text()]
            record_svg(file, shown[:-1], title="msisync")


def main() -> int:
    """Draw the picture. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m local.demo.picture", description=__doc__.split("\n\n")[0])
    parser.add_argument("file", type=Path, metavar="FILE.svg")
    try:
        asyncio.run(draw(parser.parse_args().file))
    except (CommandError, TimeoutError) as error:
        sys.stderr.write(f"{error or 'the sample company was not synced in time'}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
