"""Marketo's client and sign-in against a small app behind a mock transport: what is sent, and what answers mean."""

import json
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from shared.marketo.answers import Result
from shared.marketo.client import NOBODY, Write
from shared.marketo.fields import MarketoField
from shared.model.codes import Kind
from shared.model.errors import MarketoError
from tests.support.marketo import COMPANY, FAR, PERSON, ROLE, World, ok, refusal
from tests.support.replies import Reply


@pytest.mark.parametrize(
    ("entity", "path", "how"),
    [
        (PERSON, "/rest/v1/leads.json", {"lookupField": "externalPersonId"}),
        (COMPANY, "/rest/v1/companies.json", {"dedupeBy": "dedupeFields"}),
        (ROLE, "/rest/v1/opportunities/roles.json", {"dedupeBy": "dedupeFields"}),
    ],
)
async def test_an_upsert_is_the_call_that_marketo_documents(entity: Any, path: str, how: dict[str, str]) -> None:
    world = World(ok([{"status": "created"}, {"status": "updated"}]))
    bodies = ['{"a":"é"}'.encode(), b'{"a":null}']
    await world.client.write(entity, bodies, Write.UPSERT, deadline=FAR, begin=world.begin)
    (request,) = world.requests
    assert (request.method, request.url.path, request.url.query) == ("POST", path, b"")
    assert json.loads(request.content) == {"action": "createOrUpdate", **how, "input": [{"a": "é"}, {"a": None}]}
    assert request.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("entity", "path", "how", "body"),
    [
        (PERSON, "/rest/v1/leads/delete.json", {}, b'{"id":7}'),
        (COMPANY, "/rest/v1/companies/delete.json", {"deleteBy": "dedupeFields"}, b'{"externalCompanyId":"a"}'),
        (ROLE, "/rest/v1/opportunities/roles/delete.json", {"deleteBy": "dedupeFields"}, b'{"leadId":7}'),
    ],
)
async def test_a_delete_is_as_marketo_documents_it(entity: Any, path: str, how: dict[str, str], body: bytes) -> None:
    gone = {"status": "skipped", "reasons": [{"code": "1013", "message": "Record not found"}]}
    world = World(ok([{"id": 7, "status": "deleted"}, gone]))
    found = await world.client.write(entity, [body, body], Write.DELETE, deadline=FAR, begin=world.begin)
    assert [(each.status, each.id, each.code) for each in found] == [("deleted", 7, ""), ("skipped", 0, "1013")]
    (request,) = world.requests
    assert (request.method, request.url.path, request.url.query) == ("POST", path, b"")
    assert json.loads(request.content) == {**how, "input": [json.loads(body)] * 2}
    assert world.begun == 1


async def test_a_delete_whose_answer_is_lost_is_not_sent_again() -> None:
    """It may be at work: until it must have ended, the key belongs to it."""
    world = World(httpx.ReadTimeout("late"), ok([{"status": "deleted"}]))
    with pytest.raises(MarketoError) as lost:
        await world.client.write(COMPANY, [b"{}"], Write.DELETE, deadline=FAR, begin=world.begin)
    assert lost.value.at_work
    assert len(world.requests) == 1


async def test_an_update_by_another_field_creates_nothing() -> None:
    world = World(ok([{"id": 7, "status": "updated"}]))
    await world.client.write(PERSON, [b'{"id":7}'], Write.BY_ID, deadline=FAR, begin=world.begin)
    expected = {"action": "updateOnly", "lookupField": "id", "input": [{"id": 7}]}
    assert json.loads(world.requests[0].content) == expected


async def test_persons_are_created_in_the_partition_of_sync_toml_and_updates_do_not_name_it() -> None:
    world = World(ok([{"id": 7, "status": "created"}]), ok([{"id": 7, "status": "updated"}]))
    world.client.partition = "Germany"
    for write in (Write.UPSERT, Write.UPDATE):
        await world.client.write(PERSON, [b"{}"], write, deadline=FAR, begin=world.begin)
    assert [json.loads(each.content).get("partitionName") for each in world.requests] == ["Germany", None]


async def test_a_merge_names_winner_and_losers_and_has_a_content_type_though_it_is_empty() -> None:
    world = World(ok())
    await world.client.merge(7, [8, 9], deadline=FAR, begin=world.begin)
    (request,) = world.requests
    assert (request.method, request.url.path) == ("POST", "/rest/v1/leads/7/merge.json")
    assert request.url.params["leadIds"] == "8,9"
    assert (request.headers["Content-Type"], request.content, world.begun) == ("application/json", b"", 1)


