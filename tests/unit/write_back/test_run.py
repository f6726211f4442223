"""A run of the write-back: what it reads, what it writes, what a cut leaves to the next one, and what it costs."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from local.virtual import MemoryState, MemoryTable
from shared.azure.service_bus import Outgoing
from shared.config.conditions import SyncFilter
from shared.dataverse.batch import Answer, Part
from shared.dataverse.client import error_of
from shared.model.codes import Kind
from shared.model.errors import DataverseError, MarketoError
from shared.model.record import decode
from shared.transport import call_count
from shared.write_back import lease as leases
from shared.write_back.due import DueRows, again
from shared.write_back.lease import Lease
from shared.write_back.persons import Feed, Persons
from shared.write_back.plan import Plan
from shared.write_back.results import Run, runs_of
from shared.write_back.rows import MANY, Rows
from shared.write_back.run import PAGE, WriteBack
from shared.write_back.sweep import Sweeps
from shared.write_back.values import Target
from tests.support.queues import QUEUES
from tests.support.values import guid

NOON = datetime(2026, 3, 4, 18, 0, tzinfo=UTC)
TARGETS = (Target("priority", "msi_priority", "Integer"), Target("msiType", "msi_type", "String", 10))
PLAN = Plan("rules", NOON, {"contact": TARGETS, "lead": TARGETS}, {}, (46, 22), ("priority",))
SETS = {"contacts": "contact", "leads": "lead"}
LOCKED = ("0x80040265", "a plug-in says no")


class KilledError(BaseException):
    """The host ends the process."""


class World:
    """Marketo, Dataverse and the state at once. Persons have Marketo's id and, in the other's table, the same GUID."""

    def __init__(self) -> None:
        self.now, self.seconds = NOON, 0.0
        self.people: dict[int, dict[str, Any]] = {}
        self.rows_of: dict[str, dict[str, dict[str, Any]]] = {"contact": {}, "lead": {}}
        self.log: list[int] = []  # Marketo's ids
        self.bad_tokens: set[str] = set()
        self.paths: list[str] = []
        self.reads: list[int] = []
        self.bulk: list[int] = []
        self.patches = 0
        self.refused: dict[str, tuple[str, str]] = {}
        self.has_bulk = True
        self.page_size = 300
        self.stale_links: DataverseError | None = None
        self.pages = 0
        self.stale_pages: set[int] = set()
        self.new_leads = 0
        self.seconds_of_a_page = 0.0
        self.excluded: SyncFilter = SyncFilter()
        self.sent: list[Outgoing] = []
        self.stop_after_writes = 0
        self.forgotten = 0
        self.before_read: Callable[[], None] = lambda: None
        self.table = MemoryTable(seconds=0)
        self.tables = ["contact", "lead"]
        self.plan = PLAN
        self.work = self.write_back()

    def write_back(self, **more: Any) -> WriteBack:
        """Another process's, on the same state."""
        itself: Any = self
        state = MemoryState(self.table)
        return WriteBack(
            state=state,
            plans=itself,
            persons=Persons(itself),
            feed=Feed(itself, state, now=self.time),
            rows=Rows(itself),
            dataverse=itself,
            due=DueRows(state, self.send, QUEUES, now=self.time, max_attempts=3),
            sweeps=Sweeps(state, hour=3, calls=more.pop("share", 10_000), now=self.time),
            lease=Lease(state, instance_id=more.pop("instance_id", "a"), clock=self.clock),
            turn=nullcontext,
            clock=self.clock,
            now=self.time,
            time_budget=180.0,
            **more,
        )

    def time(self) -> datetime:
        return self.now

    def clock(self) -> float:
        return self.seconds

    async def send(self, messages: Sequence[Outgoing]) -> None:
        self.sent += messages

    # the plan
    async def current(self) -> Plan:
        return self.plan

    async def forget(self) -> None:
        self.forgotten += 1

    async def without_changes(self, plan: Plan) -> Plan:
        self.plan = Plan(plan.rules, plan.made, plan.tables, plan.flags, plan.activities, ())
        return self.plan

    def filter_of(self, _plan: Plan, _table: str) -> SyncFilter:
        return self.excluded

    # Marketo
    def key_of(self, _entity: object) -> str:
        return "externalPersonId"

    async def get(self, path: str, **_: Any) -> dict[str, Any]:
        call_count.count("marketo")
        self.paths.append(path)
        url = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path.endswith("pagingtoken.json"):
            return {"nextPageToken": "0"}
        token = query["nextPageToken"]
        if token in self.bad_tokens:
            self.bad_tokens.discard(token)
            raise MarketoError("1003", "Invalid nextPageToken", kind=Kind.CONFIGURATION)
        self.seconds += self.seconds_of_a_page
        if url.path.endswith("leadchanges.json"):
            page = min(int(token) + 1, self.new_leads)
            result = [{"leadId": 9_000_000 + page, "fields": []}] if page else []
            return {"nextPageToken": str(page), "moreResult": page < self.new_leads, "result": result}
        start = int(token)
        found = self.log[start : start + 300]
        end = start + len(found)
        return {
            "result": [{"leadId": id_} for id_ in found if id_],
            "nextPageToken": str(end),
            "moreResult": end < len(self.log),
        }

    async def read(
        self, _entity: object, filter_type: str, values: Sequence[str], fields: Sequence[str], **_: Any
    ) -> list[dict[str, Any]]:
        self.before_read()
        assert len(values) <= 300
        call_count.count("marketo")
        self.reads.append(len(values))
        assert set(fields) == {"id", "externalPersonId", "priority", "msiType"}
        wanted = set(values)
        return [person for person in self.people.values() if str(person[filter_type]) in wanted]

    # Dataverse
    async def batch(self, parts: Sequence[Part], **_: Any) -> list[Answer]:
        call_count.count("dataverse")
        return [self._answer(part) for part in parts]

    def _answer(self, part: Part) -> Answer:
        table = self.rows_of[SETS[part.url.split("/")[4].partition("?")[0].partition("(")[0]]]
        if part.method == "GET":
            ids = json.loads(unquote(part.url.rpartition("&@p2=")[2]))
            return Answer(200, {}, json.dumps({"value": [table[id_] for id_ in ids if id_ in table]}).encode())
        assert part.url.endswith("?tag=msisync")
        self.patches += 1
        id_ = part.url.partition("(")[2].partition(")")[0]
        if id_ not in table:
            return _refusal(404, "0x80040217", "does not exist")
        if id_ in self.refused:
            return _refusal(400, *self.refused[id_])
        table[id_].update(part.body or {})
        return Answer(204)

    async def update_many(
        self, table: str, _set: str, targets: Sequence[Mapping[str, Any]], *, tag: str, **_: Any
    ) -> None:
        call_count.count("dataverse")
        assert tag == "msisync"
        if not self.has_bulk:
            raise error_of(404, {}, b"")
        if self.stop_after_writes and len(self.bulk) >= self.stop_after_writes:
            raise KilledError
        self.bulk.append(len(targets))
        ids = [str(target[f"{table}id"]) for target in targets]
        for id_ in ids:
            if id_ not in self.rows_of[table]:
                raise error_of(404, {}, _refusal(404, "0x80040217", "does not exist").content)
            if id_ in self.refused:
                raise error_of(400, {}, _refusal(400, *self.refused[id_]).content)
        for row, target in zip(ids, targets, strict=True):
            self.rows_of[table][row].update(target)

    async def page(self, url: str, size: int, **_more: Any) -> tuple[list[dict[str, Any]], str]:
        call_count.count("dataverse")
        assert size == PAGE
        self.pages += 1
        if self.pages in self.stale_pages:
            raise DataverseError("HTTP 503", "away", kind=Kind.TRANSIENT)
        if "#" in url and self.stale_links:
            raise self.stale_links
        path, _, start = url.partition("#")
        rows = list(self.rows_of[SETS[path.split("/")[4].partition("?")[0]]].values())
        end = int(start or 0) + self.page_size
        return rows[int(start or 0) : end], f"{path}#{end}" if end < len(rows) else ""

    # what a test does
    def add(self, number: int, table: str = "contact", **values: Any) -> None:
        """A person that both systems know; only Marketo has the values."""
        self.people[number] = {"id": number, "externalPersonId": guid(number), "priority": None, "msiType": None}
        self.people[number] |= values
        self.rows_of[table][guid(number)] = {f"{table}id": guid(number), "msi_priority": None, "msi_type": None}

    def add_many(self, count: int, *, logged: bool = False) -> None:
        """Contacts 1, 2, … with the priority 1; `logged`: Marketo says that they have changed."""
        for number in range(1, count + 1):
            self.add(number, priority=1)
            self.log += [number] * logged

    def priorities(self, table: str = "contact") -> list[Any]:
        return [row["msi_priority"] for row in self.rows_of[table].values()]

    async def changes(self, work: WriteBack | None = None) -> Run:
        work = work or self.work
        async with work.alone():
            return await work.changes()

    async def state(self, name: str) -> dict[str, Any]:
        return await MemoryState(self.table).read("write_back", name)


