"""Answers of Marketo's that are not as documented: never success, and never in the way of other records."""

from typing import Any

from local.harness import DeadLetter, System, eventually
from tests.e2e.conftest import persons

LEADS = "/rest/v1/leads.json"


async def letters(system: System) -> list[DeadLetter]:
    """Look at the dead letters, and let what waits for its next try come at once."""
    await system.broker.hurry(system.broker.queue("person"))
    return list(await system.broker.dead_letters())


async def test_a_record_whose_status_nobody_knows_is_a_dead_letter_in_the_end(system: System) -> None:
    *good, odd = await persons(system)
    fault: dict[str, Any] = {"field": "externalPersonId", "value": odd.id, "each": {"status": "queued"}}
    await system.fault("answer", path=LEADS, verb="POST", count=None, **fault)
    await system.notify(*good, odd)
    (letter,) = await eventually(lambda: letters(system), bool, seconds=40, what="the dead letter")
    assert (letter.properties["record_id"], letter.code) == (odd.id, "UnknownResult")
    assert "queued" in letter.properties["message"]
    await system.synced(*good)
    assert len(await letters(system)) == 1


UNREADABLE: tuple[dict[str, Any], ...] = (
    {"results": 5},  # fewer than were asked for
    {"results": 40},
    {"answer": {"success": False, "result": None, "errors": {"code": "1003", "message": "no"}}},
    {"answer": {"success": None}},
    {"body": "[]"},
)


async def test_answers_that_nobody_can_read_lose_and_double_nothing(system: System) -> None:
    """One after the other, each in answer to another try."""
    made = await persons(system)
    for fault in UNREADABLE:
        await system.fault("answer", path=LEADS, verb="POST", **fault)
    await system.notify(*made)

    async def look() -> list[dict[str, Any]]:
        assert not await letters(system)
        return list(await system.marketo("/faults"))

    await eventually(look, lambda left: not left, seconds=30, what="all faults to strike")
    for row in made:
        row.values["jobtitle"] = "Changed"
    await system.dataverse("/seed", {"contact": [row.row() for row in made]})
    await system.notify(*made)
    for row in made:
        await system.changed(row, title="Changed")
    assert len(await system.records("contact", of=made)) == len(made)
    assert not await letters(system)