async def test_a_merge_that_marketo_refuses_keeps_its_code() -> None:
    with pytest.raises(MarketoError) as refused:
        await (world := World(refusal("1004", "Lead '8' not found"))).client.merge(
            7, [8], deadline=FAR, begin=world.begin
        )
    assert refused.value.code == "1004"


@pytest.mark.parametrize("status", [429, 503])
async def test_the_time_that_a_gateway_asks_for_is_waited_in_any_form_and_bounded(status: int) -> None:
    date = {"Date": "Wed, 21 Oct 2026 07:28:00 GMT"}
    replies = [{"Retry-After": "33"}, {**date, "Retry-After": "Wed, 21 Oct 2026 07:28:27 GMT"}]
    world = World(*[httpx.Response(status, headers=headers) for headers in replies], ok())
    assert await world.client.find(PERSON, ["a"]) == {}
    assert world.slept == [33.0, 27.0]
    assert world.closed == ([33.0, 27.0] if status == 429 else [])
    with pytest.raises(MarketoError) as refused:
        await World(httpx.Response(status, headers={"Retry-After": "86400"})).client.find(PERSON, ["a"])
    assert refused.value.retry_after == 900.0


async def test_300_keys_are_looked_up_by_a_form_that_needs_no_long_url() -> None:
    keys = [f"4c8e7d15-2052-ef11-a316-{n:012d}" for n in range(300)]
    world = World(ok([{"id": n, "externalPersonId": key.upper()} for n, key in enumerate(keys, 1)]))
    found = await world.client.find(PERSON, keys)
    assert found == {key: n for n, key in enumerate(keys, 1)}
    (request,) = world.requests
    assert (request.method, str(request.url)) == (
        "POST",
        "https://123-abc-456.mktorest.com/rest/v1/leads.json?_method=GET",
    )
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    form = parse_qs(request.content.decode())
    assert form["filterType"] == ["externalPersonId"]
    assert form["filterValues"] == [",".join(keys)]
    assert form["fields"] == ["id,externalPersonId"]


async def test_more_keys_are_looked_up_300_at_a_time() -> None:
    keys = [str(n) for n in range(1, 302)]
    found = [[{"id": n, "externalPersonId": str(n)} for n in part] for part in (range(1, 301), [301])]
    world = World(*map(ok, found))
    assert await world.client.find(PERSON, keys) == {key: int(key) for key in keys}
    values = [parse_qs(request.content.decode())["filterValues"][0].split(",") for request in world.requests]
    assert values == [keys[:300], keys[300:]]


async def test_objects_without_number_are_found_with_the_number_zero() -> None:
    world = World(ok([{"externalCompanyId": "a"}]))
    assert await world.client.find(COMPANY, ["a", "b"]) == {"a": 0}
    assert parse_qs(world.requests[0].content.decode())["fields"] == ["externalCompanyId"]


async def test_further_pages_are_read_with_their_token_until_one_is_empty() -> None:
    world = World(
        ok([{"id": 1, "externalPersonId": "a"}], nextPageToken="next", moreResult=True),
        ok([], nextPageToken="next again", moreResult=True),
    )
    assert await world.client.find(PERSON, ["a", "b"]) == {"a": 1}
    assert parse_qs(world.requests[1].content.decode())["nextPageToken"] == ["next"]
    assert parse_qs(world.requests[1].content.decode())["filterValues"] == ["a,b"]


async def test_no_page_is_read_after_the_last_one_or_once_all_are_found() -> None:
    for more in ({}, {"nextPageToken": "next", "moreResult": True}):
        world = World(ok([{"id": 1, "externalPersonId": "a"}, {"id": 2, "externalPersonId": "b"}], **more))
        assert await world.client.find(PERSON, ["a", "b"]) == {"a": 1, "b": 2}
        assert len(world.requests) == 1


async def test_of_two_records_with_one_key_the_older_is_meant() -> None:
    world = World(ok([{"id": 9, "externalPersonId": "a"}, {"id": 4, "externalPersonId": "A"}]))
    assert await world.client.find(PERSON, ["a"]) == {"a": 4}


async def test_no_data_found_is_an_empty_answer() -> None:
    assert await World(refusal("702", "No data found")).client.find(PERSON, ["a"]) == {}


