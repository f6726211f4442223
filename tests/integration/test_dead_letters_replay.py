"""`msisync dead-letters` at a broker: what it shows, and that only what is chosen goes, each once; the rest stays."""

import asyncio
import json
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.aio import ServiceBusReceiver

from local.harness.dead_letters import Letters, refused, running_letters
from shared.cli.command import Exit, Result
from shared.cli.context import Context
from shared.cli.dead_letters import move
from shared.cli.operator import acting_as
from shared.cli.output import Console
from shared.cli.peek import Place
from shared.cli.progress import so_far
from shared.model.errors import MsiSyncError
from shared.model.record import Record, encode
from tests.support.commands import shown, typed
from tests.support.history import Kept


async def run(context: Context, line: str, progress: Console | None = None) -> Result:
    return (await typed(context, "dead-letters", *line.split(), progress=progress))[0]


async def numbers(broker: Letters, **place: Any) -> list[int]:
    return [each.sequence_number for each in await broker.messages("dead-letters", **place)]


async def test_only_what_is_chosen_goes_and_the_rest_stays_for_others(broker: Letters, context: Context) -> None:
    await broker.post(message for _ in range(300) for code in ("1003", "1007") for message in refused(code=code))
    before = await broker.messages("dead-letters")
    wanted = {str(each.correlation_id) for each in before if each.application_properties[b"code"] == b"1007"}
    dry = await run(context, "replay --code 1007")
    assert (dry.exit, dry.data["selected"], dry.data["went"]) == (Exit.ATTENTION, 300, 0)
    done = await run(context, "replay --code 1007 --apply")
    assert (done.exit, done.data["went"], done.data["failed"], done.data["not_given_out"]) == (Exit.OK, 300, {}, 0)
    sent = [str(each.correlation_id) for each in await broker.messages("persons", session="person")]
    assert (len(sent), set(sent)) == (300, wanted)
    assert {each.application_properties[b"code"] for each in await broker.messages("dead-letters")} == {b"1003"}
    # They are not locked: another run gets all of them at once.
    assert (await run(context, "discard --apply")).data["went"] == 300
    assert await numbers(broker) == []


async def test_the_history_says_who_replayed_or_discarded_what(broker: Letters, context: Context) -> None:
    kept = Kept()
    context.history = kept.history
    await broker.post([*refused(2, code="1007"), *refused(code="1003")])
    with acting_as("ada"):
        await run(context, "replay --code 1007")
        await run(context, "replay --code 1007 --apply")
        await run(context, "discard --code 1003 --apply")
    events = await kept.events()
    assert [(event.by, event.text) for event in events] == [
        *[("ada", "its dead letter was replayed: 1007")] * 2,
        ("ada", "its dead letter was discarded: 1003"),
    ]
    assert all(event.id for event in events)


async def test_what_the_broker_gave_up_goes_back_to_its_queue(broker: Letters, context: Context) -> None:
    record = Record("contact", "2e6d9f40-1c52-ef11-a316-000d3a5b7c8d", datetime.now(UTC))
    await broker.bury("persons", [encode("person", [record])], session="person")
    done = await run(context, "replay --apply")
    assert (done.exit, done.data["went"]) == (Exit.OK, 1)
    assert await broker.bodies("persons", dead=True) == []
    (body,) = await broker.bodies("persons", session="person")
    assert json.loads(body)["records"][0]["replays"] == 1


async def test_at_most_so_many_go(broker: Letters, context: Context) -> None:
    await broker.post(refused(5))
    done = await run(context, "replay --apply --max 3")
    assert (done.exit, done.data["went"], done.data["beyond_max"]) == (Exit.ATTENTION, 3, 2)
    assert len(await numbers(broker)) == 2


