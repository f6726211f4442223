"""Rows that are no leads or contacts: found by their id in the tables that sync.toml maps."""

from types import SimpleNamespace
from typing import Any

from shared.cli.show.elsewhere import Found, find
from shared.config.sync_toml import SyncConfig

ID = "7a1d9f40-1c52-ef11-a316-000d3a5b7c01"
CONFIG = SyncConfig.model_validate({name: {"fields": {}} for name in ("account", "contact", "connection")})


class Systems:
    """Dynamics with rows by entity set, and Marketo with some keys."""

    def __init__(self, rows: dict[str, dict[str, Any]], keys: set[str]) -> None:
        self.rows_, self.keys, self.asked = rows, keys, list[str]()

    async def rows(self, entity_set: str, key: str, ids: list[str], _: Any) -> dict[str, dict[str, Any]]:
        self.asked.append(entity_set)
        row = self.rows_.get(entity_set)
        return {ids[0]: {key: ids[0], **row}} if row is not None else {}

    async def find(self, _: Any, ids: list[str]) -> dict[str, int]:
        return {id_: 0 for id_ in ids if id_ in self.keys}


async def found(rows: dict[str, dict[str, Any]], *keys: str) -> tuple[list[Found], list[str]]:
    systems: Any = Systems(rows, set(keys))
    context: Any = SimpleNamespace(config=CONFIG, dataverse=systems, marketo=systems)
    return await find(context, ID), sorted(systems.asked)


async def test_a_row_is_named_and_looked_for_in_marketo() -> None:
    rows, asked = await found({"accounts": {"name": "Contoso"}}, ID)
    assert rows == [Found("account", ID, "Contoso", "company", in_marketo=True)]
    assert asked == ["accounts", "connections"], "persons are found otherwise"
    rows, _ = await found({"accounts": {"name": None}})
    assert rows == [Found("account", ID, "", "company", in_marketo=False)]


async def test_a_role_has_no_key_in_marketo() -> None:
    rows, _ = await found({"connections": {}})
    assert rows == [Found("connection", ID, "", "opportunity_role", in_marketo=None)]


async def test_what_is_nowhere_is_not_found() -> None:
    assert (await found({}))[0] == []
