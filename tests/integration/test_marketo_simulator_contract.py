"""The rules of Adobe's own description of the REST API (swagger-mapi.json) for every endpoint that is used.

What of the description live traffic contradicts is not asked for: it calls errors, warnings and result required in
every answer, and recorded answers have only those that apply.
"""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from emulators.marketo.harness import Marketo, running
from emulators.marketo.instance import Instance
from shared.marketo import answers

STATUSES = {"created", "updated", "deleted", "skipped", "added", "removed"}
KEYS: dict[str, dict[str, Any]] = {
    "leads": {"externalPersonId": "p"},
    "companies": {"externalCompanyId": "c"},
    "salespersons": {"externalSalesPersonId": "s"},
    "opportunities": {"externalOpportunityId": "o"},
    "opportunities/roles": {"externalOpportunityId": "o", "leadId": 1001, "role": "Buyer"},
}
READS: dict[str, dict[str, Any]] = {
    "leads": {"filterType": "externalPersonId", "filterValues": "p"},
    "lead/1001": {},
    "companies": {"filterType": "externalCompanyId", "filterValues": "c"},
    "salespersons": {"filterType": "externalSalesPersonId", "filterValues": "s"},
    "opportunities": {"filterType": "externalOpportunityId", "filterValues": "o"},
    "opportunities/roles": {"filterType": "externalOpportunityId", "filterValues": "o"},
    **{f"{name}/describe": {} for name in KEYS},
    "leads/describe2": {},
    **{f"{name}/schema/fields": {} for name in ("leads", "companies", "opportunities")},
    "activities/pagingtoken": {"sinceDatetime": "2026-01-01T00:00:00Z"},
    "activities/types": {},
    "stats/usage": {},
    "stats/usage/last7days": {},
    "stats/errors": {},
    "stats/errors/last7days": {},
}


@pytest.fixture
async def marketo() -> AsyncIterator[Marketo]:
    """An instance with a record of each kind."""
    async with running(Instance()) as marketo:
        for name, key in KEYS.items():
            more = {"name": "Deal"} if name == "opportunities" else {}
            how = {"lookupField": "externalPersonId"} if name == "leads" else {}
            assert (await marketo.sync(name, [{**key, **more}], **how))["result"][0]["status"] == "created"
        yield marketo


def check(response: httpx.Response) -> dict[str, Any]:
    """The envelope of every answer: what the description requires, and what it gives a type."""
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith("application/json")
    answer = response.json()
    assert isinstance(answer["requestId"], str)
    assert type(answer["success"]) is bool
    assert type(answer.get("moreResult", False)) is bool
    assert isinstance(answer.get("nextPageToken", ""), str)
    assert isinstance(answer.get("result", []), list)
    assert all(isinstance(entry, dict) for entry in answer.get("result", []))
    assert ("errors" in answer) is not answer["success"]
    for reason in answer.get("errors", []):
        assert [type(reason[name]) for name in ("code", "message")] == [str, str]
    return dict(answer)


@pytest.mark.parametrize("path", READS)
async def test_every_read(marketo: Marketo, path: str) -> None:
    response = await marketo.rest.get(f"/rest/v1/{path}.json", params=READS[path])
    assert check(response)["success"]
    assert answers.content(response, frozenset, writing=False) == response.json()


@pytest.mark.parametrize("path", [path for path, params in READS.items() if params])
async def test_what_is_required_cannot_be_left_out(marketo: Marketo, path: str) -> None:
    for name in READS[path]:
        given = {other: value for other, value in READS[path].items() if other != name}
        answer = check(await marketo.rest.get(f"/rest/v1/{path}.json", params=given))
        assert answer["errors"][0]["code"] == "701"


@pytest.mark.parametrize("feed", ["activities", "activities/leadchanges", "activities/deletedleads"])
async def test_every_activity_has_what_the_description_requires(marketo: Marketo, feed: str) -> None:
    await marketo.sync("leads/delete", [{"id": 1001}])
    token = (await marketo.get("activities/pagingtoken", sinceDatetime="2020-01-01T00:00:00Z"))["nextPageToken"]
    params = {"nextPageToken": token, "activityTypeIds": "12", "fields": "email"}
    answer = check(await marketo.rest.get(f"/rest/v1/{feed}.json", params=params))
    assert answer["result"]
    for entry in answer["result"]:
        assert [type(entry[name]) for name in ("id", "leadId", "activityTypeId")] == [int] * 3
        assert (type(entry["activityDate"]), type(entry["attributes"])) == (str, list)


@pytest.mark.parametrize("name", KEYS)
async def test_every_write_and_every_deletion(marketo: Marketo, name: str) -> None:
    how = {"lookupField": "externalPersonId"} if name == "leads" else {}
    more = {"name": "Deal"} if name == "opportunities" else {}
    calls = [(name, [{**KEYS[name], **more}, {"noSuchField": 1}], how)]
    key = {"id": 1001} if name == "leads" else KEYS[name]
    missing = {field: 9 if type(value) is int else f"{value}9" for field, value in key.items()}
    calls += [(f"{name}/delete", [missing, key], {})]
    for path, records, options in calls:
        response = await marketo.rest.post(f"/rest/v1/{path}.json", json={**options, "input": records})
        result = check(response)["result"]
        assert len(result) == len(records)
        for place, entry in enumerate(result):
            assert entry["status"] in STATUSES
            assert entry.get("seq", place) == place
            assert ("seq" in entry) is (name != "leads")
            assert ("reasons" in entry) is (entry["status"] == "skipped")
            assert type(entry.get("id", 0)) is int
            for reason in entry.get("reasons", []):
                assert [type(reason[part]) for part in ("code", "message")] == [str, str]
        action = "delete" if path.endswith("delete") else "createOrUpdate"
        read = answers.results(response.json(), action, [b"{}"] * len(records))
        assert "UnknownResult" not in {one.code for one in read}


ODD: list[Any] = [
    {}, {"input": None}, {"input": {}}, {"input": ["p"]}, {"input": [{}], "action": ""},
    {"input": [{}], "action": "createOrDelete"}, {"input": [{}], "action": ["createOrUpdate"]},
    {"input": [{}], "dedupeBy": "", "lookupField": ""}, {"input": [{}], "dedupeBy": {}, "lookupField": 7},
    {"input": [{}] * 301}, [],
]  # fmt: skip


@pytest.mark.parametrize("name", KEYS)
async def test_a_call_of_another_shape_is_refused_as_a_whole(marketo: Marketo, name: str) -> None:
    for body in ODD:
        answer = check(await marketo.rest.post(f"/rest/v1/{name}.json", json=body))
        assert answer["errors"][0]["code"] in {"609", "701", "1001", "1003", "1006"}, body
        assert "result" not in answer


async def test_fields_have_a_description_and_their_flags(marketo: Marketo) -> None:
    for name in ("leads", "companies", "opportunities"):
        for field in (await marketo.get(f"{name}/schema/fields"))["result"]:
            texts = ("displayName", "name", "description", "dataType")
            flags = ("isHidden", "isHtmlEncodingInEmail", "isSensitive", "isCustom", "isApiCreated")
            assert [type(field[part]) for part in (*texts, *flags)] == [str] * 4 + [bool] * 5
