"""The page of dead letters: groups, filters that are in the address, pages, and what was synced since."""

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.cli.console.letters import index
from shared.cli.peek import Place, QueueUnavailable
from shared.model.errors import StorageUnavailableError
from shared.model.record import Record, encode
from shared.sync.history import What
from tests.support.console import text_of
from tests.support.letters import OURS, LettersWorld, refused
from tests.support.queues import QUEUES
from tests.support.values import NOON, guid


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> LettersWorld:
    made = LettersWorld(monkeypatch)
    await made.sign_in()
    return made


def shown(page: str) -> list[int]:
    """The numbers of the letters that a page lists, in its order."""
    return [int(number) for number in re.findall(r'name="letter" value="dead-letters/(\d+)"', page)]


def links(page: str, text: str) -> list[str]:
    """Where the links with this text lead."""
    return [address.replace("&amp;", "&") for address in re.findall(rf'href="([^"]*)">{text}</a>', page)]


async def test_nothing_is_dead(world: LettersWorld) -> None:
    page = await world.get("/dead-letters")
    assert "No dead letters." in page
    assert "<table>" not in page


async def test_groups_say_what_they_mean_and_what_to_do(world: LettersWorld) -> None:
    world.put(1, 2, 3)
    world.put(4, code="ParentMissing", system="msisync", reason="account 7 did not come", replays=2)
    page = await world.get("/dead-letters")
    text = text_of(page)
    assert "1003 person from persons Marketo refuses the value of a field Invalid value for field 'email'" in text
    assert "Correct the row in Dynamics, then msisync dead-letters replay --code 1003 --entity person --apply" in text
    assert "What the row belongs to did not reach Marketo in time" in text
    (first,), (second,) = links(page, "Replay 3…"), links(page, "Replay 1…")
    assert parse_qs(urlsplit(first).query) == {
        "scope": ["all"], "entity": ["person"], "queue": ["persons"], "code": ["1003"],
    }  # fmt: skip
    assert "code=ParentMissing" in second


async def test_what_no_replay_helps_is_offered_for_discard(world: LettersWorld) -> None:
    world.put(1, code="NotJson", system="msisync")
    world.put(2, 3, code="DeleteBrake", system="msisync")
    page = await world.get("/dead-letters")
    assert len(links(page, "Discard 1…")) == 1
    assert not re.search("Replay [123]…", page)
    assert "then msisync lifecycle release" in text_of(page)


async def test_letters_are_listed_the_newest_first_with_their_row(world: LettersWorld) -> None:
    world.put(1, since=NOON - timedelta(hours=2))
    world.put(2, since=NOON)
    world.put(3, since=NOON - timedelta(hours=1), replays=3)
    page = await world.get("/dead-letters")
    assert shown(page) == [2, 3, 1]
    assert f'href="/records?q={guid(3)}">contact {guid(3)}</a>' in page
    assert '<span class="pill warn">3</span>' in page


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?code=1003", [2, 1]),
        ("?code=1003&q=PHONE", [2]),
        (f"?q=%7B{guid(3).upper()}%7D", [3]),
        ("?entity=company", [4]),
        ("?entity=notifications", [6]),
        ("?queue=companies", [4]),
        ("?replayed=3%2B", [5]),
        ("?age=older-1h", [1]),
        ("?age=newer-1h&code=1003", [2]),
        ("?synced=yes", []),
        ("?code=1003&entity=company", []),
    ],
)
async def test_filters_combine(world: LettersWorld, query: str, expected: list[int]) -> None:
    now = datetime.now(UTC)
    world.put(1, since=now - timedelta(hours=3))
    world.put(2, since=now, reason="Invalid value for field 'phone'")
    world.put(3, since=now, code="1007")
    world.put(4, since=now, code="1010", entity="company", source_queue="companies")
    world.put(5, since=now, code="1010", replays=4)
    world.broker.put(refused(6, since=now, code="NotJson", system="msisync", entity="", source_queue="changes"))
    world.broker.messages[OURS][-1].properties.pop("record_id")  # type: ignore[attr-defined]
    assert shown(await world.get("/dead-letters")) == [6, 5, 4, 3, 2, 1]
    page = await world.get(f"/dead-letters{query}")
    assert shown(page) == expected
    assert "of 6 dead letters" in text_of(page)


