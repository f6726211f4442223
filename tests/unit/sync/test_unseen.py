"""Rows that could not be seen are asked for now and then, and what depends on those that appear is synced again."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from shared.config.sync_toml import SyncConfig
from shared.dataverse.client import MAX_IDS
from shared.model.entities import Table
from shared.model.errors import MsiSyncError
from shared.model.record import Record
from shared.sync.dependants import Dependants
from shared.sync.reference_state import ReferenceState
from shared.sync.unseen import ASK_SECONDS, Unseen
from tests.support.state import SharedState
from tests.support.values import NOON, guid

MAIL = "internalemailaddress"
TABLES = ("systemuser", "account", "contact", "lead", "opportunity", "connection")
CONFIG = SyncConfig.model_validate({table: {"fields": {}} for table in TABLES})


class World(SharedState):
    """Dataverse, whose rows appear, and the shared state."""

    def __init__(self) -> None:
        super().__init__()
        self.visible: dict[str, dict[str, dict[str, Any]]] = {}
        self.secured: set[str] = set()
        self.asked: list[tuple[str, int]] = []
        self.sent: list[Record] = []
        self.now = NOON
        self.referring = {"accounts", "connections"}
        self.dataverse_away = self.broker_away = False
        itself: Any = self
        dependants = Dependants(
            itself,
            ReferenceState(itself),
            CONFIG,
            hidden_columns=self.hidden_columns,
        )
        self.unseen = Unseen(itself, dependants, now=lambda: self.now)

    async def hidden_columns(self, _table: str) -> set[str]:
        return self.secured

    async def rows(self, table: Table, ids: Sequence[str], _columns: Any) -> dict[str, dict[str, Any]]:
        if self.dataverse_away:
            raise MsiSyncError("HTTP 503", "away")
        self.asked.append((table.entity_set, len(ids)))
        found = self.visible.get(table.entity_set, {})
        return {id_: found[id_] for id_ in ids if id_ in found}

    async def pages(self, url: str) -> AsyncIterator[list[dict[str, Any]]]:
        entity_set, _, query = url.rpartition("/")[2].partition("?")
        key = query.partition("$select=")[2].partition("&")[0]
        yield [{key: guid(900)}] if entity_set in self.referring else []

    async def send(self, records: Sequence[Record]) -> None:
        if self.broker_away:
            raise ConnectionError("no broker")
        self.sent += records

    async def run(self, *, later: float = ASK_SECONDS) -> list[tuple[str, str]]:
        """What the timer sends, after so many seconds."""
        self.sent.clear()
        self.now += timedelta(seconds=later)
        await self.unseen.look_again(self.send)
        return sorted({record.key for record in self.sent})

    def appear(self, entity_set: str, *numbers: int, **columns: Any) -> None:
        self.visible.setdefault(entity_set, {}).update({guid(n): {MAIL: "sam@x.com", **columns} for n in numbers})


async def test_an_owner_who_becomes_visible_is_synced_with_all_that_is_his_and_once(world: World) -> None:
    await world.unseen.note("systemusers", [guid(1), guid(2)])
    assert await world.run() == []
    world.appear("systemusers", 1)
    assert await world.run() == [("account", guid(900)), ("systemuser", guid(1))]
    assert not any(record.deciding for record in world.sent), "the user's own sync sends them once more"
    assert world.stored["reference", "version"]["rows"] == 1, "every process forgets what it has kept"
    assert await world.run() == []
    world.appear("systemusers", 2)
    assert ("systemuser", guid(2)) in await world.run()


async def test_who_is_asked_for_costs_a_request_for_three_hundred_in_a_quarter_of_an_hour(world: World) -> None:
    await world.unseen.note("systemusers", [guid(number) for number in range(2 * MAX_IDS)])
    for _ in range(30):
        await world.run(later=60.0)
    assert world.asked == [("systemusers", MAX_IDS)] * 4


async def test_nothing_is_asked_for_where_nothing_is_hidden(world: World) -> None:
    assert await world.run() == []
    assert not world.asked


async def test_a_user_whose_address_alone_is_hidden_has_not_appeared(world: World) -> None:
    await world.unseen.note("systemusers", [guid(1), guid(2)])
    world.secured = {MAIL}
    world.appear("systemusers", 1, **{MAIL: None})
    assert await world.run() == []
    world.secured = set()
    assert ("systemuser", guid(1)) in await world.run()


@pytest.mark.parametrize(
    ("entity_set", "expected"),
    [("teams", "account"), ("connectionroles", "connection"), ("contacts", "opportunity")],
)
async def test_what_teams_roles_and_contacts_in_between_name_follows(
    world: World, entity_set: str, expected: str
) -> None:
    await world.unseen.note(entity_set, [guid(1)])
    world.appear(entity_set, 1)
    world.referring |= {"opportunities"} if entity_set == "contacts" else set()
    assert await world.run() == [(expected, guid(900))]


async def test_doctor_is_quiet_once_all_of_them_have_appeared(world: World) -> None:
    world.stored["hidden", "systemusers"] = {"rows": 2, "first": guid(1), "at": "2026-03-04T12:00:00.000Z"}
    await world.unseen.note("systemusers", [guid(1), guid(2)])
    world.appear("systemusers", 1)
    await world.run()
    assert ("hidden", "systemusers") in world.stored
    world.appear("systemusers", 2)
    await world.run()
    assert ("hidden", "systemusers") not in world.stored


async def test_who_crashes_before_everything_is_sent_asks_again(world: World) -> None:
    await world.unseen.note("systemusers", [guid(1)])
    world.appear("systemusers", 1)
    world.broker_away = True
    with pytest.raises(ConnectionError):
        await world.run()
    world.broker_away = False
    assert ("account", guid(900)) in await world.run()


async def test_a_vendor_that_is_away_is_asked_again(world: World) -> None:
    await world.unseen.note("systemusers", [guid(1)])
    world.appear("systemusers", 1)
    world.dataverse_away = True
    assert await world.run() == []
    world.dataverse_away = False
    assert ("account", guid(900)) in await world.run()


async def test_without_storage_nothing_is_sent_without_its_owner(world: World) -> None:
    world.storage_away = True
    with pytest.raises(MsiSyncError, match="StorageAway"):
        await world.unseen.note("systemusers", [guid(1)])


async def test_an_id_is_noted_once_and_their_number_is_bounded(world: World) -> None:
    for _ in range(2):
        await world.unseen.note("systemusers", [guid(number) for number in range(20_000)])
    noted = [id_ for (kind, _), value in world.stored.items() if kind == "unseen" for id_ in value["ids"]]
    assert len(noted) == len(set(noted))
    assert 5_000 < len(noted) < 7_000
    assert all(len(str(value)) < 32_000 for value in world.stored.values()), "a column holds 32,000 characters"
