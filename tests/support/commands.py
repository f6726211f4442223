"""What a command of msisync prints for people."""

import io

from rich.console import Console

from shared.cli.command import Result


def shown(result: Result, width: int = 200) -> str:
    """Return the text of a result, as a wide terminal without colours shows it."""
    text = io.StringIO()
    result.show(Console(file=text, highlight=False, width=width))
    return text.getvalue()
