"""`msisync reconcile`: what it starts, how it waits, and what it reports of what the app has found."""

import csv
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.cli.command import Exit
from shared.cli.reconcile import report, start
from shared.model.codes import Kind as ErrorKind
from shared.model.errors import DataverseError, MsiSyncError
from shared.sync.comparison import Difference, Kind
from shared.sync.runs.model import Run, RunKind, RunState, Scope, new_run
from shared.sync.runs.page import DIFFERS, UNSENT, pages_compared
from tests.support.run_commands import RunCommands
from tests.support.values import NOON, guid


class World(RunCommands):
    """Runs in storage, an operator, and an app that finds `differences` whenever the operator waits."""

    group, tables, rows = "reconcile", ("contact", "account", "opportunity"), 298

    def __init__(self) -> None:
        super().__init__()
        self.differences: list[Difference] = []
        self.states: dict[str, str] = {}
        self.equal = 1_200
        self.works: Callable[[Run], Awaitable[None]] = self.compare
        self.refuses = ""

    async def pages(self, url: str) -> AsyncIterator[list[dict[str, Any]]]:
        """Dynamics, which may refuse a filter."""
        if self.refuses and "$filter" in url:
            raise DataverseError(self.refuses, "Could not find a property", kind=ErrorKind.CONFIGURATION)
        yield []

    def has(self, kind: Kind, *fields: str, table: str = "contact", count: int = 1, entity: str = "person") -> None:
        first = len(self.differences) + 1
        persons = (5, 6) if kind is Kind.DUPLICATE else ()
        self.differences += [
            Difference(entity, table, guid(number), kind, fields, persons) for number in range(first, first + count)
        ]

    async def compare(self, run: Run) -> None:
        """Find everything, and end. What is sent becomes what `states` says, or is updated."""
        pages = []
        for table in run.in_order:
            of_table = [each for each in self.differences if (each.table or "contact") == table]
            found: dict[str, list[Difference]] = {}
            for each in of_table:
                found.setdefault(each.id, []).append(each)
            can_go = {id_: run.scope.sends and any(each.can_be_sent for each in those) for id_, those in found.items()}
            states = {guid(10_000 + number): "unchanged" for number in range(self.equal)}
            states |= {guid(90_000): "skipped:Filtered", guid(90_001): "skipped:Changing"}
            kinds = {id_: "+".join(each.kind for each in those) for id_, those in found.items()}
            states |= {id_: UNSENT if can_go[id_] else f"{DIFFERS}:{kinds[id_]}" for id_ in found}
            new = pages_compared(run.id, table, 0, states, found)
            sent = {id_: self.states.get(id_, "updated") for id_, can in can_go.items() if can}
            pages += [page.sent(NOON).told(sent) if sent else page for page in new]
            run = run.table(table, all_read=True, complete=True)
        written = await self.runs.replace(run, run.to(RunState.COMPLETE, datetime.now(UTC)), pages)
        assert written

    async def watch(self, _: float, look: Callable[[], Awaitable[Any]], frame: Any, *, until: Any, **__: Any) -> Any:
        """The app works while the operator waits."""
        seen = await look()
        if until(seen):
            return seen
        await self.works(seen.run)
        seen = await look()
        frame(seen)
        return seen

    async def newest(self) -> Run:
        return (await self.runs.all())[0]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(start, "watch", world.watch)
    return world


async def test_equal_sides_are_well(world: World) -> None:
    result, text = await world.types()
    run = await world.newest()
    assert (result.exit, run.kind, run.scope.sends, run.scope.extra) == (Exit.OK, RunKind.RECONCILE, False, False)
    assert run.in_order == ["account", "contact", "opportunity"], "parents first"
    assert {name: table.expected for name, table in run.tables.items()} == dict.fromkeys(run.in_order, 298)
    assert "3,603 rows of account, contact, opportunity compared" in text
    assert "3 left alone" in text
    assert "3 were changed meanwhile" in text
    assert "Both sides are equal." in text
    assert world.state.stored["reference", "version"] == {"rows": 1, "schema": 1}, "the app reads schemas anew"