def _refusal(status: int, code: str, message: str) -> Answer:
    return Answer(status, {}, json.dumps({"error": {"code": code, "message": message}}).encode())


async def test_what_has_changed_is_written_to_leads_and_contacts_and_then_costs_nothing_more(world: World) -> None:
    for number in range(1, 7):
        world.add(number, "lead" if number % 2 else "contact", priority=number, msiType="Web")
    world.log += [1, 2, 3, 4, 3]
    run = await world.changes()
    assert (run.read, run.differing, run.written, run.failed, run.gone) == (4, 4, 4, 0, 0)
    assert world.priorities("lead") == [1, 3, None]
    assert world.priorities() == [2, 4, None]
    quiet = await world.changes(world.write_back())
    assert (quiet.read, quiet.marketo_calls, quiet.dataverse_requests, quiet.complete) == (0, 2, 0, True)


async def test_only_columns_that_differ_are_written(world: World) -> None:
    world.add(1, priority=3, msiType="Web")
    world.rows_of["contact"][guid(1)] |= {"msi_type": "Web "}
    world.log.append(1)
    await world.changes()
    assert world.rows_of["contact"][guid(1)] == {"contactid": guid(1), "msi_priority": 3, "msi_type": "Web "}


async def test_a_thousand_changes_among_many_cost_at_most_fifteen_calls_of_each(world: World) -> None:
    for number in range(1, 3001):
        world.add(number, "lead" if number % 2 else "contact", priority=1)
    world.log += range(1, 1001)
    run = await world.changes()
    assert run.written == 1000
    assert run.marketo_calls <= 15
    assert run.dataverse_requests <= 15
    assert max(world.bulk) <= MANY


