"""The Marketo simulator's identity service, budgets and request checks, over HTTP (marketo.md 1, 2 and 3)."""

import asyncio
from datetime import datetime
from zoneinfo import ZoneInfo

import httpx
import pytest

from emulators.marketo.harness import Marketo

NOW = datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("America/Chicago")).timestamp()
USAGE = "/rest/v1/stats/usage.json"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def code(response: httpx.Response) -> str:
    """Return the response-level code, "ok" where there is none."""
    assert response.status_code == 200
    content = response.json()
    assert content["requestId"]
    assert content["success"] is ("errors" not in content)
    return content["errors"][0]["code"] if "errors" in content else "ok"


async def test_one_token_is_shared_until_it_expires(marketo: Marketo) -> None:
    first = await marketo.token()
    assert first["expires_in"] == 3599
    assert first["token_type"] == "bearer"
    assert "@" in first["scope"]
    marketo.instance.clock.advance(3000)
    assert await marketo.token() == first | {"expires_in": 599}
    marketo.instance.clock.advance(599.5)
    assert await marketo.token() == first | {"expires_in": 0}
    marketo.instance.clock.advance(1)
    assert code(await marketo.rest.get(USAGE)) == "602"
    assert (await marketo.token())["access_token"] != first["access_token"]


async def test_identity_takes_query_or_form_and_refuses_a_wrong_secret(marketo: Marketo) -> None:
    good = {"grant_type": "client_credentials", "client_id": "x", "client_secret": "y"}
    for response in (
        await marketo.rest.get("/identity/oauth/token", params=good),
        await marketo.rest.post("/identity/oauth/token", data=good),
    ):
        assert response.status_code == 401
        assert response.json()["error"] == "invalid_client"


async def test_a_revoked_token_is_601_and_a_new_one_works(marketo: Marketo) -> None:
    await marketo.control.post("/token/revoke")
    assert code(await marketo.rest.get(USAGE)) == "601"
    await marketo.authorise()
    assert code(await marketo.rest.get(USAGE)) == "ok"


async def test_identity_may_report_a_dying_token(marketo: Marketo) -> None:
    await marketo.switch(reported_expires_in=0)
    assert (await marketo.token())["expires_in"] == 0


async def test_the_token_must_be_in_the_header(marketo: Marketo) -> None:
    token = marketo.rest.headers.pop("Authorization").removeprefix("Bearer ")
    assert code(await marketo.rest.get(USAGE, params={"access_token": token})) == "603"


async def test_the_101st_call_within_20_seconds_is_606(marketo: Marketo) -> None:
    assert [code(await marketo.rest.get(USAGE)) for _ in range(101)] == ["ok"] * 100 + ["606"]
    marketo.instance.clock.advance(19.9)
    assert code(await marketo.rest.get(USAGE)) == "606"
    marketo.instance.clock.advance(0.2)
    # The refused calls count as calls: the one made 0.2 s ago is still in the window.
    assert [code(await marketo.rest.get(USAGE)) for _ in range(100)] == ["ok"] * 99 + ["606"]


async def test_the_11th_concurrent_call_is_615_and_places_are_freed(marketo: Marketo) -> None:
    await marketo.fault("hold", gate="call", when="before", path="/rest/v1/leads.json", count=None)
    query = {"filterType": "email", "filterValues": "a@b.example"}

    async def call() -> str:
        return code(await marketo.rest.get("/rest/v1/leads.json", params=query))

    held = [asyncio.create_task(call()) for _ in range(10)]
    (await marketo.control.get("/gates/call/held", params={"count": 10})).raise_for_status()
    assert await call() == "615"
    await marketo.control.post("/gates/call/open")
    assert await asyncio.gather(*held) == ["ok"] * 10
    assert await call() == "ok"
    assert (await marketo.control.get("/stats")).json()["peak_concurrency"] == 11


async def test_the_day_ends_at_midnight_in_chicago(marketo: Marketo) -> None:
    await marketo.control.post("/limits", json={"daily": 2})
    assert [code(await marketo.rest.get(USAGE)) for _ in range(3)] == ["ok", "ok", "607"]
    marketo.instance.clock.advance(12 * 3600 - 1)
    await marketo.authorise()
    assert code(await marketo.rest.get(USAGE)) == "607"
    marketo.instance.clock.advance(1)
    assert code(await marketo.rest.get(USAGE)) == "ok"


async def test_the_days_use_can_be_set(marketo: Marketo) -> None:
    async def use(calls: int) -> httpx.Response:
        return await marketo.control.post("/limits", json={"used_today": calls})

    assert (await use(45_000)).json()["used_today"] == 45_000
    (today,) = (await marketo.get("stats/usage"))["result"]
    assert (today["total"], today["users"][0]["count"]) == (45_001, 45_001)
    await use(49_999)
    assert [code(await marketo.rest.get(USAGE)) for _ in range(2)] == ["ok", "607"]
    assert (await use(-1)).status_code == 400
    assert (await marketo.control.post("/limits", json={"dayly": 5})).status_code == 400
    marketo.instance.clock.advance(12 * 3600)
    await marketo.authorise()
    assert (await marketo.get("stats/usage"))["result"][0]["total"] == 1