@pytest.mark.parametrize("words", [("start", "contact"), ("contact",), ("--json", "contact"), ("contact", "--apply")])
async def test_the_word_start_may_be_left_out(world: World, words: tuple[str, ...]) -> None:
    await world.types(*words)
    assert (await world.newest()).scope.tables == ("contact",)


async def test_differences_are_counted_named_and_not_sent(world: World) -> None:
    world.has(Kind.DIFFERING, "city", "fax", count=20)
    world.has(Kind.MISSING)
    world.has(Kind.DUPLICATE)
    result, text = await world.types("contact")
    assert result.exit is Exit.ATTENTION
    assert "20 with other values in Marketo" in text
    assert f"contact {guid(1)}: city, fax" in text
    assert "and 8 more; see --csv" in text
    assert "Marketo id 5, Marketo id 6" in text
    assert "contact.city 20" in text
    assert "Nothing was sent. To send what differs: msisync reconcile start contact --apply" in text
    assert "merge them in Marketo" in text
    assert (result.data["counts"]["differing"], result.data["sent"]) == (20, 0)
    assert result.data["fields"][0] == {"table": "contact", "field": "city", "count": 20}
    assert len(result.data["differences"]["differing"]) == 20
    assert result.data["compared"] == 1_200 + 22 + 1


async def test_apply_reports_what_was_sent_and_what_is_left(world: World) -> None:
    world.has(Kind.MISSING, table="opportunity", entity="opportunity")
    world.has(Kind.EXTRA, table="opportunity", entity="opportunity_role")
    world.has(Kind.DIFFERING, "city")
    world.differences.append(Difference("person", "contact", guid(3), Kind.LINKED_WRONGLY, ("externalCompanyId",)))
    world.states[guid(2)] = "skipped:NoContact"
    result, text = await world.types("--apply")
    assert (result.exit, result.data["sent"], result.data["applied"]) == (Exit.OK, 3, True)
    assert result.data["left_alone"] == 3, "an opportunity whose roles were compared is not left alone"
    assert "3 records sent. What is left: 0 differences" in text
    world.has(Kind.DUPLICATE)
    world.states[guid(3)] = "failed:1003"
    result, text = await world.types("contact", "--apply")
    assert result.exit is Exit.ATTENTION
    assert "1 record sent. What is left: 3 differences" in text


async def test_many_are_counted_and_the_first_are_shown(world: World) -> None:
    world.has(Kind.MISSING, count=report.KEPT + 200)
    result, _ = await world.types("contact")
    assert result.data["counts"]["missing"] == report.KEPT + 200
    assert len(result.data["differences"]["missing"]) == report.KEPT


async def test_every_difference_is_a_line_of_csv(world: World, tmp_path: Path) -> None:
    world.has(Kind.DIFFERING, "city", "fax")
    world.has(Kind.DUPLICATE)
    result, text = await world.types("contact", "--csv", str(tmp_path / "found.csv"))
    with (tmp_path / "found.csv").open(newline="") as lines:
        assert list(csv.reader(lines)) == [
            ["entity", "table", "id", "kind", "fields", "marketo_ids", "state", "message"],
            ["person", "contact", guid(1), "differing", "city fax", "", "differs:differing", ""],
            ["person", "contact", guid(2), "duplicate", "", "5 6", "differs:duplicate", ""],
        ]
    assert result.data["file"] == str(tmp_path / "found.csv")
    assert "All 2 differences in" in text


async def test_a_file_that_cannot_be_written_is_refused_before_the_hour_is_over(world: World, tmp_path: Path) -> None:
    (there := tmp_path / "found.csv").touch()
    with pytest.raises(SystemExit):
        await world.types("contact", "--csv", str(there))
    with pytest.raises(SystemExit):
        await world.types("contact", "--csv", str(tmp_path / "new.csv"), "--no-wait")
    assert await world.runs.all() == []


async def test_a_query_needs_one_table(world: World) -> None:
    await world.types("contact", "--query", "statecode eq 0")
    assert (await world.newest()).scope == Scope(("contact",), "statecode eq 0", sends=False)
    with pytest.raises(SystemExit):
        await world.types("--query", "statecode eq 0")
    with pytest.raises(SystemExit):
        await world.types("lead")


