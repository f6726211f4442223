"""Missed changes, found over TLS in the simulator: changes, deletions, links that are too old, what may not be read."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from emulators.dataverse.harness import Running, running
from emulators.dataverse.seeding import fixed_id, seed
from local.virtual import MemoryState, MemoryTable
from shared.azure.shared_state import parsed
from shared.config import sync_toml
from shared.dataverse.change_tracking import changes, first_link
from shared.dataverse.metadata import Metadata
from shared.model.errors import DataverseError
from shared.model.record import Record
from shared.sync.missed_changes import MissedChanges, sources_of
from shared.sync.missed_changes_place import Place
from shared.sync.synced_versions import SyncedVersions
from tests.support.simulators import dataverse_of
from tests.support.values import NOON, to

RULES = sync_toml.load(Path(__file__).parents[2] / "sync.toml")
WEEK = 7 * 86_400.0


class App:
    """The app's side."""

    def __init__(self, api: Running) -> None:
        self.api = api
        self.taken: list[Record] = []
        self.compared: list[str] = []
        self.state = MemoryState(MemoryTable(seconds=0))
        self.clock = asyncio.get_running_loop().time
        self.client = dataverse_of(api)

    async def take_up(self, records: Sequence[Record], opportunities: Sequence[Record]) -> None:
        self.taken += records
        self.compared += [record.id for record in opportunities]

    def now(self) -> datetime:
        return NOON

    async def tick(self) -> set[str]:
        """One run; gives what was sent."""
        self.taken.clear()
        self.compared.clear()
        await MissedChanges(
            state=self.state, dataverse=self.client, metadata=Metadata(self.client),
            versions=SyncedVersions(self.state, now=self.now), sources=sources_of(RULES), take_up=self.take_up,
            clock=self.clock, now=self.now, time_budget=60.0,
        ).tick()  # fmt: skip
        return {f"{record.operation} {record.table} {record.id}" for record in self.taken}

    async def error_of(self, table: str) -> str:
        place = parsed(Place, await self.state.read("missed_changes", table))
        return place.error if place else ""


@pytest.fixture
async def app() -> AsyncIterator[App]:
    async with running(empty=True) as api:
        roles = {"connectionrole": [{"connectionroleid": _id("role", 1), "name": "Champion"}]}
        deals = [{"opportunityid": _id("deal", n), "name": f"Deal {n}"} for n in range(3)]
        accounts = [{"accountid": _id("account", n), "name": f"Account {n}"} for n in range(5)]
        contact = [{"contactid": _id("contact", 1), "lastname": "Berg"}]
        seed(api.environment, {"account": accounts, "contact": contact, "opportunity": deals, **roles})
        seed(api.environment, {"connection": [_connection(n, deal) for n, deal in ((1, 0), (2, 1))]})
        made = App(api)
        assert await made.tick() == set()
        yield made
        await made.client.close()


def _id(*names: object) -> str:
    return fixed_id(*map(str, names))


def _connection(number: int, deal: int) -> dict[str, Any]:
    return {
        "connectionid": _id("connection", number),
        "_record2roleid_value": _id("role", 1),
        **to("_record1id_value", "opportunity", _id("deal", deal)),
        **to("_record2id_value", "contact", _id("contact", 1)),
    }


async def test_what_nobody_told_of_is_sent_once(app: App) -> None:
    await app.api.call("PATCH", f"accounts({_id('account', 1)})", {"name": "Another"})
    await app.api.call("DELETE", f"accounts({_id('account', 2)})")
    made = (await app.api.call("POST", "leads", {"lastname": "New"})).row_id
    await app.api.call("PATCH", f"connectionroles({_id('role', 1)})", {"name": "Winner"})
    assert await app.tick() == {
        f"upsert account {_id('account', 1)}",
        f"delete account {_id('account', 2)}",
        f"upsert lead {made}",
        f"upsert connectionrole {_id('role', 1)}",
    }
    assert await app.tick() == set()


async def test_the_opportunities_of_roles_that_ended_or_moved_are_compared(app: App) -> None:
    await app.api.call("DELETE", f"connections({_id('connection', 1)})")
    moved = {"record1id_opportunity@odata.bind": f"/opportunities({_id('deal', 2)})"}
    answer = await app.api.call("PATCH", f"connections({_id('connection', 2)})", moved)
    assert answer.status == 204, answer.body
    sent = await app.tick()
    assert {f"delete connection {_id('connection', 1)}", f"upsert connection {_id('connection', 2)}"} <= sent
    assert set(app.compared) == {_id("deal", 0), _id("deal", 1)}


async def test_a_link_that_is_too_old_starts_the_whole_table_of_which_only_newer_versions_are_sent(app: App) -> None:
    await app.api.call("PATCH", f"accounts({_id('account', 1)})", {"name": "Another"})
    app.api.environment.switches.clock_offset = WEEK + 60
    assert await app.tick() == {f"upsert account {_id('account', 1)}"}
    assert await app.tick() == set()


async def test_a_table_that_may_not_be_read_as_a_whole_is_refused_and_the_others_go_on(app: App) -> None:
    await app.api.call("PATCH", f"accounts({_id('account', 1)})", {"name": "Another"})
    made = (await app.api.call("POST", "leads", {"lastname": "New"})).row_id
    app.api.environment.switches.hidden_rows = [_id("account", 4)]
    assert await app.tick() == {f"upsert lead {made}"}
    assert (await app.error_of("account")).startswith("0x80040220")
    app.api.environment.switches.hidden_rows = []
    assert await app.tick() == {f"upsert account {_id('account', 1)}"}
    assert await app.error_of("account") == ""


async def test_a_table_without_change_tracking_is_left_out(app: App) -> None:
    app.api.environment.switches.no_change_tracking = ["lead"]
    with pytest.raises(DataverseError):
        await changes(app.client, first_link("leads", ["leadid"]))
    assert not await Metadata(app.client).is_tracked("lead")
    assert await Metadata(app.client).is_tracked("contact")
