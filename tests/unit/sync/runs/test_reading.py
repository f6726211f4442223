"""Reading the ids of a table: in the order in which the rows were made, and on from where the last page ended."""

from datetime import UTC, datetime

import pytest

from shared.model.codes import Kind
from shared.model.errors import DataverseError
from shared.sync.runs.model import Progress, Scope
from shared.sync.runs.reading import ROWS, query, read
from tests.support.run_world import World

LEADS = Scope(("lead",))


async def everything(world: World, scope: Scope = LEADS, *, links: bool = True) -> list[str]:
    ids: list[str] = []
    at = Progress()
    while True:
        block = await read(world, scope, "lead", at)  # type: ignore[arg-type]
        ids += block.ids
        at = Progress(since=block.since, link=block.link)
        if not block.link:
            return ids
        world.links_refused = not links


async def test_all_rows_come_in_order_by_pages(world: World) -> None:
    ids = world.fill("lead", ROWS + 7)
    assert await everything(world) == ids
    assert len(world.queries) == 2


async def test_an_empty_table_is_read_with_one_request(world: World) -> None:
    assert await everything(world) == []
    assert len(world.queries) == 1


async def test_where_the_link_is_refused_the_rows_of_the_last_second_come_twice(world: World) -> None:
    ids = world.fill("lead", ROWS + 7)
    assert await everything(world, links=False) == [*ids[:ROWS], ids[ROWS - 1], *ids[ROWS:]]
    assert "createdon ge 2026-01-01T00:24:59Z" in world.queries[-1]


async def test_another_refusal_is_raised(world: World) -> None:
    world.refuses = DataverseError("HTTP 503", "busy", kind=Kind.TRANSIENT)
    with pytest.raises(DataverseError):
        await read(world, LEADS, "lead", Progress(link="/api?cookie=[]"))  # type: ignore[arg-type]


def test_a_scope_is_a_filter() -> None:
    created, changed = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    scope = Scope(("lead",), "statecode eq 0 or statecode eq 1", created, changed)
    url = query(scope, "lead", "2026-01-15T00:00:00Z")
    assert url.startswith("/api/data/v9.2/leads?$select=leadid,createdon&$orderby=createdon%20asc%2Cleadid%20asc&")
    assert url.partition("$filter=")[2].replace("%20", " ").replace("%3A", ":") == (
        "%28statecode eq 0 or statecode eq 1%29 and createdon ge 2026-01-01T00:00:00.000Z and modifiedon ge "
        "2026-02-01T00:00:00.000Z and createdon ge 2026-01-15T00:00:00Z"
    )
