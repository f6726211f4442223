"""What a user cannot see: secured columns, rows that the role hides, rows whose transaction has not committed yet.

Sources: Microsoft Learn, "Column-level security by using code" (IsSecured, CanBeSecuredForRead, a query gives null),
RetrievePrincipalAttributePrivileges, web service error codes 0x8004F502 and 0x8004F507, dataverse.md 5 (0x80048306).
"""

import asyncio
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from emulators.dataverse import constants
from emulators.dataverse.harness import Answer, RecordingQueues, Running, registration
from emulators.dataverse.seeding import message_id, seed

ANNA = "0a000000-0000-4000-a000-000000000001"
BEN = "0a000000-0000-4000-a000-000000000002"
ACME = "ac000000-0000-4000-a000-000000000001"
TABLE = "@Microsoft.Dynamics.CRM.lookuplogicalname"
PRIVILEGES = f"systemusers({constants.SYNC_USER_ID})/Microsoft.Dynamics.CRM.RetrievePrincipalAttributePrivileges()"
NEW = {"firstname": "Cleo", "lastname": "Ek"}


OF_ACME = {"_parentcustomerid_value": ACME, "_parentcustomerid_value" + TABLE: "account"}
ROWS = {
    "account": [{"accountid": ACME, "name": "Acme"}],
    "contact": [
        {"contactid": ANNA, "firstname": "Anna", "lastname": "Berg", "jobtitle": "CFO", **OF_ACME},
        {"contactid": BEN, "firstname": "Ben", "lastname": "Ask", "jobtitle": "CEO", **OF_ACME},
    ],
}


async def switch(control: httpx.AsyncClient, **switches: Any) -> None:
    (await control.post("/switches", json=switches)).raise_for_status()


def by_ids(*ids: str) -> str:
    listed = quote("[" + ",".join(f'"{id_}"' for id_ in ids) + "]")
    return f"$filter=Microsoft.Dynamics.CRM.In(PropertyName=@p1,PropertyValues=@p2)&@p1='contactid'&@p2={listed}"


def rows(answer: Answer) -> list[dict[str, Any]]:
    assert answer.status == 200, answer.body
    return [{k: v for k, v in row.items() if "@" not in k} for row in answer.json()["value"]]


async def definition(api: Running, column: str) -> dict[str, Any]:
    names = "IsSecured,CanBeSecuredForRead,CanBeSecuredForUpdate"
    path = f"EntityDefinitions(LogicalName='contact')/Attributes(LogicalName='{column}')?$select={names},MetadataId"
    return dict((await api.call("GET", path)).json())


async def allowed(api: Running) -> dict[str, tuple[int, int]]:
    answer = (await api.call("GET", PRIVILEGES)).json()["AttributePrivileges"]
    return {entry["AttributeId"]: (entry["CanRead"], entry["CanUpdate"]) for entry in answer}


UPDATE_REFUSED, CREATE_REFUSED = "0x8004f507", "0x8004f502"


