"""The control API, and the sample company."""

from typing import Any

import httpx
import pytest

from emulators.dataverse import constants
from emulators.dataverse.harness import Running, registration
from emulators.dataverse.seeding import REGISTRATION_TABLES

TABLE = "@Microsoft.Dynamics.CRM.lookuplogicalname"


async def rows(control: httpx.AsyncClient, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await control.get(f"/rows/{table}")).json()
    return found


async def test_an_empty_environment_has_the_sync_users_and_the_roles(control: httpx.AsyncClient) -> None:
    assert [row["systemuserid"] for row in await rows(control, "systemuser")] == [
        constants.SYNC_USER_ID, constants.APPLICATION_USER_ID, constants.MANAGED_IDENTITY_USER_ID,
    ]  # fmt: skip
    assert "Stakeholder" in {row["name"] for row in await rows(control, "connectionrole")}
    assert await rows(control, "account") == []
    assert await rows(control, "sdkmessageprocessingstep") == []


async def test_seeding_takes_rows_in_any_order_and_posts_nothing(api: Running, control: httpx.AsyncClient) -> None:
    account, contact = "ac000000-0000-4000-a000-000000000001", "c0000000-0000-4000-a000-000000000001"
    body = {
        "account": [{"accountid": account, "name": "Acme", "_primarycontactid_value": contact}],
        "contact": [
            {
                "contactid": contact, "firstname": "Anna", "createdon": "2020-01-01T00:00:00Z",
                "_parentcustomerid_value": account.upper(), "_parentcustomerid_value" + TABLE: "account",
            },
            {"lastname": "Unnamed", "parentcustomerid_account@odata.bind": f"/accounts({account})"},
        ],
    }  # fmt: skip
    answer = await control.post("/seed", json=body)
    assert answer.json()["account"] == [account]
    assert answer.json()["contact"][0] == contact
    found = {row["contactid"]: row for row in await rows(control, "contact")}
    assert found[contact]["_parentcustomerid_value"] == account
    assert (found[contact]["fullname"], found[contact]["createdon"]) == ("Anna", "2020-01-01T00:00:00Z")
    assert len(found) == 2
    assert api.simulator.delivery.pending == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"contact": [{"lastname": "x" * 51}]},
        {"contact": [{"surname": "x"}]},
        {"contact": [{"_parentcustomerid_value": "ac000000-0000-4000-a000-000000000001"}]},
        {
            "contact": [
                {
                    "_parentcustomerid_value": "ac000000-0000-4000-a000-000000000001",
                    "_parentcustomerid_value" + TABLE: "account",
                }
            ]
        },
        {"kontakt": [{}]},
    ],
)
async def test_a_wrong_seed_leaves_nothing_behind(control: httpx.AsyncClient, wrong: dict[str, Any]) -> None:
    answer = await control.post("/seed", json={"account": [{"name": "Acme"}], **wrong})
    assert answer.status_code in {400, 404}
    assert await rows(control, "account") == []
    assert await rows(control, "contact") == []


async def test_clear_empties_and_keeps_the_registration_on_request(control: httpx.AsyncClient) -> None:
    await control.post("/sample")
    await control.post("/seed", json=registration("contact"))
    await control.post("/switches", json={"latency_ms": 1})
    await control.post("/clear", json={"keep_registration": True})
    assert await rows(control, "contact") == []
    assert [len(await rows(control, table)) for table in REGISTRATION_TABLES] == [1, 3, 1]
    assert (await control.get("/switches")).json()["latency_ms"] == 0
    await control.post("/clear")
    assert [await rows(control, table) for table in REGISTRATION_TABLES] == [[], [], []]


async def test_switches_are_checked(control: httpx.AsyncClient) -> None:
    assert (await control.post("/switches", json={"token_lifetim": 5})).status_code == 400
    assert (await control.post("/switches", json={"token_lifetime": 5})).json()["token_lifetime"] == 5
    assert (await control.post("/switches", json={"latency_ms": 2})).json()["token_lifetime"] == 5


async def test_statistics_count_kinds_tables_and_rows(api: Running, control: httpx.AsyncClient) -> None:
    await control.post("/seed", json={"contact": [{"lastname": "A"}, {"lastname": "B"}]})
    await control.post("/stats/reset")
    await api.call("GET", "contacts?$select=lastname")
    await api.call("POST", "accounts", {"name": "Acme"})
    stats = (await control.get("/stats")).json()
    assert stats["requests"] == {"create": 1, "create account": 1, "query": 1, "query contact": 1}
    assert (stats["ids_read"], stats["throttled"], stats["pending_posts"]) == (2, 0, 0)


async def test_secrets_are_never_shown(control: httpx.AsyncClient) -> None:
    await control.post("/seed", json=registration("contact"))
    endpoints = await rows(control, "serviceendpoint")
    assert endpoints[0]["issaskeyset"] is True
    assert "saskey" not in endpoints[0]
