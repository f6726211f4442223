"""Parts of the write-back: the plan and what it costs, the lease, echoes, streams, and mixed answers of a batch."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.virtual import MemoryState, MemoryTable
from shared.config.settings import QueueSettings
from shared.config.sync_toml import SyncConfig
from shared.dataverse.batch import Answer, Part
from shared.dataverse.metadata import Column
from shared.dataverse.notifications import Change, Notification
from shared.model.codes import Kind
from shared.model.errors import DataverseError, MarketoError, SignInError, StorageUnavailableError
from shared.sync import sole_run
from shared.sync.mapping import MarketoField
from shared.sync.sole_run import LeaseLostError, SoleRun
from shared.write_back.due import DueRows
from shared.write_back.echo import Echoes
from shared.write_back.persons import Changed, Feed
from shared.write_back.plan import KEPT, Plan, Plans
from shared.write_back.rows import MANY, Rows, Update
from shared.write_back.values import Target
from tests.support.values import guid

NOON = datetime(2026, 3, 4, 18, 0, tzinfo=UTC)
USER, STRANGER = "c1a85f07-a34d-ee11-be6f-000d3a4f1b2c", "d2b85f07-a34d-ee11-be6f-000d3a4f1b2c"
CONFIG = SyncConfig.model_validate({"contact": {"fields": {}}, "account": {"fields": {}}})
FIELDS = {
    "msiLastInterestingMomentType": MarketoField("string"), "msiLastInterestingMomentDate": MarketoField("datetime"),
    "priority": MarketoField("integer"), "relativeScore": MarketoField("integer"),
}  # fmt: skip
COLUMNS = {
    "msi_type": Column("msi_type", "String", True, True, "", "Last Interesting Moment Type", 20),
    "msi_date": Column("msi_date", "DateTime", True, True, "", "Last Interesting Moment Date"),
    "msi_engagement": Column("msi_engagement", "Picklist", True, True, "", "Engagement"),
    "msi_stars": Column("msi_stars", "Integer", True, True, "", "Relative Scoring Value"),
    "new_synctomkto": Column("new_synctomkto", "Boolean", True, True),
}


class Systems:
    """Metadata, Marketo and the state that plans are made of."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.now = NOON
        self.table = MemoryTable(seconds=0)
        self.refusal = ""

    def clock(self) -> float:
        return (self.now - NOON).total_seconds()

    async def columns(self, table: str, _language: int) -> dict[str, Column]:
        self.asked.append(f"columns of {table}")
        return COLUMNS

    async def labels(self, _table: str, columns: frozenset[str], _language: int) -> dict[str, dict[int, str]]:
        assert columns == {"msi_engagement"}
        return {"msi_engagement": {100: "High ", 200: "Low"}}

    async def days(self, _table: str) -> dict[str, str]:
        return {"msi_date": "Date"}

    async def describe(self, _entity: object) -> dict[str, MarketoField]:
        self.asked.append("describe")
        return FIELDS

    async def get(self, path: str, *, refusals: frozenset[str]) -> dict[str, Any]:
        self.asked.append(path)
        if self.refusal:
            assert self.refusal in refusals  # no circuit is opened for it
            raise MarketoError(self.refusal, "Access denied", kind=Kind.CONFIGURATION)
        names = {12: "New Lead", 61: "Interesting Moment", 62: "Change Score", 64: "Merge Leads"}
        return {"result": [{"id": id_, "name": name} for id_, name in names.items()]}

    def plans(self, config: SyncConfig = CONFIG, **more: Any) -> Plans:
        itself: Any = self
        return Plans(config, itself, itself, MemoryState(self.table), now=lambda: self.now, **more)


