"""The history is written beside the work: nothing waits for it, nothing fails for it, and its memory is bounded."""

import asyncio
from collections.abc import Iterator
from datetime import date, timedelta

import pytest

from shared.model.errors import StorageUnavailableError
from shared.sync import history_log
from shared.sync.history import Event, Line, What
from shared.sync.history_log import AGAIN_SECONDS, DROP_EVERY, MOST_LINES, Past, nothing_kept, read
from tests.support.history import NOON, Kept
from tests.support.values import guid

AWAY = StorageUnavailableError("ServiceRequestError")


def lines(count: int, first: int = 0) -> list[Line]:
    return [[Event(NOON, "contact", guid(n), What.UPDATED)] for n in range(first, first + count)]


@pytest.fixture
def kept() -> Kept:
    return Kept()


async def test_what_is_added_is_written_without_being_waited_for(kept: Kept) -> None:
    kept.tables.gate.clear()
    kept.history.add(lines(2))
    await asyncio.sleep(0)
    assert not kept.tables.rows
    kept.tables.gate.set()
    assert len(await kept.events()) == 2


async def test_what_comes_within_a_second_is_written_together(kept: Kept) -> None:
    for n in range(5):
        kept.history.add(lines(1, n))
        await asyncio.sleep(0)
    assert len(await kept.events()) == 5
    assert kept.tables.writes == [5]


async def test_nobody_has_to_ask_for_it_to_be_written(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_log, "LINGER_SECONDS", 0.0)
    kept.history.add(lines(1))
    assert kept.history._task
    await kept.history._task
    assert len(kept.tables.rows) == 1


async def test_what_comes_during_a_write_is_written_after_it(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_log, "LINGER_SECONDS", 0.0)
    kept.tables.gate.clear()
    kept.history.add(lines(1))
    await kept.tables.begun.wait()
    kept.history.add(lines(3, 1))
    kept.tables.gate.set()
    assert len(await kept.events()) == 4
    assert kept.tables.writes == [1, 3]


async def test_storage_that_is_away_is_logged_once_and_tried_again_a_minute_later(
    kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    kept.tables.away = AWAY
    for _ in range(3):
        kept.history.add(lines(1))
        await kept.events()
    assert kept.tables.writes == [1]
    kept.time += AGAIN_SECONDS
    kept.history.add(lines(1))
    await kept.events()
    assert kept.tables.writes == [1, 4]
    assert [line.message for line in caplog.records] == ["history_not_written error=ServiceRequestError"]
    kept.tables.away, kept.time = None, kept.time + AGAIN_SECONDS
    kept.history.add(lines(1))
    assert len(await kept.events()) == 5


async def test_a_write_that_hangs_ends(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_log, "PATIENCE_SECONDS", 0.01)
    kept.tables.gate.clear()
    kept.history.add(lines(1))
    assert await kept.events() == []
    assert kept.history._task
    assert kept.history._task.done()


async def test_no_more_than_some_lines_wait_and_the_oldest_are_lost(kept: Kept) -> None:
    kept.tables.away = AWAY
    kept.history.add(lines(MOST_LINES))
    await kept.events()
    kept.history.add(lines(3, MOST_LINES))
    kept.tables.away, kept.time = None, AGAIN_SECONDS
    kept.history.add(lines(1, MOST_LINES + 3))
    found = await kept.events()
    assert len(found) == MOST_LINES
    assert {event.id for event in found} == {guid(n) for n in range(4, MOST_LINES + 4)}


async def test_lines_that_storage_will_never_take_do_not_keep_the_others(kept: Kept) -> None:
    kept.tables.away = StorageUnavailableError("HttpResponseError", 400)
    kept.history.add(lines(1))
    await kept.events()
    kept.tables.away, kept.time = None, AGAIN_SECONDS
    kept.history.add(lines(1, 1))
    assert [event.id for event in await kept.events()] == [guid(1)]


async def test_a_defect_of_the_history_is_no_defect_of_the_sync(kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Iterator[Line]:
        raise KeyError("Ada")
        yield

    kept.history.add(broken())
    kept.tables.away = ValueError("Ada")
    kept.history.add(lines(1))
    await kept.events()
    assert len(caplog.records) == 2
    assert "Ada" not in caplog.text


async def test_a_process_without_a_history_keeps_nothing() -> None:
    kept = Kept(days=0)
    kept.history.add(lines(1))
    assert not await kept.events()
    nothing_kept().add(lines(1))
    await nothing_kept().close()


async def test_a_command_writes_before_it_ends(kept: Kept) -> None:
    kept.history.add(lines(1))
    await kept.history.close()
    assert len(kept.tables.rows) == 1


async def test_what_an_operator_did_has_a_name(kept: Kept) -> None:
    kept.history.happened(What.REPLAY, [("contact", guid(1)), ("lead", guid(2))], by="ada", code="1007")
    found = await kept.events()
    assert [(event.table, event.by, event.text) for event in found] == [
        ("contact", "ada", "its dead letter was replayed: 1007"), ("lead", "ada", "its dead letter was replayed: 1007"),
    ]  # fmt: skip


async def test_the_end_of_a_command_does_not_wait_for_storage_for_ever(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_log, "LAST_SECONDS", 0.01)
    kept.tables.gate.clear()
    kept.history.add(lines(1))
    await kept.history.close()
    assert kept.tables.rows == []


@pytest.mark.parametrize(("days", "left"), [(14, 15), (1, 2), (0, 0)])
async def test_old_days_are_dropped_as_tables_once_an_hour(days: int, left: int) -> None:
    kept = Kept(days)
    kept.tables.kept = [(NOON - timedelta(days=n)).date() for n in range(40)]
    await kept.history.drop_old()
    await kept.history.drop_old()
    assert len(kept.tables.kept) - len(kept.tables.dropped) == left
    assert kept.tables.looks == 1
    kept.time += DROP_EVERY.total_seconds()
    await kept.history.drop_old()
    assert kept.tables.looks == 2


async def test_storage_that_is_away_does_not_stop_the_timer(kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    kept.tables.away = AWAY
    await kept.history.drop_old()
    assert "history_not_dropped" in caplog.text


async def test_who_finds_nothing_reads_why() -> None:
    kept = Kept()
    assert "HISTORY_DAYS is 0" in (await read(kept.tables, [guid(1)], days=0, now=NOON)).why_nothing
    assert "begins with the first change" in (await read(kept.tables, [guid(1)], days=14, now=NOON)).why_nothing
    kept.history.add(lines(1, 7))
    await kept.events()
    past = await read(kept.tables, [guid(1)], days=14, now=NOON)
    assert past == Past([], date(2026, 3, 4), 14)
    assert past.why_nothing.startswith("Nothing has happened to it since 2026-03-04.")
    assert not (await read(kept.tables, [guid(7)], days=14, now=NOON)).why_nothing


async def test_days_that_are_over_are_not_read_though_they_are_still_there() -> None:
    kept = Kept()
    old = [Event(NOON - timedelta(days=20), "contact", guid(1), What.UPDATED)]
    kept.history.add([old, *lines(1, 1)])
    await kept.events()
    assert len((await read(kept.tables, [guid(1)], days=14, now=NOON)).events) == 1