async def test_describe_gives_types_and_lengths_and_believes_updateable_of_leads_only() -> None:
    """Of the other objects it means "not after creation" (marketo.md 4.6)."""
    fields = [
        {"name": "email", "displayName": "Email Address", "dataType": "email", "length": 255, "updateable": True},
        {"name": "createdAt", "displayName": "Created At", "dataType": "datetime", "updateable": False},
    ]
    searchable = [["email"], ["externalOpportunityId", "leadId"]]
    lead = {"name": "API Lead", "fields": fields, "searchableFields": searchable}
    world = World(ok([lead]), ok([{"name": "company", "fields": fields}]))
    email, created = MarketoField("email", 255, "Email Address"), MarketoField("datetime", None, "Created At")
    assert await world.client.describe(PERSON) == {
        "email": replace(email, searchable=True),
        "createdAt": replace(created, writable=False),
    }
    assert await world.client.describe(COMPANY) == {"email": email, "createdAt": created}
    assert [request.url.path for request in world.requests] == [
        "/rest/v1/leads/describe2.json",
        "/rest/v1/companies/describe.json",
    ]


async def test_a_lead_is_found_and_stored_by_the_field_that_holds_its_guid() -> None:
    world = World(ok([{"id": 7, "crmGuid": "A"}]), ok([{"status": "updated"}]), keys={"person": "crmGuid"})
    assert await world.client.find(PERSON, ["a"]) == {"a": 7}
    form = parse_qs(world.requests[0].content.decode())
    assert (form["filterType"], form["fields"]) == (["crmGuid"], ["id,crmGuid"])
    await world.client.write(PERSON, [b"{}"], Write.UPSERT, deadline=FAR, begin=world.begin)
    assert json.loads(world.requests[1].content)["lookupField"] == "crmGuid"
    assert (world.client.key_of(PERSON), world.client.key_of(COMPANY)) == ("crmGuid", "externalCompanyId")


async def test_records_are_read_by_any_field_with_all_that_have_the_value() -> None:
    both = [{"id": 1, "email": "a@b.com"}, {"id": 2, "email": "a@b.com"}]
    world = World(ok(both[:1], nextPageToken="next", moreResult=True), ok(both[1:], moreResult=False))
    assert await world.client.read(PERSON, "email", ["a@b.com"], ["id", "email"]) == both
    form = parse_qs(world.requests[1].content.decode())
    assert form["nextPageToken"] == ["next"]
    assert (form["filterType"], form["filterValues"], form["fields"]) == (["email"], ["a@b.com"], ["id,email"])


@pytest.mark.parametrize(
    ("entity", "how", "record"),
    [
        (PERSON, {"lookupField": "externalPersonId"}, {"externalPersonId": NOBODY}),
        (COMPANY, {"dedupeBy": "dedupeFields"}, {"externalCompanyId": NOBODY}),
        (ROLE, {"dedupeBy": "dedupeFields"}, {"externalOpportunityId": NOBODY, "leadId": 0, "role": NOBODY}),
    ],
)
async def test_the_write_probe_writes_nothing(entity: Any, how: dict[str, str], record: dict[str, Any]) -> None:
    world = World(ok([{"status": "skipped", "reasons": [{"code": "1004", "message": "Lead not found"}]}]))
    await world.client.probe_write(entity)
    assert json.loads(world.requests[0].content) == {"action": "updateOnly", **how, "input": [record]}


async def test_a_probe_tells_why_writing_is_refused() -> None:
    with pytest.raises(MarketoError, match="1018"):
        await World(refusal("1018", "CRM Enabled")).client.probe_write(COMPANY)