async def test_codes_with_an_asterisk_and_identity_calls_are_not_counted(marketo: Marketo) -> None:
    async def used() -> int:
        return int((await marketo.control.get("/stats")).json()["counted_today"])

    for kept_out in ("604", "608", "611"):
        await marketo.fault("code", code=kept_out)
        assert code(await marketo.rest.get(USAGE)) == kept_out
    assert code(await marketo.rest.get("/rest/v1/leads/delete.json")) == "605"
    await marketo.token()
    await marketo.control.post("/token/revoke")
    assert code(await marketo.rest.get(USAGE)) == "601"
    await marketo.authorise()
    assert await used() == 0
    assert code(await marketo.rest.get("/rest/v1/nothing.json")) == "610"
    assert await used() == 1


async def test_a_uri_over_8_kb_is_http_414_and_the_same_as_post_is_not(marketo: Marketo) -> None:
    values = ",".join(f"{number:036}" for number in range(300))
    query = {"filterType": "externalPersonId", "filterValues": values}
    response = await marketo.rest.get("/rest/v1/leads.json", params=query)
    assert response.status_code == 414
    assert code(await marketo.rest.post("/rest/v1/leads.json?_method=GET", data=query)) == "ok"
    shorter = query | {"filterValues": ",".join(f"{number:036}" for number in range(200))}
    assert code(await marketo.rest.get("/rest/v1/leads.json", params=shorter)) == "ok"


@pytest.mark.parametrize("size", [1_048_577, 4_000_000])
async def test_a_body_over_1_mb_is_http_413(marketo: Marketo, size: int) -> None:
    json_body = {"Content-Type": "application/json"}
    response = await marketo.rest.post("/rest/v1/leads.json", content=b" " * size, headers=json_body)
    assert response.status_code == 413
    response = await marketo.rest.post("/rest/v1/leads.json", content=b" " * 1_048_576, headers=json_body)
    assert code(response) == "609"


async def test_more_than_300_records_are_refused(marketo: Marketo) -> None:
    people = [{"email": f"p{number}@x.example"} for number in range(301)]
    assert (await marketo.sync("leads", people))["errors"][0]["code"] == "1003"
    assert len((await marketo.sync("leads", people[:300]))["result"]) == 300


async def test_no_records_is_701(marketo: Marketo) -> None:
    assert (await marketo.sync("companies", []))["errors"][0]["code"] == "701"


@pytest.mark.parametrize(
    ("request_line", "content", "content_type", "expected"),
    [
        ("POST /rest/v1/companies.json", b"{", "application/json", "609"),
        ("POST /rest/v1/companies.json", b'{"input": [{"company": "\xff"}]}', "application/json", "609"),
        ("POST /rest/v1/companies.json", b"[]", "application/json", "609"),
        ("POST /rest/v1/companies.json", b'{"input": [{"annualRevenue": NaN}]}', "application/json", "609"),
        ("POST /rest/v1/companies.json", b'{"input": [{}], "action": ["x"]}', "application/json", "1001"),
        ("POST /rest/v1/companies.json", b"{}", "text/plain", "612"),
        ("POST /rest/v1/companies.json", b"", None, "612"),
        ("POST /rest/v1/companies.json", b"a=b", FORM["Content-Type"], "612"),
        ("PUT /rest/v1/companies.json", b"{}", "application/json", "605"),
        ("POST /rest/v1/companies/describe.json", b"{}", "application/json", "605"),
        ("GET /rest/v1/opportunities/roles/delete.json", b"", None, "605"),
        ("GET /rest/v1/company.json", b"", None, "610"),
        ("GET /rest/v1/companies", b"", None, "610"),
    ],
)
async def test_malformed_requests(
    marketo: Marketo, request_line: str, content: bytes, content_type: str | None, expected: str
) -> None:
    method, path = request_line.split()
    headers = {} if content_type is None else {"Content-Type": content_type}
    assert code(await marketo.rest.request(method, path, content=content, headers=headers)) == expected


async def test_double_slashes_are_404(marketo: Marketo) -> None:
    response = await marketo.rest.get("/rest//v1/stats/usage.json")
    assert response.status_code == 404
    assert response.json()["errors"][0]["code"] == "610"


async def test_usage_and_errors_are_reported(marketo: Marketo) -> None:
    await marketo.rest.get("/rest/v1/nothing.json")
    usage = (await marketo.get("stats/usage"))["result"][0]
    assert usage["date"] == "2026-07-01"
    assert usage["total"] == usage["users"][0]["count"] == 2
    errors = (await marketo.get("stats/errors"))["result"][0]
    assert errors["errors"] == [{"errorCode": "610", "count": 1}]
    assert (await marketo.get("stats/usage/last7days"))["result"][0]["total"] == 4
    assert (await marketo.get("stats/errors/last7days"))["result"] == [errors]


async def test_large_answers_are_compressed_on_request(marketo: Marketo) -> None:
    response = await marketo.rest.get("/rest/v1/leads/describe.json")
    assert response.headers["Content-Encoding"] == "gzip"
    plain = await marketo.rest.get("/rest/v1/leads/describe.json", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    assert plain.json()["result"] == response.json()["result"]
    assert "Content-Encoding" not in (await marketo.rest.get(USAGE)).headers
