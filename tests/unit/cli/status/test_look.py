"""What `msisync status` asks, and what it makes of answers that do not come."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from azure.servicebus.management import EntityStatus

from shared.azure.parked_rows import Parked
from shared.azure.parked_table import Store
from shared.azure.receiver import Message
from shared.azure.shared_state import State
from shared.cli import peek
from shared.cli.command import Exit
from shared.cli.peek import Place, QueueUnavailable
from shared.cli.status.command import as_json
from shared.cli.status.facts import MAX_LETTERS, PARKED, STATE, Status
from shared.cli.status.look import look
from shared.marketo.quota import Budget
from shared.model.outcome import Parent
from shared.model.record import Record, encode, timestamp
from shared.sync.runs.model import RunKind, RunState, Scope, new_run
from shared.sync.runs.store import Runs
from shared.sync.statistics import row_name
from tests.support.queues import QUEUES
from tests.support.run_commands import MARKETO
from tests.support.status import text_of
from tests.support.tables import FullTable
from tests.support.values import guid

ID = "2e6d9f40-1c52-ef11-a316-000d3a5b7c8d"
NOW = datetime.now(UTC).replace(microsecond=0)


class World:
    """The broker's management, the queues' messages and both tables."""

    def __init__(self) -> None:
        self.messages: dict[str, list[Message]] = {}
        self.dead: dict[str, int] = {}
        self.status: dict[str, EntityStatus] = {}
        self.unavailable: dict[str, QueueUnavailable] = {}
        self.table, self.parked = FullTable(), FullTable()
        self.state, self.store = State(self.table), Store(self.parked)
        self.runs = Runs(self.table, now=lambda: NOW)
        self.may_manage, self.bus_away = True, False
        self.looked_into: list[str] = []

    async def get_queue(self, name: str) -> Any:
        if self.bus_away:
            raise ServiceRequestError("no namespace")
        if not self.may_manage:
            raise ClientAuthenticationError("401")
        return SimpleNamespace(status=self.status.get(name, EntityStatus.ACTIVE))

    async def get_queue_runtime_properties(self, name: str) -> Any:
        return SimpleNamespace(
            active_message_count=len(self.messages.get(name, ())),
            scheduled_message_count=0,
            dead_letter_message_count=self.dead.get(name, 0),
        )

    async def peek(self, _bus: Any, place: Place, *, page: int = 250) -> AsyncGenerator[list[Message], None]:
        self.looked_into.append(str(place))
        if place.queue in self.unavailable:
            raise self.unavailable[place.queue]
        found = self.messages.get(place.queue, [])
        for start in range(0, len(found), page):
            yield found[start : start + page]

    async def look(self) -> Status:
        budget = Budget(self.state, MARKETO, instance_id="operator", now=lambda: datetime.now(UTC), operator=True)
        context: Any = SimpleNamespace(
            settings=SimpleNamespace(queues=QUEUES, marketo=MARKETO), environment={}, bus_administration=self, bus=None,
            parked=self.store, state=self.state, budget=budget, runs=self.runs,
        )  # fmt: skip
        return await look(context)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(peek, "peek", made.peek)
    return made


def message(*ages: int, number: int = 1) -> Message:
    return Message(number, encode("person", [Record("lead", ID, NOW - timedelta(minutes=age)) for age in ages]), NOW)


async def test_an_empty_system_is_well_and_its_queues_are_left_alone(world: World) -> None:
    status = await world.look()
    assert (status.exit, status.unseen, world.looked_into) == (Exit.OK, {}, [])
    assert status.budget
    assert status.budget.used_today == 0


async def test_the_oldest_change_is_the_oldest_record_of_the_first_messages(world: World) -> None:
    world.messages["persons"] = [message(1, 7), message(2, 30, number=2)]
    status = await world.look()
    assert status.entities["person"].queue.oldest == NOW - timedelta(minutes=30)
    assert world.looked_into == ["persons"]
    assert status.exit == Exit.ATTENTION


async def test_a_queue_that_the_app_works_on_is_no_trouble(world: World) -> None:
    world.messages["persons"] = [message(1)]
    world.unavailable["persons"] = QueueUnavailable("InUse", "the app is working on it now")
    status = await world.look()
    assert (status.exit, status.entities["person"].queue.oldest) == (Exit.OK, None)
    assert status.entities["person"].queue.why == "the app is working on it now"


async def test_a_paused_queue_says_so(world: World) -> None:
    world.messages["persons"] = [message(90)]
    world.status["persons"] = EntityStatus.RECEIVE_DISABLED
    world.unavailable["persons"] = QueueUnavailable("Disabled", "receiving is disabled")
    status = await world.look()
    assert (status.exit, status.entities["person"].queue.why) == (Exit.ATTENTION, "paused")
    assert status.unseen == {}


async def test_who_may_not_manage_still_sees_what_waits(world: World) -> None:
    world.may_manage = False
    world.messages = {"persons": [message(3)], "dead-letters": [Message(1, b"", NOW, properties={"entity": "company"})]}
    status = await world.look()
    assert status.exit == Exit.FAILED
    assert set(status.unseen) == {"changes", "sellers", "companies", "persons", "deals", "roles", "dead-letters"}
    assert status.entities["person"].queue.oldest == NOW - timedelta(minutes=3)
    assert status.entities["company"].letters == 1


async def test_a_namespace_that_does_not_answer_is_not_asked_twice(world: World) -> None:
    world.bus_away = True
    status = await world.look()
    assert (status.exit, len(status.unseen), world.looked_into) == (Exit.FAILED, 7, [])


async def test_without_storage_the_queues_are_looked_at_all_the_same(world: World) -> None:
    world.table.away = world.parked.away = True
    world.messages["persons"] = [message(3)]
    status = await world.look()
    assert (status.exit, set(status.unseen)) == (Exit.FAILED, {PARKED, STATE})
    assert status.entities["person"].queue.waiting == 1
    assert "storage does not answer" in status.unseen[STATE]


async def test_dead_letters_are_told_apart_by_entity_up_to_a_bound(world: World) -> None:
    letters = [Message(n, b"", NOW, properties={"entity": "person"} if n % 2 else {}) for n in range(MAX_LETTERS + 300)]
    world.messages["dead-letters"] = letters
    world.dead["companies"] = 2
    status = await world.look()
    assert status.dead == MAX_LETTERS + 302
    assert (status.entities["person"].letters, status.letters_elsewhere) == (MAX_LETTERS // 2, MAX_LETTERS // 2)
    assert status.letters_more
    assert status.entities["company"].dead == 2


async def test_counts_and_circuits_are_read_and_what_is_old_or_odd_is_left_out(world: World) -> None:
    soon, long_ago = timestamp(NOW + timedelta(minutes=1)), timestamp(NOW - timedelta(hours=9))
    outage = {"since": timestamp(NOW), "until": soon, "reason": "marketo 503", "failures": 2}
    put = world.state.put
    await put("counts", row_name(NOW, "person"), {"synced": {str(NOW.minute - NOW.minute % 5): 7}})
    await put("counts", row_name(NOW - timedelta(hours=30), "person"), {"synced": {"0": 100}})
    await put("circuit", "company", outage)
    await put("circuit", "person", {**outage, "until": long_ago})
    await put("circuit", "opportunity", {"of": "another version"})
    waiting = Record("lead", ID, NOW, parked_since=NOW)
    await world.store.park([Parked(Parent("company", "account", guid(1)), "person", waiting)], NOW)
    status = await world.look()
    assert status.entities["person"].last_hour["synced"] == status.entities["person"].last_day["synced"] == 7
    assert list(status.circuits) == ["company"]
    assert status.entities["person"].parked.by_parent == {"company": 1}


def a_run(kind: str = "changes", minutes: int = 5, error: str = "") -> dict[str, Any]:
    numbers = dict.fromkeys(("read", "differing", "written", "failed", "gone", "marketo_calls"), 2)
    moment = timestamp(NOW - timedelta(minutes=minutes))
    return {
        "kind": kind, "started": moment, "finished": moment, "complete": kind == "changes", "error": error,
    } | numbers  # fmt: skip


async def test_the_last_runs_of_the_write_back_are_shown(world: World) -> None:
    await world.state.put("write_back", "runs", {"runs": [a_run("sweep", 1), a_run()]})
    status = await world.look()
    assert status.exit == Exit.OK
    last = " ago: 2 read, 2 differing, 2 written, 2 failed, 2 gone; 2 Marketo calls; goes on"
    assert last in text_of(status, width=200)
    assert as_json(status)["write_back"]["runs"][1]["kind"] == "changes"


@pytest.mark.parametrize(("differing", "says"), [(40, ""), (60, "7 % of leads and contacts are not in Marketo as")])
async def test_how_far_persons_have_drifted_is_shown_and_needs_attention_from_5_percent_on(
    world: World, differing: int, says: str
) -> None:
    found = {"compared": 990, "differing": differing, "missing": 5, "fields": {"city": 30, "phone": 4, "title": 31}}
    await world.state.put("write_back", "drift", {**found, "at": timestamp(NOW - timedelta(hours=5))})
    status = await world.look()
    shown = text_of(status, width=200)
    assert f"990 leads and contacts compared with Marketo, 5 h ago: {differing} differ, 5 missing there" in shown
    assert "most often title 31, city 30, phone 4" in shown
    assert as_json(status)["write_back"]["drift"]["fields"]["title"] == 31
    assert [each.text[: len(says)] for each in status.attentions] == ([says] if says else [])
    assert [each.remedy for each in status.attentions] == (["msisync reconcile contact lead"] if says else [])


@pytest.mark.parametrize(
    ("runs", "due", "says"),
    [
        ([a_run(error="603: Access denied")], [], "has stopped (603: Access denied)"),
        ([a_run(minutes=200)], [], "nothing was written back for 3 h"),
        ([a_run("sweep", 1), a_run(minutes=200)], [], "nothing was written back for 3 h"),
        ([a_run(minutes=70)], [], "nothing was written back for"),  # as the alert write-back-late has it
        ([a_run(minutes=5) | {"complete": False}, a_run(minutes=90)], [], "nothing was written back for"),
        ([a_run(minutes=m) | {"complete": False} for m in (5, 90)], [], "nothing was written back for"),
        ([a_run(minutes=5) | {"complete": False}, a_run(minutes=20)], [], ""),
        ([a_run()], [{"code": "0x80040265", "message": "no"}], "1 row could not be written back (0x80040265 no)"),
        ([a_run()], [{"code": "0x80040265", "message": "no", "dead": True}], ""),
    ],
)
async def test_a_write_back_that_has_stopped_is_late_or_refused_needs_attention(
    world: World, runs: list[dict[str, Any]], due: list[dict[str, Any]], says: str
) -> None:
    await world.state.put("write_back", "runs", {"runs": runs})
    for number, value in enumerate(due):
        await world.state.put("write_back_due", f"lead|{number}", value)
    status = await world.look()
    told = " ".join(attention.text for attention in status.attentions)
    assert says in told
    assert bool(told) == bool(says)


async def test_runs_that_are_not_over_are_named(world: World) -> None:
    over, going = (
        new_run(RunKind.INITIAL_SYNC, Scope((table,)), NOW, unique=unique, expected={table: 900})
        for table, unique in (("account", "aaaa"), ("contact", "bbbb"))
    )
    for run in (over, going):
        await world.runs.create(run)
    await world.runs.to(over.id, RunState.CANCELLED)
    await world.runs.to(going.id, RunState.PAUSED)
    status = await world.look()
    assert [run.id for run in status.runs] == [going.id]
    assert "paused" in " ".join(each.text for each in status.attentions)
    shown = text_of(status, width=200)
    assert f"initial-sync {going.id}: paused" in shown
    assert "0 of 900 rows read" in shown