async def test_seven_of_a_thousand_rows_are_refused_and_the_others_written(world: World) -> None:
    world.add_many(1000, logged=True)
    world.refused = {guid(number): LOCKED for number in range(100, 800, 100)}
    run = await world.changes()
    assert (run.written, run.failed) == (993, 7)
    assert sorted(failure["id"] for failure in run.failures) == sorted(world.refused)
    assert {failure["code"] for failure in run.failures} == {LOCKED[0]}
    assert all("plug-in" in failure["message"] for failure in run.failures)
    assert run.complete


async def test_a_refused_row_is_tried_again_and_is_a_dead_letter_at_last(world: World) -> None:
    world.add_many(1, logged=True)
    world.refused = {guid(1): LOCKED}
    tried = []
    for _ in range(8):
        before = world.patches
        await world.changes()
        tried.append(world.patches - before)
        world.now += timedelta(seconds=100)
    assert sum(tried) == 3  # MAX_ATTEMPTS
    (letter,) = world.sent
    assert letter.queue == "dead-letters"
    facts = ("code", "system", "entity", "table", "record_id", "attempts", "source_queue")
    assert [letter.properties[name] for name in facts] == [
        LOCKED[0], "dataverse", "person", "contact", guid(1), 3, "persons",
    ]  # fmt: skip
    (record,) = decode(letter.body, "person")
    assert (record.id, record.write_back) == (guid(1), True)


async def test_a_dead_row_is_left_alone_until_its_values_change_or_it_is_replayed(world: World) -> None:
    world.add_many(1, logged=True)
    world.refused = {guid(1): LOCKED}
    for _ in range(3):
        await world.changes()
        world.now += timedelta(hours=2)
    assert len(world.sent) == 1
    world.refused.clear()
    world.log.append(1)
    await world.changes()
    assert world.priorities() == [None]
    await again(MemoryState(world.table), decode(world.sent[0].body, "person"), now=world.time)
    await world.changes()
    assert world.priorities() == [1]
    assert not [key for key in world.table.rows if key[0] == "write_back_due"]


async def test_a_dead_row_gets_new_values_by_itself(world: World) -> None:
    world.add_many(1, logged=True)
    world.refused = {guid(1): LOCKED}
    for _ in range(3):
        await world.changes()
        world.now += timedelta(hours=2)
    world.refused.clear()
    world.people[1]["priority"] = 2
    world.log.append(1)
    await world.changes()
    assert world.priorities() == [2]


