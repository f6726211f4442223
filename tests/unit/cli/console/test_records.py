"""The page of one record: searched by id or address, shown in both systems, and synced at a click."""

import asyncio
import re
from collections import Counter
from datetime import timedelta
from html import unescape
from typing import Any

import pytest

from shared.cli.console import records
from shared.cli.show.facts import Difference, Person, Relation, Search, Subject, ValueRow
from shared.cli.show.verdict import judge
from shared.model.outcome import Parent
from shared.sync.history import Event
from shared.sync.history_log import Past
from shared.sync.preview import Fate, Foreseen
from tests.support.console import World, text_of
from tests.support.values import NOON, guid

ID = "2e6d9f40-1c52-ef11-a316-000d3a5b7c8d"
OTHER = "7a1d9f40-1c52-ef11-a316-000d3a5b7c01"
NASTY = "<script>alert(1)</script>\u202e"


class Facts:
    """What the functions of the commands find."""

    def __init__(self) -> None:
        subject = Subject("contact", ID, NASTY, exists=True, in_marketo=1)
        subject.differences = [Difference("title", "Head of Sales", "Sales Manager")]
        details = {"email": "li@contoso.example", "state": "active", "modifiedon": None}
        self.person = Person(subject, {"contactid": ID}, details, records=[{"id": 7149}])
        self.search = Search(persons=[self.person])
        self.values = [
            ValueRow("email", {"emailaddress1": "li@x.example"}, "li@x.example", "li@x.example", differs=False),
            ValueRow("title", {"jobtitle": "Head of Sales"}, "Head of Sales", "Sales Manager", differs=True),
            ValueRow("fax", {"fax": None}, None, None, differs=False),
            ValueRow("rating", {"new_rating": 7}, "Warm", "Warm", differs=False),
            ValueRow("score", {"new_score": "x"}, None, 9, differs=False, is_sent=False, note="it is no number"),
            ValueRow("priority", {"new_priority": 3}, 5, 5, differs=True, back=True),
        ]
        self.search.past = Past(
            [
                Event(NOON, "contact", ID, "updated", {"left_out": ["title"]}, request_id="f869#17d4"),
                Event(NOON + timedelta(hours=1), "contact", ID, "resync", {}, by="ann"),
            ]
        )
        self.foreseen: Foreseen | None = Foreseen(ID, Fate.UPDATED, (7149,))
        self.queries: list[str] = []
        self.sent: list[tuple[str, list[str]]] = []
        self.unknown: list[str] = []
        self.why_not = ""
        self.gate = asyncio.Event()
        self.gate.set()

    async def find_out(self, _: Any, query: str, *__: Any, values: bool) -> Search:
        assert values
        self.queries.append(query)
        await self.gate.wait()
        for person in self.search.persons:
            person.verdict, person.values = judge(person.subject, self.search), self.values
        self.search.at += timedelta(seconds=1)
        return self.search

    async def foresee(self, *_: Any) -> Foreseen | None:
        return self.foreseen

    async def send_rows(self, _: Any, table: str, ids: list[str]) -> tuple[Counter[str], list[str], str]:
        self.sent.append((table, ids))
        return Counter({} if self.unknown else {table: 1}), self.unknown, self.why_not


@pytest.fixture
def facts(monkeypatch: pytest.MonkeyPatch) -> Facts:
    found = Facts()
    for name in ("find_out", "foresee", "send_rows"):
        monkeypatch.setattr(records, name, getattr(found, name))
    return found


@pytest.fixture
async def world(facts: Facts) -> World:
    del facts
    made = World()
    await made.sign_in()
    return made


async def test_it_begins_with_a_search_that_every_page_has(world: World, facts: Facts) -> None:
    page = await world.get("/records")
    assert 'id="q" name="q"' in page
    assert "hx-get" not in page
    assert facts.queries == []
    assert 'action="/records"' in await world.get("/")


@pytest.mark.parametrize("query", ["pat", "1234", "<script>"])
async def test_what_is_neither_an_id_nor_an_address_costs_nothing(world: World, facts: Facts, query: str) -> None:
    page = (await world.browser.get("/records", params={"q": query})).text
    assert "neither a GUID nor an e-mail address" in page
    assert '<script>"' not in page
    assert facts.queries == []


