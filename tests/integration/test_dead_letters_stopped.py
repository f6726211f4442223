"""Who stops a replay or a discard is told how many went; these are gone, and the rest is there for the next run."""

import asyncio
from argparse import Namespace
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from azure.servicebus.aio import ServiceBusReceiver

from local.harness.dead_letters import Letters, refused, running_letters
from shared.cli.context import Context
from shared.cli.dead_letters import move
from shared.cli.main import parser
from shared.cli.output import Console
from shared.cli.progress import so_far


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Letters]:
    async with running_letters(tmp_path) as running:
        yield running


@pytest.fixture
async def context(broker: Letters) -> AsyncIterator[Context]:
    made = Context(broker.settings)
    yield made
    await made.close()


@pytest.mark.parametrize(("line", "words"), [("replay", "sent again"), ("discard", "removed")])
async def test_it_says_how_many_went(
    broker: Letters, context: Context, monkeypatch: pytest.MonkeyPatch, line: str, words: str
) -> None:
    """Slices of three; the keyboard comes when the second one is asked for."""
    await broker.post(refused(5, code="1007"))
    monkeypatch.setattr(move, "SLICE", 3)
    receive, asked = ServiceBusReceiver.receive_messages, list[int]()

    async def stopped(receiver: ServiceBusReceiver, *count: int, **given: Any) -> Any:
        asked.append(1)
        if len(asked) > 1:
            raise asyncio.CancelledError
        return await receive(receiver, *count, **given)

    screen = Console(quiet=True)
    given: Namespace = parser().parse_args(["dead-letters", line, "--apply"])
    with monkeypatch.context() as keyboard:
        keyboard.setattr(ServiceBusReceiver, "receive_messages", stopped)
        with pytest.raises(asyncio.CancelledError):
            await given.command.run(context, given, screen)
    assert [str(each) for each in so_far(screen)] == [f"3 of 5 {words}"]
    assert len(await broker.messages("dead-letters")) == 2
    sent = await broker.messages("persons", session="person")
    assert len(sent) == (3 if line == "replay" else 0)
    again = await given.command.run(context, given, Console(quiet=True))
    assert again.data["went"] == 2