async def test_a_query_that_dynamics_does_not_understand_starts_nothing(world: World) -> None:
    world.refuses = "0x80060888"
    with pytest.raises(MsiSyncError, match=r"does not understand --query.*msisync fields list contact"):
        await world.types("contact", "--query", "nosuch eq 1")
    assert await world.runs.all() == []


async def test_persons_without_a_row_are_reported_and_left(world: World) -> None:
    world.differences = [Difference("person", "", guid(1), Kind.EXTRA, marketo_ids=(8,))]
    result, text = await world.types("contact", "--extra", "--apply")
    assert (result.exit, result.data["sent"]) == (Exit.ATTENTION, 0)
    assert (await world.newest()).scope.extra
    assert f"person {guid(1)}: Marketo id 8" in text
    assert result.data["compared"] == 1_201


async def test_who_does_not_wait_is_told_how_to_see_it(world: World) -> None:
    result, text = await world.types("contact", "--no-wait")
    run = await world.newest()
    assert (result.exit, run.state, result.data["started"]) == (Exit.OK, RunState.RUNNING, run.id)
    assert "About 1 Marketo call" in text
    assert "msisync reconcile status --watch" in text


async def test_who_stops_waiting_stops_nothing_else(world: World) -> None:
    async def interrupted(_: Run) -> None:
        pass

    world.works = interrupted
    result, text = await world.types("contact")
    run = await world.newest()
    assert (result.exit, run.state) == (Exit.ATTENTION, RunState.RUNNING)
    assert f"msisync reconcile status {run.id} --watch" in text


async def test_a_program_does_not_wait_for_a_run_that_somebody_has_paused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def pause(run: Run) -> None:
        await world.runs.to(run.id, RunState.PAUSED)

    world.works = pause
    seen: list[bool] = []
    watch = world.watch

    async def look(*given: Any, until: Any, **more: Any) -> Any:
        last = await watch(*given, until=until, **more)
        seen.append(until(last))
        return last

    monkeypatch.setattr(start, "watch", look)
    for words in (("contact", "--json"), ("account",)):
        await world.types(*words)
    assert seen == [True, False]


async def test_the_commands_are_about_the_newest_comparison_and_steer_it(world: World) -> None:
    with pytest.raises(MsiSyncError, match="msisync reconcile start begins one"):
        await world.types("report")
    await world.types("contact", "--no-wait")
    run = await world.newest()
    later = datetime.now(UTC) + timedelta(seconds=5)
    await world.runs.create(new_run(RunKind.INITIAL_SYNC, Scope(("account",)), later, unique="ffff"))
    result, text = await world.types("pause")
    assert (result.data["run"], result.data["state"]) == (run.id, RunState.PAUSED)
    assert "msisync reconcile resume" in text
    result, text = await world.types("status")
    assert (result.exit, result.data["run"]) == (Exit.ATTENTION, run.id)
    assert "msisync reconcile resume" in text
    await world.types("resume")
    result, text = await world.types("report")
    assert (result.exit, result.data["run"], result.data["counts"]["missing"]) == (Exit.ATTENTION, run.id, 0)
    await world.types("cancel")
    assert (await world.runs.read(run.id) or run).state is RunState.CANCELLED


async def test_status_counts_what_differs(world: World) -> None:
    world.has(Kind.DIFFERING, "city", count=3)
    world.has(Kind.MISSING)
    await world.types("contact")
    result, text = await world.types("status")
    assert result.exit is Exit.ATTENTION
    assert result.data["tables"]["contact"]["differs"] == {"differing": 3, "missing": 1}
    assert "4 rows differ" in text
    assert "msisync reconcile report" in text
    assert "contact, different: 3 differing, 1 missing" in text


async def test_a_comparison_that_has_failed_says_why(world: World) -> None:
    async def fail(run: Run) -> None:
        await world.runs.replace(run, run.to(RunState.FAILED, datetime.now(UTC), "sync.toml maps contact no longer"))

    world.works = fail
    result, text = await world.types("contact")
    assert result.exit is Exit.FAILED
    assert "sync.toml maps contact no longer" in text