@pytest.mark.parametrize(
    ("level", "shown", "found", "privilege", "refusals"),
    [
        ("hidden", None, 0, None, [UPDATE_REFUSED, CREATE_REFUSED, ""]),
        ("read", "CFO", 1, (4, 0), [UPDATE_REFUSED, CREATE_REFUSED, ""]),
        ("write", "CFO", 1, (4, 4), ["", "", ""]),
    ],
)
async def test_a_secured_column(
    *, api: Running, control: httpx.AsyncClient, level: str, shown: str | None, found: int, privilege: Any,
    refusals: list[str],
) -> None:  # fmt: skip
    before = await definition(api, "jobtitle")
    assert (before["IsSecured"], before["CanBeSecuredForRead"], await allowed(api)) == (False, True, {})
    await switch(control, secured_columns={"contact": {"jobtitle": level}})
    assert (await definition(api, "jobtitle"))["IsSecured"] is True
    assert (await allowed(api)).get(before["MetadataId"]) == privilege
    expected = {"contactid": ANNA, "lastname": "Berg", "jobtitle": shown}
    listed = await api.call("GET", f"contacts?$select=contactid,lastname,jobtitle&{by_ids(ANNA)}")
    assert rows(listed) == [expected]
    single = (await api.call("GET", f"contacts({ANNA})?$select=jobtitle")).json()
    assert single["jobtitle"] == shown
    assert len(rows(await api.call("GET", "contacts?$select=contactid&$filter=jobtitle eq 'CFO'"))) == found
    writes = [
        await api.call("PATCH", f"contacts({ANNA})", {"jobtitle": "CTO"}),
        await api.call("POST", "contacts", {**NEW, "jobtitle": "CTO"}),
        await api.call("PATCH", f"contacts({ANNA})", {"lastname": "Berg"}),
    ]
    assert [answer.code if answer.status == 403 else "" for answer in writes] == refusals


@pytest.mark.parametrize("column", ["contactid", "fullname", "statecode", "ownerid", "modifiedon"])
async def test_system_columns_cannot_be_secured(api: Running, control: httpx.AsyncClient, column: str) -> None:
    assert (await definition(api, column))["CanBeSecuredForRead"] is False
    refused = await control.post("/switches", json={"secured_columns": {"contact": {column: "hidden"}}})
    assert refused.status_code == 400


async def test_a_row_that_the_role_hides(api: Running, control: httpx.AsyncClient) -> None:
    await switch(control, hidden_rows=[ANNA, ACME])
    assert rows(await api.call("GET", f"contacts?$select=contactid&{by_ids(ANNA, BEN)}")) == [{"contactid": BEN}]
    assert rows(await api.call("GET", "accounts?$select=accountid")) == []
    refused = await api.call("GET", f"contacts({ANNA})?$select=lastname")
    assert (refused.status, refused.code) == (403, "0x80048306")
    assert "ReadAccess" in refused.json()["error"]["message"]
    expanded = (await api.call("GET", f"contacts({BEN})?$select=lastname&$expand=parentcustomerid_account")).json()
    assert expanded["parentcustomerid_account"] is None
    unknown = await api.call("GET", "contacts(0a000000-0000-4000-a000-0000000000ff)?$select=lastname")
    assert (unknown.status, unknown.code) == (404, "0x80040217")
    assert (await api.call("PATCH", f"contacts({ANNA})", {"jobtitle": "CTO"})).status == 403
    await switch(control, hidden_rows=[])
    assert (await api.call("GET", f"contacts({ANNA})?$select=lastname")).json()["lastname"] == "Berg"


def register_synchronous_steps(api: Running) -> list[dict[str, Any]]:
    """Steps of contacts that post within the transaction. Gives their rows."""
    rows = registration("contact")
    for step in rows["sdkmessageprocessingstep"]:
        step["mode"] = 0
    seed(api.environment, rows)
    return rows["sdkmessageprocessingstep"]


async def test_a_notification_that_is_posted_before_its_transaction_commits(
    api: Running, control: httpx.AsyncClient, queues: RecordingQueues
) -> None:
    steps = register_synchronous_steps(api)
    assert steps[0]["_sdkmessageid_value"] == message_id("Create")
    await switch(control, commit_gate="commit")
    creating = asyncio.ensure_future(api.call("POST", "contacts", NEW))
    (await control.get("/gates/commit/held")).raise_for_status()
    (body,) = queues.bodies()
    created = body["PrimaryEntityId"]
    assert (body["MessageName"], body["Mode"]) == ("Create", 0)
    assert rows(await api.call("GET", f"contacts?$select=contactid&{by_ids(created)}")) == []
    assert (await api.call("GET", f"contacts({created})")).code == "0x80040217"
    await control.post("/gates/commit/open")
    assert (await creating).row_id == created
    assert rows(await api.call("GET", f"contacts?$select=lastname&{by_ids(created)}"))[0]["lastname"] == "Ek"


