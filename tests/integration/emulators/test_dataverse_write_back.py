"""What the way back of Sales Insight's fields asks of the Dataverse simulator (dataverse.md 4.2 to 4.8 and 5)."""

import json
from typing import Any

import httpx
import pytest

from emulators.dataverse.environment import Fault
from emulators.dataverse.harness import Answer, RecordingQueues, Running, registration
from emulators.dataverse.seeding import seed
from emulators.functions.harness import until

ANNA, BO, CLEO = (f"0a000000-0000-4000-a000-00000000000{number}" for number in (1, 2, 3))
NOBODY = "0a000000-0000-4000-a000-000000000009"
UPDATE_MULTIPLE = "contacts/Microsoft.Dynamics.CRM.UpdateMultiple"
CRLF = "\r\n"


ROWS = {"contact": [{"contactid": each, "lastname": "P", "new_priority": 1} for each in (ANNA, BO, CLEO)]}


def priorities(api: Running) -> list[int]:
    rows = api.environment.store.rows["contact"]
    return [rows[each]["new_priority"] for each in (ANNA, BO, CLEO)]


async def update(api: Running, *ids: str, tag: str = "", **values: Any) -> Answer:
    kind = "Microsoft.Dynamics.CRM.contact"
    targets = [{"@odata.type": kind, "contactid": each, "new_priority": 5, **values} for each in ids]
    return await api.call("POST", UPDATE_MULTIPLE + (f"?tag={tag}" if tag else ""), {"Targets": targets})


async def batch(api: Running, *parts: str) -> tuple[Answer, list[int]]:
    head = f"Content-Type: application/http{CRLF}Content-Transfer-Encoding: binary{CRLF}{CRLF}"
    body = "".join(f"--b{CRLF}{head}{each}{CRLF}" for each in parts) + f"--b--{CRLF}"
    kind, prefer = "multipart/mixed; boundary=b", "odata.continue-on-error"
    answer = await api.call("POST", "$batch", body.encode(), content_type=kind, prefer=prefer)
    lines = answer.body.decode().split(CRLF)
    return answer, [int(line.split()[1]) for line in lines if line.startswith("HTTP/1.1")]


def patch(row_id: str, tag: str = "msi") -> str:
    head = f"PATCH /api/data/v9.2/contacts({row_id})?tag={tag} HTTP/1.1{CRLF}Content-Type: application/json{CRLF}"
    return f'{head}If-Match: *{CRLF}{CRLF}{{"new_priority":5}}'


@pytest.mark.parametrize(("code", "status"), [("0x80040265", 400), ("0x80044151", 500), ("0x80040220", 400)])
async def test_a_row_can_be_refused_with_a_code(
    api: Running, control: httpx.AsyncClient, code: str, status: int
) -> None:
    (await control.post("/switches", json={"refused_rows": {BO: code}})).raise_for_status()
    answer = await update(api, ANNA, BO, CLEO)
    assert (answer.status, answer.code, priorities(api)) == (status, code, [1, 1, 1])
    assert BO in answer.json()["error"]["message"]
    whole, parts = await batch(api, patch(ANNA), patch(BO), patch(CLEO))
    assert (whole.status, parts, priorities(api)) == (200, [204, status, 204], [5, 1, 5])
    assert code in whole.body.decode()
    (await control.post("/switches", json={"refused_rows": {}})).raise_for_status()
    assert (await update(api, BO)).status == 204


async def test_a_batch_reads_and_writes_and_is_throttled_part_by_part(api: Running) -> None:
    query = f"contacts?$select=new_priority&$filter=contactid%20eq%20{ANNA}"
    api.environment.faults.append(Fault(match=BO, method="PATCH", status=429, code="0x80072322", retry_after=7))
    whole, parts = await batch(api, f"GET /api/data/v9.2/{query} HTTP/1.1{CRLF}", patch(BO), patch(CLEO))
    assert (whole.status, parts, priorities(api)) == (200, [200, 429, 204], [1, 1, 5])
    assert f"Retry-After: 7{CRLF}" in whole.body.decode()


async def test_too_many_requests_are_told_to_wait(api: Running) -> None:
    api.environment.switches.requests = 1
    assert (await update(api, ANNA)).status == 204
    refused = await update(api, BO)
    assert (refused.status, refused.code) == (429, "0x80072322")
    assert int(refused.headers["Retry-After"]) > 1
    assert priorities(api) == [5, 1, 1]


async def test_the_tag_of_a_write_reaches_its_notification(api: Running, queues: RecordingQueues) -> None:
    seed(api.environment, registration("contact"))
    api.simulator.events.forget_steps()
    await update(api, ANNA, BO, tag="msi%20sync")
    await batch(api, patch(CLEO, "other"))
    await until(lambda: len(queues.sent) == 3)
    tags = [{pair["key"]: pair["value"] for pair in body["SharedVariables"]}.get("tag") for body in queues.bodies()]
    assert sorted(map(str, tags)) == ["msi sync", "msi sync", "other"]


async def test_requests_are_counted_by_method_and_path(api: Running, control: httpx.AsyncClient) -> None:
    async with httpx.AsyncClient(transport=api.transport(), base_url="https://contoso.crm4.dynamics.com") as http:
        headers = {"Authorization": f"Bearer {api.access_token()}"}
        for _ in range(2):
            await http.get(f"/api/data/v9.2/contacts({ANNA})?$select=lastname", headers=headers)
        content = json.dumps({"Targets": []})
        await http.post(f"/api/data/v9.2/{UPDATE_MULTIPLE}", headers=headers, content=content)
        await http.post("/api/data/v9.2/$batch")
    calls = (await control.get("/stats")).json()["calls"]
    assert calls == {"GET contacts()": 2, "POST $batch": 1, f"POST {UPDATE_MULTIPLE}": 1}


async def test_rows_are_told_with_the_columns_that_are_wanted(control: httpx.AsyncClient) -> None:
    rows = (await control.get("/rows/contact", params={"columns": "contactid,new_priority,nothing"})).json()
    assert {row["contactid"]: row for row in rows}[BO] == {"contactid": BO, "new_priority": 1}
