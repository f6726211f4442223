"""Answers that are not as Adobe documents them, refusals of a whole call for one record, and Retry-After."""

import json
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from emulators.marketo.harness import Marketo
from tests.support.marketo_simulator import records

PEOPLE = [{"externalPersonId": key, "title": f"T {key}"} for key in ("p", "q")]
BY_PERSON = {"lookupField": "externalPersonId"}
LEADS = "/rest/v1/leads.json"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"each": {"status": "queued"}}, [{"status": "queued"}, {"status": "queued"}]),
        (
            {"each": {"status": "queued"}, "field": "externalPersonId", "value": "q"},
            [{"status": "created"}, {"status": "queued"}],
        ),
        ({"each": {"status": None}}, [{}, {}]),
        ({"results": 1}, [{"status": "created"}]),
        ({"results": 0}, []),
        ({"results": 3}, [{"status": "created"}, {"status": "created"}, {}]),
    ],
)
async def test_undocumented_results(marketo: Marketo, fault: dict[str, Any], expected: list[dict[str, Any]]) -> None:
    await marketo.fault("answer", path=LEADS, **fault)
    result = (await marketo.sync("leads", PEOPLE, **BY_PERSON))["result"]
    assert [{name: v for name, v in entry.items() if name == "status"} for entry in result] == expected
    assert [each["externalPersonId"] for each in await records(marketo)] == ["p", "q"]
    assert (await marketo.sync("leads", PEOPLE, **BY_PERSON))["result"][0]["status"] == "updated"


async def test_errors_that_are_an_object(marketo: Marketo) -> None:
    answer = {"success": False, "result": None, "errors": {"code": "1003", "message": "no"}}
    await marketo.fault("answer", path=LEADS, answer=answer)
    found = await marketo.sync("leads", PEOPLE, **BY_PERSON)
    assert (found["success"], found["errors"], "result" in found) == (False, {"code": "1003", "message": "no"}, False)


@pytest.mark.parametrize("body", ["[]", "null", "true", '{"success": true', ""])
async def test_a_200_of_another_shape(marketo: Marketo, body: str) -> None:
    await marketo.fault("answer", path=LEADS, body=body)
    response = await marketo.rest.post(LEADS, json={**BY_PERSON, "input": PEOPLE})
    assert (response.status_code, response.text) == (200, body)


@pytest.mark.parametrize("code", ["1003", "609", "611"])
async def test_one_record_makes_the_whole_call_fail(marketo: Marketo, code: str) -> None:
    await marketo.fault("poison", code=code, field="title", contains="T q", count=None)
    assert (await marketo.sync("leads", PEOPLE, **BY_PERSON))["errors"][0]["code"] == code
    assert [each["externalPersonId"] for each in await records(marketo)] == []
    assert (await marketo.sync("leads", PEOPLE[:1], **BY_PERSON))["success"]
    assert (await marketo.sync("leads", PEOPLE[1:], **BY_PERSON))["errors"][0]["code"] == code


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "poison", "status": 400, "field": "externalPersonId", "value": "q"},
        {"kind": "status", "status": 403, "contains": '"q"'},
    ],
)
async def test_a_gateway_refuses_a_body_because_of_one_record(marketo: Marketo, fault: dict[str, Any]) -> None:
    await marketo.fault(**fault, count=None)
    post = [await marketo.rest.post(LEADS, json={**BY_PERSON, "input": people}) for people in (PEOPLE, PEOPLE[:1])]
    assert [response.status_code for response in post] == [fault["status"], 200]
    with pytest.raises(json.JSONDecodeError):
        post[0].json()
    assert [each["externalPersonId"] for each in await records(marketo)] == ["p"]


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_in_both_forms_of_the_rfc(marketo: Marketo, status: int) -> None:
    """RFC 9110, 10.2.3: a number of seconds, or a date."""
    await marketo.fault("status", status=status, retry_after=17)
    await marketo.fault("status", status=status, retry_after=17, as_date=True)
    await marketo.fault("status", status=status, retry_after="soon")
    usage = "/rest/v1/stats/usage.json"
    headers = [(await marketo.rest.get(usage)).headers for _ in range(3)]
    assert headers[0]["Retry-After"] == "17"
    ahead = parsedate_to_datetime(headers[1]["Retry-After"]) - parsedate_to_datetime(headers[1]["Date"])
    assert 16 <= ahead.total_seconds() <= 17
    assert headers[2]["Retry-After"] == "soon"
    assert "Retry-After" not in (await marketo.rest.get(usage)).headers