async def test_a_row_that_is_gone_is_no_failure(world: World) -> None:
    world.add_many(2, logged=True)

    def vanish() -> None:
        world.rows_of["contact"].pop(guid(2), None)

    world.before_read = vanish
    run = await world.changes()
    assert (run.written, run.gone, run.failed) == (1, 1, 0)


async def test_persons_without_our_id_or_of_another_system_are_left_alone(world: World) -> None:
    world.add(1, priority=1)
    for number, key in ((2, None), (3, "CRM-77"), (4, guid(400))):
        world.people[number] = world.people[1] | {"id": number, "externalPersonId": key}
    world.log += [1, 2, 3, 4, 5]  # the fifth was merged into another
    run = await world.changes()
    assert (run.read, run.written, run.failed) == (1, 1, 0)


async def test_rows_that_the_filter_keeps_out_are_not_written(world: World) -> None:
    world.add(1, priority=1)
    world.add(2, priority=1)
    world.rows_of["contact"][guid(2)]["new_synctomkto"] = False
    world.excluded = SyncFilter("new_synctomkto")
    world.log += [1, 2]
    await world.changes()
    assert world.priorities() == [1, None]


async def test_a_table_without_updatemultiple_is_written_by_batch_and_asked_once(world: World) -> None:
    world.has_bulk = False
    world.add_many(1, logged=True)
    assert (await world.changes()).written == 1
    world.people[1]["priority"] = 2
    world.log.append(1)
    run = await world.changes()
    assert (run.written, run.dataverse_requests) == (1, 2)  # read and written


async def test_who_may_not_write_at_all_ends_the_run_and_loses_nothing(world: World) -> None:
    world.add_many(3, logged=True)
    world.refused = {guid(number): ("0x80040220", "prvWriteContact is missing") for number in (1, 2, 3)}
    run = await world.changes()
    assert "prvWriteContact" in run.error
    assert not world.sent
    world.refused.clear()
    await world.changes()
    assert world.priorities() == [1, 1, 1]


async def test_a_run_that_is_killed_while_it_writes_is_done_again(world: World) -> None:
    world.add_many(600, logged=True)
    world.stop_after_writes = 1
    with pytest.raises(KilledError):
        await world.changes()
    assert None in world.priorities()
    world.stop_after_writes = 0
    run = await world.changes(world.write_back())
    assert set(world.priorities()) == {1}
    assert run.differing < 600


async def test_a_token_that_marketo_refuses_is_replaced_and_a_sweep_makes_up_for_it(world: World) -> None:
    world.add_many(1, logged=True)
    await world.changes()
    world.now += timedelta(days=100)
    world.bad_tokens = {"1"}
    world.people[1]["priority"] = 2
    world.paths.clear()
    run = await world.changes()
    assert run.complete
    assert world.priorities() == [2]
    since = next(unquote(path) for path in world.paths if "sinceDatetime" in path).partition("sinceDatetime=")[2]
    assert world.now - datetime.fromisoformat(since) == timedelta(days=89)
    assert (await world.state("sweep"))["asked"]


async def test_empty_pages_with_more_behind_them_are_read_on(world: World) -> None:
    world.add(1, priority=1)
    world.log += [*[0] * 900, 1]  # of no type that we asked for
    assert (await world.changes()).written == 1


async def test_many_changes_are_done_in_slices_each_of_which_is_remembered(world: World) -> None:
    world.add_many(3000, logged=True)
    turns = 0

    def slow() -> None:
        nonlocal turns
        turns += 1
        world.seconds += 60

    world.before_read = slow
    run = await world.changes()
    assert not run.complete
    assert 0 < run.written < 3000
    world.before_read = lambda: None
    rest = await world.changes()
    assert run.written + rest.written == 3000
    assert rest.read == 3000 - run.written


async def test_the_first_night_is_the_next_and_then_everything_is_compared_once(world: World) -> None:
    world.add(1, priority=1)
    world.add(2, "lead", priority=2)
    await world.work.tick()
    assert world.priorities() == [None]
    world.now += timedelta(days=1)
    await world.work.tick()
    assert (world.priorities(), world.priorities("lead")) == ([1], [2])
    world.people[1]["priority"] = 3
    await world.work.tick()
    assert world.priorities() == [1]
    kinds = [run["kind"] for run in runs_of(await world.state("runs"))]
    assert kinds == ["changes", "sweep", "changes", "changes"]


