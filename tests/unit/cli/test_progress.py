"""Who stops a command, with Ctrl-C or SIGTERM, is told what it has done by then."""

import asyncio
import json
import os
import signal
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from rich import console

from shared.cli import main
from shared.cli.command import Command, Exit, Result
from shared.cli.context import Context
from shared.cli.output import Console
from shared.cli.progress import progress_bar, so_far, steps


@pytest.fixture
def msisync(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs a command that sends 3 of 5 and compares for ever, and gives it this signal meanwhile."""
    monkeypatch.chdir(tmp_path)

    def run(number: signal.Signals, *words: str) -> int:
        async def send(_: Context, __: Namespace, progress: console.Console) -> Result:
            done = steps(progress, "sent", 5)
            with progress_bar(progress) as bar:
                bar.advance(bar.add_task("contact", total=None, done="rows compared"), 1200)
                done.count = 3
                os.kill(os.getpid(), number)
                await asyncio.Event().wait()
            return Result(Exit.OK, {}, lambda _: None)

        monkeypatch.setattr(main, "meant", lambda _: (Command("send", "send", "", send),))
        return main.main(["send", *words])

    return run


@pytest.mark.parametrize(
    ("number", "code", "by"), [(signal.SIGINT, 130, "the keyboard"), (signal.SIGTERM, 143, "SIGTERM")]
)
def test_people_are_told_what_was_done_and_programs_in_numbers(
    msisync: Any, capsys: pytest.CaptureFixture[str], number: signal.Signals, code: int, by: str
) -> None:
    told = f"stopped by {by}: 3 of 5 sent, 1,200 rows compared"
    assert msisync(number) == code
    assert capsys.readouterr().err.splitlines()[-1] == f"Interrupted: {told}"
    assert msisync(number, "--json") == code
    assert json.loads(capsys.readouterr().out)["error"] == {
        "code": "Interrupted",
        "message": told,
        "done": [{"what": "sent", "total": 5, "count": 3}, {"what": "rows compared", "total": None, "count": 1200}],
    }


def test_a_bar_says_by_its_description_what_its_steps_are_where_nothing_else_does() -> None:
    screen = Console(quiet=True)
    bar = progress_bar(screen)
    bar.advance(bar.add_task("contact", total=10), 4)
    assert [str(each) for each in so_far(screen)] == ["4 of 10 contact"]
    progress_bar(console.Console(quiet=True)).add_task("contact")  # Rich's own keeps no account
