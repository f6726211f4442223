"""Replaying, discarding, exporting dead letters in the console: what is meant, what is agreed to, and what is done."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.cli.console import journal
from shared.cli.console.jobs import FILES, Job
from shared.cli.dead_letters.archive import letters_in
from shared.cli.peek import Place
from shared.model.record import decode
from tests.support.console import hidden_fields, text_of
from tests.support.letters import OURS, LettersWorld, refused
from tests.support.queues import QUEUES
from tests.support.values import NOON, guid


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LettersWorld]:
    made = LettersWorld(monkeypatch)
    await made.sign_in()
    yield made
    await made.jobs.close()


async def test_those_that_are_ticked(world: LettersWorld) -> None:
    world.put(1, 2, 3)
    await world.get("/dead-letters")
    page = await world.get("/dead-letters/replay?scope=ticked&letter=dead-letters/1&letter=dead-letters/3")
    assert "<h1>Replay 2 dead letters?</h1>" in page
    assert "2 with 1003, person from persons: Invalid value for field 'email'" in text_of(page)
    assert world.broker.sent == []
    page = await world.agree("/dead-letters/replay", page)
    assert "2 of 2 dead letters replayed" in page
    assert f'href="/records?q={guid(1)}">dead-letters/1, contact {guid(1)}: replayed</a>' in page
    assert world.left() == [2]
    sent = [
        (each.queue, record.id, record.replays) for each in world.broker.sent for record in decode(each.body, "person")
    ]
    assert sent == [("persons", guid(1), 1), ("persons", guid(3), 1)]


async def test_a_page_of_them(world: LettersWorld) -> None:
    world.put(1, 2, 3)
    page = await world.does(
        "/dead-letters/discard?scope=page&shown=dead-letters/2&shown=dead-letters/3&letter=dead-letters/1"
    )
    assert "2 of 2 dead letters discarded" in page
    assert world.left() == [1]
    assert world.broker.sent == []


async def test_all_that_match(world: LettersWorld) -> None:
    world.put(1, 2)
    world.put(3, code="1007")
    page = await world.get("/dead-letters/discard?scope=all&code=1003")
    assert '<button class="grave">Discard 2 dead letters</button>' in page
    assert "They are removed for good. 0 of them are known to have been synced since." in page
    assert 'href="/dead-letters?code=1003">Cancel' in page
    await world.agree("/dead-letters/discard", page)
    assert world.left() == [3]


async def test_nothing_ticked_means_nothing(world: LettersWorld) -> None:
    world.put(1)
    for query in ("", "?scope=ticked", "?scope=page", "?letter=dead-letters/77"):
        page = await world.get(f"/dead-letters/discard{query}")
        assert "No dead letter is chosen" in page
        assert "<button" not in page


async def test_who_did_it_is_in_the_history_of_each_row_and_in_the_journal(world: LettersWorld) -> None:
    world.put(1, 2)
    await world.does("/dead-letters/discard?scope=ticked&letter=dead-letters/1")
    await world.does("/dead-letters/replay?scope=all")
    assert await world.acts() == [("discard", guid(1), "ann"), ("replay", guid(2), "ann")]
    entries = (await journal.newest(world.state, 9)).values()
    assert {(entry.by, entry.what, entry.text) for entry in entries} == {
        ("ann", "Discard 1 dead letter", "1 of 1 dead letter discarded"),
        ("ann", "Replay 1 dead letter", "1 of 1 dead letter replayed"),
    }


async def test_a_count_that_has_changed_is_asked_again(world: LettersWorld) -> None:
    world.put(1, 2, 3)
    page = await world.get("/dead-letters/discard?scope=all")
    world.broker.messages[OURS].pop(0)  # another program was faster
    answer = await world.submit("/dead-letters/discard", page)
    assert answer.status_code == 200
    assert "has changed meanwhile. Nothing was done yet." in answer.text
    assert "<h1>Discard 2 dead letters?</h1>" in answer.text
    assert world.left() == [2, 3]


async def test_what_comes_after_it_was_asked_is_not_meant(world: LettersWorld) -> None:
    world.put(1, 2)
    page = await world.get("/dead-letters/discard?scope=all")
    world.put(3, since=NOON + timedelta(seconds=1))
    await world.agree("/dead-letters/discard", page)
    assert world.left() == [3]


async def test_what_came_back_three_times_stays_unless_it_is_asked_for(world: LettersWorld) -> None:
    world.put(1)
    world.put(2, replays=3)
    page = await world.get("/dead-letters/replay?scope=all")
    assert "<h1>Replay 1 dead letter?</h1>" in page
    assert "1 stay: they were replayed 3 times or more, and came back." in text_of(page)
    page = await world.get("/dead-letters/replay?scope=all&again=yes")
    assert "<h1>Replay 2 dead letters?</h1>" in page
    assert hidden_fields(page)["again"] == "yes"
    assert "<h1>Discard 2 dead letters?</h1>" in await world.get("/dead-letters/discard?scope=all")


async def test_what_nobody_would_understand_is_not_sent(world: LettersWorld) -> None:
    world.put(1)
    world.put(2, body=b"nonsense")
    page = await world.get("/dead-letters/replay?scope=all")
    assert "<h1>Replay 1 dead letter?</h1>" in page
    assert "1 stay, because nobody would understand them: dead-letters/2: BadMessage" in text_of(page)


async def test_a_replay_says_what_was_synced_since(world: LettersWorld) -> None:
    world.put(1, 2)
    world.synced(1, NOON + timedelta(minutes=5))
    await world.get("/dead-letters")
    page = await world.get("/dead-letters/replay?scope=all")
    assert "1 of them were synced since: to send those once more changes nothing." in text_of(page)


async def test_what_fails_stays_and_says_why(world: LettersWorld) -> None:
    world.put(1, 2)
    world.broker.refuses = True
    page = await world.does("/dead-letters/replay?scope=all")
    assert "0 of 2 dead letters replayed" in page
    assert "2 failed and stay:" in page
    assert '<span class="pill bad">failed</span>' in page
    assert world.left() == [1, 2]
    assert await world.acts() == []


async def test_what_another_receiver_has_stays(world: LettersWorld) -> None:
    world.put(1, 2)
    world.broker.locked = {2}
    page = await world.does("/dead-letters/replay?scope=all")
    assert "1 of 2 dead letters replayed" in page
    assert "1 were not given out" in page


async def test_another_message_at_the_same_address_stays(world: LettersWorld) -> None:
    """A queue that was deleted and made again counts anew."""
    world.put(1)
    page = await world.get("/dead-letters/discard?scope=all")
    (message,) = world.broker.messages[OURS]
    world.broker.messages[OURS] = [replace(message, enqueued=NOON + timedelta(days=1))]
    world.broker.gate.clear()  # to read them anew takes a while
    world.looks.patience = 0
    page = await world.agree("/dead-letters/discard", page)
    world.broker.gate.set()
    assert "another message is at its address by now" in page
    assert world.left() == [1]


async def test_what_is_read_after_it_was_agreed_to_changes_nothing_of_it(
    world: LettersWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put(1, 2)
    page = await world.get("/dead-letters/discard?scope=all")
    start = world.jobs.start

    async def after_a_look(*given: Any) -> Job:
        world.broker.messages[OURS].pop(0)  # another program was faster
        world.looks.outdate("dead letters")
        assert "1 to 1 of 1, the newest first" in text_of(await world.get("/dead-letters"))
        return await start(*given)

    monkeypatch.setattr(world.jobs, "start", after_a_look)
    assert "1 of 2 dead letters discarded" in await world.agree("/dead-letters/discard", page)


async def test_the_page_knows_at_once_what_is_gone(world: LettersWorld) -> None:
    world.put(1, 2)
    await world.does("/dead-letters/discard?scope=ticked&letter=dead-letters/1")
    world.broker.gate.clear()  # the next look takes a while
    world.looks.patience = 0
    page = await world.get("/dead-letters")
    assert "1 to 1 of 1, the newest first" in text_of(page)
    world.broker.gate.set()


async def test_letters_of_several_places(world: LettersWorld) -> None:
    world.put(1)
    world.broker.put(refused(2), Place(QUEUES.person, dead=True))
    page = await world.does("/dead-letters/discard?scope=all")
    assert "2 of 2 dead letters discarded" in page
    assert world.broker.messages == {OURS: [], Place(QUEUES.person, dead=True): []}


async def test_an_export_is_a_file_that_import_reads(world: LettersWorld, tmp_path: Path) -> None:
    world.put(1, 2)
    world.put(3, code="1007")
    page = await world.does("/dead-letters/export?scope=all&code=1003")
    assert "2 dead letters written to dead-letters-" in page
    assert world.left() == [1, 2, 3]
    (link,) = re.findall(r'href="(/jobs/[^"]*/file)" download>', page)
    answer = await world.browser.get(link)
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["cache-control"] == "no-store"
    file = tmp_path / "letters.jsonl"
    file.write_bytes(answer.content)
    assert [letter.ids[0][1] for letter in letters_in(file, QUEUES)] == [guid(1), guid(2)]
    assert json.loads(answer.text.splitlines()[0])["reason"] == ""


async def test_files_go_with_the_console_and_few_are_kept(world: LettersWorld) -> None:
    world.put(1)
    for _ in range(FILES + 1):
        await world.does("/dead-letters/export?scope=all")
    files = [job.file for job in world.jobs._known.values()]
    assert [file is not None for file in files] == [False, *[True] * FILES]
    (folder,) = {file.parents[1] for file in files if file}
    assert len(list(folder.rglob("*.jsonl"))) == FILES
    assert (folder.stat().st_mode & 0o077) == 0
    await world.jobs.close()
    assert not folder.exists()


async def test_files_are_for_operators_alone(world: LettersWorld) -> None:
    world.put(1)
    page = await world.does("/dead-letters/export?scope=all")
    (link,) = re.findall(r'href="(/jobs/[^"]*/file)" download>', page)
    world.may_act = False
    assert (await world.browser.get(link)).status_code == 404
    assert "download" not in await world.get(link.removesuffix("/file"))
    page = await world.get("/dead-letters")
    assert 'type="checkbox"' not in page
    assert "Replay…" not in page
    assert "Your role lets you look only." in await world.get("/dead-letters/discard?scope=all")
    assert (await world.another_browser().get(link)).status_code == 401


async def test_all_of_them_are_looked_up(world: LettersWorld) -> None:
    world.put(*range(1, 120))
    for number in range(1, 100):
        world.synced(number, NOON + timedelta(minutes=5))
    page = await world.does("/dead-letters/check?scope=all")
    assert "99 of 119 dead letters were synced since" in page
    assert "1 to 50 of 99" in text_of(await world.get("/dead-letters?synced=yes"))
    assert "<h1>Discard 99 dead letters?</h1>" in await world.get("/dead-letters/discard?scope=all&synced=yes")
    assert "20 dead letters were synced" in await world.get("/dead-letters/check?scope=all")