async def test_a_sweep_reads_full_calls_whatever_the_filter_leaves_of_a_page(world: World) -> None:
    world.add_many(2000)
    for number in range(1, 2001, 4):
        world.rows_of["contact"][guid(number)]["new_synctomkto"] = False
    world.excluded = SyncFilter("new_synctomkto")
    async with world.work.alone():
        run = await world.work.sweep(whole=True)
    assert run
    assert (run.read, run.written, run.marketo_calls, run.complete) == (1500, 1500, 5, True)
    assert world.reads == [300] * 5


async def test_a_sweep_goes_on_where_it_was_cut_off(world: World) -> None:
    world.add_many(1500)
    await world.work.tick()
    world.now += timedelta(days=1)
    world.stop_after_writes = 3
    with pytest.raises(KilledError):
        await world.work.tick()
    world.stop_after_writes = 0
    world.now += timedelta(minutes=10)
    world.reads.clear()
    await world.write_back(instance_id="b").tick()
    assert set(world.priorities()) == {1}
    assert 0 < sum(world.reads) <= 1200


async def test_a_sweep_stays_within_its_share_of_the_day_and_goes_on_the_next(world: World) -> None:
    world.add_many(1500)
    work = world.write_back(share=2)
    await work.tick()
    world.now += timedelta(days=1)
    for _ in range(3):
        await work.tick()
    assert world.priorities().count(1) == 600
    world.now += timedelta(days=1)
    await work.tick()
    assert world.priorities().count(1) == 1200


async def test_one_instance_at_a_time(world: World) -> None:
    world.add_many(1, logged=True)
    async with world.work.alone() as mine:
        assert mine
        await world.write_back(instance_id="b").tick()
        assert world.priorities() == [None]
    await world.write_back(instance_id="b").tick()
    assert world.priorities() == [1]


async def test_a_dry_run_writes_nothing_anywhere(world: World) -> None:
    world.add_many(1, logged=True)
    work = world.write_back(dry_run=True)
    async with work.alone():
        runs = [await work.changes(), await work.sweep(whole=True), await work.people([guid(1)], [])]
    assert [(run.differing, run.written) for run in runs if run] == [(1, 0)] * 3
    assert world.priorities() == [None]
    assert not world.table.rows


async def test_values_that_do_not_fit_are_counted_and_the_others_written(world: World) -> None:
    world.add(1, priority="high", msiType="Web")
    world.log.append(1)
    run = await world.changes()
    assert run.unfit == 1
    assert world.rows_of["contact"][guid(1)]["msi_type"] == "Web"


@pytest.mark.parametrize(
    "gone",
    [
        MarketoError("1006", "Field 'priority' not found", kind=Kind.CONFIGURATION),
        DataverseError("0x80060888", "Could not find a property named 'x'", kind=Kind.CONFIGURATION),
    ],
)
async def test_a_field_or_column_that_is_gone_makes_a_new_plan_at_once(world: World, gone: Exception) -> None:
    world.add_many(1, logged=True)

    def fail() -> None:
        world.before_read = lambda: None
        raise gone

    world.before_read = fail
    run = await world.changes()
    assert (run.error, run.written, world.forgotten) == ("", 1, 1)


async def test_an_outage_is_told_and_the_next_run_begins_where_this_one_was(world: World) -> None:
    world.add_many(1, logged=True)

    def fail() -> None:
        world.before_read = lambda: None
        raise MarketoError("HTTP 502", "away", kind=Kind.TRANSIENT)

    world.before_read = fail
    assert (await world.changes()).error == "HTTP 502: away"
    assert (await world.changes()).written == 1
    assert [run["error"] for run in runs_of(await world.state("runs"))] == ["", "HTTP 502: away"]


async def test_where_the_row_was_is_remembered(world: World) -> None:
    world.add(1, "lead", priority=1)
    world.log.append(1)
    first = await world.changes()
    world.people[1]["priority"] = 2
    world.log.append(1)
    second = await world.changes()
    assert (first.dataverse_requests, second.dataverse_requests) == (3, 2)