@pytest.mark.parametrize(
    ("code", "least", "most"), [("606", 20.0, 20.0), ("615", 0.2, 1.0)], ids=["rate", "concurrency"]
)
async def test_throttling_holds_every_sender_of_the_process(code: str, least: float, most: float) -> None:
    world = World(*[refusal(code)] * 5, ok([{"status": "created"}]))
    assert await world.upsert() == [Result("created")]
    assert len(world.closed) == 5
    assert all(least <= seconds <= most for seconds in world.closed)


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (refusal("611"), "611"), (refusal("500"), "500"), (refusal("608"), "608"), (refusal("713"), "713"),
        (httpx.ConnectError("down"), "Unreachable"), (httpx.ConnectTimeout("down"), "Unreachable"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
async def test_a_passing_trouble_is_tried_three_times_with_growing_pauses(reply: Reply, code: str) -> None:
    world = World(reply, reply, ok([{"status": "created"}]))
    assert await world.upsert() == [Result("created")]
    assert 1.0 <= world.slept[0] <= 2.0 <= world.slept[1] <= 4.0
    error = await World(*[reply] * 9).refused()
    assert error.code == code
    assert error.kind in (Kind.TRANSIENT, Kind.SPLIT)


LOST = [
    (refusal("502"), "502"), (refusal("604"), "604"), (httpx.Response(500), "HTTP 500"),
    (httpx.Response(502, text="<html>"), "HTTP 502"), (httpx.Response(503), "HTTP 503"),
    (httpx.Response(504), "HTTP 504"), (httpx.Response(524), "HTTP 524"), (httpx.Response(408), "HTTP 408"),
    (httpx.Response(200, text="<html>"), "UnknownAnswer"), (httpx.Response(200, json=[1]), "UnknownAnswer"),
    (httpx.ReadTimeout("slow"), "Unreachable"), (httpx.ReadError("reset"), "Unreachable"),
    (httpx.WriteError("reset"), "Unreachable"), (httpx.RemoteProtocolError("cut"), "Unreachable"),
]  # fmt: skip


@pytest.mark.parametrize(("reply", "code"), LOST)
async def test_a_write_that_marketo_may_still_be_at_work_on_is_not_sent_a_second_time(reply: Reply, code: str) -> None:
    world = World(reply, ok([{"status": "created"}]))
    error = await world.refused()
    assert (error.code, error.at_work) == (code, True)
    assert error.kind is (Kind.UNKNOWN if code == "UnknownAnswer" else Kind.TRANSIENT)
    assert len(world.requests) == 1


@pytest.mark.parametrize(("reply", "code"), LOST)
async def test_a_read_without_an_answer_is_tried_again(reply: Reply, code: str) -> None:
    assert code
    world = World(reply, reply, ok([{"id": 7, "externalPersonId": "A"}]))
    assert await world.client.find(PERSON, ["a"]) == {"a": 7}


async def test_a_write_begins_only_when_its_sender_may_still_send_after_all_waiting() -> None:
    world = World(refusal("606"), refusal("601"), ok([{"status": "created"}]))
    await world.upsert()
    assert world.begun == 3
    world = World(ok([{"status": "created"}]))
    world.stopped = MarketoError("Stop", "", kind=Kind.TRANSIENT)
    with pytest.raises(MarketoError, match="Stop"):
        await world.upsert()
    assert world.requests == []


@pytest.mark.parametrize(
    ("reply", "code", "kind"),
    [
        (refusal("607"), "607", Kind.DAILY), (refusal("603"), "603", Kind.CONFIGURATION),
        (refusal("610"), "610", Kind.CONFIGURATION), (refusal("718"), "718", Kind.MISSING_PARENT),
        (refusal("1003"), "1003", Kind.CONFIGURATION), (httpx.Response(413), "HTTP 413", Kind.SPLIT),
        (httpx.Response(414), "HTTP 414", Kind.SPLIT), (httpx.Response(404), "HTTP 404", Kind.CONFIGURATION),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
async def test_what_waiting_does_not_mend_is_not_tried_again(reply: Reply, code: str, kind: Kind) -> None:
    world = World(reply)
    error = await world.refused()
    assert (error.code, error.kind) == (code, kind)
    assert world.slept == []


async def test_an_error_tells_what_marketos_support_asks_for() -> None:
    error = await World(refusal("603", "Access denied")).refused()
    assert (error.message, error.request_id, error.system) == ("Access denied", "e42b#2", "marketo")


@pytest.mark.parametrize("code", ["606", "502"])
async def test_no_wait_goes_past_the_deadline(code: str) -> None:
    world = World(*[refusal(code)] * 50)
    error = await world.refused(deadline=45.0)
    assert error.code == code
    assert world.now < 45.0


@pytest.mark.parametrize("queue_seconds", [180.0, 500.0])
async def test_no_call_begins_past_its_deadline(queue_seconds: float) -> None:
    """It would still be running when the queue's lock is over, beside the next writer."""
    world = World()
    world.queue_seconds = queue_seconds
    error = await world.refused(deadline=180.0)
    assert (error.code, error.kind) == ("OutOfTime", Kind.THROTTLED)
    assert (world.requests, world.closed, world.slept) == ([], [], [])


async def test_a_call_may_begin_just_before_its_deadline() -> None:
    world = World(ok([{"status": "created"}]))
    world.queue_seconds = 179.0
    assert await world.upsert(deadline=180.0) == [Result("created")]
