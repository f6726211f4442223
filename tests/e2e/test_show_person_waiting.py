"""`msisync show person` when records lie in queues, and when parts of the system are away."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

from local.harness import Made, Rows, System
from local.harness.showing import run, show, show_all, way_to
from shared.model.record import Record, encode


@pytest.fixture(autouse=True)
def _network(system: System) -> Iterator[None]:
    with way_to(system):
        yield


@pytest.fixture
async def stopped(system: System) -> AsyncIterator[System]:
    """The system without its Functions host, which starts again in the end."""
    await system.stack.stop_functions()
    yield system
    if not system.stack.parts["functions-a"].running:
        await system.stack.start_functions()


async def test_what_waits_while_no_host_runs(stopped: System) -> None:
    system, rows = stopped, Rows()
    lead = rows.lead()
    await system.seed(rows)
    await show_what_cannot_be_looked_at(system, lead)
    others = [lead, rows.lead()]
    last = rows.lead()
    await system.seed(rows)
    await post_records(system, others[1])
    await post_records(system, last)
    await show_with_a_limit_of_messages(system, last)
    unread, hidden = rows.lead(), rows.lead()
    await system.save(rows, unread)
    await show_a_notification_that_nobody_has_taken(system, unread, hidden)
    await system.stack.start_functions()
    await system.synced(*others, last, unread)


async def show_what_cannot_be_looked_at(system: System, lead: Made) -> None:
    async with held_session(system):
        empty = await show(system, lead.id)
        await post_records(system, lead)
        busy = await show(system, lead.id)
    await system.broker.set_status("person", "ReceiveDisabled")
    try:
        disabled = await show(system, lead.id)
    finally:
        await system.broker.set_status("person", "Active")
    assert empty.code == "NotInMarketo"
    for shown, code, why in ((busy, "Queued", "working on it"), (disabled, "Paused", "persons is paused")):
        assert (shown.exit, shown.code) == (1, code), (shown.sentence, shown.data["not_looked_at"])
        assert why in shown.sentence
        (unseen,) = [each for each in shown.data["not_looked_at"] if each["queue"] == "persons"]
        assert (unseen["active"], unseen["scheduled"]) == (1, 0)
    assert disabled.data["verdict"]["remedy"] == "msisync resume person"


async def show_with_a_limit_of_messages(system: System, last: Made) -> None:
    short, whole = await show(system, last.id, "--max-messages", "1"), await show(system, last.id)
    assert (short.code, short.data["looked_at"]["persons"]) == ("Queued", 1)
    assert "may be among the 3 messages of persons" in short.sentence
    assert (whole.exit, whole.code, whole.person["subject"]["waiting"][0]["queue"]) == (1, "Queued", "persons")
    assert any(each["queue"] == "persons" and "--max-messages" in each["why"] for each in short.data["not_looked_at"])


async def show_a_notification_that_nobody_has_taken(system: System, unread: Made, hidden: Made) -> None:
    first, second = await show(system, unread.id), await show(system, hidden.id)
    assert (first.exit, first.code) == (1, "NotSentYet")
    (waiting,) = first.person["subject"]["waiting"]
    assert (waiting["queue"], waiting["notification"]) == ("dynamics-changes", "Update")
    assert second.code == "NotInMarketo"


async def post_records(system: System, made: Made) -> None:
    body = encode("person", [Record(made.table, made.id, datetime.now(UTC))])
    await system.broker.post("person", [ServiceBusMessage(body, session_id="person")])


@asynccontextmanager
async def held_session(system: System) -> AsyncIterator[None]:
    """Somebody works on the queue of persons, as a Functions host does."""
    connection = system.endpoints["service_bus"]["connection_string"]
    async with (
        ServiceBusClient.from_connection_string(connection) as client,
        client.get_queue_receiver(system.broker.queue("person"), session_id="person"),
    ):
        yield


async def test_the_rest_is_shown_when_a_part_is_away(system: System, rows: Rows) -> None:
    synced, never = rows.lead(), rows.lead()
    await system.save(rows, synced)
    await system.synced(synced)
    await system.broker.idle()

    async def without(part: str, stop: Callable[[], Awaitable[None]], start: Callable[[], Awaitable[None]]) -> None:
        await stop()
        try:
            first, second = await show_all(system, synced, never)
        finally:
            await start()
        assert (first.exit, first.code) == (0, "Synced")
        assert (second.exit, second.code) == (2, "NotInMarketo")
        assert part in second.sentence
        assert {each["queue"] for each in second.data["not_looked_at"]} == {part}
        assert second.person["relations"]

    await without(
        "Table Storage",
        lambda: system.stack.stop_part("azurite"),
        lambda: system.stack.start_part("azurite"),
    )
    await without("Service Bus", system.stop_service_bus, system.restart_service_bus)


async def test_marketo_or_dynamics_away(system: System, rows: Rows) -> None:
    lead = rows.lead()
    await system.save(rows, lead)
    await system.synced(lead)
    await system.marketo("/switches", {"denied_objects": ["leads"]})
    denied = await show(system, lead.id)
    await system.marketo("/switches", {"denied_objects": []})
    assert (denied.exit, denied.code) == (2, "Unknown")
    assert "603" in denied.sentence
    assert denied.person["row"]["leadid"] == lead.id
    await system.dataverse("/faults", [{"match": "/leads", "status": 503, "times": 50}])
    away = await show(system, lead.id)
    assert (away.exit, away.code) == (2, "Unknown")
    assert "Dynamics" in away.sentence
    assert len(away.person["records"]) == 1


async def test_what_is_no_person_is_wrong_usage(system: System) -> None:
    code, _, errors = await run(system, "Pat Doe")
    assert code == 64
    assert "neither a GUID nor an e-mail address" in errors