@pytest.mark.parametrize("why", ["the row is gone", "the filter keeps it out", "the person is gone"])
async def test_what_is_no_longer_to_be_written_is_no_longer_tried(world: World, why: str) -> None:
    world.add_many(1, logged=True)
    world.refused = {guid(1): LOCKED}
    await world.changes()
    assert [kind for kind, _ in world.table.rows if kind == "write_back_due"]
    if why == "the row is gone":
        world.rows_of["contact"].clear()
    elif why == "the person is gone":
        world.people.clear()
    else:
        world.rows_of["contact"][guid(1)]["new_synctomkto"] = False
        world.excluded = SyncFilter("new_synctomkto")
    world.now += timedelta(hours=1)
    await world.changes()
    assert not [kind for kind, _ in world.table.rows if kind == "write_back_due"]


@pytest.mark.parametrize(
    "refusal",
    [
        DataverseError("0x80060888", "Could not find a property named 'old'", kind=Kind.CONFIGURATION),
        DataverseError("0x80040203", "Invalid paging cookie", kind=Kind.PERMANENT),
    ],
)
async def test_a_sweep_whose_kept_link_is_refused_begins_its_table_anew(world: World, refusal: DataverseError) -> None:
    world.add_many(900)
    work = world.write_back(share=1)
    await work.tick()
    world.now += timedelta(days=1)
    await work.tick()
    assert (await world.state("sweep"))["link"]
    world.now += timedelta(days=1)
    world.stale_links, world.page_size = refusal, 10_000
    await work.tick()
    assert set(world.priorities()) == {1}


async def test_a_sweep_whose_plan_has_changed_reads_its_table_anew_with_the_new_columns(world: World) -> None:
    world.add_many(900)
    work = world.write_back(share=1)
    await work.tick()
    world.now += timedelta(days=1)
    await work.tick()
    cursor = await world.state("sweep")
    assert cursor["link"]
    assert cursor["plan"] == world.plan.identity
    world.plan = replace(world.plan, rules="others")
    world.stale_links = DataverseError("Link", "of the old plan was followed", kind=Kind.TRANSIENT)
    world.page_size = 10_000
    world.now += timedelta(days=1)
    await work.tick()
    assert set(world.priorities()) == {1}


async def test_a_sweep_that_is_cut_off_comes_back_to_the_oldest_row_that_waited(world: World) -> None:
    """Of each page few rows are synced, so calls are filled from many pages: none of these is skipped."""
    world.add_many(2000)
    for number in range(1, 2001):
        if number % 15:
            world.rows_of["contact"][guid(number)]["new_synctomkto"] = False
    world.excluded = SyncFilter("new_synctomkto")
    await world.write_back().tick()
    world.now += timedelta(days=1)
    world.stale_pages = {3}
    await world.write_back().tick()
    world.stale_pages = set()
    await world.write_back().tick()
    assert not (await world.state("sweep"))["tables"]
    synced = [row for row in world.rows_of["contact"].values() if row.get("new_synctomkto") is not False]
    assert {row["msi_priority"] for row in synced} == {1}


async def test_pages_that_name_nobody_for_longer_than_a_run_has_time_are_read_in_several(world: World) -> None:
    """As after the import of a list: a stream of new leads, of whom none has anything to write back."""
    world.add_many(1, logged=True)
    world.new_leads, world.seconds_of_a_page = 1000, 0.4
    runs = [await world.changes() for _ in range(4)]
    assert [run.error for run in runs] == [""] * 4
    assert [run.complete for run in runs] == [False, False, True, True]
    assert sum(run.marketo_calls for run in runs) < 1020
    assert world.priorities() == [1]


async def test_a_dry_run_counts_everything_that_has_changed(world: World) -> None:
    world.add_many(4000, logged=True)
    run = await world.changes(world.write_back(dry_run=True))
    assert (run.read, run.differing, run.written, run.complete) == (4000, 4000, 0, True)


async def test_one_row_that_may_not_be_written_is_a_dead_letter_at_last(world: World) -> None:
    world.add_many(2, logged=True)
    world.refused = {guid(1): ("0x80040220", "SecLib::AccessCheckEx failed")}
    for _ in range(6):
        await world.changes()
        world.now += timedelta(hours=2)
    assert [letter.properties["code"] for letter in world.sent] == ["0x80040220"]


async def test_a_lease_that_is_lost_ends_the_timer_s_run_without_an_error(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.0)
    thief = {"owner": "b", "lasts": 60.0}
    work = world.write_back()

    async def stolen() -> Run:
        await MemoryState(world.table).change("write_back", "lease", lambda _: thief)
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(work, "changes", stolen)
    await asyncio.create_task(work.tick())
    assert "write_back_stopped LeaseLost" in caplog.text
