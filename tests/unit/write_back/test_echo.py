"""Echoes: changes that our own write-back has made, and those that only look like one."""

from datetime import timedelta
from typing import Any

import pytest

from shared.dataverse.notifications import Change, Notification
from shared.model.errors import SignInError, StorageUnavailableError
from shared.write_back.echo import Echoes
from shared.write_back.plan import Plans
from tests.support.plans import CONFIG, STRANGER, USER, Systems
from tests.support.values import guid

MINE = frozenset({"msi_type", "contactid", "modifiedon", "modifiedby"})


def notification(**facts: Any) -> Notification:
    plain: dict[str, Any] = {
        "message": "Update",
        "changes": (Change("contact", guid(1), "upsert"),),
        "organization_id": None, "organization_name": None, "correlation_id": "",
        "columns": MINE, "user_id": USER, "initiating_user_id": USER, "tag": "msisync",
    }  # fmt: skip
    return Notification(**(plain | facts))


class User:
    def __init__(self) -> None:
        self.away = False

    async def __call__(self) -> str:
        if self.away:
            raise SignInError("invalid_grant", "no")
        return USER


def echoes_of(systems: Systems, user: User | None = None, **synced: frozenset[str]) -> Echoes:
    return Echoes(systems.plans(), user or User(), synced=synced, clock=systems.clock)


@pytest.mark.parametrize(
    ("facts", "is_echo"),
    [
        ({}, True),
        ({"message": "UpdateMultiple"}, True),
        ({"user_id": STRANGER}, True),  # the step runs as somebody else
        ({"columns": MINE | {"lastname"}}, False),  # a plug-in has added a column that is synced
        ({"columns": MINE | {"ownerid"}}, False),  # or one that only decides
        ({"columns": MINE | {"fax"}}, False),
        ({"columns": frozenset({"modifiedon"})}, False),
        ({"columns": None}, False),
        ({"message": "UpdateMultiple", "columns": None}, False),
        ({"tag": "other"}, False),
        ({"tag": None}, False),
        ({"user_id": STRANGER, "initiating_user_id": STRANGER}, False),
        ({"message": "Create"}, False),
        ({"changes": (Change("account", guid(1), "upsert"),)}, False),
    ],
)
async def test_an_echo_is_known_by_tag_user_and_columns(facts: dict[str, Any], is_echo: bool) -> None:
    systems = Systems()
    await systems.plans().current()
    echoes = echoes_of(systems, contact=frozenset({"lastname"}))
    assert await echoes.is_echo(notification(**facts)) == is_echo


async def test_a_column_that_is_both_synced_and_written_is_a_change() -> None:
    systems = Systems()
    await systems.plans().current()
    assert not await echoes_of(systems, contact=frozenset({"msi_type"})).is_echo(notification())


async def test_what_cannot_be_told_is_a_change() -> None:
    systems, user = Systems(), User()
    await systems.plans().current()
    echoes = echoes_of(systems, user)
    user.away = True
    assert not await echoes.is_echo(notification())
    user.away = False
    assert await echoes.is_echo(notification())


class AwayState:
    """A storage that answers when it is well, and counts who asks."""

    def __init__(self) -> None:
        self.asked = 0

    async def read(self, _kind: str, _name: str) -> dict[str, Any]:
        self.asked += 1
        raise StorageUnavailableError("ServiceRequestError")


async def test_a_change_of_synced_columns_waits_for_no_storage_and_others_ask_it_once_a_minute() -> None:
    systems, state = Systems(), AwayState()
    away: Any = state
    echoes = Echoes(
        Plans(CONFIG, systems, systems, away, now=lambda: systems.now),  # type: ignore[arg-type]  # only what is used
        User(),
        synced={"contact": frozenset({"lastname"})},
        clock=systems.clock,
    )
    assert not await echoes.is_echo(notification(columns=MINE | {"lastname"}))
    assert state.asked == 0
    assert [await echoes.is_echo(notification()) for _ in range(5)] == [False] * 5
    assert state.asked == 1
    systems.now += timedelta(minutes=1)
    assert not await echoes.is_echo(notification())
    assert state.asked == 2