async def test_both_sides_are_shown_with_their_differences_first(world: World) -> None:
    page = await world.get(f"/records?q={ID}")
    text = text_of(page)
    assert f"msisync resync contact {ID}" in text, "the verdict of the command, with its remedy"
    assert "differs in 2 fields" in text
    assert text.index("title jobtitle Head of Sales Sales Manager") < text.index("email emailaddress1")
    assert "<mark>Head of Sales</mark>" in page
    assert "priority from Marketo new_priority 3 to write: 5 5" in text
    assert "rating new_rating 7 to send: Warm Warm" in text
    assert "score new_score x it is no number 9" in text
    assert "Empty on both sides: fax" in text
    assert text.count("li@x.example") == 1, "one value stands for both sides"


async def test_texts_of_rows_are_text(world: World) -> None:
    page = await world.get(f"/records?q={ID}")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\u202e" in page


async def test_the_history_is_a_timeline_with_the_newest_first(world: World) -> None:
    text = text_of(await world.get(f"/records?q={ID}"))
    newer, older = (
        "2026-03-04 13:00:00 UTC sent to be synced again, by ann",
        "2026-03-04 12:00:00 UTC updated in Marketo",
    )
    assert text.index(newer) < text.index(older)
    assert "without the fields title request f869#17d4" in text


async def test_what_could_not_be_asked_is_said_and_the_rest_is_shown(world: World, facts: Facts) -> None:
    facts.search.past = None
    facts.search.troubles |= {"Marketo": "601: no", "The history": "StorageAway: ServiceRequestError"}
    text = text_of(await world.get(f"/records?q={ID}"))
    assert "History could not be asked" in text
    assert "Marketo: 601: no" in text
    assert "The history: StorageAway" in text
    assert "Differs: contact" in text


async def test_a_row_of_another_table_is_shown_as_a_person_is(world: World, facts: Facts) -> None:
    company = Parent("company", "account", guid(8))
    facts.person = Person(
        Subject("opportunity", ID, "Deal", exists=True, in_marketo=0), {"opportunityid": ID},
        {"email": "", "state": "won", "modifiedon": None},
        [Relation("externalCompanyId", company, "the row's account", "Acme", exists=True, in_marketo=False)],
    )  # fmt: skip
    facts.search.persons, facts.search.past = [facts.person], Past()
    page = await world.get(f"/records?q={ID}&preview=opportunity&id={ID}")
    text = text_of(page)
    assert f"opportunity Deal ({ID}) not in Marketo" in text
    assert "A record is created in Marketo" in text
    assert "waits until company Acme is in Marketo, and is parked so long" in text
    assert f'href="/records?q={guid(8)}">Acme</a>' in page
    assert "title jobtitle Head of Sales" in text
    assert "won, modified at an unknown time" in text


async def test_a_row_that_gives_a_role_leads_to_what_it_joins(world: World, facts: Facts) -> None:
    facts.search.persons = [Person(Subject("", OTHER, exists=False))]
    ends = [Parent("opportunity", "opportunity", guid(2)), Parent("person", "contact", guid(3))]
    facts.search.others = [Subject("connection", OTHER, "Influencer", exists=True, in_marketo=False, parents=ends)]
    page = await world.get(f"/records?q={OTHER}")
    text = text_of(page)
    assert f"connection {OTHER} It gives the role Influencer not in Marketo" in text
    assert f'href="/records?q={guid(2)}">opportunity {guid(2)}</a>' in page
    assert f'href="/records?q={guid(3)}">contact {guid(3)}</a>' in page
    assert "Sync now" in text
    assert "NotFound" not in text


async def test_who_is_nowhere_is_said_to_be(world: World, facts: Facts) -> None:
    facts.search.persons = [Person(Subject("", OTHER, exists=False, in_marketo=0))]
    facts.search.troubles["Other tables"] = "503: away"
    text = text_of(await world.get(f"/records?q={OTHER}"))
    assert "no lead, contact or other row that is synced" in text
    assert "Other tables: 503: away" in text
    assert "Sync now" not in text