async def test_a_plan_names_what_both_systems_have_and_leaves_out_the_rest() -> None:
    plan = await Systems().plans().current()
    assert plan.tables == {
        "contact": (
            Target("msiLastInterestingMomentType", "msi_type", "String", 20),
            Target("msiLastInterestingMomentDate", "msi_date", "Date"),
            Target("priority", "msi_engagement", "Picklist", choices={"high": 100, "low": 200}),
            Target("relativeScore", "msi_stars", "Integer"),
        )
    }
    assert plan.activities == (61, 62)
    assert plan.merges == 64
    assert plan.logged == ("priority", "relativeScore")
    assert plan.flags == {"contact": "new_synctomkto"}


async def test_without_the_right_to_see_activities_there_is_a_plan_for_the_sweep() -> None:
    systems = Systems()
    systems.refusal = "603"
    plan = await systems.plans().current()
    assert (plan.activities, plan.merges) == ((), 0)
    assert plan.fields


async def test_a_process_that_has_just_started_asks_nobody_for_the_plan() -> None:
    systems = Systems()
    made = await systems.plans().current()
    systems.asked.clear()
    assert await systems.plans().current() == made
    assert systems.asked == []


@pytest.mark.parametrize("why", ["a day is over", "sync.toml has changed", "it was forgotten"])
async def test_a_plan_is_made_anew_when(why: str) -> None:
    systems = Systems()
    plans = systems.plans()
    await plans.current()
    systems.asked.clear()
    if why == "a day is over":
        systems.now += KEPT + timedelta(seconds=1)
    elif why == "it was forgotten":
        await plans.forget()
    changed = CONFIG.model_copy(update={"write_back": {"priority": ("Engagement",)}})
    await systems.plans(changed if why == "sync.toml has changed" else CONFIG).current()
    assert "describe" in systems.asked


async def test_a_plan_that_another_version_has_kept_is_made_anew() -> None:
    systems = Systems()
    await systems.plans().current()
    await MemoryState(systems.table).put("write_back", "plan", {"rules": 7})
    systems.asked.clear()
    assert (await systems.plans().current()).fields
    assert "describe" in systems.asked


async def test_a_plan_of_a_dry_run_is_kept_nowhere() -> None:
    systems = Systems()
    await systems.plans(reads_only=True).current()
    assert not systems.table.rows


# -- lease --------------------------------------------------------------------------------------------------------


async def test_the_lease_of_a_process_that_has_died_ends_by_itself() -> None:
    """Storage's clock tells: a process whose own is a day ahead does not take it early."""
    now = 0.0
    table = MemoryTable(seconds=0, clock=lambda: now)
    dead = SoleRun(MemoryState(table), instance_id="a", clock=lambda: now, kind="write_back")
    assert await dead._row.take() == 0
    other = SoleRun(MemoryState(table), instance_id="b", clock=lambda: now + 86_400, kind="write_back")
    async with other.held() as mine:
        assert not mine
    now += sole_run.LASTS_SECONDS
    async with other.held() as mine:
        assert mine
    async with dead.held() as mine:
        assert mine


async def test_a_run_that_has_lost_its_lease_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sole_run, "RENEW_SECONDS", 0.0)
    table = MemoryTable(seconds=0)
    state = MemoryState(table)

    async def run() -> None:
        async with SoleRun(MemoryState(table), instance_id="a", clock=lambda: 0.0, kind="write_back").held():
            thief = {"owner": "b", "lasts": 60.0}
            await state.change("write_back", "lease", lambda _: thief)
            await asyncio.Event().wait()

    with pytest.raises(LeaseLostError):  # no CancelledError: an invocation would never be answered
        await asyncio.create_task(run())
    assert (await state.read("write_back", "lease"))["owner"] == "b"


async def test_a_run_that_somebody_else_cancels_is_cancelled_and_gives_the_lease_back() -> None:
    table = MemoryTable(seconds=0)
    lease = SoleRun(MemoryState(table), instance_id="a", clock=lambda: 0.0, kind="write_back")
    begun = asyncio.Event()

    async def run() -> None:
        async with lease.held():
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(run())
    await begun.wait()
    async with lease.held() as mine:
        assert not mine  # nor does the same process begin a second one
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await MemoryState(table).read("write_back", "lease"))["owner"] == ""


