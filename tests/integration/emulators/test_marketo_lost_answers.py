"""Calls whose answer nobody gets, and calls that a test holds: Marketo carries them out all the same.

Adobe (leads.md): sync calls may take 90 s, and closely timed upserts of one key may create duplicates. An executing
call occupies one of the ten places until it has ended (marketo.md 2).
"""

import asyncio
from typing import Any

import httpx
import pytest

from emulators.marketo.harness import Marketo
from tests.support.marketo_simulator import records

PERSON = [{"externalPersonId": "p"}]
BY_PERSON = {"lookupField": "externalPersonId"}
LEADS = "/rest/v1/leads.json"


async def held(marketo: Marketo, gate: str = "call", count: int = 1) -> None:
    (await marketo.control.get(f"/gates/{gate}/held", params={"count": count}, timeout=30)).raise_for_status()


async def let_go(marketo: Marketo, gate: str = "call", count: int = 1) -> None:
    (await marketo.control.post(f"/gates/{gate}/open")).raise_for_status()
    (await marketo.control.get(f"/gates/{gate}/passed", params={"count": count}, timeout=30)).raise_for_status()


async def executing(marketo: Marketo) -> int:
    return int((await marketo.control.get("/limits")).json()["executing"])


async def lose_an_answer(marketo: Marketo) -> None:
    """A call whose connection breaks, and which a gate holds in Marketo."""
    await marketo.fault("hold", gate="call", path=LEADS)
    await marketo.fault("reset", when="during", path=LEADS)
    with pytest.raises(httpx.TransportError):
        await marketo.sync("leads", PERSON, **BY_PERSON)


@pytest.mark.parametrize("lost", [{"kind": "reset"}, {"kind": "status", "status": 504}, {"kind": "malformed"}])
async def test_a_call_whose_answer_is_lost_is_carried_out_later(marketo: Marketo, lost: dict[str, Any]) -> None:
    await marketo.fault("hold", gate="call", path=LEADS)
    await marketo.fault(lost.pop("kind"), when="during", path=LEADS, **lost)
    request = marketo.rest.post(LEADS, json={**BY_PERSON, "input": PERSON})
    try:
        assert (await request).status_code in {200, 504}
    except httpx.TransportError:
        assert not lost
    await held(marketo)
    assert (len(await records(marketo)), await executing(marketo)) == (0, 1)
    await let_go(marketo)
    assert (len(await records(marketo)), await executing(marketo)) == (1, 0)


async def test_who_sends_again_too_early_creates_the_person_twice(marketo: Marketo) -> None:
    await lose_an_answer(marketo)
    await held(marketo)
    query = {"filterType": "externalPersonId", "filterValues": "p"}
    assert (await marketo.get("leads", **query))["result"] == []
    assert (await marketo.sync("leads", PERSON, **BY_PERSON))["result"][0]["status"] == "created"
    await let_go(marketo)
    assert len(await records(marketo)) == 2
    duplicates = (await marketo.control.get("/stats")).json()["duplicates"]["leads"]
    assert duplicates["externalPersonId"] == {"p": 2}


async def test_who_waits_for_the_first_call_finds_the_person(marketo: Marketo) -> None:
    await lose_an_answer(marketo)
    await let_go(marketo)
    assert (await marketo.sync("leads", PERSON, **BY_PERSON))["result"][0]["status"] == "updated"
    assert len(await records(marketo)) == 1


async def test_a_client_that_gives_up_does_not_end_the_call_which_keeps_its_place(marketo: Marketo) -> None:
    await marketo.control.post("/limits", json={"concurrency": 1})
    await marketo.fault("hold", gate="call", path=LEADS)
    impatient = asyncio.ensure_future(marketo.rest.post(LEADS, json={**BY_PERSON, "input": PERSON}))
    await held(marketo)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    assert (len(await records(marketo)), await executing(marketo)) == (0, 1)
    assert (await marketo.get("leads/describe"))["errors"][0]["code"] == "615"
    await let_go(marketo)
    assert len(await records(marketo)) == 1


@pytest.mark.parametrize(("when", "before"), [("before", 0), ("during", 0), ("after", 1)])
async def test_a_call_is_held_before_during_or_after_its_work(marketo: Marketo, when: str, before: int) -> None:
    await marketo.fault("hold", gate="call", when=when, path=LEADS, verb="POST")
    call = asyncio.ensure_future(marketo.sync("leads", PERSON, **BY_PERSON))
    await held(marketo)
    assert (len(await records(marketo)), call.done()) == (before, False)
    await let_go(marketo)
    assert (await call)["result"][0]["status"] == "created"
    assert len(await records(marketo)) == 1


async def test_a_gate_that_is_open_holds_nobody_until_it_is_shut(marketo: Marketo) -> None:
    await marketo.fault("hold", gate="call", path=LEADS, count=None)
    await marketo.control.post("/gates/call/open")
    assert (await marketo.sync("leads", PERSON, **BY_PERSON))["success"]
    await marketo.control.post("/gates/call/shut")
    calls = [asyncio.ensure_future(marketo.sync("leads", PERSON, **BY_PERSON)) for _ in range(2)]
    await held(marketo, count=2)
    assert (await marketo.control.get("/gates")).json() == {"call": {"open": False, "held": 2, "passed": 1}}
    await let_go(marketo, count=3)
    assert [(await call)["result"][0]["status"] for call in calls] == ["updated", "updated"]


async def test_dropping_all_faults_opens_the_gates(marketo: Marketo) -> None:
    await marketo.fault("hold", gate="call", path=LEADS, count=None)
    call = asyncio.ensure_future(marketo.sync("leads", PERSON, **BY_PERSON))
    await held(marketo)
    await marketo.control.delete("/faults")
    assert (await call)["success"]
    assert (await marketo.control.get("/gates")).json() == {}
    assert (await marketo.sync("leads", PERSON, **BY_PERSON))["success"]
