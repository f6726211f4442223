"""The sync flag has no value unless somebody sets one: an explicit No would mean "do not sync"."""

from typing import Any

from emulators.dataverse.harness import Running, running

FLAG = "new_synctomkto"


async def flags(api: Running, rows: str) -> set[Any]:
    answer = await api.call("GET", f"{rows}?$select={FLAG}")
    return {row[FLAG] for row in answer.json()["value"]}


async def test_the_sample_company_leaves_it_open() -> None:
    async with running() as api:
        for rows in ("leads", "contacts", "accounts", "opportunities"):
            assert await flags(api, rows) == {None}


async def test_a_row_created_without_it_has_none_and_a_no_is_kept() -> None:
    async with running(empty=True) as api:
        open_row = await api.call("POST", "leads", {"lastname": "Open"})
        closed_row = await api.call("POST", "leads", {"lastname": "Closed", FLAG: False})
        for row_id, expected in ((open_row.row_id, None), (closed_row.row_id, False)):
            read = await api.call("GET", f"leads({row_id})?$select={FLAG}")
            assert read.json()[FLAG] is expected
        await api.call("PATCH", f"leads({closed_row.row_id})", {FLAG: None})
        assert await flags(api, "leads") == {None}


async def test_its_metadata_has_no_default_either() -> None:
    async with running(empty=True) as api:
        path = (
            "EntityDefinitions(LogicalName='lead')/Attributes/Microsoft.Dynamics.CRM.BooleanAttributeMetadata"
            f"?$select=LogicalName,DefaultValue&$filter=LogicalName eq '{FLAG}'"
        )
        (found,) = (await api.call("GET", path)).json()["value"]
        assert found["DefaultValue"] is None
