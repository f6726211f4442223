"""The write-back with something in its way: tokens, empty pages, refused rows, throttling, killed and second hosts."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from local.harness import Made, System, eventually, running_system
from local.harness.commands import Ended, run_here
from local.harness.insight import Insight
from local.harness.secrets import secrets_in_logs
from local.harness.showing import way_to
from tests.e2e.conftest import ENVIRONMENT, LIMITS

ACTIVITIES, LEAD_CHANGES = "/rest/v1/activities.json", "/rest/v1/activities/leadchanges.json"
REFUSED, LOCKED = "0x80040265", "0x80044151"


@pytest.fixture(scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    environment = {**ENVIRONMENT, "MAX_ATTEMPTS": "2"}
    directory = tmp_path_factory.mktemp("write-back-faults")
    async with running_system(directory, marketo=LIMITS, functions_environment=environment) as system:
        yield system
        assert not await secrets_in_logs(system)


@pytest.fixture
async def insight(running: System) -> AsyncIterator[Insight]:
    """No faults, nothing to write back, the circuits closed."""
    found = Insight(running)
    await running.forget_faults()
    await running.dataverse("/switches", {"refused_rows": {}, "requests": 6000})
    await running.marketo("/switches", {"activities_examined_per_page": 3000})
    await found.forget_due()
    await found.run()
    with way_to(running):
        yield found


async def msisync(insight: Insight, line: str) -> Ended:
    return await run_here(insight.system.stack.settings_file, *line.split(), "--json")


async def last(insight: Insight, kind: str = "changes") -> dict[str, Any]:
    return next(run for run in await insight.runs() if run["kind"] == kind)


async def test_forgotten_paging_tokens_cost_nothing_but_a_sweep(insight: Insight) -> None:
    (one,) = await insight.people(1)
    await insight.score(one, relativeScore=2)
    await insight.system.marketo("/paging-tokens/forget", {})  # of both streams
    await run_and_expect_a_sweep(insight, one)


@pytest.mark.parametrize("code", ["1001", "701", "704"])
async def test_a_paging_token_that_is_refused_costs_nothing_but_a_sweep(insight: Insight, code: str) -> None:
    (one,) = await insight.people(1)
    await insight.score(one, relativeScore=2)
    await insight.system.fault("code", path=ACTIVITIES, code=code)
    await run_and_expect_a_sweep(insight, one)


async def run_and_expect_a_sweep(insight: Insight, one: Made) -> None:
    await insight.run()
    assert await insight.scores([one]) == [2]
    runs = await insight.runs()
    # Whatever may have been missed is looked for at once.
    assert [run["kind"] for run in runs[:2]] == ["sweep", "changes"]
    assert all(run["complete"] and not run["error"] for run in runs[:2]), runs[:2]
    await insight.run()
    assert (await insight.runs())[1] == runs[0]  # and once


async def test_empty_pages_with_more_to_come_are_read_to_the_end(insight: Insight) -> None:
    first, *others, final = await insight.people(30)
    await insight.system.marketo("/switches", {"activities_examined_per_page": 10})
    noise = [{"externalPersonId": made.id, "activityTypeId": 12} for made in others]
    await insight.score(first, relativeScore=1)
    await insight.system.marketo("/activities", noise * 2)
    await insight.score(final, relativeScore=3)
    async with insight.counted() as calls:
        await insight.run()
    assert calls.marketo[ACTIVITIES] >= 6
    assert await insight.scores([first, *others, final]) == [1, *[None] * len(others), 3]


async def test_seven_rows_of_a_thousand_are_refused_kept_given_up_and_replayed(insight: Insight) -> None:
    system = insight.system
    people = await insight.people(600) + await insight.people(400, "lead")
    refused = [people[place] for place in (0, 1, 249, 250, 599, 600, 999)]
    codes = {made.id: LOCKED if made is refused[3] else REFUSED for made in refused}
    await insight.score(*people, relativeScore=2)
    await system.dataverse("/switches", {"refused_rows": codes})
    await system.broker.forget_dead_letters()
    await insight.run()
    assert await insight.scores(people) == [None if made in refused else 2 for made in people]
    run = await last(insight)
    assert (run["read"], run["differing"], run["written"], run["failed"]) == (1000, 1000, 993, 7)
    status = (await msisync(insight, "status")).json
    assert (status["write_back"]["runs"][0]["failed"], status["write_back"]["refused"]) == (7, 7)
    assert status["write_back"]["dead"] == 0
    assert any("7 rows could not be written back (0x8004" in each["what"] for each in status["attention"])
    assert not await system.broker.dead_letters()

    async with insight.counted() as calls:
        await insight.run()  # it is not their time yet
    assert "POST $batch" not in calls.dataverse
    again = await msisync(insight, "write-back run --person " + " ".join(made.id for made in refused))
    assert again.code == 1
    failures = {each["id"]: (each["table"], each["code"]) for each in again.json["runs"][0]["failures"]}
    assert failures == {made.id: (made.table, codes[made.id]) for made in refused}
    letters = {each.properties["record_id"]: each for each in await system.broker.dead_letters()}
    assert {id_: each.code for id_, each in letters.items()} == codes

    await system.dataverse("/switches", {"refused_rows": {}})
    chosen = refused[0]
    await insight.run()
    assert await insight.scores([chosen]) == [None]  # given up until somebody replays it, or Marketo has other values
    replayed = await msisync(insight, f"dead-letters replay --apply --id {chosen.id}")
    assert replayed.json["went"] == 1, replayed
    await system.synced(chosen)
    await system.broker.idle()

    async def due_again() -> list[Any]:
        await insight.run()
        return await insight.scores([chosen])

    await eventually(due_again, lambda scores: scores == [2], what="the replayed row")
    others = refused[1:]
    await insight.score(*others, relativeScore=3)
    await insight.run()
    assert await insight.scores(others) == [3] * 6
    status = (await msisync(insight, "status")).json["write_back"]
    assert (status["refused"], status["dead"]) == (0, 0)


async def test_who_is_throttled_waits_as_long_as_dataverse_says_and_writes_all(insight: Insight) -> None:
    people = await insight.people(40)
    throttled: dict[str, Any] = {"status": 429, "code": "0x80072322", "retry_after": 0.3}
    update = "UpdateMultiple"
    for number, fault in enumerate(
        (
            {"match": update},  # the whole call
            {"match": r"\$batch"},  # the reading
            {"match": r"contacts\?", "method": "GET"},  # a part of the reading
        ),
        start=1,
    ):
        await insight.score(*people, relativeScore=number)
        await insight.system.dataverse("/faults", {**throttled, **fault})
        await insight.run()
        assert not await insight.system.dataverse_faults(), fault
        assert await insight.scores(people) == [number] * 40, fault
        assert (await last(insight))["failed"] == 0
    # Single rows in a batch, because one of them is refused: parts of it are throttled, three times.
    await insight.system.dataverse("/switches", {"refused_rows": {people[7].id: REFUSED}})
    await insight.system.dataverse("/faults", {**throttled, "match": r"contacts\(", "method": "PATCH", "times": 5})
    await insight.score(*people, relativeScore=0)
    await insight.run()
    assert not await insight.system.dataverse_faults()
    assert await insight.scores(people) == [3 if made is people[7] else 0 for made in people]
    assert (await last(insight))["failed"] == 1


async def test_a_host_that_is_killed_in_the_middle_loses_nothing(insight: Insight) -> None:
    system = insight.system
    people = await insight.people(600)
    await insight.score(*people, relativeScore=2)
    held = {"match": "UpdateMultiple", "method": "POST", "status": "hang"}
    await system.dataverse("/faults", [{"match": "^$", "times": 0}, {**held, "times": 10}])
    before = await insight.state("changes")
    begun = asyncio.create_task(system.run_timer(function="write_back_msi", expect=None))

    async def reached() -> int:
        faults = await system.dataverse_faults()
        return 10 - sum(int(fault["times"]) for fault in faults)

    await eventually(reached, what="a write that is not answered")
    await system.stack.kill_functions()
    await asyncio.gather(begun, return_exceptions=True)
    assert await insight.state("changes") == before
    await system.forget_faults()
    await system.stack.start_functions()
    await insight.run()
    assert await insight.scores(people) == [None] * 600  # who was killed may still be at it, for a minute
    await insight.change_state("lease", owner="")  # its time is over
    await insight.run()
    assert await insight.scores(people) == [2] * 600
    assert (await insight.state("changes")) != before
    assert not (await insight.state("lease"))["owner"]


async def test_a_sweep_that_is_cut_off_goes_on_where_it_was(insight: Insight) -> None:
    system = insight.system
    people = await insight.people(1600) + await insight.people(10, "lead")
    await insight.recalculate(*people, relativeScore=1)
    held = {"match": r"skiptoken", "method": "GET", "status": "hang", "times": 1}
    await system.dataverse("/faults", held)
    await insight.change_state("sweep", of="2026-01-01")
    begun = asyncio.create_task(system.run_timer(function="write_back_msi", expect=None))

    async def reached() -> bool:
        return not await system.dataverse_faults()

    await eventually(reached, what="the second page")
    await system.stack.kill_functions()
    await asyncio.gather(begun, return_exceptions=True)
    done = sum(score == 1 for score in await insight.scores(people))
    assert 0 < done < len(people)
    cursor = await insight.state("sweep")
    assert cursor["tables"]
    await system.stack.start_functions()
    await insight.change_state("lease", owner="")  # its time is over
    async with insight.counted() as calls:
        await insight.run()
    assert await insight.scores(people) == [1] * len(people)
    assert calls.marketo["/rest/v1/leads.json"] <= 8  # of a whole sweep: 1 for every 300 of all there are
    assert (await insight.state("sweep"))["tables"] == []


async def test_of_two_hosts_one_is_at_it_at_a_time_and_so_is_an_operator(insight: Insight) -> None:
    system = insight.system
    (one,) = await insight.people(1)
    await insight.score(one, relativeScore=2)
    await system.stack.start_functions("b")
    try:
        await system.fault("hold", gate="read", when="before", path="/rest/v1/leads.json")
        before, *_ = await insight.runs()
        async with insight.counted() as calls:
            host_a = asyncio.create_task(insight.run("a"))
            await eventually(lambda: held(system, "read"), what="a run that reads persons")
            await insight.run("b")
            assert not host_a.done()
            operator = await msisync(insight, "write-back run")
            await system.marketo("/gates/read/open", {})
            await host_a
        assert operator.code == 2
        assert operator.json["error"]["code"] == "WriteBackRuns"
        assert calls.marketo["/rest/v1/leads.json"] == 1
        mine, latest = (await insight.runs())[:2]
        assert (mine["written"], latest) == (1, before)
        assert await insight.scores([one]) == [2]
        await insight.run("b")  # its turn, now
        assert (await insight.runs())[1] == mine
    finally:
        await system.stack.stop_functions("b")


async def held(system: System, gate: str) -> bool:
    """Whether a call is held at this gate."""
    return bool((await system.marketo("/gates")).get(gate, {}).get("held"))


async def test_an_outage_of_either_system_ends_the_run_and_the_next_one_has_all(insight: Insight) -> None:
    people: list[Made] = await insight.people(5)
    await insight.score(*people, relativeScore=2)
    await insight.system.fault("code", path="/rest/v1/leads.json", code="603", count=None)
    await insight.run()
    assert (await last(insight))["error"]
    await insight.system.forget_faults()
    await insight.system.dataverse("/faults", {"match": "UpdateMultiple", "status": 403, "code": "0x80040220"})
    await insight.system.dataverse("/switches", {"no_write_privilege": ["contact"]})
    await eventually(lambda: tried_to_write(insight), what="a run that reaches Dataverse")
    assert "0x80040220" in (await last(insight))["error"] or (await last(insight))["failed"]
    await insight.system.dataverse("/switches", {"no_write_privilege": []})
    await insight.system.forget_faults()
    await eventually(lambda: written(insight, people), what="all five")


async def tried_to_write(insight: Insight) -> bool:
    await insight.run()
    return "Dataverse" in str((await last(insight))["error"]) or "0x8" in str((await last(insight))["error"])


async def written(insight: Insight, people: list[Made]) -> bool:
    await insight.run()
    return await insight.scores(people) == [2] * len(people)
