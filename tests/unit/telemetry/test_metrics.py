"""What is measured: the table, outcomes, dead letters, calls, and what the timer tells of all instances."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from local.harness.telemetry import Telemetry
from shared import monitoring
from shared.azure.parked_rows import ParkedCount
from shared.azure.service_bus import Outgoing
from shared.azure.shared_state import dumped
from shared.marketo.usage import Usage
from shared.model.codes import Kind as ErrorKind
from shared.model.errors import MarketoError, StorageUnavailableError
from shared.model.outcome import Deferred, Failed, Later, Outcome, Parent, Retry, Skipped, Synced
from shared.model.record import Record
from shared.monitoring import MOST_PARKED
from shared.sync import measures
from shared.sync.circuit import Outage
from shared.telemetry import metrics, spans
from shared.telemetry.metrics import METRICS, Metric, record
from tests.support.values import NOON

RECORD = Record("lead", "0b1c2d3e-2052-ef11-a316-000d3a5b7c01", NOON - timedelta(seconds=40))
PARENT = Parent("company", "account", "0b1c2d3e-2052-ef11-a316-000d3a5b7c02")
FAILED = Failed("1077", "no", "marketo")


def values(told: Telemetry, *of: Metric) -> dict[tuple[str, ...], float]:
    """What one export says: (name, attributes' values …) → value."""
    names = {metric.name for metric in of}
    return {
        (p.name.removeprefix("msisync."), *p.attributes.values()): p.value for p in told.points() if p.name in names
    }


def test_names_are_unique_and_of_one_family() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS) >= 15
    assert all(metric.name.startswith("msisync.") and metric.description for metric in METRICS)
    in_module = {value for value in vars(metrics).values() if isinstance(value, Metric)}
    assert in_module == set(METRICS), "a metric that is not in the table is in no alert's test either"


def test_a_value_for_each_attribute_is_needed() -> None:
    with pytest.raises(ValueError, match="shorter"):
        record(metrics.RECORDS, 1, "person")


def test_outcomes_are_counted_once_each(told: Telemetry) -> None:
    outcomes: list[tuple[Record, Outcome]] = [
        (RECORD, Synced("created")),
        (replace(RECORD, first_seen=NOON - timedelta(seconds=20)), Synced("updated")),
        (replace(RECORD, replays=1, first_seen=NOON - timedelta(days=2)), Synced("updated")),
        (RECORD, Skipped("RowGone")),
        (replace(RECORD, first_seen=NOON - timedelta(days=1)), Deferred((PARENT,))),
        (replace(RECORD, replays=1, first_seen=NOON - timedelta(days=2)), Retry(60, "1029", "busy")),
        (replace(RECORD, first_seen=NOON - timedelta(seconds=300)), Retry(60, "1029", "busy")),
        (RECORD, Retry(0, "OutOfTime", "goes on at once")),
        (RECORD, Later("FillsACall")),
        (RECORD, FAILED),
        (RECORD, FAILED),
    ]
    measures.settled("person", outcomes, NOON)
    measures.settled("company", [(RECORD, FAILED)], NOON)
    points = told.points()
    assert {(p.name.removeprefix("msisync."), *p.attributes.values()): (p.value, p.number) for p in points} == {
        ("records", "person", "synced"): (3, 1),
        ("records", "person", "skipped"): (1, 1),
        ("records", "person", "parked"): (1, 1),
        ("records", "person", "retried"): (2, 1),
        ("records", "person", "failed"): (2, 1),
        ("records", "company", "failed"): (1, 1),
        ("retries", "person", "1029"): (2, 1),
        ("dead_letters", "person", "1077"): (2, 1),
        ("dead_letters", "company", "1077"): (1, 1),
        ("latency", "person"): (60, 2),  # a replay is as old as its dead letter
        ("waiting", "person"): (300, 1),
    }


def test_refused_messages_are_dead_letters_of_their_queue(told: Telemetry) -> None:
    letters = [Outgoing("dead-letters", b"", properties={"code": code}) for code in ("NotJson", "NotJson", "TooOld")]
    measures.refused(letters)
    measures.refused(letters[:1], "person")
    assert values(told, metrics.DEAD_LETTERS) == {
        ("dead_letters", "changes", "NotJson"): 2,
        ("dead_letters", "changes", "TooOld"): 1,
        ("dead_letters", "person", "NotJson"): 1,
    }


def test_a_run_of_the_write_back_says_what_it_did_and_how_far_it_has_come(told: Telemetry) -> None:
    measures.written_back("sweep", {"written": 3, "unchanged": 40, "failed": 0})
    measures.write_back_is_at(NOON - timedelta(minutes=7), NOON)
    assert values(told, metrics.WRITE_BACK, metrics.WRITE_BACK_AGE) == {
        ("write_back", "sweep", "written"): 3, ("write_back", "sweep", "unchanged"): 40, ("write_back.age",): 420,
    }  # fmt: skip


def test_calls_are_counted_by_what_came_of_them(told: Telemetry) -> None:
    def call(error: BaseException | None = None) -> None:
        with spans.calling("marketo", "GET", "/rest/v1/leads.json?email=ann@contoso.example"):
            if error:
                raise error

    call()
    call()
    with pytest.raises(MarketoError):
        call(MarketoError("606", "too fast", kind=ErrorKind.THROTTLED))
    with pytest.raises(KeyboardInterrupt):
        call(KeyboardInterrupt())
    assert values(told, metrics.CALLS) == {
        ("calls", "marketo", "leads", "ok"): 2,
        ("calls", "marketo", "leads", "606"): 1,
        ("calls", "marketo", "leads", "KeyboardInterrupt"): 1,
    }


