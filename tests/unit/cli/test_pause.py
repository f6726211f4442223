"""`msisync pause` and `resume`: what they set at the broker, what they leave alone, and what they say."""

from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError, ResourceNotFoundError
from azure.servicebus.management import EntityStatus

from shared.cli.command import Result
from shared.cli.operator import operator
from tests.support.commands import typed
from tests.support.history import Kept
from tests.support.queues import QUEUES

FIVE = ["sellers", "companies", "persons", "deals", "roles"]


class Broker:
    """The namespace's management."""

    def __init__(self) -> None:
        self.queues: dict[str, Any] = dict.fromkeys(("changes", *FIVE, "dead-letters"), EntityStatus.ACTIVE)
        self.updates: list[str] = []
        self.waiting = 0
        self.refuses = False
        self.kept = Kept()

    async def get_queue(self, name: str) -> Any:
        if self.refuses:
            raise ClientAuthenticationError("401")
        if name not in self.queues:
            raise ResourceNotFoundError(name)
        return SimpleNamespace(name=name, status=self.queues[name])

    async def update_queue(self, queue: Any) -> None:
        self.updates.append(queue.name)
        self.queues[queue.name] = queue.status

    async def get_queue_runtime_properties(self, _name: str) -> Any:
        return SimpleNamespace(
            active_message_count=self.waiting,
            scheduled_message_count=1 if self.waiting else 0,
            dead_letter_message_count=0,
        )

    async def run(self, line: str) -> tuple[Result, str]:
        settings = SimpleNamespace(queues=QUEUES)
        context = SimpleNamespace(settings=settings, bus_administration=self, history=self.kept.history)
        return await typed(context, *line.split())

    @property
    def paused(self) -> list[str]:
        return [name for name, status in self.queues.items() if status == EntityStatus.RECEIVE_DISABLED]


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.mark.parametrize(
    ("line", "queues"),
    [
        ("pause", FIVE), ("pause person", ["persons"]), ("pause sales-person", ["sellers"]),
        ("pause --routing", ["changes"]), ("pause company --routing", ["changes", "companies"]),
    ],
)  # fmt: skip
async def test_the_queues_that_are_meant_are_paused_and_resumed(broker: Broker, line: str, queues: list[str]) -> None:
    result, text = await broker.run(line)
    assert (result.exit, broker.paused) == (0, queues)
    undo = next(part for part in text.splitlines() if part.startswith("To undo: "))
    for command in undo.removeprefix("To undo: msisync ").split(" and msisync "):
        await broker.run(command)
    assert broker.paused == []


async def test_it_can_be_said_twice(broker: Broker) -> None:
    await broker.run("pause person")
    result, text = await broker.run("pause person")
    assert (result.exit, broker.updates, broker.paused) == (0, ["persons"], ["persons"])
    assert "paused, as it was before" in text
    await broker.run("resume person")
    result, text = await broker.run("resume")
    assert (result.exit, broker.updates, broker.paused) == (0, ["persons", "persons"], [])
    assert "persons: active, as it was before" in text


async def test_the_history_keeps_who_paused_what_and_nothing_of_what_was_so_before(broker: Broker) -> None:
    await broker.run("pause person")
    await broker.run("pause person")
    broker.queues["companies"] = EntityStatus.DISABLED
    await broker.run("resume")
    assert [(event.text, event.by) for event in await broker.kept.events()] == [
        ("queue paused: persons", operator()), ("queue resumed: persons", operator()),
    ]  # fmt: skip


async def test_it_says_how_much_waits_and_what_is_next(broker: Broker) -> None:
    broker.waiting = 2
    result, text = await broker.run("pause person")
    assert "persons: paused; 3 messages in it" in text
    assert "Changes keep queueing." in text
    (queue,) = result.data["queues"]
    assert queue == {
        "setting": "person", "queue": "persons", "was": "Active", "now": "ReceiveDisabled", "waiting": 3, "error": "",
    }  # fmt: skip
    assert "msisync status --watch" in (await broker.run("resume"))[1]


@pytest.mark.parametrize("status", [EntityStatus.DISABLED, EntityStatus.SEND_DISABLED])
@pytest.mark.parametrize("line", ["pause", "resume"])
async def test_what_somebody_else_has_disabled_stays(broker: Broker, status: EntityStatus, line: str) -> None:
    broker.queues["persons"] = status
    result, text = await broker.run(line)
    assert (result.exit, broker.queues["persons"]) == (1, status)
    assert f"persons: left as it is, {status.value}" in text


async def test_a_queue_that_is_missing_does_not_keep_the_others(broker: Broker) -> None:
    del broker.queues["companies"]
    result, text = await broker.run("pause")
    assert (result.exit, broker.paused) == (2, ["sellers", "persons", "deals", "roles"])
    assert "companies: NoQueue" in text


async def test_without_the_right_to_manage_it_says_so(broker: Broker) -> None:
    broker.refuses = True
    result, text = await broker.run("pause person")
    assert result.exit == 2
    assert "NoPermission" in text
