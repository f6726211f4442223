"""Dataverse's Web API client against a small app behind a mock transport."""

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from shared.dataverse.client import DataverseClient
from shared.model.codes import Kind
from shared.model.entities import TABLES, Table
from shared.model.errors import DataverseError, SignInError
from tests.support.dataverse import API, FAR, IDS, URL, World, page, refusal
from tests.support.replies import Reply


async def test_300_rows_are_one_request_of_percent_encoded_ids_below_the_url_limit() -> None:
    world = World(page([{"contactid": id_.upper(), "firstname": "Ann"} for id_ in IDS[:2]]))
    found = await world.rows(IDS)
    assert set(found) == set(IDS[:2])
    (request,) = world.requests
    raw = str(request.url)
    assert len(raw) < 32_768
    assert raw.isascii()
    assert not set(raw) & set('"[]{} ')
    assert request.url.path == f"{API}/contacts"
    query = parse_qs(request.url.query.decode())
    assert query["$select"] == ["contactid,firstname"]
    assert query["$filter"] == ["Microsoft.Dynamics.CRM.In(PropertyName=@p1,PropertyValues=@p2)"]
    assert query["@p1"] == ["'contactid'"]
    assert json.loads(query["@p2"][0]) == IDS


async def test_more_rows_are_asked_for_300_at_a_time() -> None:
    ids = [f"4c8e7d15-2052-ef11-a316-{n:012d}" for n in range(301)]
    world = World(page([{"contactid": ids[0]}]), page([{"contactid": ids[300]}]))
    assert set(await world.rows(ids)) == {ids[0], ids[300]}
    assert [json.loads(parse_qs(request.url.query.decode())["@p2"][0]) for request in world.requests] == [
        ids[:300],
        ids[300:],
    ]
    assert await world.rows([]) == {}
    assert len(world.requests) == 2


async def test_rows_that_refer_to_300_others_by_either_of_two_lookups_are_one_request_below_the_url_limit() -> None:
    world = World(
        page([{"connectionid": "a"}], **{"@odata.nextLink": f"{URL}{API}/more"}), page([{"connectionid": "b"}])
    )
    found = await world.client.referring(
        TABLES["connection"][1], ["record1id", "record2id"], IDS, ["_record1id_value"], deadline=FAR
    )
    assert [row["connectionid"] for row in found] == ["a", "b"]
    first, _ = world.requests
    assert len(str(first.url)) < 32_768
    query = parse_qs(first.url.query.decode())
    assert query["$select"] == ["_record1id_value,connectionid"]
    one, other = (f"Microsoft.Dynamics.CRM.In(PropertyName='record{n}id',PropertyValues=@p1)" for n in (1, 2))
    assert query["$filter"] == [f"{one} or {other}"]
    assert json.loads(query["@p1"][0]) == IDS


async def test_a_read_asks_for_fresh_rows_and_for_the_tables_of_lookups() -> None:
    world = World(page([]))
    await world.rows()
    headers = world.requests[0].headers
    assert headers["Authorization"] == "Bearer token-1"
    assert headers["If-None-Match"] == "null"
    assert "Microsoft.Dynamics.CRM.lookuplogicalname" in headers["Prefer"]
    assert (headers["OData-Version"], headers["OData-MaxVersion"]) == ("4.0", "4.0")


async def test_further_pages_are_read_by_the_link_as_it_is() -> None:
    link = f"{URL}{API}/connectionroles?$select=name&$skiptoken=%3Ccookie%20page%3D%222%22%2F%3E"
    world = World(page([{"name": "A"}], **{"@odata.nextLink": link}), page([{"name": "B"}]))
    found = await world.client.rows(Table("connectionrole", "connectionroles", "name"), ["a", "b"], ["name"])
    assert found == {"a": {"name": "A"}, "b": {"name": "B"}}
    assert str(world.requests[1].url) == link


async def test_any_query_is_read_page_by_page_and_any_other_answer_as_it_is() -> None:
    link = f"{URL}{API}/sdkmessageprocessingsteps?$skiptoken=2"
    world = World(page([{"name": "A"}], **{"@odata.nextLink": link}), page([{"name": "B"}]), page([], a=1))
    assert await world.client.query(f"{API}/sdkmessageprocessingsteps") == [{"name": "A"}, {"name": "B"}]
    assert await world.client.get(f"{API}/x") == {"value": [], "a": 1}
    assert [request.method for request in world.requests] == ["GET"] * 3


async def test_a_row_that_is_created_gives_its_id() -> None:
    created = httpx.Response(204, headers={"OData-EntityId": f"{URL}{API}/serviceendpoints({IDS[1].upper()})"})
    world = World(created)
    assert await world.client.write("POST", f"{API}/serviceendpoints", {"name": "x"}) == IDS[1]
    (request,) = world.requests
    assert (request.method, json.loads(request.content)) == ("POST", {"name": "x"})
    assert "If-Match" not in request.headers


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
async def test_a_row_that_is_changed_or_deleted_gives_none(method: str) -> None:
    world = World(httpx.Response(204))
    assert await world.client.write(method, f"{API}/contacts({IDS[0]})") == ""
    assert world.requests[0].method == method


