"""`msisync quick-sync`: which fields it takes, what it counts, and the run that it starts."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pytest

from shared.cli.command import Exit
from shared.model.errors import ConfigurationError
from shared.sync.runs.model import Scope
from tests.support.run_commands import RunCommands


class World(RunCommands):
    """A table with fields that are sent, and rows in it."""

    group, tables, rows = "quick-sync", ("contact",), 650

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    async def of(self, _table: str) -> Any:
        return SimpleNamespace(fields=SimpleNamespace(names=("city", "jobTitle")))

    async def pages(self, url: str) -> AsyncIterator[list[dict[str, Any]]]:
        self.urls.append(unquote(url))
        yield [{"contactid": str(number)} for number in range(self.rows)]


@pytest.fixture
def world() -> World:
    return World()


async def test_it_counts_first_and_starts_with_apply(world: World) -> None:
    result, text = await world.types("contact", "--fields", "city, JOBTITLE,city")
    assert (result.exit, result.data["rows"], result.data["marketo_calls"]) == (Exit.ATTENTION, 650, 3)
    assert "Only city, jobTitle would be sent" in text
    assert await world.runs.all() == []
    result, text = await world.types("contact", "--fields", "city,JOBTITLE", "--apply")
    (run,) = await world.runs.all()
    assert (result.exit, result.data["started"], run.kind) == (Exit.OK, run.id, "quick-sync")
    assert run.scope == Scope(("contact",), fields=("city", "jobTitle"))
    assert run.tables["contact"].expected == 650
    assert f"quick-sync {run.id} is started" in text


async def test_a_day_limits_it_to_rows_that_were_changed_since(world: World) -> None:
    await world.types("contact", "--fields", "city", "--changed-since", "2026-01-31", "--apply")
    (run,) = await world.runs.all()
    assert run.scope.changed_since == datetime(2026, 1, 31, tzinfo=UTC)
    assert world.urls[0].endswith("$select=contactid&$filter=modifiedon ge 2026-01-31T00:00:00.000Z")


async def test_without_rows_there_is_nothing_to_do(world: World) -> None:
    world.rows = 0
    result, text = await world.types("contact", "--fields", "city")
    assert (result.exit, "No row matches" in text) == (Exit.OK, True)


async def test_a_field_that_the_sync_does_not_send_is_refused(world: World) -> None:
    with pytest.raises(ConfigurationError, match="fax of contact"):
        await world.types("contact", "--fields", "city,fax", "--apply")
    assert await world.runs.all() == []


@pytest.mark.parametrize("words", [("connection", "--fields", "a"), ("contact",), ("contact", "--fields", " , ")])
async def test_other_words_are_a_wrong_usage(world: World, words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit, match="64"):
        await world.types(*words)
