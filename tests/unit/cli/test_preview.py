"""`msisync lifecycle preview`: what it reads, says and lists, and what its exit code means."""

from collections.abc import AsyncIterator, Callable, Sequence
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pytest

from shared.cli import preview
from shared.cli.command import Exit, Result
from shared.model.codes import Kind
from shared.model.errors import ConfigurationError, DataverseError
from shared.sync.preview import Fate, Foreseen
from tests.support.commands import typed
from tests.support.values import guid


class World:
    """Rows of Dynamics, and what is foreseen of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pages_of_rows: list[list[dict[str, Any]]] = []
        self.said: dict[str, Foreseen] = {}
        self.urls: list[str] = []
        self.counts = True
        self.match_email = True
        monkeypatch.setattr(preview, "foresight", lambda *_: SimpleNamespace(of=self._foresee))

    def has(self, fate: Fate, *persons: int, count: int = 1) -> None:
        """A page of rows with this fate."""
        first = sum(map(len, self.pages_of_rows)) + 1
        ids = [guid(number) for number in range(first, first + count)]
        self.pages_of_rows.append([{"contactid": id_} for id_ in ids])
        self.said |= {id_: Foreseen(id_, fate, persons) for id_ in ids}

    async def of(self, _table: str) -> Any:
        return SimpleNamespace(columns={"emailaddress1", "statecode"})

    async def pages(self, url: str) -> AsyncIterator[list[dict[str, Any]]]:
        self.urls.append(unquote(url))
        for page in self.pages_of_rows:
            yield page

    async def count_rows(self, _tables: Sequence[str]) -> int:
        if not self.counts:
            raise DataverseError("0x80040220", "no right", kind=Kind.PERMANENT)
        return 5

    async def _foresee(self, _: str, rows: Sequence[dict[str, Any]], on_progress: Callable[[int], None]) -> Any:
        on_progress(len(rows))
        return [self.said[row["contactid"]] for row in rows]

    async def run(self, *words: str) -> tuple[Result, str]:
        config = SimpleNamespace(tables={"contact": None}, person=SimpleNamespace(match_email=self.match_email))
        context = SimpleNamespace(config=config, dataverse=self, schema=self)
        return await typed(context, "lifecycle", "preview", *words)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


async def test_rows_are_counted_and_those_of_interest_listed(world: World) -> None:
    world.has(Fate.UPDATED, 3, count=1200)
    world.has(Fate.ADOPTED, 7)
    world.has(Fate.CONTINUED, 8)
    world.has(Fate.AMBIGUOUS, 5, 6)
    result, text = await world.run("contact")
    assert result.exit is Exit.ATTENTION
    assert "1,203 rows" in text
    assert "1,200 updated" in text
    assert f"contact {guid(1203)}: persons 5, 6" in text
    assert "msisync link contact ID MARKETO_ID" in text
    assert "created" not in text
    assert (result.data["counts"]["updated"], result.data["rows"]) == (1200, 1203)
    assert result.data["adopted"] == [{"id": guid(1201), "marketo_ids": (7,)}]
    assert result.data["continued"] == [{"id": guid(1202), "marketo_ids": (8,)}]
    assert result.data["ambiguous"] == [{"id": guid(1203), "marketo_ids": (5, 6)}]
    assert "updated" not in result.data


async def test_many_ambiguous_rows_are_in_json(world: World) -> None:
    world.has(Fate.AMBIGUOUS, count=20)
    result, text = await world.run("contact")
    assert text.count("more than 1,000") == 12
    assert "and 8 more; see --json" in text
    assert len(result.data["ambiguous"]) == 20


@pytest.mark.parametrize("counts", [True, False])
async def test_nothing_to_decide_is_well(world: World, counts: bool) -> None:
    world.counts = counts
    world.has(Fate.CREATED)
    result, text = await world.run("contact")
    assert result.exit is Exit.OK
    assert "link" not in text
    assert world.urls == ["/api/data/v9.2/contacts?$select=contactid,emailaddress1,statecode"]


async def test_a_query_says_which_rows(world: World) -> None:
    await world.run("contact", "--query", "statecode eq 0 and lastname eq 'O''Hara'")
    assert world.urls[0].endswith("&$filter=statecode eq 0 and lastname eq 'O''Hara'")


async def test_without_match_email_it_says_so(world: World) -> None:
    world.match_email = False
    world.has(Fate.CREATED)
    _, text = await world.run("contact")
    assert "match_email of sync.toml is false" in text


async def test_a_table_that_is_not_mapped_is_a_matter_of_the_settings(world: World) -> None:
    with pytest.raises(ConfigurationError, match="lead"):
        await world.run("lead")
