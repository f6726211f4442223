"""The console's dead letters and parked records at a broker and a storage: only what is agreed to is done."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from local.harness.dead_letters import Letters, refused, refused_contact
from shared.azure.parked_rows import Note, NoteState, Parked
from shared.cli.context import Context
from shared.cli.dead_letters.archive import letters_in
from shared.cli.past import past_of
from shared.cli.status.look import look
from shared.model.outcome import Parent, WillNotCome
from shared.model.record import Record, decode
from shared.sync.history import What
from tests.support.console import Served


@pytest.fixture
async def broker(broker: Letters, azurite: str) -> Letters:
    own = uuid4().hex[:8]
    tables = {"PARKED_TABLE": f"parked{own}", "STATE_TABLE": f"state{own}", "HISTORY_TABLES": f"h{own}"}
    broker.settings.update(AzureWebJobsStorage=azurite, **tables)
    return broker


@pytest.fixture
async def console(context: Context) -> AsyncIterator[Served]:
    made = Served(context, lambda: look(context))
    made.looks.patience = 300.0
    await made.sign_in()
    yield made
    await made.close()


async def test_dead_letters(broker: Letters, context: Context, console: Served, tmp_path: Path) -> None:
    synced = str(uuid4())
    await broker.post([*refused(3), *refused(2, code="1007"), refused_contact(synced, code="1010")])
    await broker.bury("persons", [b"{"], session="person")
    context.history.happened(What.UPDATED, [("contact", synced)])
    await context.history.written()
    page = await console.get("/dead-letters")
    assert "1 to 7 of 7, the newest first" in page
    assert page.count("synced since</span>") == 1
    first, second, *_ = reversed(re.findall(r'name="letter" value="(dead-letters/\d+)"', page))

    exported = await console.does("/dead-letters/export?scope=all")
    assert "7 dead letters written to" in exported
    (link,) = re.findall(r'href="(/jobs/[^"]*/file)" download>', exported)
    file = tmp_path / "letters.jsonl"
    file.write_bytes((await console.browser.get(link)).content)
    assert len(list(letters_in(file, context.settings.queues))) == 7

    assert "2 of 2 dead letters discarded" in await console.does("/dead-letters/discard?scope=all&code=1007")
    assert "1 of 1 dead letter discarded" in await console.does("/dead-letters/discard?scope=all&synced=yes")
    ticked = urlencode([("scope", "ticked"), ("letter", first), ("letter", second)])
    assert "2 of 2 dead letters replayed" in await console.does(f"/dead-letters/replay?{ticked}")
    assert len(await broker.messages("dead-letters")) == 1
    sent = [each for body in await broker.bodies("persons", session="person") for each in decode(body, "person")]
    assert [record.replays for record in sent] == [1, 1]
    page = await console.get("/dead-letters")
    assert "1 to 2 of 2, the newest first" in page
    assert "persons/dead/" in page
    await context.history.written()
    events = (await past_of(context, [synced, sent[0].id])).events
    assert [(event.what, event.by) for event in events if event.by] == [("discard", "ann"), ("replay", "ann")]


async def test_parked_records(broker: Letters, context: Context, console: Served) -> None:
    store, now = context.parked, datetime.now(UTC)
    lost, asked = (Parent("company", "account", str(uuid4())) for _ in range(2))
    for parent, number in ((lost, 3), (asked, 120)):
        records = [Record("contact", str(uuid4()), now, parked_since=now) for _ in range(number)]
        await store.park([Parked(parent, "person", record) for record in records], now + timedelta(hours=1))
    cause = WillNotCome("1003", "Invalid value for field 'website'", now)
    await store.put([Note(lost, now, now, state=NoteState.WILL_NOT_COME, cause=cause)])
    await store.put([Note(asked, now, now)])
    page = await console.get("/parked")
    assert "123 parked records of 2 parents" in page
    assert page.index(asked.id) < page.index(lost.id)
    assert "Its own sync ended at" in page
    children = await console.get(f"/parked?children=company&parent={asked.id}")
    (more,) = re.findall(r'href="([^"]*)">Next</a>', children)
    assert (await console.get(unescape(more))).count("/parked/release?of=company") == 21  # and all of the parent

    assert "3 of 3 parked records sent on" in await console.does("/parked/release?why=never")
    (body,) = await broker.bodies("persons", session="person")
    assert all(record.released and record.forced for record in decode(body, "person"))
    assert "120 parked records of 1 parent" in await console.get("/parked")
    (note,) = (await store.notes([lost])).values()
    assert note.state is NoteState.UNASKED
