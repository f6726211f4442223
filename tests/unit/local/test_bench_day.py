"""What the simulated day counts: when changes arrived, and apart from that when roles were compared."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from local.bench.day import START, _Timed
from shared.model.entities import OPPORTUNITY_ROLE
from shared.model.outcome import Outcome, Synced
from shared.model.record import Record
from shared.sync.reader import COMPARED_ONLY
from shared.sync.scheduling import AT_ONCE
from tests.support.values import guid

KEY = ("connection", guid(1))


@pytest.fixture
def timed() -> _Timed:
    class Engine:
        async def sync(self, _entity: object, records: list[tuple[Record, Outcome]], *_: object) -> Any:
            return records

    engine: Any = Engine()
    time: Any = SimpleNamespace(passed=0.0)
    return _Timed(engine, time)


async def settled(timed: _Timed, at: float, seen: float, outcome: Outcome, **facts: Any) -> None:
    """At this time a record with its oldest change from `seen` on has come to this."""
    timed.time.passed = at
    record = Record(*KEY, START + timedelta(seconds=seen), **facts)
    outcomes: Any = [(record, outcome)]
    await timed.sync(OPPORTUNITY_ROLE, outcomes, AT_ONCE, None)


async def test_a_role_arrives_when_it_is_stored_and_not_when_it_is_compared(timed: _Timed) -> None:
    timed.pending[KEY] = 10.0
    await settled(timed, 70, 10, Synced("updated"), additive=True)
    await settled(timed, 600, 10, COMPARED_ONLY, compared_only=True)
    assert (timed.latencies, timed.comparisons, timed.pending) == ([60.0], [590.0], {})


async def test_a_comparison_alone_is_no_arrival(timed: _Timed) -> None:
    timed.pending[KEY] = 10.0
    await settled(timed, 600, 10, COMPARED_ONLY, compared_only=True)
    assert (timed.latencies, timed.pending) == ([], {KEY: 10.0})


async def test_after_an_outage_a_newer_change_arrives_with_the_comparison_of_an_older_one(timed: _Timed) -> None:
    await settled(timed, 70, 10, Synced("updated"), additive=True)
    timed.pending[KEY] = 3000.0
    await settled(timed, 4000, 10, Synced("updated"))
    assert timed.late == [(10.0, 70), (3000.0, 4000)]
    assert (timed.comparisons, timed.pending) == ([3990.0], {})
