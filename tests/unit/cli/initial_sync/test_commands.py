"""`msisync initial-sync start`, `status`, `pause`, `resume`, `cancel` and `report`, on runs in a table in memory."""

import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from shared.cli import watch as watching
from shared.cli.command import Exit
from shared.cli.doctor.command import CHECKS
from shared.cli.finding import attention, ok
from shared.cli.initial_sync import start
from shared.cli.initial_sync.look import TablePlan
from shared.cli.initial_sync.plan import Plan
from shared.cli.initial_sync.report import COLUMNS, csv_of, json_of, row_of
from shared.cli.operator import operator
from shared.model.errors import ConfigurationError, MsiSyncError
from shared.sync.runs.model import Run, RunRefusedError, RunState, Scope
from tests.support.run_commands import MARKETO, RunCommands, run_with_rows
from tests.support.values import NOON, guid


class World(RunCommands):
    """Runs in storage, and an operator. `green`: what a plan says."""

    group, tables, rows = "initial-sync", ("account", "contact"), 7

    def __init__(self) -> None:
        super().__init__()
        self.green = True
        self.plans = 0

    async def make(self, *_: Any) -> Plan:
        self.plans += 1
        finding = ok() if self.green else attention("something", "do it")
        return Plan(NOON, [TablePlan("contact", 70, 60)], {CHECKS[0]: finding}, MARKETO, 0)

    async def has(self, *states: str, **facts: Any) -> Run:
        return await run_with_rows(self.runs, *states, **facts)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(start, "make", world.make)
    return world


async def only(world: World) -> Run:
    (run,) = await world.runs.all()
    return run


async def test_a_green_plan_starts_with_apply_and_is_shown_without(world: World) -> None:
    result, text = await world.types("start")
    assert (result.exit, await world.runs.all()) == (Exit.OK, [])
    assert re.search("To start: msisync .*--apply", text)
    result, text = await world.types("start", "--apply")
    run = await only(world)
    assert (result.exit, result.data["started"], run.kind) == (Exit.OK, run.id, "initial-sync")
    assert run.scope == Scope(("account", "contact"))
    assert {name: table.expected for name, table in run.tables.items()} == {"account": None, "contact": 70}
    assert run.id in text
    assert world.state.stored["reference", "version"] == {"rows": 1, "schema": 1}, "the app reads schemas anew"


async def test_a_plan_that_is_not_green_starts_nothing(world: World) -> None:
    world.green = False
    result, text = await world.types("start", "--apply")
    assert (result.exit, result.data["started"]) == (Exit.ATTENTION, None)
    assert "To do: do it" in text
    assert "--apply --anyway" in text
    assert await world.runs.all() == []


async def test_anyway_starts_without_a_plan_and_counts_the_rows(world: World) -> None:
    world.green = False
    result, _ = await world.types("start", "--apply", "--anyway")
    run = await only(world)
    assert (result.exit, world.plans) == (Exit.OK, 0)
    assert run.tables["contact"].expected == 7


async def test_the_scope_is_what_the_command_line_says(world: World) -> None:
    words = ("--only", "contact", "--query", "statecode eq 0", "--changed-since", "2026-01-31", "--anyway", "--apply")
    await world.types("start", *words)
    run = await only(world)
    since = datetime(2026, 1, 31, tzinfo=UTC)
    assert run.scope == Scope(("contact",), "statecode eq 0", changed_since=since)
    assert run.tables["contact"].expected is None, "nobody has counted a part of the rows"


async def test_a_second_run_of_a_table_is_refused(world: World) -> None:
    first = await world.has()
    with pytest.raises(RunRefusedError, match=first.id):
        await world.types("start", "--apply")


async def test_words_that_have_no_sense_are_a_wrong_usage(world: World) -> None:
    for words in (("--query", "a eq 1"), ("--changed-since", "yesterday"), ("--only", "nothing"), ("--anyway",)):
        with pytest.raises(SystemExit, match="64"):
            await world.types("start", *words)


