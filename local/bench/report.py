"""Turns what the runs have measured into figures with the targets that they have to reach. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from local.bench.burst import Burst
from local.bench.engine import EngineRun
from local.bench.figures import Figure, Target, percentile, ratio

UPSERTS_PER_1000 = Target(limit=3.7)
CALLS_PER_1000 = Target(limit=4.5)
#: Persons are looked for by e-mail first.
FIRST_SEEN_PER_1000 = Target(limit=10)
CPU_MS_PER_RECORD = Target(limit=1.5)
OWN_MS_PER_RECORD = Target(limit=0.5)
ENGINE_RECORDS_PER_SECOND = Target(limit=1350, at_least=True)
MEMORY_GROWTH = Target(limit=1.2)
LONE_P95_SECONDS = Target(limit=2)
IMPORT_SECONDS = Target(limit=1)
LOAD_MILLISECONDS = Target(limit=50)
#: Records or fields of Marketo that are not as they must be after a run.
DIFFERENCES = Target(limit=0)

_MB = 1024 * 1024


def burst_figures(burst: Burst, sampled: Burst | None = None) -> Iterator[Figure]:
    """One burst. `sampled` is another run of it, in which the app's own share was counted."""
    known = f", {burst.known:,} known by e-mail" if burst.known else ""
    group = f"burst of {burst.records:,}, {burst.order} order{known}"
    latencies, calls, per_1000 = burst.all_latencies, burst.calls, burst.records / 1000

    def figure(name: str, value: float, unit: str = "", target: Target | None = None) -> Figure:
        return Figure(group=group, name=name, value=value, unit=unit, target=target)

    yield figure("changes, first enqueue to last upsert", ratio(burst.records, burst.seconds), "records/s")
    yield figure("enqueue to upserted, p50", percentile(latencies, 50), "s")
    yield figure("enqueue to upserted, p95", percentile(latencies, 95), "s")
    yield figure("enqueue to upserted, longest", max(latencies, default=float("nan")), "s")
    yield figure("upsert calls", calls.of("upsert") / per_1000, "per 1,000")
    yield figure("find calls", calls.of("find") / per_1000, "per 1,000")
    yield figure("describe calls", calls.of("describe") / per_1000, "per 1,000")
    yield figure("all Marketo calls, first seen", calls.total / per_1000, "per 1,000", FIRST_SEEN_PER_1000)
    if updates := burst.updates:
        yield figure("upsert calls, updates", updates.of("upsert") / per_1000, "per 1,000", UPSERTS_PER_1000)
        yield figure("all Marketo calls, updates", updates.total / per_1000, "per 1,000", CALLS_PER_1000)
    yield figure("calls that Marketo refused", sum(calls.refused.values()))
    yield figure("identity calls", calls.identity)
    around = sampled.share("host") * burst.worker_cpu if sampled is not None else 0.0
    inside = burst.worker_cpu - around
    yield figure("inside invocations, CPU", _ms(inside, burst), "ms/record", CPU_MS_PER_RECORD)
    yield figure("  of it azure-functions' converter", _ms(burst.converter_cpu, burst), "ms/record")
    if sampled is not None:
        own = sampled.share("own") * burst.worker_cpu
        yield figure("  of it the app's own code", _ms(own, burst), "ms/record", OWN_MS_PER_RECORD)
    yield figure("local host in the worker's process, CPU", _ms(around, burst), "ms/record")
    yield figure("local host with its broker client, CPU", _ms(burst.host_cpu, burst), "ms/record")
    for part in ("service-bus", "dataverse", "marketo", "proxy", "azurite"):
        if part in burst.cpu:
            yield figure(f"{part}, CPU", _ms(burst.cpu[part], burst), "ms/record")
    yield figure("peak memory of the host process", burst.memory["host"] / _MB, "MB")
    yield figure("peak memory of the largest worker", burst.memory["worker"] / _MB, "MB")
    yield figure("dead letters", burst.dead_letters)
    yield figure("differences in Marketo afterwards", len(burst.problems), "", DIFFERENCES)


