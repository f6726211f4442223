"""Lost answers, culprits and refused values at Marketo: each record once, its neighbours at once, and all of it seen.

The app waits MARKETO_LONGEST_CALL_SECONDS (here 3 s) before it sends again what Marketo may be at work on.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest

from local.harness import Made, System, eventually
from local.harness.showing import show, way_to
from tests.e2e.conftest import persons

LEADS = "/rest/v1/leads.json"


async def struck(system: System) -> None:
    """Wait until all faults have struck."""
    await eventually(lambda: system.marketo("/faults"), lambda faults: not faults, what="the fault")


async def synced(system: System, *made: Made, seconds: float = 60.0) -> None:
    """Wait for them; what is to be tried later comes at once, even before it may be sent."""
    arrived = asyncio.create_task(system.synced(*made, seconds=seconds))
    try:
        while not arrived.done():
            await system.broker.hurry(system.broker.queue("person"))
            await asyncio.wait({arrived}, timeout=0.5)
        await arrived
    finally:
        arrived.cancel()
        with suppress(asyncio.CancelledError):
            await arrived


async def each_once(system: System, made: list[Made]) -> None:
    stored = Counter(record.get("externalPersonId") for record in await system.marketo("/records/leads"))
    assert {row.id: stored[row.id] for row in made} == dict.fromkeys((row.id for row in made), 1)


async def upserts(system: System) -> int:
    stats = await system.marketo("/stats")
    return int(sum(stats["calls"].get(LEADS, {}).get("POST", {}).values()))


async def test_a_creating_call_whose_answer_is_lost_creates_everybody_once(system: System) -> None:
    made = await persons(system, 20)
    await system.marketo("/switches", {"write_latency_ms": 1000})  # no gate: it must end within the 3 s, on any machine
    await system.fault("reset", path=LEADS, verb="POST", when="during")
    await system.notify(*made)
    await struck(system)
    await synced(system, *made)
    await each_once(system, made)
    assert not await system.broker.dead_letters()


@pytest.mark.parametrize(
    "fault",
    [{"code": "1003"}, {"status": 400}],
    ids=["1003", "HTTP 400"],
)
async def test_one_of_twelve_that_spoils_every_call_is_one_dead_letter(system: System, fault: dict[str, Any]) -> None:
    *good, culprit = await persons(system, 12)
    before = await upserts(system)
    await system.fault("poison", path=LEADS, field="externalPersonId", value=culprit.id, count=None, **fault)
    await system.notify(*good, culprit)
    await synced(system, *good)
    letter = await system.broker.dead_letter_of(culprit.id)
    assert letter.code in {str(fault.get("code")), f"HTTP {fault.get('status')}"}
    assert letter.properties["system"] == "marketo"
    assert len(await system.broker.dead_letters()) == 1
    assert await upserts(system) - before <= 1 + 12


async def test_one_of_twelve_whose_call_is_never_answered_does_not_hold_the_others(system: System) -> None:
    *good, culprit = await persons(system, 12)
    before = await upserts(system)
    await system.fault("poison", path=LEADS, field="externalPersonId", value=culprit.id, count=None, status=500)
    await system.notify(*good, culprit)
    await synced(system, *good)
    assert await upserts(system) - before <= 1 + 14
    assert await system.record(culprit) is None


async def test_a_value_that_marketo_refuses_is_told_by_show_with_the_field_and_its_kind(system: System) -> None:
    (person,) = await persons(system, 1)
    await system.fault(
        "record", path=LEADS, field="email", value=person.values["emailaddress1"], code="1003", count=None,
        message=f"Invalid value for field 'email' and value '{person.values['emailaddress1']}'",
    )  # fmt: skip
    await system.notify(person)
    await system.synced(person)
    await system.broker.idle()
    with way_to(system):
        shown = await show(system, person.id)
    assert shown.code == "FieldsLeftOut"
    assert "email" in shown.sentence
    assert "an e-mail address of" in shown.sentence
    assert person.values["emailaddress1"] not in shown.sentence
    await system.forget_faults()
    await system.notify(person)
    await system.changed(person, email=person.values["emailaddress1"])
    await system.broker.idle()
    with way_to(system):
        assert (await show(system, person.id)).code == "Synced"
