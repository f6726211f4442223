"""The page of parked records: who waits for whom and why, the records of one parent, and sending them on."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from html import unescape

import pytest

from shared.azure.parked_rows import Note, NoteState, Parked
from shared.azure.parked_table import Store
from shared.cli.console.parked import census, page
from shared.cli.show.facts import Subject
from shared.cli.show.stuck import not_coming
from shared.model.outcome import Parent, WillNotCome
from shared.model.record import Record, decode
from tests.support.console import hidden_fields, text_of
from tests.support.letters import LettersWorld
from tests.support.queues import QUEUES
from tests.support.tables import FullTable
from tests.support.values import NOON, guid

ACCOUNT, OTHER = Parent("company", "account", guid(1)), Parent("company", "account", guid(2))
USER = Parent("sales_person", "systemuser", guid(3))
REFUSED = WillNotCome("1003", "Invalid value for field 'website'", NOON)
RELEASE = "/parked/release"


class ParkedWorld(LettersWorld):
    """The console with parked records."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(monkeypatch)
        self.parked = FullTable()
        self.store = self.context.parked = Store(self.parked)

    async def park(self, parent: Parent, *numbers: int, linked_later: bool = False, since: float = 0) -> None:
        at = NOON + timedelta(minutes=since)
        records = [Record("contact", guid(number), NOON, parked_since=at) for number in numbers]
        await self.store.park([Parked(parent, "person", record, linked_later=linked_later) for record in records], NOON)

    async def note(self, parent: Parent, state: NoteState, cause: WillNotCome | None = None) -> None:
        await self.store.put([Note(parent, NOON, NOON + timedelta(hours=1), state=state, cause=cause)])

    async def waiting(self) -> list[str]:
        return [child.record.id async for page in self.store.everybody("company") for child in page]

    def sent(self) -> list[tuple[str, str]]:
        return [(each.queue, record.id) for each in self.broker.sent for record in decode(each.body, "person")]


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ParkedWorld]:
    made = ParkedWorld(monkeypatch)
    await made.sign_in()
    yield made
    await made.jobs.close()


def rows(page: str) -> list[str]:
    """The lines of the table, without marks."""
    return [text_of(row) for row in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)[1:]]


async def test_nothing_waits(world: ParkedWorld) -> None:
    assert "Nothing is parked." in await world.get("/parked")


async def test_parents_are_in_the_order_of_what_waits_for_them_with_the_reason(world: ParkedWorld) -> None:
    await world.park(ACCOUNT, 10)
    await world.park(OTHER, 11, 12, 13)
    await world.park(OTHER, 14, linked_later=True)
    await world.park(USER, 15, 16)
    await world.note(OTHER, NoteState.WILL_NOT_COME, REFUSED)
    await world.note(USER, NoteState.ASKED)
    page = await world.get("/parked")
    other, user, account = rows(page)
    assert other.startswith(f"account {guid(2)} 1003 Its own sync ended at 2026-03-04T12:00:00.000Z with 1003, Invalid")
    assert f"Correct the row in Dynamics, then msisync dead-letters replay --id {guid(2)} --apply" in other
    assert "4 of person 1 in Marketo without the link" in other
    assert f'href="/dead-letters?q={guid(2)}">Its dead letter</a>' in page
    assert user.startswith(f"systemuser {guid(3)} expected its sync was requested and has not ended yet")
    assert "looked for again at 2026-03-04 13:00:00 UTC" in user
    assert "its sync is about to be requested" in account
    assert "7 parked records of 3 parents, 1 of them in Marketo without the link" in text_of(page)


async def test_the_reason_is_that_of_show(world: ParkedWorld) -> None:
    await world.park(USER, 10)
    cause = WillNotCome("UserWithoutMail", "the user has no e-mail address", NOON, skipped=True)
    await world.note(USER, NoteState.WILL_NOT_COME, cause)
    page = text_of(await world.get("/parked"))
    waits = census.Waits(USER.entity, USER.id, (), 0, None, None, table=USER.table, cause=cause)
    assert waits.why
    assert waits.why.remedy == "give the user an e-mail address in Dynamics"
    assert waits.why.text[1:] in page
    assert waits.why == not_coming(Subject(USER.table, USER.id), cause)


