"""Rows that give opportunity roles: found by their id, with what they join, and whether Marketo has the role."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from shared.cli.show.elsewhere import find
from shared.cli.show.facts import Subject
from shared.config.sync_toml import SyncConfig
from shared.model.entities import Table
from shared.model.outcome import Parent
from tests.support.values import guid, to
from tests.support.vendors import Vendors

ID, DEAL, CONTACT, ROLE = guid(1), guid(2), guid(3), guid(4)
CONFIG = SyncConfig.model_validate({name: {"fields": {}} for name in ("account", "contact", "connection")})
ENDS = [Parent("opportunity", "opportunity", DEAL), Parent("person", "contact", CONTACT)]
CONNECTION = {
    "connectionid": ID, "statecode": 0, **to("_record1id_value", "contact", CONTACT),
    **to("_record2id_value", "opportunity", DEAL), **to("_record1roleid_value", "connectionrole", ROLE),
}  # fmt: skip


class Systems(Vendors):
    """Dynamics with one connection, or none, and Marketo with a person and a role of it."""

    def __init__(self, connection: dict[str, Any] | None, role: str = "Influencer", person: int | None = 7) -> None:
        self.connection, self.role, self.person = connection, role, person
        self.asked: list[str] = []

    async def rows(self, table: Table, ids: Any, *_: Any, **__: Any) -> dict[str, Any]:
        self.asked.append(table.entity_set)
        if table.name == "connectionrole":
            return {ROLE: {"name": "Influencer"}}
        return {ID: self.connection} if table.name == "connection" and self.connection and ID in ids else {}

    async def find(self, _: Any, ids: Sequence[str]) -> dict[str, int]:
        return {ids[0]: self.person} if self.person else {}

    async def read(self, _: Any, by: str, values: list[str], *__: Any) -> list[dict[str, Any]]:
        assert (by, values) == ("externalOpportunityId", [DEAL])
        return [{"externalOpportunityId": DEAL, "leadId": 7, "role": self.role}]


async def found(systems: Any) -> list[Subject]:
    context: Any = SimpleNamespace(config=CONFIG, dataverse=systems, metadata=systems, marketo=systems)
    return await find(context, ID)


@pytest.mark.parametrize(
    ("systems", "is_there"),
    [
        (Systems(CONNECTION), True), (Systems(CONNECTION, role="Champion"), False),
        (Systems(CONNECTION, person=None), False),
    ],
)  # fmt: skip
async def test_a_connection_says_whose_role_it_gives_and_whether_marketo_has_it(
    systems: Systems, is_there: bool
) -> None:
    expected = Subject("connection", ID, "Influencer", exists=True, in_marketo=is_there, parents=ENDS)
    assert await found(systems) == [expected]
    assert "accounts" not in systems.asked, "other rows have records of their own"


async def test_a_row_that_gives_no_role_says_why() -> None:
    for row, why in (({**CONNECTION, "statecode": 1}, "Inactive"), ({"connectionid": ID}, "NotAStakeholder")):
        assert await found(Systems(row)) == [Subject("connection", ID, exists=True, kept_out=why)]


async def test_what_is_nowhere_is_not_found() -> None:
    assert await found(Systems(None)) == []
