"""Dataverse's Web API client against a small app behind a mock transport."""

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from shared.codes import Kind
from shared.dataverse.client import DataverseClient
from shared.errors import DataverseError, SignInError

URL = "https://contoso.crm4.dynamics.com"
API = "/api/data/v9.2"
FAR = 10_000.0
IDS = [f"4c8e7d15-2052-ef11-a316-{n:012d}" for n in range(300)]

Reply = httpx.Response | Exception


def page(rows: Sequence[dict[str, Any]], **more: Any) -> httpx.Response:
    return httpx.Response(200, json={"value": rows} | more)


def refusal(status: int, code: str = "", message: str = "", **headers: str) -> httpx.Response:
    error = {"error": {"code": code, "message": message}}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, json=error, headers=named)


class World:
    """A Dataverse that gives the prepared replies in turn, and a sign-in that gives a new token after each refusal."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.requests: list[httpx.Request] = []
        self.refused: list[str] = []
        self.now = 0.0
        self.slept: list[float] = []
        http = httpx.AsyncClient(base_url=URL, transport=httpx.MockTransport(self._app))
        auth: Any = self
        self.client = DataverseClient(http, auth, clock=lambda: self.now, sleep=self._sleep)

    def _app(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def token(self) -> str:
        return f"token-{len(self.refused) + 1}"

    def refuse(self, token: str) -> None:
        self.refused.append(token)

    async def rows(self, ids: Sequence[str] = ("a",), *, deadline: float = FAR) -> dict[str, Any]:
        return await self.client.rows("contacts", "contactid", ids, ["firstname"], deadline=deadline)

    async def error(self, *, deadline: float = FAR) -> DataverseError:
        with pytest.raises(DataverseError) as refused:
            await self.rows(deadline=deadline)
        return refused.value


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
    assert await world.client.all_rows("connectionroles", ["name"]) == [{"name": "A"}, {"name": "B"}]
    assert str(world.requests[1].url) == link


async def test_throttling_is_waited_out_as_dataverse_says() -> None:
    world = World(refusal(429, "0x80072322", Retry_After="17"), refusal(429, "0x80072321", Retry_After="3.5"), page([]))
    assert await world.rows() == {}
    assert world.slept == [17.0, 3.5]


@pytest.mark.parametrize("headers", [{}, {"Retry_After": "Wed, 21 Oct 2026 07:28:00 GMT"}, {"Retry_After": "0"}])
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
        (httpx.Response(404, text="not JSON"), "HTTP 404", Kind.GONE),
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


async def test_a_refused_sign_in_is_not_tried_again_and_costs_no_request() -> None:
    world = World()

    async def refuse() -> str:
        raise SignInError("AADSTS50126", "check user name and password")

    world.token = refuse  # type: ignore[method-assign]  # Entra refuses the password
    with pytest.raises(SignInError):
        await world.rows()
    assert world.requests == []


async def test_the_organisation_is_told_in_lower_case() -> None:
    world = World(httpx.Response(200, json={"OrganizationId": "AA55BB66-0000-4000-8000-00000000000A"}))
    assert await world.client.organization_id() == "aa55bb66-0000-4000-8000-00000000000a"
    assert world.requests[0].url.path == f"{API}/WhoAmI"


def option(value: int, user: str | None, **languages: str) -> dict[str, Any]:
    localized = [{"Label": label, "LanguageCode": int(name[1:])} for name, label in languages.items()]
    label = {"LocalizedLabels": localized, "UserLocalizedLabel": {"Label": user} if user else None}
    return {"Value": value, "Label": label}


def attributes(**options: list[dict[str, Any]]) -> httpx.Response:
    return page([{"LogicalName": name, "OptionSet": {"Options": given}} for name, given in options.items()])


async def test_labels_are_of_the_language_asked_for_else_of_any_that_has_one() -> None:
    options = [
        option(1, "Benutzer", _1033="English", _1031="Deutsch"),
        option(2, "Benutzer", _1031="Deutsch"),
        option(3, None, _1036="Français"),
        option(4, None),
    ]
    world = World(attributes(industrycode=options, other=options))
    assert await world.client.labels("account", frozenset({"industrycode"}), 1033) == {
        "industrycode": {1: "English", 2: "Benutzer", 3: "Français", 4: ""}
    }
    assert len(world.requests) == 1


async def test_labels_are_looked_for_in_each_kind_of_choice_until_all_are_found() -> None:
    shared = {"LogicalName": "rating", "OptionSet": None, "GlobalOptionSet": {"Options": [option(1, "Hot")]}}
    world = World(page([shared]), page([]), attributes(statuscode=[option(3, "Won")]))
    found = await world.client.labels("lead", frozenset({"rating", "statuscode"}), 1033)
    assert found == {"rating": {1: "Hot"}, "statuscode": {3: "Won"}}
    kinds = [request.url.path.rpartition(".")[2] for request in world.requests]
    assert kinds == ["PicklistAttributeMetadata", "StateAttributeMetadata", "StatusAttributeMetadata"]
    assert all("EntityDefinitions(LogicalName='lead')" in request.url.path for request in world.requests)


async def test_the_two_labels_of_a_yes_or_no_are_read_as_of_a_choice() -> None:
    switch = {"TrueOption": option(1, None, _1033="Yes", _1031="Ja"), "FalseOption": option(0, None, _1033="No")}
    world = World(*[page([])] * 4, page([{"LogicalName": "creditonhold", "OptionSet": switch}]))
    found = await world.client.labels("account", frozenset({"creditonhold"}), 1031)
    assert found == {"creditonhold": {1: "Ja", 0: "No"}}
    last = world.requests[-1]
    assert last.url.path.endswith("/Microsoft.Dynamics.CRM.BooleanAttributeMetadata")
    assert parse_qs(last.url.query.decode())["$expand"] == ["OptionSet($select=TrueOption,FalseOption)"]


async def test_a_column_without_choices_has_no_labels() -> None:
    world = World(*[page([])] * 5)
    assert await world.client.labels("account", frozenset({"name"}), 1033) == {}
    assert len(world.requests) == 5