# -- echoes -------------------------------------------------------------------------------------------------------

MINE = frozenset({"msi_type", "contactid", "modifiedon", "modifiedby"})


def notification(**facts: Any) -> Notification:
    plain: dict[str, Any] = {
        "message": "Update",
        "changes": (Change("contact", guid(1), "upsert"),),
        "organization_id": None, "organization_name": None, "correlation_id": "",
        "columns": MINE, "user_id": USER, "initiating_user_id": USER, "tag": "msisync",
    }  # fmt: skip
    return Notification(**(plain | facts))


class User:
    def __init__(self) -> None:
        self.away = False

    async def __call__(self) -> str:
        if self.away:
            raise SignInError("invalid_grant", "no")
        return USER


def echoes_of(systems: Systems, user: User | None = None, **synced: frozenset[str]) -> Echoes:
    return Echoes(systems.plans(), user or User(), synced=synced, clock=systems.clock)


@pytest.mark.parametrize(
    ("facts", "is_echo"),
    [
        ({}, True),
        ({"message": "UpdateMultiple"}, True),
        ({"user_id": STRANGER}, True),  # the step runs as somebody else
        ({"columns": MINE | {"lastname"}}, False),  # a plug-in has added a column that is synced
        ({"columns": MINE | {"ownerid"}}, False),  # or one that only decides
        ({"columns": MINE | {"fax"}}, False),
        ({"columns": frozenset({"modifiedon"})}, False),
        ({"columns": None}, False),
        ({"message": "UpdateMultiple", "columns": None}, False),
        ({"tag": "other"}, False),
        ({"tag": None}, False),
        ({"user_id": STRANGER, "initiating_user_id": STRANGER}, False),
        ({"message": "Create"}, False),
        ({"changes": (Change("account", guid(1), "upsert"),)}, False),
    ],
)
async def test_an_echo_is_known_by_tag_user_and_columns(facts: dict[str, Any], is_echo: bool) -> None:
    systems = Systems()
    await systems.plans().current()
    echoes = echoes_of(systems, contact=frozenset({"lastname"}))
    assert await echoes.is_echo(notification(**facts)) == is_echo


async def test_a_column_that_is_both_synced_and_written_is_a_change() -> None:
    systems = Systems()
    await systems.plans().current()
    assert not await echoes_of(systems, contact=frozenset({"msi_type"})).is_echo(notification())


async def test_what_cannot_be_told_is_a_change() -> None:
    systems, user = Systems(), User()
    await systems.plans().current()
    echoes = echoes_of(systems, user)
    user.away = True
    assert not await echoes.is_echo(notification())
    user.away = False
    assert await echoes.is_echo(notification())


class AwayState:
    """A storage that answers when it is well, and counts who asks."""

    def __init__(self) -> None:
        self.asked = 0

    async def read(self, _kind: str, _name: str) -> dict[str, Any]:
        self.asked += 1
        raise StorageUnavailableError("ServiceRequestError")


async def test_a_change_of_synced_columns_waits_for_no_storage_and_others_ask_it_once_a_minute() -> None:
    systems, state = Systems(), AwayState()
    away: Any = state
    echoes = Echoes(
        Plans(CONFIG, systems, systems, away, now=lambda: systems.now),  # type: ignore[arg-type]  # only what is used
        User(),
        synced={"contact": frozenset({"lastname"})},
        clock=systems.clock,
    )
    assert not await echoes.is_echo(notification(columns=MINE | {"lastname"}))
    assert state.asked == 0
    assert [await echoes.is_echo(notification()) for _ in range(5)] == [False] * 5
    assert state.asked == 1
    systems.now += timedelta(minutes=1)
    assert not await echoes.is_echo(notification())
    assert state.asked == 2


# -- streams ------------------------------------------------------------------------------------------------------


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


# -- mixed answers ------------------------------------------------------------------------------------------------

