"""The faults and the control API of the Marketo simulator."""

import asyncio
import contextlib
import json
from typing import Any

import httpx
import pytest

from emulators.marketo.harness import Marketo
from emulators.waiting import eventually
from tests.support.marketo_simulator import records

PERSON = [{"externalPersonId": "p"}]
BY_PERSON = {"lookupField": "externalPersonId"}


async def test_a_response_level_code_strikes_as_often_as_asked(marketo: Marketo) -> None:
    await marketo.fault("code", code="713", path="/rest/v1/leads.json", verb="POST", count=2)
    assert (await marketo.get("leads", filterType="email", filterValues="a@x.example"))["success"]
    answers = [await marketo.sync("leads", PERSON, **BY_PERSON) for _ in range(3)]
    assert [answer["success"] for answer in answers] == [False, False, True]
    assert answers[0]["errors"] == [{"code": "713", "message": "Transient Error"}]
    assert len(await records(marketo)) == 1


async def test_an_http_status_after_the_write_was_applied(marketo: Marketo) -> None:
    await marketo.fault("status", status=502, when="after")
    response = await marketo.rest.post("/rest/v1/leads.json", json={**BY_PERSON, "input": PERSON})
    assert response.status_code == 502
    assert len(await records(marketo)) == 1


@pytest.mark.parametrize(("when", "stored"), [("before", 0), ("after", 1)])
async def test_a_connection_reset(marketo: Marketo, when: str, stored: int) -> None:
    await marketo.fault("reset", when=when)
    with pytest.raises(httpx.TransportError):
        await marketo.sync("leads", PERSON, **BY_PERSON)
    assert len(await records(marketo)) == stored
    assert (await marketo.sync("leads", PERSON, **BY_PERSON))["success"]
    calls = (await marketo.control.get("/stats")).json()["calls"]
    assert calls["/rest/v1/leads.json"]["POST"] == {"ok": 1, "reset": 1}


async def test_an_answer_that_does_not_come(marketo: Marketo) -> None:
    await marketo.fault("hang", when="after", seconds=30)
    call = asyncio.create_task(marketo.sync("leads", PERSON, **BY_PERSON))
    await eventually(lambda: records(marketo), what="the lead")
    assert not call.done()
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await call


async def test_an_answer_that_is_not_json(marketo: Marketo) -> None:
    await marketo.fault("malformed")
    response = await marketo.rest.get("/rest/v1/stats/usage.json")
    assert response.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        response.json()


async def test_a_record_fault_and_a_poison_record(marketo: Marketo) -> None:
    people = [{"externalPersonId": key} for key in ("p", "q")]
    await marketo.fault("record", code="1014", field="externalPersonId", value="q")
    result = (await marketo.sync("leads", people, **BY_PERSON))["result"]
    assert result[0]["status"] == "created"
    assert result[1] == {"status": "skipped", "reasons": [{"code": "1014", "message": "Failed to create object"}]}
    await marketo.fault("poison", field="externalPersonId", value="q", count=None)
    for _ in range(2):
        assert (await marketo.sync("leads", people, **BY_PERSON))["errors"][0]["code"] == "611"
    assert (await marketo.sync("leads", people[:1], **BY_PERSON))["success"]
    await marketo.control.delete("/faults")
    assert (await marketo.sync("leads", people, **BY_PERSON))["success"]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/switches", {"missing_company": "perhaps"}), ("/switches", {"no_such_switch": True}),
        ("/switches", {"msi_non_native": "yes"}), ("/faults", {"kind": "flood"}),
        ("/faults", {"kind": "code", "colour": "red"}), ("/faults", {"kind": "answer", "when": "before"}),
        ("/faults", {"kind": "hold"}), ("/faults", {"kind": "code", "when": "never"}),
        ("/seed", {"leads": [{"noSuchField": 1}]}), ("/activities", {"leadId": 9, "activityTypeId": 46}),
    ],
)  # fmt: skip
async def test_control_explains_what_it_refuses(marketo: Marketo, path: str, content: dict[str, Any]) -> None:
    response = await marketo.control.post(path, json=content)
    assert response.status_code == 400
    assert response.json()["error"]
    assert (await marketo.control.get("/faults")).json() == []


async def test_statistics(marketo: Marketo) -> None:
    await marketo.sync("leads", [*PERSON, {"externalPersonId": "q", "noSuch": 1}], **BY_PERSON)
    await marketo.sync("leads", PERSON, **BY_PERSON)
    await marketo.get("nothing")
    stats = (await marketo.control.get("/stats")).json()
    assert stats["records"]["leads"] == {"received": 3, "created": 1, "updated": 1, "skipped": 1}
    assert stats["calls"]["/rest/v1/leads.json"] == {"POST": {"ok": 2}}
    assert stats["calls"]["/rest/v1/nothing.json"] == {"GET": {"610": 1}}
    assert stats["calls_total"] == stats["counted_today"] == stats["max_calls_in_20s"] == 3
    assert (stats["identity_calls"], stats["peak_concurrency"]) == (1, 1)
    await marketo.control.post("/stats/reset")
    stats = (await marketo.control.get("/stats")).json()
    assert (stats["calls_total"], stats["counted_today"], stats["stored"]["leads"]) == (0, 0, 1)


async def test_changing_records_and_clearing(marketo: Marketo) -> None:
    await marketo.sync("leads", PERSON, **BY_PERSON)
    change = [{"externalPersonId": "p", "priority": 5, "relativeUrgency": 3}]
    response = await marketo.control.request("PATCH", "/records/leads", json=change)
    assert response.json() == {"changed": 2}
    query = {"filterType": "externalPersonId", "filterValues": "p", "fields": "priority,relativeUrgency"}
    assert (await marketo.get("leads", **query))["result"] == [{"priority": 5, "relativeUrgency": 3}]
    await marketo.control.post("/clear")
    assert (await marketo.get("leads", **query))["result"] == []
