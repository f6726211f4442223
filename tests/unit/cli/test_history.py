"""`msisync history`: whose history it is, what is shown of it, and why there may be none."""

import time
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from shared.cli import history, past
from shared.cli.command import Exit, Result
from shared.cli.parsing import UsageError
from shared.cli.past import lines_of
from shared.cli.show.facts import Person, Subject
from shared.model.codes import Kind
from shared.model.errors import DataverseError, MarketoError, StorageUnavailableError
from shared.sync.history import Event, What
from tests.support.commands import typed
from tests.support.history import NOON, Kept
from tests.support.values import guid
from tests.support.vendors import Vendors

CONTACT, LEAD = guid(1), guid(2)


class World(Vendors):
    """Storage, and the two systems that know whose address it is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kept = Kept()
        self.days = 14
        self.in_dynamics: list[str] = []
        self.in_marketo: list[dict[str, Any]] = []
        self.dynamics_away, self.marketo_away = False, False
        self.asked: list[str] = []
        itself = self

        class Dynamics:
            def __init__(self, *_: Any) -> None: ...

            async def find(self, _: str) -> list[Person]:
                if itself.dynamics_away:
                    raise DataverseError("HTTP 503", "Dynamics is down", kind=Kind.TRANSIENT)
                return [Person(Subject("contact", id_)) for id_ in itself.in_dynamics]

        class Now(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]  # a datetime is enough
                return itself.kept.now.astimezone(tz)

        monkeypatch.setattr(history, "Dynamics", Dynamics)
        monkeypatch.setattr(past, "datetime", Now)

    async def read(self, _entity: Any, _field: str, values: list[str], *_: Any) -> list[dict[str, Any]]:
        self.asked += values
        if self.marketo_away:
            raise MarketoError("Unreachable", "Marketo cannot be reached", kind=Kind.TRANSIENT)
        return self.in_marketo

    async def run(self, line: str) -> tuple[Result, str]:
        storage = SimpleNamespace(storage=SimpleNamespace(history_days=self.days))
        context = SimpleNamespace(
            settings=storage, history_tables=self.kept.tables, dataverse=None, metadata=None, config=None, marketo=self
        )
        return await typed(context, "history", *line.split())

    async def happened(self, *whats: What, id_: str = CONTACT, **more: Any) -> None:
        self.kept.history.add(
            [Event(NOON + timedelta(seconds=n), "contact", id_, what, **more)] for n, what in enumerate(whats)
        )
        await self.kept.events()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


async def test_without_a_record_it_is_what_operators_did_that_concerns_no_single_one(world: World) -> None:
    await world.happened(What.RECEIVED)
    world.kept.history.happened_at_large(What.QUEUE_PAUSED, by="ann", queue="persons", place="console")
    world.kept.time += 1
    world.kept.history.happened_at_large(What.RUN_STARTED, by="bo", run="20260304-1", kind="reconcile", tables=["lead"])
    await world.kept.events()
    result, text = await world.run("")
    first, second, third, fourth = text.splitlines()
    assert (result.exit, first) == (Exit.OK, "What operators did")
    assert second.endswith("UTC  queue paused: persons; in the console, by ann")
    assert third.endswith("UTC  run started: reconcile; of lead, by bo")
    assert fourth.strip() == "run 20260304-1"
    assert CONTACT not in text


async def test_nobody_has_done_anything(world: World) -> None:
    await world.happened(What.RECEIVED)
    result, text = await world.run("")
    assert result.exit is Exit.ATTENTION
    assert "Nobody has paused, resumed or started anything since 2026-03-04." in text


async def test_what_happened_is_shown_the_newest_last(world: World) -> None:
    await world.happened(What.RECEIVED, What.CREATED, correlation_id="c-1")
    result, text = await world.run(CONTACT)
    assert result.exit is Exit.OK
    first, second, _, third, _ = text.splitlines()
    assert first == f"contact {CONTACT}"
    assert second.endswith("received")
    assert third.endswith("created in Marketo")
    assert "correlation c-1" in text


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="a process on Windows has the zone of the machine")
def test_the_time_is_that_of_the_reader_and_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    event = Event(NOON, "contact", CONTACT, What.UPDATED)
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    here = next(lines_of(event))
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert here.startswith("2026-03-04 13:00:00 (2026-03-04 12:00:00 UTC)  ")
    assert next(lines_of(event)).startswith("2026-03-04 12:00:00 UTC  ")


async def test_an_address_leads_to_every_row_that_either_system_has(world: World) -> None:
    world.in_dynamics = [CONTACT]
    world.in_marketo = [{"id": 1, "externalPersonId": LEAD.upper()}, {"id": 2, "externalPersonId": None}]
    await world.happened(What.UPDATED)
    await world.happened(What.DELETED, id_=LEAD)
    result, text = await world.run("ada@example.com")
    assert result.data["records"] == [CONTACT, LEAD]
    assert text.index(CONTACT) < text.index(LEAD)


async def test_in_an_outage_of_one_system_the_other_says_whose_an_address_is(world: World) -> None:
    world.in_dynamics, world.marketo_away = [CONTACT], True
    await world.happened(What.UPDATED)
    result, text = await world.run("ada@example.com")
    assert (result.exit, result.data["records"]) == (Exit.ATTENTION, [CONTACT])
    assert "updated in Marketo" in text
    assert "! not looked at: Marketo: Unreachable: Marketo cannot be reached" in text
    world.in_dynamics = []
    with pytest.raises(MarketoError):
        await world.run("ada@example.com")
    world.in_marketo, world.marketo_away, world.dynamics_away = [{"id": 1, "externalPersonId": CONTACT}], False, True
    result, text = await world.run("ada@example.com")
    assert "! not looked at: Dynamics: HTTP 503: Dynamics is down" in text
    assert result.data["records"] == [CONTACT]


async def test_an_address_with_a_comma_is_not_two_addresses_for_marketo(world: World) -> None:
    world.in_marketo = [{"id": 1, "externalPersonId": LEAD}]
    result, _ = await world.run("x,ada@example.com")
    assert (world.asked, result.data["records"]) == ([], [])


async def test_an_address_that_nobody_has(world: World) -> None:
    result, text = await world.run("ada@example.com")
    assert result.exit is Exit.FAILED
    assert "give the id" in text


async def test_only_the_last_ones_and_how_many_there_are_before(world: World) -> None:
    await world.happened(*[What.UPDATED] * 5, What.DELETED)
    result, text = await world.run(f"{CONTACT} --limit 2")
    assert [event["what"] for event in result.data["events"]] == ["updated", "deleted"]
    assert "4 earlier ones are not shown" in text


async def test_nothing_is_known_and_why(world: World) -> None:
    await world.happened(What.UPDATED, id_=LEAD)
    result, text = await world.run(CONTACT)
    assert result.exit is Exit.ATTENTION
    assert text.startswith("Nothing has happened to it since 2026-03-04.")
    world.days = 0
    assert "The history is off" in (await world.run(CONTACT))[1]


async def test_storage_that_is_away_is_an_error_and_not_an_empty_history(world: World) -> None:
    world.kept.tables.away = StorageUnavailableError("ServiceRequestError")
    with pytest.raises(StorageUnavailableError):
        await world.run(CONTACT)


async def test_what_is_neither_an_id_nor_an_address_is_refused(world: World) -> None:
    with pytest.raises(UsageError) as stopped:
        await world.run("Ada")
    assert "neither a GUID nor an e-mail address" in stopped.value.message
