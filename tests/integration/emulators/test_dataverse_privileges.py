"""What the user may do: RetrieveUserPrivileges, and the refusals that go with it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from emulators.dataverse import constants
from emulators.dataverse.harness import RecordingQueues, Running, registration, running
from emulators.dataverse.seeding import seed
from emulators.dataverse.tables import TABLES

NAMES = [
    "serviceendpoint", "sdkmessageprocessingstep", "sdkmessageprocessingstepimage", "asyncoperation", "systemuser",
    "team", "connectionrole", "contact",
]  # fmt: skip


@pytest.fixture
async def api() -> AsyncIterator[Running]:
    async with running(queues=RecordingQueues()) as started:
        seed(started.environment, registration("contact"))
        yield started


async def privileges(api: Running, user: str = constants.SYNC_USER_ID) -> dict[str, dict[str, Any]]:
    answer = await api.call("GET", f"systemusers({user})/Microsoft.Dynamics.CRM.RetrieveUserPrivileges()")
    assert answer.status == 200
    return {item["PrivilegeName"]: item for item in answer.json()["RolePrivileges"]}


async def test_privileges_are_named_after_the_tables(api: Running) -> None:
    held = await privileges(api)
    verbs = ("Create", "Read", "Write", "Delete", "Append", "AppendTo")
    names = ("Contact", "User", "Team", "Connection", "ConnectionRole", "ServiceEndpoint", "AsyncOperation")
    assert {f"prv{verb}{name}" for verb in verbs for name in names} <= held.keys()
    assert "prvReadSdkMessageProcessingStep" in held
    assert "prvReadSystemUser" not in held
    assert held["prvReadContact"].keys() == {
        *("Depth", "PrivilegeId", "BusinessUnitId", "PrivilegeName", "RecordFilterId", "RecordFilterUniqueName")
    }
    assert held["prvReadContact"]["Depth"] == "Global"
    assert held["prvReadContact"]["BusinessUnitId"] == constants.BUSINESS_UNIT_ID
    assert len({item["PrivilegeId"] for item in held.values()}) == len(held)


async def test_a_switch_takes_a_privilege_away(api: Running) -> None:
    before = await privileges(api)
    api.environment.switches.no_read_privilege = ["team"]
    api.environment.switches.no_write_privilege = ["contact"]
    gone = before.keys() - (await privileges(api)).keys()
    assert gone == {"prvReadTeam", "prvCreateContact", "prvWriteContact", "prvDeleteContact"}


async def test_nobody_else_has_privileges(api: Running) -> None:
    address = f"systemusers({constants.EMPTY_ID})/Microsoft.Dynamics.CRM.RetrieveUserPrivileges()"
    assert (await api.call("GET", address)).status == 404
    on_team = f"teams({constants.EMPTY_ID})/Microsoft.Dynamics.CRM.RetrieveUserPrivileges()"
    assert (await api.call("GET", on_team)).status == 404


@pytest.mark.parametrize("name", NAMES)
async def test_a_table_cannot_be_read_without_the_privilege(api: Running, name: str) -> None:
    table = TABLES[name]
    query = f"{table.set_name}?$select={table.primary_id}"
    assert (await api.call("GET", query)).status == 200
    api.environment.switches.no_read_privilege = [name]
    for path in (query, f"{table.set_name}({constants.EMPTY_ID})", f"{table.set_name}/$count"):
        answer = await api.call("GET", path)
        assert (answer.status, answer.code) == (403, "0x80040220")
    expected = {"systemuser": "prvReadUser", "asyncoperation": "prvReadAsyncOperation"}
    assert expected.get(name, f"prvRead{table.schema_name}") in answer.json()["error"]["message"]


@pytest.mark.parametrize("name", NAMES)
async def test_a_table_cannot_be_written_without_the_privilege(api: Running, name: str) -> None:
    table = TABLES[name]
    api.environment.switches.no_write_privilege = [name]
    address = f"{table.set_name}({next(iter(api.environment.store.rows[name]), constants.EMPTY_ID)})"
    for method, path in (("POST", table.set_name), ("PATCH", address), ("DELETE", address)):
        answer = await api.call(method, path, {})
        assert (answer.status, answer.code) == (403, "0x80040220"), method
    assert (await api.call("GET", f"{table.set_name}?$top=1")).status == 200


@pytest.mark.parametrize(
    "query", ["contacts?$expand=owninguser($select=fullname)", "contacts?$filter=owninguser/fullname eq 'x'"]
)
async def test_what_a_query_leads_to_must_be_readable_too(api: Running, query: str) -> None:
    assert (await api.call("GET", query)).status == 200
    api.environment.switches.no_read_privilege = ["systemuser"]
    answer = await api.call("GET", query)
    assert (answer.status, answer.code) == (403, "0x80040220")
    assert "prvReadUser" in answer.json()["error"]["message"]


async def test_an_action_needs_the_privilege_of_what_it_writes(api: Running) -> None:
    (lead,) = (await api.call("GET", "leads?$top=1&$select=leadid&$filter=statecode eq 0")).json()["value"]
    address = f"leads({lead['leadid']})/Microsoft.Dynamics.CRM.QualifyLead"
    body = {"CreateAccount": False, "CreateContact": True, "CreateOpportunity": False, "Status": 3}
    api.environment.switches.no_write_privilege = ["contact"]
    answer = await api.call("POST", address, body)
    assert (answer.status, answer.code) == (403, "0x80040220")
    assert (await api.call("GET", f"leads({lead['leadid']})?$select=statecode")).json()["statecode"] == 0
    api.environment.switches.no_write_privilege = []
    assert (await api.call("POST", address, body)).status == 200
