"""One message that the platform cannot bind takes no other one along: what the broker gave up with it comes back."""

from azure.servicebus import ServiceBusMessage
from azure.servicebus.amqp import AmqpAnnotatedMessage

from local.harness import Rows, System, eventually
from local.harness.system import body_of


async def given_up(system: System, queue: str) -> int:
    """How many messages of a queue lie in its dead-letter sub-queue."""
    return (await system.broker.counts())[system.broker.queue(queue)].dead


async def test_of_forty_changes_with_a_value_body_among_them_all_arrive(system: System, rows: Rows) -> None:
    seller = rows.user()
    people = [rows.contact(None, seller) for _ in range(40)]
    await system.save(rows, seller)
    await system.synced(seller)
    await system.stack.stop_functions(function="route_changes")
    bodies = [ServiceBusMessage(body_of(made), content_type="application/json") for made in people]
    await system.broker.post("changes", [*bodies[:20], AmqpAnnotatedMessage(value_body="42"), *bodies[20:]])
    await system.stack.start_functions(function="route_changes")
    # The platform binds a batch as a whole: the bad one takes its neighbours to the broker's dead letters.
    await eventually(lambda: given_up(system, "changes"), lambda dead: dead > 1, what="messages that were given up")
    await system.broker.idle()
    await system.run_timer()
    await system.synced(*people)
    await system.broker.idle()
    assert not await given_up(system, "changes")
    [letter] = await system.broker.dead_letters()
    assert (letter.code, letter.body) == ("NotBindable", b"42")
    assert letter.properties["source_queue"] == system.broker.queue("changes")