async def test_a_change_of_a_row_that_is_gone_creates_none() -> None:
    """Dataverse: PATCH without If-Match is an upsert."""
    world = World(httpx.Response(204))
    await world.client.write("PATCH", f"{API}/contacts({IDS[0]})", {"firstname": "Ann"})
    assert world.requests[0].headers["If-Match"] == "*"


@pytest.mark.parametrize("reply", [httpx.ReadTimeout("slow"), httpx.Response(502)], ids=str)
async def test_what_may_have_been_created_is_not_created_twice(reply: Reply) -> None:
    world = World(reply)
    with pytest.raises(DataverseError) as refused:
        await world.client.write("POST", f"{API}/serviceendpoints", {})
    assert refused.value.kind is Kind.TRANSIENT
    assert len(world.requests) == 1


async def test_a_creation_that_was_throttled_or_unauthorised_did_not_happen_and_is_tried_again() -> None:
    world = World(refusal(429, Retry_After="2"), httpx.Response(401), httpx.Response(204))
    await world.client.write("POST", f"{API}/serviceendpoints", {})
    assert world.slept == [2.0]
    assert len(world.requests) == 3


async def test_throttling_is_waited_out_as_dataverse_says() -> None:
    world = World(refusal(429, "0x80072322", Retry_After="17"), refusal(429, "0x80072321", Retry_After="3.5"), page([]))
    assert await world.rows() == {}
    assert world.slept == [17.0, 3.5]


@pytest.mark.parametrize("status", [429, 503])
async def test_the_time_to_wait_may_be_a_date_and_a_day_is_asked_for_in_vain(status: int) -> None:
    told = {"Date": "Wed, 21 Oct 2026 07:28:00 GMT"}
    world = World(
        refusal(status, Retry_After="Wed, 21 Oct 2026 07:28:09 GMT", **told), refusal(status, Retry_After="6"), page([])
    )
    assert await world.rows() == {}
    assert world.slept == [9.0, 6.0]
    error = await World(refusal(status, Retry_After="86400")).error(deadline=180.0)
    assert error.retry_after == 900.0


ODD = ("[]", "null", '"rows"', "{}", '{"value": null}', '{"value": {}}', '{"value": ["a"]}')


@pytest.mark.parametrize("text", [*ODD, '{"value": [], "@odata.nextLink": 7}'])
async def test_an_answer_that_is_not_as_documented_says_nothing_of_any_row(text: str) -> None:
    odd = httpx.Response(200, text=text)
    world = World(odd, page([{"contactid": "a"}]))
    assert set(await world.rows()) == {"a"}
    error = await World(*[odd] * 3).error()
    assert (error.code, error.kind) == ("UnknownAnswer", Kind.TRANSIENT)


async def test_a_row_without_its_id_is_not_taken_for_one_that_is_missing() -> None:
    assert (await World(page([{"firstname": "Ann"}])).error()).code == "UnknownAnswer"


async def test_who_am_i_without_an_id_names_nobody() -> None:
    with pytest.raises(DataverseError, match="UnknownAnswer"):
        await World(httpx.Response(200, json={"UserId": None})).client.user_id()


@pytest.mark.parametrize("headers", [{}, {"Retry_After": "Wed, 21 Oct 2020 07:28:00 GMT"}, {"Retry_After": "0"}])
async def test_throttling_without_a_usable_time_waits_some_seconds(headers: dict[str, str]) -> None:
    world = World(refusal(429, **headers), page([]))
    await world.rows()
    assert world.slept == [5.0]


async def test_a_wait_past_the_deadline_is_left_to_the_queue_with_its_time() -> None:
    error = await World(refusal(429, "0x80072322", Retry_After="300")).error(deadline=180.0)
    assert (error.kind, error.retry_after) == (Kind.THROTTLED, 300.0)


async def test_a_refused_token_is_replaced_once() -> None:
    world = World(httpx.Response(401), page([{"contactid": "a"}]))
    assert set(await world.rows()) == {"a"}
    assert [request.headers["Authorization"] for request in world.requests] == ["Bearer token-1", "Bearer token-2"]


async def test_a_second_token_that_is_refused_ends_the_call() -> None:
    world = World(httpx.Response(401), httpx.Response(401))
    assert (await world.error()).kind is Kind.TOKEN
    assert world.refused == ["token-1"]


@pytest.mark.parametrize(
    "reply",
    [
        httpx.Response(503), refusal(500, "0x80044150"), refusal(500, "-2147204783"), httpx.ConnectError("down"),
        httpx.ReadTimeout("slow"), httpx.Response(200, text="<html>"), httpx.Response(502, text="<html>"),
    ],
    ids=str,
)  # fmt: skip
async def test_a_passing_trouble_is_tried_three_times_with_growing_pauses(reply: Reply) -> None:
    world = World(reply, reply, page([]))
    assert await world.rows() == {}
    assert 1.0 <= world.slept[0] <= 2.0 <= world.slept[1] <= 4.0
    assert (await World(*[reply] * 9).error()).kind is Kind.TRANSIENT


