"""Commands about runs, typed at runs in a table in memory."""

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from shared.cli.command import Command, Result
from shared.cli.main import parser
from shared.config.settings import MarketoSettings
from shared.marketo.usage import Usage
from shared.sync.runs.store import Runs
from tests.support.history import Kept
from tests.support.settings import ENVIRONMENT
from tests.support.state import SharedState
from tests.support.tables import FullTable
from tests.support.values import NOON

MARKETO = MarketoSettings.model_validate(ENVIRONMENT)
USAGE = Usage(0, 30_000, elapsed=0.5, closed=None, everybody=None, measured_at=None, as_of=NOON)


class RunCommands:
    """Runs in storage, and an operator. `group` is the first word of all `commands`; each of `tables` has `rows`."""

    group: str
    commands: Sequence[Command]
    tables: Sequence[str]
    rows: int

    def __init__(self) -> None:
        self.table = FullTable()
        self.runs = Runs(self.table, now=lambda: datetime.now(UTC))
        self.state = SharedState()
        self.kept = Kept()

    async def refresh(self) -> Usage:
        return USAGE

    async def count_rows(self, tables: list[str]) -> int:
        return len(tables) * self.rows

    async def types(self, *words: str) -> tuple[Result, str]:
        """What a command gives, and what of it people are shown."""
        itself: Any = self
        context: Any = SimpleNamespace(
            config=SimpleNamespace(tables=dict.fromkeys(self.tables)), settings=SimpleNamespace(marketo=MARKETO),
            state=self.state, runs=self.runs, budget=itself, dataverse=itself, history=self.kept.history,
        )  # fmt: skip
        given = parser(self.commands).parse_args([self.group, *words])
        result: Result = await given.command.run(context, given, Console(quiet=True))
        shown = io.StringIO()
        result.show(Console(file=shown, highlight=False, width=200))
        return result, shown.getvalue()