async def test_others_are_held_up_to_some_limit(
    broker: Letters, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(move, "SLICE", 10)
    await broker.post([*refused(30), *refused(code="1007")])
    (*_, last) = await numbers(broker)
    tally = move.Tally()
    mover = move.Mover(
        context, Place("dead-letters"), [last], lambda _: None, tally, on_progress=lambda _: None, max_held=20
    )
    await mover.run()
    assert (tally.blocked, tally.went) == (True, 0)
    assert len(await numbers(broker)) == 31


async def test_locked_ones_are_not_waited_for(
    broker: Letters, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(move, "WAIT_SECONDS", 0.2)
    await broker.post(refused(3))
    async with broker.client.get_queue_receiver("dead-letters") as other:
        (held,) = await other.receive_messages(1)
        done = await run(context, "replay --apply")
        assert (done.exit, done.data["went"], done.data["not_given_out"]) == (Exit.ATTENTION, 2, 1)
        await other.abandon_message(held)


async def test_stopped_between_sending_and_removing_nothing_is_lost(
    broker: Letters, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = asyncio.Event()

    async def never(_: ServiceBusReceiver, __: ServiceBusReceivedMessage) -> None:
        reached.set()
        await asyncio.Event().wait()

    await broker.post(refused(3))
    with monkeypatch.context() as patched:
        patched.setattr(ServiceBusReceiver, "complete_message", never)
        running = asyncio.create_task(run(context, "replay --apply"))
        await reached.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert len(await numbers(broker)) == 3
    assert len(await broker.messages("persons", session="person")) == 3


@pytest.mark.parametrize(
    ("line", "words", "sent"), [("replay", "3 of 5 sent again", 3), ("discard", "3 of 5 removed", 0)]
)
async def test_who_stops_it_is_told_how_many_went_and_the_next_run_takes_the_rest(
    broker: Letters, context: Context, monkeypatch: pytest.MonkeyPatch, *, line: str, words: str, sent: int
) -> None:
    """Slices of three; the keyboard comes when the second one is asked for."""
    await broker.post(refused(5, code="1007"))
    monkeypatch.setattr(move, "SLICE", 3)
    receive, asked = ServiceBusReceiver.receive_messages, count()

    async def stopped(receiver: ServiceBusReceiver, *most: int, **given: Any) -> Any:
        if next(asked):
            raise asyncio.CancelledError
        return await receive(receiver, *most, **given)

    screen = Console(quiet=True)
    with monkeypatch.context() as keyboard:
        keyboard.setattr(ServiceBusReceiver, "receive_messages", stopped)
        with pytest.raises(asyncio.CancelledError):
            await run(context, f"{line} --apply", screen)
    assert [str(each) for each in so_far(screen)] == [words]
    assert len(await numbers(broker)) == 2
    assert len(await broker.messages("persons", session="person")) == sent
    assert (await run(context, f"{line} --apply")).data["went"] == 2


async def test_what_was_given_back_too_often_is_moved_and_keeps_its_code(tmp_path: Path) -> None:
    async with running_letters(tmp_path, max_delivery_count=2) as broker:
        context = Context(broker.settings)
        try:
            for _ in range(3):
                await broker.post([*refused(code="1003"), *refused(code="1007")])
                assert (await run(context, "replay --code 1007 --apply")).data["went"] == 1
            assert await broker.messages("dead-letters", dead=True)
            done = await run(context, "replay --code 1003 --apply")
            assert (done.data["selected"], done.data["went"]) == (3, 3)
        finally:
            await context.close()


async def test_they_are_counted_listed_and_shown_with_what_to_do_next(broker: Letters, context: Context) -> None:
    assert "No dead letters." in shown(await run(context, "summary")) + shown(await run(context, "list"))
    await broker.post([*refused(2), *refused(code="1007", replay_count=4)])
    await broker.bury("persons", [b"{"], session="person")
    summary = await run(context, "summary")
    assert (summary.exit, summary.data["count"]) == (Exit.ATTENTION, 4)
    text = shown(summary)
    assert "2  person from persons: 1003\n         Invalid value for field 'email'" in text
    assert "1 of them replayed before" in text
    assert "next: " in text
    listed = await run(context, "list --limit 3 --oldest")
    assert "4 dead letters, 3 shown (see --limit)" in shown(listed)
    first, *_ = listed.data["dead_letters"]
    assert f"{first['address']}  {first['since']}  1003  contact {first['id']}" in shown(listed)
    text = shown(await run(context, f"show {first['address']}"))
    assert f"msisync dead-letters replay --id {first['id']}" in text
    assert "tries 3, replays 0, deliveries 0" in text
    assert f"contact {first['id']}\n" in text
    for address, code in (("nowhere", "NoAddress"), ("dead-letters/999", "NotThere")):
        with pytest.raises(MsiSyncError, match=code):
            await run(context, f"show {address}")


async def test_they_are_kept_in_a_file_and_sent_from_it(broker: Letters, context: Context, tmp_path: Path) -> None:
    await broker.post([*refused(3), *refused(code="1007", replay_count=4)])
    file = tmp_path / "letters.jsonl"
    assert "4" in shown(await run(context, f"export {file}"))
    with pytest.raises(MsiSyncError, match=file.name):
        await run(context, f"export {file}")
    await broker.post(refused())
    assert (await run(context, f"discard --exported {file} --apply")).data["went"] == 4
    assert len(await numbers(broker)) == 1
    dry = await run(context, f"import {file}")
    assert dry.exit == Exit.ATTENTION
    assert "--apply" in shown(dry)
    done = await run(context, f"import {file} --apply")
    assert (done.exit, done.data["went"], done.data["replayed_often"]) == (Exit.ATTENTION, 3, 1)
    assert "1 were replayed 3 times or more already and are skipped" in shown(done)
    assert len(await broker.messages("persons", session="person")) == 3
    file.write_text("no dead letter\n")
    with pytest.raises(MsiSyncError, match="line 1"):
        await run(context, f"import {file}")
