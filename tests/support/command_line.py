"""The msisync command with commands of a test's own, and what they give."""

from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable
from typing import Any

from rich.console import Console

from shared.cli.command import Command, Exit, Result
from shared.cli.context import Context

Run = Callable[[Context, Namespace, Console], Awaitable[Result]]
NAMES = ("MSISYNC_TEST_A", "MSISYNC_TEST_B")


def command(name: str, run: Run, arguments: Callable[[ArgumentParser], None] | None = None) -> Command:
    return Command(name, f"{name} things", "Then: msisync doctor", run, arguments or (lambda _: None))


Msisync = Callable[..., int]


def result(exit_code: Exit = Exit.OK, **data: Any) -> Result:
    return Result(exit_code, data, lambda console: console.print("[green]fine[/green]", data))


async def look(_: Context, given: Namespace, progress: Console) -> Result:
    progress.print("looking …")
    return result(name=given.command.name)