async def test_what_holds_all_of_them_is_said_first(world: ParkedWorld) -> None:
    await world.park(ACCOUNT, 10)
    world.status.entities["company"].queue.status = "ReceiveDisabled"
    await world.get("/")
    page = await world.get("/parked")
    assert "companies is paused Resume… msisync resume company" in text_of(page)
    assert 'href="/queues/resume?queue=company"' in page


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [1, 2, 3]),
        ("?of=company", [1, 2]),
        ("?of=sales_person", [3]),
        ("?why=never", [2]),
        ("?why=expected", [1, 3]),
        ("?code=1003", [2]),
        ("?code=1004", []),
        (f"?parent=%7B{guid(1).upper()}%7D", [1]),
        ("?of=company&why=expected", [1]),
        ("?of=person&why=expected", []),
    ],
)
async def test_filters_combine(world: ParkedWorld, query: str, expected: list[int]) -> None:
    await world.park(ACCOUNT, 10, 11, 12)
    await world.park(OTHER, 13, 14)
    await world.park(USER, 15)
    await world.note(OTHER, NoteState.WILL_NOT_COME, REFUSED)
    found = await world.get(f"/parked{query}")
    assert re.findall(r'href="/records\?q=([^"]+)"', found) == [guid(number) for number in expected]


@pytest.mark.parametrize("query", ["of=planet", "why=so", "parent=1"])
async def test_a_filter_that_nobody_understands_finds_nothing(world: ParkedWorld, query: str) -> None:
    await world.park(ACCOUNT, 10)
    assert "so nothing is shown" in await world.get(f"/parked?{query}")
    assert "<button" not in await world.get(f"/parked/release?{query}")


async def test_pages(world: ParkedWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "SHOWN", 2)
    for number in range(5):
        await world.park(Parent("company", "account", guid(number)), *range(10, 20 - number))
    first = await world.get("/parked?of=company")
    assert "1 to 2 of 5 parents" in text_of(first)
    assert 'href="/parked?of=company&amp;page=2">Next</a>' in first
    third = await world.get("/parked?of=company&page=3")
    assert "5 to 5 of 5 parents" in text_of(third)
    assert ">Next</a>" not in third


async def test_the_records_of_one_parent_page_by_page(world: ParkedWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "CHILDREN", 2)
    await world.park(ACCOUNT, 10, 11, 12, 13)
    await world.park(OTHER, 14)
    seen, address = [], f"/parked?children=company&parent={guid(1)}"
    while address:
        found = await world.get(address)
        seen.append([row[8:44] for row in rows(found)])
        address = unescape("".join(re.findall(r'href="([^"]*)">Next</a>', found)))
    assert seen == [[guid(10), guid(11)], [guid(12), guid(13)]]
    assert 'href="/parked?children=company&amp;parent=' in found  # back to the first ones


async def test_all_of_a_filter_are_sent_on(world: ParkedWorld) -> None:
    await world.park(ACCOUNT, 10, 11)
    await world.park(OTHER, 12)
    await world.park(USER, 13)
    await world.note(OTHER, NoteState.WILL_NOT_COME, REFUSED)
    asked = await world.get("/parked/release?of=company")
    assert "<h1>Release 3 parked records?</h1>" in asked
    assert f"2 of account {guid(1)}" in text_of(asked)
    assert world.sent() == []
    done = await world.agree(RELEASE, asked)
    assert "3 of 3 parked records sent on" in done
    assert f'href="/records?q={guid(10)}">contact {guid(10)}: sent</a>' in done
    assert sorted(world.sent()) == [(QUEUES.person, guid(number)) for number in (10, 11, 12)]
    (record, *_) = (record for each in world.broker.sent for record in decode(each.body, "person"))
    assert (record.released, record.forced) == (True, True)
    assert await world.waiting() == []
    (note,) = (await world.store.notes([OTHER])).values()
    assert (note.state, note.cause) == (NoteState.UNASKED, None)
    assert sorted(await world.acts()) == [("resync", guid(number), "ann") for number in (10, 11, 12)]
    assert rows(await world.get("/parked"))[0].startswith(f"systemuser {guid(3)}")