async def test_the_form_shows_the_filter_and_pages_keep_it(
    world: LettersWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.cli.console.letters.page.SHOWN", 2)
    world.put(1, 2, 3, 4, 5)
    page = await world.get("/dead-letters?code=1003&q=email")
    assert '<option value="1003" selected>' in page
    assert 'name="q" type="search" value="email"' in page
    assert links(page, "Newer") == []
    (older,) = links(page, "Older")
    assert older == "/dead-letters?code=1003&q=email&page=2"
    page = await world.get(older)
    assert "3 to 4 of 5, the newest first" in text_of(page)
    assert links(page, "Newer") == ["/dead-letters?code=1003&q=email&page=1"]
    assert links(await world.get("/dead-letters?page=9"), "Older") == []
    assert shown(await world.get("/dead-letters?page=x")) == shown(await world.get("/dead-letters"))


@pytest.mark.parametrize("query", ["age=soon", "age=older-3y", "replayed=often", "entity=planet"])
async def test_a_filter_that_nobody_understands_finds_nothing(world: LettersWorld, query: str) -> None:
    world.put(1)
    page = await world.get(f"/dead-letters?{query}")
    assert "so nothing is shown" in page
    assert shown(page) == []
    assert "<button" not in await world.get(f"/dead-letters/discard?scope=all&{query}")


async def test_texts_of_others_are_text(world: LettersWorld) -> None:
    nasty = "<script>alert(1)</script>\" onload='x' \u202e & </td>"
    world.put(1, reason=nasty, code="<b>1003</b>")
    page = await world.get("/dead-letters")
    for each in (page, await world.get("/dead-letters?open=dead-letters/1")):
        assert "<script>alert" not in each
        assert "<b>1003" not in each
        assert "\u202e" not in each
        assert "&lt;script&gt;alert(1)" in each
    answer = await world.get('/dead-letters?q="><script>alert(2)</script>&code=<i>')
    assert "<script>alert" not in answer
    assert "<i>" not in answer


async def test_no_value_of_a_column_is_kept(world: LettersWorld) -> None:
    world.put(1, reason="someone@contoso.example has the value 'Ada'", body=b'{"email": "someone@contoso.example"}')
    world.broker.put(refused(2, record_id="someone@contoso.example"))  # another program's
    page = await world.get("/dead-letters")
    assert "no row named" in page
    assert "someone@" not in page
    assert "Ada" not in page
    (latest,) = (each for key, each in world.looks._known.items() if key == "dead letters")
    assert "someone@" not in repr(latest.known)


async def test_what_was_synced_since_is_marked_and_offered_for_discard(world: LettersWorld) -> None:
    world.put(1, 2, 3, 4)
    world.synced(1, NOON + timedelta(minutes=5))
    world.synced(2, NOON - timedelta(minutes=5))  # before it became a dead letter
    world.synced(3, NOON + timedelta(minutes=5), What.RETRIED)  # not synced
    world.synced(4, NOON + timedelta(minutes=6), What.UPDATED, "opportunity")  # as something else
    page = await world.get("/dead-letters")
    assert page.count("synced since</span>") == 1
    assert "2026-03-04 12:05:00 UTC" in page
    assert "1 record of these was synced since: there is nothing to replay." in text_of(page)
    (discard,) = links(page, "Discard 1…")
    assert "<h1>Discard 1 dead letter?</h1>" in await world.get(discard)
    assert shown(await world.get("/dead-letters?synced=yes")) == [1]


async def test_a_history_that_does_not_answer_takes_nothing_away(world: LettersWorld) -> None:
    world.put(1)
    world.kept.tables.away = StorageUnavailableError("ServiceRequestError")
    page = await world.get("/dead-letters")
    assert shown(page) == [1]
    assert "Storage does not answer, so nobody can tell which were synced since." in page


async def test_dead_letters_of_the_broker_are_among_them(world: LettersWorld) -> None:
    records = [Record("contact", guid(number), NOON) for number in (7, 8)]
    world.broker.put(refused(1, body=encode("person", records)), Place(QUEUES.person, dead=True))
    page = await world.get(f"/dead-letters?q={guid(8)}")
    assert f"contact {guid(7)} and 1 other" in text_of(page)
    assert "persons/dead/1" in page


async def test_the_index_is_read_again_when_asked_and_once(world: LettersWorld) -> None:
    world.put(1)
    page = await world.get("/dead-letters")
    world.put(2)
    assert shown(await world.get("/dead-letters")) == [1]
    assert world.broker.peeks == 1
    (again,) = links(page, "Look again")
    assert shown(await world.get(again)) == [2, 1]
    await world.get(again)
    assert world.broker.peeks == 2, "an address that is reloaded reads no more"


async def test_a_page_follows_a_look_that_was_asked_for_until_it_has_ended(world: LettersWorld) -> None:
    world.put(1)
    (again,) = links(await world.get("/dead-letters"), "Look again")
    world.put(2)
    world.broker.gate.clear()
    world.looks.patience = 0
    page = await world.get(again)
    assert shown(page) == [1]
    assert "looking again" in text_of(page)
    assert f'hx-get="{again}"'.replace("&", "&amp;") in page
    assert "looking again" not in text_of(await world.get("/dead-letters")), "who has not asked is left alone"
    world.broker.gate.set()
    world.looks.patience = 5
    page = await world.get(again)
    assert shown(page) == [2, 1]
    assert "hx-trigger" not in page


async def test_the_first_look_at_many_takes_a_while_and_the_page_says_so(world: LettersWorld) -> None:
    world.put(1)
    world.broker.gate.clear()
    world.looks.patience = 0
    world.status.dead_letters.waiting = 12_345
    await world.get("/")
    page = await world.get("/dead-letters")
    assert "Reading the 12,345 dead letters" in page
    assert 'hx-trigger="every 1s"' in page
    page = await world.get("/dead-letters/discard?scope=all")
    assert "are being read" in page
    assert 'hx-get="/dead-letters/discard?scope=all"' in page
    page = await world.get("/dead-letters?open=dead-letters/1")
    assert '<h1 class="hidden">dead-letters/1</h1>' in page
    world.broker.gate.set()
    world.looks.patience = 5
    assert shown(await world.get("/dead-letters")) == [1]


async def test_more_than_are_kept_is_said(world: LettersWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "MOST", 2)
    world.put(1, 2, 3)
    page = await world.get("/dead-letters")
    assert len(shown(page)) == 2
    assert "There are more than" in page


async def test_a_queue_that_cannot_be_read_is_named(world: LettersWorld) -> None:
    world.put(1)
    world.broker.unreadable[Place(QUEUES.person, dead=True)] = QueueUnavailable("Disabled", "receiving is disabled")
    page = await world.get("/dead-letters")
    assert shown(page) == [1]
    assert "Not looked at: persons/$deadletterqueue: receiving is disabled" in text_of(page)


async def test_one_letter_with_everything(world: LettersWorld) -> None:
    world.put(1)
    page = await world.get("/dead-letters?open=dead-letters%2F1")
    text = text_of(page)
    assert "Marketo refuses the value of a field. Invalid value for field 'email' (marketo)" in text
    assert f"contact {guid(1)}" in text
    assert guid(1) in text.partition("The message, as it lies in Service Bus")[2]
    assert "NotThere" in await world.get("/dead-letters?open=dead-letters/9", 404)
    assert "NoAddress" in await world.get("/dead-letters?open=nowhere", 404)
