"""Commands about runs, typed at runs in a table in memory."""

from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from shared.cli.command import Result
from shared.config.settings import MarketoSettings
from shared.marketo.usage import Usage
from shared.sync.runs.model import Run, RunKind, Scope, new_run
from shared.sync.runs.page import pages_of
from shared.sync.runs.store import Runs
from tests.support.commands import typed
from tests.support.history import Kept
from tests.support.settings import ENVIRONMENT
from tests.support.state import SharedState
from tests.support.tables import FullTable
from tests.support.values import NOON, guid

MARKETO = MarketoSettings.model_validate(ENVIRONMENT)
USAGE = Usage(0, 30_000, elapsed=0.5, closed=None, everybody=None, measured_at=None, as_of=NOON)


async def run_with_rows(
    runs: Runs, *states: str, table: str = "contact", message: str = "", expected: int | None = None, by: str = ""
) -> Run:
    """A run of rows, one in each of these states.

    `message`: why those have failed that have. `expected`: how many rows a plan counted; None: there was no plan.
    `by`: who started the run.
    """
    run = new_run(RunKind.INITIAL_SYNC, Scope((table,)), datetime.now(UTC), unique=table[::-1], started_by=by)
    await runs.create(run)
    stored = await runs.read(run.id)
    assert stored
    told = {guid(number): state for number, state in enumerate(states, 1)}
    messages = {state.partition(":")[2]: message for state in states if state.startswith("failed")}
    pages = [page.sent(datetime.now(UTC)).told(told, messages) for page in pages_of(run.id, table, 0, list(told))]
    await runs.replace(stored, stored.table(table, rows=len(told), pages=len(pages), expected=expected), pages)
    return run


class RunCommands:
    """Runs in storage, and an operator. `group` is the first word of all commands; each of `tables` has `rows`."""

    group: str
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
        context: Any = SimpleNamespace(
            config=SimpleNamespace(tables=dict.fromkeys(self.tables)), settings=SimpleNamespace(marketo=MARKETO),
            state=self.state, runs=self.runs, budget=self, dataverse=self, schema=self, history=self.kept.history,
        )  # fmt: skip
        return await typed(context, self.group, *words)