async def test_many_parents_are_looked_through_together(world: ParkedWorld) -> None:
    for number in range(100, 130):
        await world.park(Parent("company", "account", guid(number)), number + 100)
    await world.park(ACCOUNT, 10)
    await world.note(ACCOUNT, NoteState.WILL_NOT_COME, REFUSED)
    done = await world.agree(RELEASE, await world.get("/parked/release?why=expected"))
    assert "30 of 30 parked records sent on" in done
    assert await world.waiting() == [guid(10)]


async def test_one_record(world: ParkedWorld) -> None:
    await world.park(ACCOUNT, 10, 11)
    await world.get("/parked")
    found = await world.get(f"/parked?children=company&parent={guid(1)}")
    first = unescape(re.findall(r'href="(/parked/release[^"]*id=[^"]*)"', found)[0])
    asked = await world.get(first)
    assert "<h1>Release 1 parked record?</h1>" in asked
    assert f"contact {guid(10)}" in text_of(asked)
    assert "1 of 1 parked record sent on" in await world.agree(RELEASE, asked)
    assert await world.waiting() == [guid(11)]
    for wrong in ("table=contact&id=x", f"table=planet&id={guid(11)}", f"table=contact&id={guid(11)}&of=person"):
        assert "Nothing waits there any more." in await world.get(f"/parked/release?{wrong}&parent={guid(1)}")


async def test_what_is_parked_after_they_were_counted_stays(world: ParkedWorld) -> None:
    await world.park(ACCOUNT, 10)
    asked = await world.get("/parked/release")
    await world.park(ACCOUNT, 11, since=1)
    await world.agree(RELEASE, asked)
    assert await world.waiting() == [guid(11)]


async def test_a_count_that_another_operator_has_changed_is_asked_again(world: ParkedWorld) -> None:
    await world.park(ACCOUNT, 10)
    await world.park(OTHER, 11)
    first, second = await world.get(f"/parked/release?parent={guid(1)}"), await world.get("/parked/release")
    await world.agree(RELEASE, first)
    answer = await world.post("/parked/release", hidden_fields(second), 200)
    assert "has changed meanwhile. Nothing was done yet." in answer.text
    assert "<h1>Release 1 parked record?</h1>" in answer.text
    assert world.sent() == [(QUEUES.person, guid(10))]


async def test_who_may_look_only(world: ParkedWorld) -> None:
    await world.park(ACCOUNT, 10)
    world.may_act = False
    assert "elease" not in await world.get("/parked")
    assert "elease" not in await world.get(f"/parked?children=company&parent={guid(1)}")
    assert "Your role lets you look only." in await world.get("/parked/release")


async def test_texts_of_others_are_text(world: ParkedWorld) -> None:
    await world.park(ACCOUNT, 10)
    nasty = "<script>alert(1)</script>\" onload='x' \u202e"
    await world.note(ACCOUNT, NoteState.WILL_NOT_COME, replace(REFUSED, code="<b>", message=nasty))
    for path in ("/parked", f"/parked?children=company&parent={guid(1)}", '/parked?code="><script>alert(2)</script>'):
        found = await world.get(path)
        assert "<script>alert" not in found
        assert "<b>" not in found
        assert "\u202e" not in found


async def test_more_than_are_counted_is_said(world: ParkedWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "MOST", 2)
    await world.park(ACCOUNT, 10, 11, 12)
    found = await world.get("/parked")
    assert "There are more than" in found
    assert "2 parked records of 1 parent" in text_of(found)


async def test_storage_that_does_not_answer(world: ParkedWorld) -> None:
    world.parked.away = True
    assert "StorageAway" in await world.get("/parked", 502)
    world.parked.away = False
    assert "Nothing is parked." in await world.get("/parked")