async def test_an_update_before_its_commit_shows_the_values_of_before(
    api: Running, control: httpx.AsyncClient, queues: RecordingQueues
) -> None:
    register_synchronous_steps(api)
    await switch(control, commit_gate="commit")
    updating = asyncio.ensure_future(api.call("PATCH", f"contacts({ANNA})", {"jobtitle": "CTO"}))
    (await control.get("/gates/commit/held")).raise_for_status()
    assert len(queues.bodies()) == 1
    assert (await api.call("GET", f"contacts({ANNA})?$select=jobtitle")).json()["jobtitle"] == "CFO"
    await control.post("/gates/commit/open")
    assert (await updating).status == 204
    assert (await api.call("GET", f"contacts({ANNA})?$select=jobtitle")).json()["jobtitle"] == "CTO"


async def test_a_missing_bulk_message_has_two_codes(api: Running, control: httpx.AsyncClient) -> None:
    """Seen in the field: 0x80060888 for an action of a table, 0x8006088a for one of its own."""
    body = {"Targets": [{"@odata.type": "Microsoft.Dynamics.CRM.contact", "contactid": ANNA, "jobtitle": "CTO"}]}
    bound = "contacts/Microsoft.Dynamics.CRM.UpdateMultiple"
    assert (await api.call("POST", bound, body)).status == 204
    await switch(control, no_bulk=["contact"])
    answers = [await api.call("POST", path, body) for path in (bound, "UpdateMultiple")]
    assert [(answer.status, answer.code) for answer in answers] == [(404, "0x80060888"), (404, "0x8006088a")]


async def over_http(api: Running, method: str, path: str, body: Any = None) -> httpx.Response:
    async with httpx.AsyncClient(transport=api.transport()) as client:
        headers = {"Authorization": f"Bearer {api.access_token()}"}
        url = f"{constants.API_URL}{path}"
        return await client.request(method, url, json=body, headers=headers, timeout=30)


async def test_a_request_that_a_gate_holds(api: Running, control: httpx.AsyncClient) -> None:
    await control.post("/faults", json={"match": "contacts", "status": "hold", "gate": "reading"})
    reading = asyncio.ensure_future(over_http(api, "GET", f"contacts({ANNA})?$select=jobtitle"))
    (await control.get("/gates/reading/held")).raise_for_status()
    seed(api.environment, {"contact": [{"contactid": ANNA, "lastname": "Berg", "jobtitle": "CTO"}]})
    await control.post("/gates/reading/open")
    assert (await reading).json()["jobtitle"] == "CTO"


async def test_an_answer_that_is_lost_after_the_write(api: Running, control: httpx.AsyncClient) -> None:
    await control.post("/faults", json={"match": "contacts", "status": "reset", "when": "after"})
    with pytest.raises(httpx.TransportError):
        await over_http(api, "PATCH", f"contacts({ANNA})", {"jobtitle": "CTO"})
    assert api.environment.store.rows["contact"][ANNA]["jobtitle"] == "CTO"


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_in_both_forms_of_the_rfc(api: Running, control: httpx.AsyncClient, status: int) -> None:
    """RFC 9110, 10.2.3: a number of seconds, or a date."""
    faults = [{"status": status, "retry_after": 7}, {"status": status, "retry_after": 7, "as_date": True}]
    await control.post("/faults", json=[*faults, {"status": status, "retry_after": "soon"}])
    headers = [(await over_http(api, "GET", "WhoAmI")).headers for _ in range(3)]
    assert headers[0]["Retry-After"] == "7"
    ahead = parsedate_to_datetime(headers[1]["Retry-After"]) - parsedate_to_datetime(headers[1]["Date"])
    assert 6 <= ahead.total_seconds() <= 8
    assert headers[2]["Retry-After"] == "soon"