@pytest.mark.parametrize(
    ("reply", "code", "kind"),
    [
        (refusal(403, "0x80040220", "no privilege"), "0x80040220", Kind.CONFIGURATION),
        (refusal(403, "-2147220960", "no privilege"), "0x80040220", Kind.CONFIGURATION),
        (refusal(404, "0x80040217"), "0x80040217", Kind.GONE),
        (refusal(400, "", "Could not find a property named 'x'"), "HTTP 400", Kind.CONFIGURATION),
        (httpx.Response(404, text="not JSON"), "HTTP 404", Kind.CONFIGURATION),
        (httpx.Response(400, json=["a list"]), "HTTP 400", Kind.CONFIGURATION),
        (httpx.Response(400, json={"error": "a text"}), "HTTP 400", Kind.CONFIGURATION),
    ],
)
async def test_what_waiting_does_not_mend_is_not_tried_again(reply: Reply, code: str, kind: Kind) -> None:
    world = World(reply)
    error = await world.error()
    assert (error.code, error.kind) == (code, kind)
    assert error.message
    assert world.slept == []


async def test_an_error_tells_what_microsofts_support_asks_for() -> None:
    error = await World(refusal(403, "0x80040220", "no", x_ms_service_request_id="req-1")).error()
    assert (error.request_id, error.system) == ("req-1", "dataverse")


async def test_a_refused_sign_in_is_not_tried_again_and_costs_no_request(world: World) -> None:

    async def refuse() -> str:
        raise SignInError("AADSTS50126", "check user name and password")

    world.token = refuse  # type: ignore[method-assign]  # Entra refuses the password
    with pytest.raises(SignInError):
        await world.rows()
    assert world.requests == []


async def test_the_organisation_and_the_user_are_told_in_lower_case_and_asked_for_once() -> None:
    organization, user = "AA55BB66-0000-4000-8000-00000000000A", "AA55BB66-0000-4000-8000-00000000000B"
    world = World(httpx.Response(200, json={"OrganizationId": organization, "UserId": user}))
    told = await asyncio.gather(*(world.client.organization_id() for _ in range(5)))
    assert set(told) == {organization.lower()}
    assert await world.client.user_id() == user.lower()
    assert [request.url.path for request in world.requests] == [f"{API}/WhoAmI"]


async def test_a_page_gives_the_path_of_the_next_one_as_it_is() -> None:
    path = f"{API}/leads?$select=a&$skiptoken=%3Ccookie%20page%3D%222%22%2F%3E"
    world = World(page([{"a": 1}], **{"@odata.nextLink": f"{URL}{path}"}), page([{"a": 2}]))
    rows, link = await world.client.page(f"{API}/leads?$select=a", 300)
    assert (rows, link) == ([{"a": 1}], path)
    assert await world.client.page(link, 300) == ([{"a": 2}], "")
    both = f"odata.maxpagesize=300,{DataverseClient.headers['Prefer']}"
    assert [request.headers["Prefer"] for request in world.requests] == [both] * 2
    assert str(world.requests[1].url) == f"{URL}{path}"


@pytest.mark.parametrize("link", ["https://evil.example/api/data/v9.2/leads", "http://contoso.crm4.dynamics.com/x"])
async def test_a_next_page_elsewhere_is_not_followed(link: str) -> None:
    world = World(page([], **{"@odata.nextLink": link}))
    with pytest.raises(DataverseError, match="ForeignLink"):
        await world.client.page(f"{API}/leads", 300)
    for read in (world.client.query(f"{API}/leads"), world.client.rows(TABLES["lead"][1], ["a"], ["name"])):
        world.replies.append(page([], **{"@odata.nextLink": link}))
        with pytest.raises(DataverseError, match="ForeignLink"):
            await read
    assert {request.url.host for request in world.requests} == {"contoso.crm4.dynamics.com"}


async def test_rows_are_counted_by_dynamics_own_statistics() -> None:
    collection = {"Count": 2, "IsReadOnly": False, "Keys": ["contact", "lead"], "Values": [40_000, 200]}
    world = World(httpx.Response(200, json={"EntityRecordCountCollection": collection}))
    assert await world.client.count_rows(["lead", "contact"]) == 40_200
    assert world.requests[0].url.path == f"{API}/RetrieveTotalRecordCount(EntityNames=['lead','contact'])"


@pytest.mark.parametrize("found", [None, {}, {"Keys": ["lead"], "Values": [1]}, {"Keys": ["lead"], "Values": []}])
async def test_a_count_that_is_not_as_documented_is_none(found: Any) -> None:
    world = World(httpx.Response(200, json={"EntityRecordCountCollection": found}))
    with pytest.raises(DataverseError):
        await world.client.count_rows(["lead", "contact"])
