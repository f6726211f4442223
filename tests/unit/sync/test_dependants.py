"""What a changed user, team or role means for the rows that were synced by what it was before."""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import pytest

from shared.config.sync_toml import SyncConfig
from shared.model.entities import Table
from shared.model.errors import MsiSyncError
from shared.model.record import Record
from shared.sync.dependants import Dependants
from shared.sync.links import LOOKUP_TABLE
from shared.sync.reference_state import ReferenceState
from tests.support.state import SharedState
from tests.support.values import NOON, guid, to

OWNED = ("account", "lead", "contact", "opportunity")


USER, TEAM, ROLE = guid(1), guid(2), guid(3)
GOOD = {"internalemailaddress": "sam@x.com", "isdisabled": False, "applicationid": None, "accessmode": 0}


def changed(table: str, id_: str) -> Record:
    return Record(table, id_, NOON, deciding=True)


class World(SharedState):
    """Dataverse and the shared state at once; `told` says in which order things happen."""

    def __init__(self, **owner: Any) -> None:
        super().__init__()
        self.rows_of: dict[str, dict[str, dict[str, Any]]] = {"systemusers": {USER: dict(GOOD)}, "teams": {}}
        self.told: list[str] = []
        self.administers: list[str] = []
        tables = [*OWNED, "connection", "customeropportunityrole", "systemuser"]
        self.config = SyncConfig.model_validate({"owner": owner, **{table: {"fields": {}} for table in tables}})

    async def rows(self, table: Table, ids: Sequence[str], columns: Iterable[str]) -> dict[str, dict[str, Any]]:
        asked = {*columns, *(column + LOOKUP_TABLE for column in columns)}
        found = self.rows_of.get(table.entity_set, {})
        return {id_: {k: v for k, v in found[id_].items() if k in asked} for id_ in ids if id_ in found}

    async def pages(self, url: str) -> AsyncIterator[list[dict[str, Any]]]:
        entity_set, _, query = url.rpartition("/")[2].partition("?")
        key = query.partition("$select=")[2].partition("&")[0]
        if entity_set == "teams":
            yield [{"teamid": id_.upper()} for id_ in self.administers]
            return
        self.told.append(f"find {entity_set} {query.partition('$filter=')[2]}")
        yield [{key: guid(100)}]

    async def change(self, kind: str, name: str, change: Any) -> dict[str, Any]:
        value = await super().change(kind, name, change)
        if value:
            self.told.append(f"note {name.partition('|')[0]}")
        return value

    async def of(self, *records: Record) -> set[str]:
        """The tables whose rows are synced again; the world notes when a page was taken."""
        itself: Any = self
        found = set()
        async for page in Dependants(itself, ReferenceState(itself), self.config).of(records):
            found |= {record.table for record in page}
            self.told.append("send")
        return found

    async def settled(self, **user: Any) -> "World":
        """After a first change was acted upon, with other facts since then."""
        await self.of(changed("systemuser", USER))
        self.told.clear()
        self.rows_of["systemusers"][USER] |= user
        return self


async def test_a_user_who_gets_an_address_has_all_that_is_owned_by_it_synced_again(world: World) -> None:
    world.rows_of["systemusers"][USER]["internalemailaddress"] = None
    await world.settled(internalemailaddress="sam@x.com")
    assert await world.of(changed("systemuser", USER)) == set(OWNED)
    assert all(f"_ownerid_value eq {USER}" in told for told in world.told if told.startswith("find"))


async def test_every_process_forgets_before_rows_are_found_and_the_facts_are_noted_when_all_are_sent() -> None:
    world = await World().settled(isdisabled=True)
    await world.of(changed("systemuser", USER))
    kinds = [told.split(" ", 1)[0] if told.startswith("find") else told for told in world.told]
    assert kinds == ["note version", *["find", "send"] * 4, "note systemuser"]


@pytest.mark.parametrize(
    ("owner", "change", "follows"),
    [
        ({}, {"isdisabled": True}, True),
        ({}, {"internalemailaddress": None}, True),
        ({}, {"applicationid": guid(9)}, True),
        ({}, {"internalemailaddress": "other@x.com"}, False),
        ({"team": "none"}, {"accessmode": 4}, False),
        ({"team": "administrator"}, {"accessmode": 4}, True),
        ({"team": "none", "unusable_user": "keep"}, {"isdisabled": True}, False),
        ({"team": "none", "unusable_user": "fixed", "fixed": guid(8)}, {"isdisabled": True}, True),
        ({}, {}, False),
    ],
    ids=[
        "disabled", "no address", "an application", "another address", "not interactive", "administrator",
        "kept", "a fixed one", "nothing",
    ],
)  # fmt: skip
async def test_a_user_is_followed_if_it_matters(owner: dict[str, Any], change: dict[str, Any], follows: bool) -> None:
    world = await World(**owner).settled(**change)
    assert bool(await world.of(changed("systemuser", USER))) == follows
    assert ("note version" in world.told) == follows


async def test_a_user_that_was_never_acted_upon_is_followed_once(world: World) -> None:
    assert await world.of(changed("systemuser", USER)) == set(OWNED)
    assert await world.of(changed("systemuser", USER)) == set()


async def test_rows_of_the_teams_that_a_user_administers_follow_it_where_it_stands_for_them() -> None:
    for team, found in (("administrator", True), ("none", False)):
        world = await World(team=team).settled(isdisabled=True)
        world.administers = [TEAM]
        await world.of(changed("systemuser", USER))
        assert any(TEAM in told for told in world.told) == found


async def test_the_rows_of_a_team_follow_its_administrator(world: World) -> None:
    for administrator, follows in ((USER, True), (USER, False), (guid(7), True), ("", True)):
        world.rows_of["teams"][TEAM] = to("_administratorid_value", "systemuser", administrator)
        assert bool(await world.of(changed("team", TEAM))) == follows


async def test_the_connections_of_a_role_follow_its_name(world: World) -> None:
    for table, child in (("connectionrole", "connection"), ("relationshiprole", "customeropportunityrole")):
        for name, follows in (("Champion", True), ("Champion", False), ("Sponsor", True)):
            world.rows_of[f"{table}s"] = {ROLE: {"name": name}}
            assert await world.of(changed(table, ROLE)) == ({child} if follows else set())


async def test_a_row_that_cannot_be_seen_says_nothing(world: World) -> None:
    assert await world.of(changed("systemuser", guid(66)), changed("team", TEAM)) == set()
    assert world.told == []


async def test_storage_that_is_away_means_another_try(world: World) -> None:
    world.storage_away = True
    with pytest.raises(MsiSyncError, match="StorageAway"):
        await world.of(changed("systemuser", USER))
    assert world.told == []


async def test_what_was_not_sent_is_found_again() -> None:
    world = await World().settled(isdisabled=True)
    itself: Any = world
    pages = Dependants(itself, ReferenceState(itself), world.config).of([changed("systemuser", USER)])
    assert [record.table for record in await anext(pages)] == ["account"]
    await pages.aclose()  # type: ignore[attr-defined]  # an async generator
    assert await world.of(changed("systemuser", USER)) == set(OWNED)