async def test_the_same_record_is_not_looked_for_again_at_once(world: World, facts: Facts) -> None:
    for query in (ID, ID.upper(), f"{{{ID}}}"):
        await world.browser.get("/records", params={"q": query})
    assert facts.queries == [ID], "however it is written"


async def test_look_again_looks_again_and_a_reload_of_that_page_does_not(world: World, facts: Facts) -> None:
    page = await world.get(f"/records?q={ID}")
    (again,) = re.findall(r'href="([^"]+)">Look again', page)
    for _ in range(2):
        await world.get(unescape(again))
    assert facts.queries == [ID, ID]


async def test_a_search_that_takes_its_time_is_waited_for(world: World, facts: Facts) -> None:
    facts.gate.clear()
    world.looks.patience = 0.0
    page = await world.get(f"/records?q={ID}")
    assert "Asking Dynamics" in page
    assert f'hx-get="/records?q={ID}"' in page
    facts.gate.set()
    world.looks.patience = 5.0
    page = await world.get(f"/records?q={ID}")
    assert "hx-get" not in page
    assert "Differs: contact" in text_of(page)


async def test_what_is_looked_at_again_is_shown_as_it_was_until_it_is_found(world: World, facts: Facts) -> None:
    page = await world.get(f"/records?q={ID}")
    facts.gate.clear()
    world.looks.patience = 0.0
    (again,) = re.findall(r'href="([^"]+)">Look again', page)
    page = await world.get(unescape(again))
    assert "looking again" in page
    assert 'hx-trigger="every 1s"' in page
    assert "Differs: contact" in text_of(page)
    facts.gate.set()
    world.looks.patience = 5.0
    page = await world.get(unescape(again))
    assert "looking again" not in page
    assert "hx-trigger" not in page


async def test_a_link_leads_to_its_parent_and_one_value_stands_for_both_sides(world: World, facts: Facts) -> None:
    parent = Parent("company", "account", guid(8))
    facts.person.relations = [Relation("externalCompanyId", parent, "the row's account", "Acme", in_marketo=True)]
    facts.values[:] = [
        ValueRow("externalCompanyId", {"account": f"Acme ({guid(8)})"}, guid(8), guid(8), differs=False),
    ]  # fmt: skip
    page = await world.get(f"/records?q={ID}")
    assert f'<a href="/records?q={guid(8)}">Acme ({guid(8)})</a>' in page
    assert "to send" not in text_of(page)


async def test_a_preview_says_what_would_be_sent_and_writes_nothing(world: World, facts: Facts) -> None:
    text = text_of(await world.get(f"/records?q={ID}&preview=contact&id={ID}"))
    assert "Its person in Marketo is updated. Marketo id 7149" in text
    assert "sent email, title, rating" in text
    assert "sent empty fax" in text
    assert "left out score: it is no number" in text
    assert "changes in Marketo title" in text
    assert world.table.rows == {}
    assert facts.sent == []


async def test_a_preview_of_a_row_that_is_kept_out_says_why(world: World, facts: Facts) -> None:
    facts.person.subject.kept_out = "new_synctomkto is No"
    text = text_of(await world.get(f"/records?q={ID}&preview=contact&id={ID}"))
    assert "not sent new_synctomkto is No" in text


async def synced(world: World, page: str) -> str:
    """Press the button of a page, and give the page of what has come of it."""
    return await world.agree("/records/sync", await world.get(page))


async def test_sync_now_sends_it_and_leads_back(world: World, facts: Facts) -> None:
    page = await synced(world, f"/records?q={ID}")
    assert facts.sent == [("contact", [ID])]
    assert f"contact {ID} is on its queue" in page
    assert f'href="/records?q={ID}">Back</a>' in page


async def test_a_row_that_is_gone_is_not_sent(world: World, facts: Facts) -> None:
    facts.unknown = [ID]
    assert f"contact {ID} is not in Dynamics" in await synced(world, f"/records/sync?table=contact&id={ID}")


async def test_an_app_that_could_not_be_told_is_said(world: World, facts: Facts) -> None:
    facts.why_not = "ServiceRequestError"
    assert "could not be told" in await synced(world, f"/records/sync?table=contact&id={ID}")


async def test_an_address_without_a_record_does_nothing(world: World) -> None:
    assert "names no record" in await world.get("/records/sync?table=accounts&id=1")
