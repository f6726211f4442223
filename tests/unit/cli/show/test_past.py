"""What `show person` takes from the history: the last events, and whatever says who became whom."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from shared.cli.finding import ok
from shared.cli.show import past
from shared.cli.show.command import as_json
from shared.cli.show.facts import Person, Search, Subject
from shared.cli.show.text import render
from shared.sync.history import Event, What
from tests.support.commands import printed
from tests.support.history import NOON, Kept
from tests.support.values import guid

ANN = guid(1)


@pytest.fixture
def search() -> Search:
    person = Person(Subject("contact", ANN, "Ann", exists=True), details={"email": "", "state": "", "modifiedon": ""})
    return Search([person])


async def look(search: Search, kept: Kept, monkeypatch: pytest.MonkeyPatch, days: int = 14) -> None:
    class Now:
        @staticmethod
        def now(_: Any) -> Any:
            return kept.now

    monkeypatch.setattr("shared.cli.past.datetime", Now)
    settings = SimpleNamespace(storage=SimpleNamespace(history_days=days))
    context: Any = SimpleNamespace(settings=settings, history_tables=kept.tables)
    await past.look(context, search)


def shown(search: Search) -> str:
    return printed(lambda console: render(console, search))


async def happened(kept: Kept, *whats: What, id_: str = ANN) -> None:
    kept.history.add([Event(NOON + timedelta(seconds=n), "contact", id_, what)] for n, what in enumerate(whats))
    await kept.events()


async def test_the_last_ones_and_where_it_comes_from(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept()
    await happened(kept, What.ADOPTED, *[What.RECEIVED] * 2, *[What.UPDATED] * 5)
    await happened(kept, What.DELETED, id_=guid(2))
    await look(search, kept, monkeypatch)
    (person,) = as_json(ANN, search, ok("fine"))["persons"]
    assert [event["what"] for event in person["history"]] == ["adopted", *["updated"] * 5]
    text = shown(search)
    assert "went on as a person that Marketo had" in text
    assert f"all of it: msisync history {ANN}" in text
    assert "deleted in Marketo" not in text


async def test_why_there_is_none(search: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    await look(search, Kept(), monkeypatch, days=0)
    assert "The history is off" in shown(search)
