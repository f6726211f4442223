"""Renamed choices: noticed whenever labels are read, and their rows sent by the timer, page by page."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

import pytest

from shared.dataverse.metadata import Column
from shared.model.codes import Kind
from shared.model.errors import DataverseError
from shared.model.record import Record
from shared.sync.renamed_labels import PAGE_ROWS, PAGES, RenamedLabels
from tests.support.state import SharedState
from tests.support.values import NOON, guid


class World(SharedState):
    """The shared state, and a Dataverse with some accounts."""

    def __init__(self, accounts: int = 3) -> None:
        super().__init__()
        self.accounts = accounts
        self.urls: list[str] = []
        self.error: DataverseError | None = None
        self.sent: list[Record] = []
        self.kinds = {"industrycode": Column("industrycode", "Picklist", readable=True)}

    def process(self, language: int = 1033) -> RenamedLabels:
        itself: Any = self
        return RenamedLabels(itself, itself, itself, language=language, now=lambda: NOON)

    async def readable_columns(self, _table: str) -> dict[str, Column]:
        return self.kinds

    async def page(self, url: str, size: int) -> tuple[list[dict[str, Any]], str]:
        self.urls.append(unquote(url))
        if self.error:
            raise self.error
        start = int(url.partition("skip=")[2] or 0)
        rows = [{"accountid": guid(n).upper()} for n in range(start, min(self.accounts, start + size))]
        return rows, f"/next?skip={start + size}" if start + size < self.accounts else ""

    async def take(self, records: Sequence[Record]) -> None:
        self.sent += records

    @property
    def noted(self) -> list[str]:
        return [name for kind, name in self.stored if kind == "relabel"]


async def test_a_renamed_choice_is_noticed_by_any_process_once_and_its_rows_are_sent(world: World) -> None:
    await world.process().seen("account", {"industrycode": {1: "Bank", 2: "Farm"}})
    assert world.noted == []
    for _ in range(2):
        await world.process().seen("account", {"industrycode": {1: "Finance", 2: "Farm", 3: "Space"}})
        assert world.noted == ["account|industrycode|1"]
    assert world.stored["reference", "version"] == {"schema": 1}
    timer = world.process()
    assert await timer.send(world.take) == 3
    assert world.sent == [Record("account", guid(n), NOON) for n in range(3)]
    assert world.urls[0].endswith("accounts?$select=accountid&$filter=industrycode eq 1")
    assert world.noted == []
    assert await timer.send(world.take) == 0


async def test_another_language_in_sync_toml_renames_nothing(world: World) -> None:
    await world.process().seen("account", {"industrycode": {1: "Bank"}})
    await world.process(1031).seen("account", {"industrycode": {1: "Geldhaus"}})
    assert world.noted == []


async def test_many_rows_are_sent_over_several_runs_of_the_timer_and_none_is_left_out() -> None:
    world = World(accounts=PAGE_ROWS * PAGES + 5)
    world.stored["relabel", "account|industrycode|1"] = {"next": ""}
    assert await world.process().send(world.take) == PAGE_ROWS * PAGES
    assert await world.process().send(world.take) == 5
    assert len({record.id for record in world.sent}) == PAGE_ROWS * PAGES + 5
    assert world.noted == []


@pytest.mark.parametrize(("kind", "left"), [(Kind.TRANSIENT, 1), (Kind.CONFIGURATION, 0)])
async def test_what_dataverse_refuses_is_given_up_and_an_outage_waited_for(world: World, kind: Kind, left: int) -> None:
    world.stored["relabel", "account|industrycode|1"] = {"next": ""}
    world.error = DataverseError("0x80060888", "", kind=kind)
    assert await world.process().send(world.take) == 0
    assert len(world.noted) == left


async def test_a_column_that_is_gone_has_no_rows(world: World) -> None:
    world.kinds = {}
    world.stored["relabel", "account|industrycode|1"] = {"next": ""}
    assert await world.process().send(world.take) == 0
    assert (world.noted, world.urls) == ([], [])


@pytest.mark.parametrize(
    ("column", "condition"),
    [
        (Column("x", "Boolean", readable=True), "x eq true"),
        (Column("x", "Status", readable=True), "x eq 1"),
        (
            Column("x", "Virtual", readable=True, type_name="MultiSelectPicklistType"),
            "Microsoft.Dynamics.CRM.ContainValues(PropertyName='x',PropertyValues=['1'])",
        ),
    ],
)
async def test_each_kind_of_choice_is_asked_for_in_its_way(world: World, column: Column, condition: str) -> None:
    world.kinds = {"x": column}
    world.stored["relabel", "account|x|1"] = {"next": ""}
    await world.process().send(world.take)
    assert world.urls[0].partition("$filter=")[2] == condition


async def test_without_storage_labels_are_compared_the_next_time(world: World) -> None:
    process = world.process()
    await process.seen("account", {"industrycode": {1: "Bank"}})
    world.storage_away = True
    await process.seen("account", {"industrycode": {1: "Finance"}})
    world.storage_away = False
    await process.seen("account", {"industrycode": {1: "Finance"}})
    assert world.noted == ["account|industrycode|1"]