def function_figures(burst: Burst) -> Iterator[Figure]:
    """Each function's own process in a burst: its memory, and its cold start up to the end of its first call."""
    for name, used in burst.host.get("workers", {}).items():
        group = f"process of {name}"
        yield Figure(group=group, name="peak memory", value=used["peak_rss_bytes"] / _MB, unit="MB")
        yield Figure(
            group=group, name="start of the process until it can be called", value=used["start_seconds"], unit="s"
        )
        first = used["first_call_seconds"]
        if first is not None:
            yield Figure(group=group, name="its first call", value=first, unit="s")


def growth_figures(small: Burst, large: Burst) -> Iterator[Figure]:
    """What ten times the records cost, per record; memory as a whole."""
    group = f"{large.records:,} against {small.records:,}"
    for process, name in (("host", "memory of the host process"), ("worker", "memory of the largest worker")):
        grown = ratio(large.memory[process], small.memory[process])
        yield Figure(group=group, name=name, value=grown, unit="times", target=MEMORY_GROWTH)
    calls = ratio(large.calls.total / large.records, small.calls.total / small.records)
    yield Figure(group=group, name="Marketo calls per record", value=calls, unit="times")
    cpu = ratio(large.worker_cpu / large.records, small.worker_cpu / small.records)
    yield Figure(group=group, name="CPU per record inside invocations", value=cpu, unit="times")


def lone_figures(latencies: Sequence[float], problems: Sequence[str]) -> Iterator[Figure]:
    """Lone changes on an idle system."""
    group = f"{len(latencies)} lone changes"
    yield Figure(group=group, name="enqueue to upserted, p50", value=percentile(latencies, 50), unit="s")
    p95 = percentile(latencies, 95)
    yield Figure(group=group, name="enqueue to upserted, p95", value=p95, unit="s", target=LONE_P95_SECONDS)
    yield Figure(group=group, name="enqueue to upserted, longest", value=max(latencies, default=float("nan")), unit="s")
    yield Figure(group=group, name="differences in Marketo afterwards", value=len(problems), target=DIFFERENCES)


def engine_figures(run: EngineRun) -> Iterator[Figure]:
    """The engine alone. New persons are looked for first, so that Marketo's limit of calls decides their speed."""
    for what, measured, target in (
        ("first seen", run.first_seen, None),
        ("updates", run.updates, ENGINE_RECORDS_PER_SECOND),
    ):
        group = f"engine alone, {run.records:,}, {what}"
        rate = ratio(run.records, measured.seconds)
        yield Figure(group=group, name="speed", value=rate, unit="records/s", target=target)
        yield Figure(group=group, name="CPU", value=1000 * ratio(measured.cpu_seconds, run.records), unit="ms/record")
        yield Figure(group=group, name="Marketo calls", value=measured.calls.total)
        in_window = measured.calls.in_20_seconds
        yield Figure(group=group, name="  in 20 seconds, of the 100 that it allows", value=in_window)
    yield Figure(group=group, name="differences in Marketo afterwards", value=len(run.problems), target=DIFFERENCES)


def startup_figures(import_seconds: float, load_seconds: Mapping[str, float]) -> Iterator[Figure]:
    """The cold start. `load_seconds`: of each sync.toml by what it is."""
    group = "cold start"
    yield Figure(group=group, name="import function_app", value=import_seconds, unit="s", target=IMPORT_SECONDS)
    for name, seconds in load_seconds.items():
        yield Figure(group=group, name=name, value=1000 * seconds, unit="ms", target=LOAD_MILLISECONDS)


def details(run: Burst | EngineRun) -> dict[str, Any]:
    """Everything about a run for the report file, the single latencies left out."""
    found = asdict(run)
    for entity, latencies in found.pop("latencies", {}).items():
        found.setdefault("latency_seconds", {})[entity] = {
            f"p{percent}": percentile(latencies, percent) for percent in (50, 95, 100) if latencies
        }
    return found


def _ms(seconds: float, burst: Burst) -> float:
    return 1000 * ratio(seconds, burst.records)