def test_a_gauge_is_told_once_and_not_for_ever(told: Telemetry) -> None:
    record(metrics.CIRCUIT_OPEN, 60, "person")
    record(metrics.CIRCUIT_OPEN, 120, "person")
    record(metrics.CIRCUIT_OPEN, 30, "dataverse")
    assert values(told, metrics.CIRCUIT_OPEN) == {("circuit.open", "person"): 120, ("circuit.open", "dataverse"): 30}
    assert values(told, metrics.CIRCUIT_OPEN) == {}


class Shared:
    """Budget, state and store of all instances."""

    def __init__(self) -> None:
        self.usage = Usage(700, 1000, 0.5, None, 4000, NOON, NOON)
        self.circuits: dict[str, dict[str, Any]] = {}
        self.parked: dict[str, ParkedCount] = {}
        self.runs: list[dict[str, Any]] = []
        self.drift: dict[str, Any] = {}
        self.away = False

    async def read(self, kind: str, name: str) -> dict[str, Any]:
        assert kind == "write_back"
        return {"runs": {"runs": self.runs} if self.runs else {}, "drift": self.drift}[name]

    async def refresh(self) -> Usage:
        return self.usage

    async def all(self, kind: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        assert kind == "circuit"
        if self.away:
            raise StorageUnavailableError("ServiceRequestError")
        for name, value in self.circuits.items():
            yield name, value

    async def count(self, most: int) -> tuple[dict[str, ParkedCount], bool]:
        assert most == MOST_PARKED
        return self.parked, False


async def tell(shared: Any, began: datetime = NOON) -> None:
    await monitoring.tell(shared, shared, shared, daily_calls=50_000, began=began, now=lambda: NOON)


GAUGES = [metric for metric in METRICS if metric.kind == "gauge"]
#: And the write-back, which has not run since the app began just now.
BUDGET = {
    ("write_back.age",): 0, ("budget.used",): 700, ("budget.allowed",): 1000, ("day.used",): 4000,
    ("day.allowed",): 50_000,
}  # fmt: skip


async def test_the_timer_tells_what_all_instances_share(told: Telemetry) -> None:
    shared = Shared()
    shared.parked = {
        "person": ParkedCount({"company": 3, "sales_person": 1}, NOON - timedelta(hours=2)),
        "opportunity": ParkedCount({"company": 1}, None, {"company": 2}),
    }
    outage = Outage(NOON - timedelta(minutes=9), NOON + timedelta(minutes=1), "marketo 502", 3)
    forgotten = Outage(NOON - timedelta(days=9), NOON - timedelta(days=8), "marketo 502", 3)
    shared.circuits = {"person": dumped(outage), "company": dumped(forgotten), "lead": {"of": "another version"}}
    await tell(shared)
    assert values(told, *GAUGES) == BUDGET | {
        ("circuit.open", "person"): 540, ("parked", "person"): 4, ("linked_later", "person"): 0,
        ("linked_later", "opportunity"): 2, ("parked.age", "person"): 7200, ("parked", "opportunity"): 1,
    }  # fmt: skip


async def test_the_timer_tells_up_to_when_changes_are_written_back(told: Telemetry) -> None:
    shared = Shared()
    shared.runs = [
        {"kind": "changes", "started": "2026-03-04T11:55:00Z", "complete": False},
        {"kind": "sweep", "started": "2026-03-04T11:54:00Z", "complete": True},
        {"kind": "changes", "started": "2026-03-04T11:45:00Z", "complete": True},
        {"kind": "changes", "started": "2026-03-04T11:35:00Z", "complete": True},
    ]
    await tell(shared)
    assert values(told, *GAUGES) == BUDGET | {("write_back.age",): 900}


async def test_the_timer_tells_how_far_persons_have_drifted(told: Telemetry) -> None:
    shared = Shared()
    fields, at = {"city": 12}, "2026-03-04T03:00:00Z"
    shared.drift = {"compared": 900, "differing": 12, "missing": 0, "fields": fields, "at": at}
    await tell(shared)
    assert values(told, *GAUGES) == BUDGET | {
        ("drift", "compared"): 900, ("drift", "differing"): 12, ("drift", "missing"): 0,
    }  # fmt: skip


async def test_a_write_back_that_has_never_run_is_late_as_well(told: Telemetry) -> None:
    await tell(Shared(), began=NOON - timedelta(hours=2))
    assert values(told, *GAUGES) == BUDGET | {("write_back.age",): 7200}


async def test_what_is_not_known_is_not_told(told: Telemetry) -> None:
    shared = Shared()
    shared.usage = replace(shared.usage, everybody=None)
    await tell(shared)
    assert values(told, *GAUGES) == {name: value for name, value in BUDGET.items() if name != ("day.used",)}


async def test_the_timer_goes_on_when_storage_is_away(told: Telemetry) -> None:
    shared = Shared()
    shared.away = True
    await tell(shared)
    assert values(told, *GAUGES) == {name: value for name, value in BUDGET.items() if name != ("write_back.age",)}
    assert any("gauges_not_read error=ServiceRequestError" in line for line in told.lines)
