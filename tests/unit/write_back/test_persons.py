"""Marketo's streams of changes: how they are read on, and what they say."""

from typing import Any

import pytest

from local.virtual import MemoryState, MemoryTable
from shared.model.codes import Kind
from shared.model.errors import MarketoError
from shared.write_back.persons import Changed, Feed
from shared.write_back.plan import Plan
from tests.support.plans import NOON


class Streams:
    """A Marketo whose two streams have no entries, or refuse."""

    def __init__(self, **refusals: str) -> None:
        self.refusals = refusals
        self.paths: list[str] = []
        self.entries: list[dict[str, Any]] = []
        self.token = "T"

    async def get(self, path: str, **more: Any) -> dict[str, Any]:
        name = path.partition("?")[0].rpartition("/")[2].removesuffix(".json")
        self.paths.append(name)
        assert "603" in more["refusals"]  # no circuit is opened for it
        if name in self.refusals:
            raise MarketoError(self.refusals[name], "no", kind=Kind.CONFIGURATION)
        return {"nextPageToken": self.token, "moreResult": False, "result": self.entries}


PLAN = Plan("r", NOON, {"contact": ()}, {}, (46,), ("priority",))


def feed(marketo: Streams) -> Feed:
    itself: Any = marketo
    return Feed(itself, MemoryState(MemoryTable(seconds=0)), now=lambda: NOON)


async def following(reader: Feed) -> tuple[Changed, bool]:
    return await reader.next(PLAN, await reader.cursors(), 10, is_over=lambda: False, deadline=0.0)


async def test_the_first_run_needs_one_token_for_both_streams() -> None:
    marketo = Streams()
    reader = feed(marketo)
    changed, _ = await following(reader)
    assert marketo.paths == ["pagingtoken", "activities", "leadchanges"]
    await reader.store(changed.cursors)
    marketo.paths.clear()
    await following(reader)
    assert marketo.paths == ["activities", "leadchanges"]


async def test_new_leads_have_nothing_to_write_back() -> None:
    marketo = Streams()
    marketo.entries = [{"leadId": 1, "fields": []}, {"leadId": 2, "fields": [{"name": "priority"}]}, {"leadId": 3}]
    changed, _ = await following(feed(marketo))
    assert changed.ids == {"2", "3"}


@pytest.mark.parametrize("code", ["1006", "1003"])
async def test_an_instance_that_does_not_log_these_fields_is_read_without_them(code: str) -> None:
    changed, tells = await following(feed(Streams(leadchanges=code)))
    assert not tells
    assert set(changed.cursors) == {"activities"}


async def test_an_answer_without_a_paging_token_is_an_error() -> None:
    marketo = Streams()
    marketo.token = ""
    with pytest.raises(MarketoError, match="no paging token"):
        await following(feed(marketo))


async def test_an_instance_that_may_not_be_asked_for_activities_says_so() -> None:
    with pytest.raises(MarketoError, match="603"):
        await following(feed(Streams(activities="603")))


async def test_a_token_that_is_refused_twice_is_an_error() -> None:
    marketo = Streams(activities="1003")
    with pytest.raises(MarketoError, match="1003"):
        await following(feed(marketo))
    assert len(marketo.paths) < 6
