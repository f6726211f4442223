"""From runs to figures: what is divided by what, and which targets apply."""

import json
from typing import Any

import pytest

from local.bench import report
from local.bench.__main__ import SECTIONS, arguments
from local.bench.burst import Burst
from local.bench.engine import EngineRun, Pass
from local.bench.figures import Figure
from local.bench.lone import choose
from local.bench.marketo_side import Calls
from local.world.build import build
from local.world.expectations import expect
from local.world.model import Size

MB = 1024 * 1024


def calls(upserts: int, finds: int = 0) -> Calls:
    by_kind = {"upsert": {"leads": upserts}, "find": {"companies": finds}}
    return Calls(by_kind=by_kind, refused={"606": 1}, identity=1, in_20_seconds=9, at_once=3)


def burst(records: int, *, upserts: int, worker_cpu: float, worker_mb: int = 80, **other: Any) -> Burst:
    host = {
        "worker": {"cpu_seconds": worker_cpu, "converter_cpu_seconds": 1.0, "peak_rss_bytes": worker_mb * MB},
        "host": {"cpu_seconds": 2.0, "peak_rss_bytes": 60 * MB},
    }
    return Burst(
        order="import", records=records, seconds=10.0, latencies={"person": [1.0, 2.0], "company": [9.0]},
        calls=calls(upserts, finds=2), host=host, dataverse={}, cpu={"marketo": 0.5}, dead_letters=0, upserts=[],
        **{"problems": [], **other},
    )  # fmt: skip


def by_name(figures: list[Figure]) -> dict[str, Figure]:
    return {figure.name.strip(): figure for figure in figures}


def test_a_bursts_calls_and_processor_time_are_per_record() -> None:
    sampled = burst(1000, upserts=3, worker_cpu=9.0, samples={"own": 25, "azure.functions": 65, "host": 10})
    found = by_name(list(report.burst_figures(burst(1000, upserts=3, worker_cpu=1.2), sampled)))
    assert found["upsert calls"].value == 3
    assert (found["all Marketo calls, first seen"].value, found["all Marketo calls, first seen"].verdict) == (5, "met")
    assert found["inside invocations, CPU"].value == pytest.approx(1.08)
    assert found["local host in the worker's process, CPU"].value == pytest.approx(0.12)
    # The share comes from the sampled run, the processor time from the one that nothing disturbed.
    assert found["of it the app's own code"].value == pytest.approx(0.3)
    assert found["changes, first enqueue to last upsert"].value == 100
    assert found["enqueue to upserted, longest"].value == 9.0
    assert found["calls that Marketo refused"].value == 1


def test_a_burst_that_leaves_marketo_wrong_fails_however_fast_it_was() -> None:
    found = by_name(list(report.burst_figures(burst(1000, upserts=3, worker_cpu=1, problems=["person x is missing"]))))
    assert found["differences in Marketo afterwards"].verdict == "missed"


def test_memory_may_grow_by_a_fifth_when_the_records_are_ten_times_as_many() -> None:
    small, large = burst(100, upserts=1, worker_cpu=1), burst(1000, upserts=3, worker_cpu=2, worker_mb=97)
    found = by_name(list(report.growth_figures(small, large)))
    assert found["memory of the host process"].verdict == "met"
    assert found["memory of the largest worker"].verdict == "missed"
    assert found["CPU per record inside invocations"].value == pytest.approx(0.2)


def test_the_engine_is_judged_by_its_speed_with_known_records() -> None:
    first_seen = Pass(seconds=4.0, cpu_seconds=1.0, by_entity={}, calls=calls(9, finds=9))
    updates = Pass(seconds=2.0, cpu_seconds=1.0, by_entity={}, calls=calls(9))
    run = EngineRun(records=2700, first_seen=first_seen, updates=updates, problems=[])
    speeds = [figure for figure in report.engine_figures(run) if figure.name == "speed"]
    assert [(figure.value, figure.verdict) for figure in speeds] == [(675, ""), (1350, "met")]


def test_lone_changes_are_judged_by_their_slowest_twentieth() -> None:
    found = by_name(list(report.lone_figures([0.1] * 18 + [2.5] * 2, [])))
    assert found["enqueue to upserted, p95"].verdict == "missed"
    assert by_name(list(report.lone_figures([0.1] * 19 + [2.5], [])))["enqueue to upserted, p95"].verdict == "met"


def test_the_details_of_a_run_are_json_with_percentiles_instead_of_every_latency() -> None:
    details = json.loads(json.dumps(report.details(burst(1000, upserts=3, worker_cpu=1))))
    assert details["latency_seconds"]["person"] == {"p50": 1.0, "p95": 2.0, "p100": 2.0}
    assert "latencies" not in details


def test_nobody_waits_for_the_record_of_a_lone_change() -> None:
    world = build(2, Size(users=12, accounts=150, persons=150, opportunities=60, connections=60), troubles=False)
    expectations = expect(world)
    chosen = choose(expectations, 30)
    sources = {source for record in chosen for source in record.sources}
    others = expect(world, announced=[change for change in world.synced() if change not in sources])
    assert len({(record.entity, str(record.key)) for record in chosen}) == 30
    assert sum(others.counts().values()) == sum(expectations.counts().values()) - 30


@pytest.mark.parametrize("given", [["--only", "speed"], ["--orders", "best"], ["--records", "20"]])
def test_what_cannot_be_measured_is_refused(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        arguments(given)
    assert stop.value.code == 2
    assert given[0] in capsys.readouterr().err


def test_everything_is_measured_by_default() -> None:
    options = arguments([])
    assert set(options.only) == set(SECTIONS)
    assert (options.records, options.orders) == (20_000, ["import"])