outcomes = st.sampled_from([(204, ""), (404, "0x80040217"), (400, "0x80040265"), (403, "0x80048306"), (500, "0x1")])


class Mixed:
    """A Dataverse that refuses UpdateMultiple and answers each part of a batch as prepared."""

    def __init__(self, answers: dict[str, tuple[int, str]]) -> None:
        self.answers = answers

    async def update_many(self, *_: Any, **__: Any) -> None:
        raise DataverseError("0x80040265", "one of them", kind=Kind.PERMANENT)

    async def batch(self, parts: Sequence[Part], **_: Any) -> list[Answer]:
        found = []
        for part in parts:
            status, code = self.answers[part.url.partition("(")[2].partition(")")[0]]
            found.append(Answer(status, {}, json.dumps({"error": {"code": code, "message": code}}).encode()))
        return found


@given(st.lists(outcomes, min_size=1, max_size=120))
def test_every_row_of_a_mixed_answer_has_its_own_outcome(given_answers: list[tuple[int, str]]) -> None:
    answers = {guid(number): answer for number, answer in enumerate(given_answers)}
    dataverse: Any = Mixed(answers)

    rows = Rows(dataverse)
    updates = [Update("contact", id_, {"a": 1}) for id_ in answers]
    written = asyncio.run(rows.write(updates, 100.0))
    assert {u.id for u in written.done} == {id_ for id_, (status, _) in answers.items() if status == 204}
    assert {u.id for u in written.gone} == {id_ for id_, (status, _) in answers.items() if status == 404}
    assert {u.id: error.code for u, error in written.refused} == {
        id_: code if code != "0x1" else "0x00000001"
        for id_, (status, code) in answers.items()
        if status not in (204, 404)
    }


async def test_nothing_is_refused_for_the_sake_of_a_token() -> None:
    dataverse: Any = Mixed({guid(1): (401, "")})

    rows = Rows(dataverse)
    written = await rows.write([Update("contact", guid(1), {"a": 1})], 100.0)
    assert isinstance(written.error, DataverseError)
    assert (written.done, written.refused) == ([], [])


async def test_what_one_call_has_written_counts_though_another_finds_nobody() -> None:
    class Half:
        async def update_many(self, _table: str, _set: str, targets: Sequence[Mapping[str, Any]], **_: Any) -> None:
            if len(targets) < MANY:
                raise DataverseError("HTTP 503", "away", kind=Kind.TRANSIENT)

    dataverse: Any = Half()
    updates = [Update("contact", guid(number), {"a": 1}) for number in range(MANY + 1)]
    written = await Rows(dataverse).write(updates, 100.0)
    assert len(written.done) == MANY
    assert (written.refused, str(written.error)) == ([], "HTTP 503: away")


@pytest.mark.parametrize(
    ("ahead", "waits"), [(timedelta(), True), (timedelta(minutes=30), True), (timedelta(days=1), False)]
)
async def test_a_clock_far_ahead_delays_none(ahead: timedelta, waits: bool, caplog: pytest.LogCaptureFixture) -> None:
    """One instance notes that a row was refused; another one, a moment later, looks whether it is time."""
    table, queues = MemoryTable(seconds=0), QueueSettings.model_construct(None, person="persons")
    sent: list[Any] = []

    async def send(messages: Sequence[Any]) -> None:
        sent.extend(messages)

    def instance(clock: datetime) -> DueRows:
        return DueRows(MemoryState(table), send, queues, now=lambda: clock, max_attempts=5)

    locked = DataverseError("0x80040265", "no", kind=Kind.TRANSIENT)
    update = Update("contact", guid(1), {"msi_type": "Email"})
    await instance(NOON + ahead).failed([(update, locked)])
    other = instance(NOON + timedelta(seconds=5))
    await other.load()
    assert bool(other.ready()) is not waits
    assert other.holds(update) is waits
    assert ("an instance's clock is wrong" in caplog.text) is not waits
    assert not sent
