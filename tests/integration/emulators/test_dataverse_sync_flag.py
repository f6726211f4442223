"""The sync flag has no value unless somebody sets one: an explicit No would mean "do not sync"."""

from typing import Any

import pytest

from emulators.dataverse.harness import Running, running

TABLES = {"lead": "leads", "contact": "contacts", "account": "accounts", "opportunity": "opportunities"}
FLAG = "new_synctomkto"


async def flags(api: Running, table: str) -> set[Any]:
    answer = await api.call("GET", f"{TABLES[table]}?$select={FLAG}")
    rows = answer.json()["value"]
    assert rows
    return {row[FLAG] for row in rows}


@pytest.mark.parametrize("table", TABLES)
async def test_the_sample_company_leaves_it_open(table: str) -> None:
    async with running() as api:
        assert await flags(api, table) == {None}


async def test_a_row_created_without_it_has_none_and_a_no_is_kept() -> None:
    async with running(empty=True) as api:
        open_row = await api.call("POST", "leads", {"lastname": "Open"})
        closed_row = await api.call("POST", "leads", {"lastname": "Closed", FLAG: False})
        for row_id, expected in ((open_row.row_id, None), (closed_row.row_id, False)):
            read = await api.call("GET", f"leads({row_id})?$select={FLAG}")
            assert read.json()[FLAG] is expected
        cleared = await api.call("PATCH", f"leads({closed_row.row_id})", {FLAG: None})
        assert cleared.status == 204
        assert await flags(api, "lead") == {None}


async def test_its_metadata_has_no_default_either() -> None:
    async with running(empty=True) as api:
        path = (
            "EntityDefinitions(LogicalName='lead')/Attributes/Microsoft.Dynamics.CRM.BooleanAttributeMetadata"
            f"?$select=LogicalName,DefaultValue&$filter=LogicalName eq '{FLAG}'"
        )
        (found,) = (await api.call("GET", path)).json()["value"]
        assert found["DefaultValue"] is None