async def test_a_table_that_is_not_mapped_is_a_matter_of_the_settings(world: World) -> None:
    with pytest.raises(ConfigurationError, match="lead"):
        await world.types("start", "--only", "lead")


async def test_status_shows_the_run_that_goes_on(world: World) -> None:
    assert (await world.types("status"))[0].data == {"run": None}
    run = await world.has("created", "adopted", "skipped:Filtered", "failed:1003", "parked", "retrying", "retrying")
    result, text = await world.types("status")
    assert (result.exit, result.data["run"], result.data["tables"]["contact"]["done"]) == (1, run.id, 4)
    assert f"initial-sync {run.id}: running" in text
    assert "contact, left out: 1 Filtered" in text
    assert "contact, failed: 1 1003" in text
    assert "contact: 2 to be tried again" in text
    assert f"msisync initial-sync report {run.id}" in text


async def test_watching_ends_with_the_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(watching, "Console", lambda **_: Console(file=shown, width=120))
    run = await world.has("created")
    await world.runs.to(run.id, RunState.CANCELLED)
    result, text = await world.types("status", "--watch")
    assert (result.data["state"], text) == ("cancelled", "")
    assert f"{run.id}: cancelled" in shown.getvalue()


async def test_a_run_is_paused_resumed_and_cancelled(world: World) -> None:
    run = await world.has()
    for word, state in (("pause", RunState.PAUSED), ("resume", RunState.RUNNING), ("cancel", RunState.CANCELLED)):
        result, text = await world.types(word)
        assert (result.exit, result.data["state"], (await only(world)).state) == (Exit.OK, state, state)
        assert run.id in text
    with pytest.raises(RunRefusedError, match="cancelled"):
        await world.types("resume", run.id)


async def test_of_several_runs_none_is_changed_that_might_not_be_meant(world: World) -> None:
    contacts, accounts = await world.has("created"), await world.has("created", table="account")
    for word in ("pause", "cancel"):
        with pytest.raises(MsiSyncError, match="WhichRun") as refused:
            await world.types(word)
        assert all(name in str(refused.value) for name in (contacts.id, accounts.id, "account", "contact"))
    _, text = await world.types("pause", contacts.id)
    assert f"initial-sync resume {contacts.id}" in text
    result, text = await world.types("status")
    assert {result.data["run"], *result.data["others"]} == {contacts.id, accounts.id}
    result, _ = await world.types("resume")
    assert result.data["run"] == contacts.id, "the only one that is paused"
    await world.types("cancel", contacts.id)
    result, _ = await world.types("cancel")
    assert result.data["run"] == accounts.id


async def test_status_names_the_runs_that_go_on_besides(world: World) -> None:
    contacts, accounts = await world.has("created"), await world.has("created", table="account")
    _, text = await world.types("status", contacts.id)
    assert f"besides, initial-sync {accounts.id} is running: msisync initial-sync status {accounts.id}" in text
    await world.runs.to(accounts.id, RunState.CANCELLED)
    assert "besides" not in (await world.types("status", contacts.id))[1]


async def test_the_history_keeps_who_started_and_steered_which_run(world: World) -> None:
    await world.types("start", "--apply")
    run = await only(world)
    for word in ("pause", "pause", "resume", "cancel"):
        await world.types(word)
    events = await world.kept.events()
    assert [event.text for event in events] == [
        "run started: initial-sync; of account, contact", "run paused: initial-sync", "run resumed: initial-sync",
        "run cancelled: initial-sync",
    ]  # fmt: skip
    assert {(event.run, event.by) for event in events} == {(run.id, operator())}


@pytest.mark.parametrize("words", [("pause",), ("resume", "none"), ("report",), ("status", "none")])
async def test_a_run_that_is_not_there_is_said_to_be_so(world: World, words: tuple[str, ...]) -> None:
    with pytest.raises(MsiSyncError, match="no run"):
        await world.types(*words)


