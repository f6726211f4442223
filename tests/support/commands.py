"""Commands of msisync as they are typed, and what they print for people."""

import io
from collections.abc import Callable
from typing import Any

from rich.console import Console

from shared.cli import output
from shared.cli.command import Result
from shared.cli.commands import meant
from shared.cli.main import parser


def printed(show: Callable[[Console], object], width: int = 200, **options: Any) -> str:
    """Return what is shown, as a wide terminal without colours has it."""
    text = io.StringIO()
    show(Console(file=text, highlight=False, width=width, **options))
    return text.getvalue()


def shown(result: Result, width: int = 200) -> str:
    """Return the text of a result."""
    return printed(result.show, width)


async def typed(context: Any, *words: str, progress: Console | None = None) -> tuple[Result, str]:
    """Return what a command line gives, and its text."""
    given = parser(meant(words)).parse_args(words)
    result: Result = await given.command.run(context, given, progress or output.Console(quiet=True))
    return result, shown(result)
