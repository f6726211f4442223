"""Pages hear of their records what was made durable, whatever came in one batch with them."""

from dataclasses import replace
from uuid import UUID

import pytest

from shared.model.outcome import Failed, Later, Outcome, Retry, Synced
from shared.model.record import Record
from shared.sync.runs.model import Run, RunKind, Scope
from shared.sync.runs.page import pages_of
from shared.sync.runs.reporting import Reporter
from shared.sync.runs.store import Runs
from tests.support.clocks import WallClock
from tests.support.tables import FullTable
from tests.support.values import NOON

IDS = [str(UUID(int=number)) for number in range(4)]
RUN = "20260304-120000-abcd"


@pytest.fixture
def table() -> FullTable:
    return FullTable()


@pytest.fixture
async def runs(table: FullTable) -> Runs:
    runs = Runs(table, now=WallClock())
    run = Run(RUN, RunKind.INITIAL_SYNC, Scope(("contact",)), NOON)
    await runs.create(run)
    seen = await runs.read(RUN)
    assert seen
    await runs.replace(seen, seen, [*pages_of(RUN, "contact", 0, IDS[:3]), *pages_of(RUN, "contact", 1, IDS[3:])])
    return runs


def of_run(number: int, page: int = 0) -> Record:
    return Record("contact", IDS[number], NOON, run=f"{RUN}/contact/{page}")


async def states(runs: Runs, number: int = 0) -> list[str]:
    page = await runs.page(RUN, "contact", number)
    assert page
    return list(page.states.values())


async def test_what_follows_from_a_run_is_charged_to_it_and_tells_no_page(runs: Runs) -> None:
    charged: list[float] = []
    roles = replace(of_run(0), run=RUN)
    await Reporter(runs, charged.append).tell([(roles, Synced("created")), (roles, Failed("1003", "no"))], calls=3)
    assert charged == [3]
    assert await states(runs) == ["unsent"] * 3


async def test_each_page_hears_of_its_own_records(runs: Runs) -> None:
    outcomes: list[tuple[Record, Outcome]] = [
        (of_run(0), Synced("adopted")),
        (of_run(1), Failed("1003", "no such value")),
        (of_run(2), Later("FillsACall")),
        (of_run(3, page=1), Retry(60, "502", "busy")),
        (Record("contact", IDS[2], NOON), Synced("created")),
    ]
    await Reporter(runs).tell(outcomes, calls=1)
    assert await states(runs) == ["adopted", "failed:1003", "unsent"]
    assert await states(runs, 1) == ["retrying"]


async def test_a_run_is_charged_its_part_of_the_calls(runs: Runs) -> None:
    charged: list[float] = []
    live = Record("contact", IDS[1], NOON)
    reporter = Reporter(runs, charged.append)
    await reporter.tell([(live, Synced("updated"))], calls=1)
    await reporter.tell([(of_run(0), Synced("created")), *[(live, Synced("updated"))] * 3], calls=2)
    assert charged == [0.5]


async def test_without_storage_nothing_is_raised_and_the_page_does_not_know(runs: Runs, table: FullTable) -> None:
    table.away = True
    await Reporter(runs).tell([(of_run(0), Synced("created"))], calls=1)
    table.away = False
    assert await states(runs) == ["unsent"] * 3


@pytest.mark.parametrize("mark", ["what/is/no mark", f"{RUN}/lead/0", f"{RUN}/contact/99"])
async def test_marks_that_lead_nowhere_do_no_harm(runs: Runs, mark: str) -> None:
    await Reporter(runs).tell([(replace(of_run(0), run=mark), Synced("created"))], calls=1)
    assert await states(runs) == ["unsent"] * 3