async def test_the_report_lists_what_is_not_in_marketo_with_its_reason(world: World, tmp_path: Path) -> None:
    states = ("created", "skipped:Filtered", "skipped:Filtered", "failed:1003", "parked", "updated")
    await world.has(*states, message="Value is too long")
    result, text = await world.types("report", "--json")
    assert result.exit is Exit.ATTENTION
    assert result.data["not_in_marketo"] == 4
    assert result.data["reasons"][0] == {"table": "contact", "state": "skipped", "reason": "Filtered", "rows": 2}
    assert {(row["id"], row["state"], row["reason"]) for row in result.data["rows"]} == {
        (guid(2), "skipped", "Filtered"), (guid(3), "skipped", "Filtered"), (guid(4), "failed", "1003"),
        (guid(5), "parked", ""),
    }  # fmt: skip
    assert "contact, 1003: Value is too long" in text
    json.dumps(result.data)
    file = tmp_path / "report.csv"
    result, text = await world.types("report", "--csv", str(file))
    assert "rows" not in result.data
    assert f"contact,{guid(4)},failed,1003,Value is too long" in file.read_text().splitlines()
    assert str(file) in text
    with pytest.raises(MsiSyncError, match="exists already"):
        await world.types("report", "--csv", str(file))


async def test_the_report_as_a_file_is_what_the_command_gives(world: World, tmp_path: Path) -> None:
    run = await world.has("created", "skipped:Filtered", "failed:1003", message='Value is "too" long')
    parts = world.runs.not_in_marketo
    given = (await world.types("report", "--json"))[0].data
    assert json.loads("".join([part async for part in json_of(run, parts(run.id))])) == given
    await world.types("report", "--csv", str(tmp_path / "report.csv"))
    assert (
        "".join([part async for part in csv_of(parts(run.id), COLUMNS, row_of)])
        == (tmp_path / "report.csv").read_text()
    )


async def test_a_report_without_rows_is_a_file_too(world: World) -> None:
    run = await world.has("created")
    parts = world.runs.not_in_marketo
    assert json.loads("".join([part async for part in json_of(run, parts(run.id))])) == {
        "run": run.id, "state": "running", "rows": [], "not_in_marketo": 0, "reasons": [],
    }  # fmt: skip
    assert "".join([part async for part in csv_of(parts(run.id), COLUMNS, row_of)]) == "table,id,state,reason,message\n"


async def test_rows_that_are_left_out_need_nobody(world: World) -> None:
    await world.has("created", "skipped:Filtered")
    result, _ = await world.types("report")
    assert result.exit is Exit.OK


@pytest.mark.parametrize("typed", ["nosuch", "!contact", "a/b#?"])
async def test_an_id_that_no_run_has_is_refused_with_those_that_there_are(world: World, typed: str) -> None:
    run = await world.has("unsent")
    with pytest.raises(MsiSyncError, match=f"no run has the id .*; the newest: {run.id}"):
        await world.types("status", typed)


async def test_a_report_of_a_run_in_which_all_went_well_says_so(world: World) -> None:
    run = await world.has("created")
    await world.runs.change(run.id, lambda found: found.to(RunState.COMPLETE, NOON))
    result, text = await world.types("report", run.id)
    assert (result.exit, result.data["rows"]) == (Exit.OK, [])
    assert "Every row of the run is in Marketo" in text


@pytest.mark.parametrize("state", [RunState.CANCELLED, RunState.FAILED])
async def test_a_run_that_ended_before_it_had_read_all_does_not_say_that_all_is_well(
    world: World, state: RunState
) -> None:
    run = await world.has("created")
    await world.runs.change(run.id, lambda found: found.to(state, NOON))
    result, text = await world.types("report", run.id)
    assert result.exit is Exit.ATTENTION
    assert "It ended before it had read all rows" in text
    assert "Every row of the run" not in text
